//! Readiness that means something: each cause takes out the role that it concerns, and nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::cluster::Cluster;
use estafeta_integration_tests::node::Node;
use estafeta_integration_tests::topology::Topology;
use serde_json::Value;

/// How long a change of readiness may take on a machine that is busy with other tests. It takes two seconds on one that
/// is not.
const CHANGE: Duration = Duration::from_secs(30);

/// What `/health` says of a role: `ready`, or why not.
fn role(node: &Node, role: &str) -> anyhow::Result<String> {
    let (_, body) = node.status("/health")?;
    let said: Value = serde_json::from_str(&body)?;
    Ok(said["roles"][role].as_str().with_context(|| body.clone())?.to_owned())
}

/// Waits until `/health` says of a role what begins so and holds these words; every other role stays ready meanwhile.
fn becomes(node: &Node, changing: &str, beginning: &str, words: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let said = role(node, changing)?;
        if said.starts_with(beginning) && said.contains(words) {
            return Ok(());
        }
        for other in node.planned.roles.iter().filter(|other| **other != changing) {
            let said = role(node, other)?;
            ensure!(said == "ready", "{other} is {said:?}, and {changing} alone has lost something");
        }
        if begun.elapsed() > CHANGE {
            bail!("{changing} is {said:?}, not {beginning:?} with {words:?}");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A small file system, mounted until this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, megabytes: usize) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        let options = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output()?;
        let said = String::from_utf8_lossy(&mounted.stderr);
        ensure!(mounted.status.success(), "this test mounts a tmpfs, so it must run as root: {said}");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A scanner that finds nothing, in clamd's protocol, until it is told to be silent.
struct Clamd {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
}

impl Clamd {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let silent = Arc::new(AtomicBool::new(false));
        let clamd = Self { address: listener.local_addr()?, silent: silent.clone() };
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if silent.load(Ordering::Relaxed) {
                    continue;
                }
                // The probe is small: it comes with its end mark, a chunk without a byte.
                let mut asked = Vec::new();
                let mut piece = [0; 4096];
                while !asked.ends_with(&[0; 4]) {
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => break,
                        Ok(length) => asked.extend_from_slice(&piece[..length]),
                    }
                }
                let _ = stream.write_all(b"stream: OK\0");
            }
        });
        Ok(clamd)
    }

    fn answer(&self, answers: bool) {
        self.silent.store(!answers, Ordering::Relaxed);
    }
}

#[test]
fn a_full_disk_and_a_lost_scanner_take_their_own_role_out_and_back_in() -> anyhow::Result<()> {
    let clamd = Clamd::start()?;
    let mut topology = Topology::single().section("filter", &format!("clamd = \"{}\"", clamd.address));
    topology.top = "[health]\nfree_bytes = 16000000\n".into();
    let mut cluster = Cluster::prepare(&topology)?;
    let data = cluster.nodes[0].directory.join("data");
    fs::create_dir(&data)?;
    let disk = SmallDisk::mount(&data.join("mailbox"), 64)?;
    cluster.start()?;
    let node = &cluster.nodes[0];

    let filling = disk.0.join("filling");
    fs::write(&filling, vec![0; 52 * 1024 * 1024])?;
    becomes(node, "mailbox", "not ready: ", "MB left, less than 16 MB")?;
    ensure!(node.status("/health")?.0 == 503);
    fs::remove_file(&filling)?;
    becomes(node, "mailbox", "ready", "")?;
    // To the last byte.
    let mut whole = fs::File::create(&filling)?;
    while whole.write_all(&[0; 64 * 1024]).is_ok() {}
    drop(whole);
    becomes(node, "mailbox", "not ready: ", "MB left")?;
    fs::remove_file(&filling)?;
    becomes(node, "mailbox", "ready", "")?;

    clamd.answer(false);
    becomes(node, "filter", "not ready: ", &format!("clamd at {}", clamd.address))?;
    clamd.answer(true);
    becomes(node, "filter", "ready", "")?;
    ensure!(node.status("/health")?.0 == 200);
    ensure!(node.metric("estafeta_ready")? == 6.0);
    ensure!(cluster.nodes[0].terminate()?.success());
    cluster.succeed();
    Ok(())
}

#[test]
fn what_is_down_for_all_makes_nobody_else_not_ready_and_probes_leave_no_trace() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let lines = |cluster: &Cluster| -> Vec<String> {
            let logs = cluster.nodes.iter().map(Node::log);
            logs.flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        };
        // What follows the start and the new domain is said by now.
        thread::sleep(Duration::from_secs(3));
        let before = lines(cluster).len();
        thread::sleep(Duration::from_secs(5));
        let news = lines(cluster).split_off(before);
        ensure!(news.len() < 5, "an idle cluster logs: {news:#?}");
        for node in &cluster.nodes {
            ensure!(node.metric("estafeta_logins_total")? == 0.0, "{}: a probe logs in", node.name());
            ensure!(node.metric("estafeta_filter_verdicts_total")? == 0.0, "{}: a probe is mail", node.name());
            ensure!(node.metric("estafeta_connections_total")? > 5.0, "{}: nothing is probed", node.name());
        }

        cluster.node("filter1")?.kill()?;
        cluster.node("directory1")?.kill()?;
        // Longer than the silence of a role that only this node does not hear.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            for (name, of) in [("edge1", "edge"), ("access1", "access"), ("mailbox1", "mailbox")] {
                let said = role(cluster.node(name)?, of)?;
                ensure!(said == "ready", "{name} is {said:?} because others are down");
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    })
}
