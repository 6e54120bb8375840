//! The demonstration's nodes as child processes of this one.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use estafeta_core::NodeName;
use estafeta_net::http;
use http_body_util::Full;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::layout::{Layout, Node};

/// The running nodes. Each holds the other end of its standard input: when this process dies, they drain.
pub struct Children(BTreeMap<NodeName, Child>);

impl Children {
    /// Starts every node.
    pub fn start(layout: &Layout) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file cannot be found")?;
        let mut children = BTreeMap::new();
        for node in &layout.nodes {
            let log = File::create(layout.log(node))?;
            let child = Command::new(&program)
                .args(["serve", "--until-stdin-closes", "--config"])
                .arg(layout.config(node))
                .stdin(Stdio::piped())
                .stdout(log.try_clone()?)
                .stderr(log)
                // Ctrl-C is for this process alone: it ends the nodes in its own order.
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("{} cannot be started", node.name))?;
            children.insert(node.name.clone(), child);
        }
        Ok(Self(children))
    }

    /// The process of a node, while it runs.
    pub fn pid(&self, node: &NodeName) -> Option<u32> {
        self.0.get(node).and_then(Child::id)
    }

    /// Waits until a node says that it is ready.
    pub async fn ready(&mut self, layout: &Layout, node: &Node) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.0.get_mut(&node.name).context("no such node")?.try_wait()? {
                let log = std::fs::read_to_string(layout.log(node)).unwrap_or_default();
                bail!("{} has ended ({status}): {}", node.name, log.lines().last().unwrap_or("it said nothing"));
            }
            if healthy(layout, node).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after 30 seconds: see {}", node.name, layout.log(node).display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills a node as a power failure would: SIGKILL.
    pub async fn kill(&mut self, node: &NodeName) -> anyhow::Result<()> {
        let mut child = self.0.remove(node).context("no such node")?;
        child.kill().await.with_context(|| format!("{node} cannot be killed"))
    }

    /// Drains all and waits for their ends; kills who does not end.
    pub async fn stop(mut self) {
        for child in self.0.values() {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                // It may have ended in this instant.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        for child in self.0.values_mut() {
            if tokio::time::timeout(Duration::from_secs(15), child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

async fn healthy(layout: &Layout, node: &Node) -> bool {
    let ask = async {
        let stream = TcpStream::connect(layout.status(node)).await.ok()?;
        let request = hyper::Request::get("/health").body(Full::new(Bytes::new())).ok()?;
        Some(http::ask(Box::new(stream), request, 64 * 1024).await.ok()?.status().is_success())
    };
    ask.await.unwrap_or(false)
}
