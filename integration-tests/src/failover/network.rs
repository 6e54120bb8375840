//! A network of its own for one cluster: each node in a network namespace, all on one bridge, with the test beside them.
//! Everything goes when it is dropped.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};

/// How many networks this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The network in which all nodes and the test stand: nobody else sees it, so every run may have the same.
const NETWORK: [u8; 3] = [10, 77, 0];

/// Namespaces joined by a bridge.
pub struct Network {
    /// Where the bridge is, and the test.
    hub: String,
    /// Each node's address and the name of its namespace, in the order of the nodes.
    pub places: Vec<(IpAddr, String)>,
}

impl Network {
    /// Makes namespaces for so many nodes.
    pub fn new(count: usize) -> anyhow::Result<Self> {
        let prefix = format!("estafeta{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let [a, b, c] = NETWORK;
        let places = (1..=count).map(|n| (IpAddr::V4(Ipv4Addr::new(a, b, c, n as u8)), format!("{prefix}-{n}")));
        let network = Self { hub: format!("{prefix}-hub"), places: places.collect() };
        network.make().context(
            "network namespaces cannot be made here: run as root on a machine that has them (ip, nft), or leave out what needs \
             them with --without-namespaces",
        )?;
        Ok(network)
    }

    fn make(&self) -> anyhow::Result<()> {
        let (hub, own) = (&self.hub, self.own_address());
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        ip(&format!("-n {hub} link add bridge0 type bridge"))?;
        ip(&format!("-n {hub} address add {own}/24 dev bridge0"))?;
        ip(&format!("-n {hub} link set bridge0 up"))?;
        for (index, (address, name)) in self.places.iter().enumerate() {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("link add port{index} netns {hub} type veth peer name eth0 netns {name}"))?;
            ip(&format!("-n {hub} link set port{index} master bridge0 up"))?;
            ip(&format!("-n {name} address add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
        }
        Ok(())
    }

    /// The test's own address.
    pub fn own_address(&self) -> IpAddr {
        let [a, b, c] = NETWORK;
        IpAddr::V4(Ipv4Addr::new(a, b, c, 254))
    }

    /// Puts the calling thread, and what it starts from now on, beside the nodes.
    pub fn enter(&self) -> anyhow::Result<()> {
        let namespace = File::open(Path::new("/run/netns").join(&self.hub)).context("the namespace of the bridge")?;
        setns(namespace, CloneFlags::CLONE_NEWNET).context("entering the namespace of the bridge")
    }

    /// Cuts a node off from everybody, or from everybody but the test.
    pub fn cut(&self, node: usize, but_the_test: bool) -> anyhow::Result<()> {
        let own = self.own_address();
        let (source, target) = if but_the_test {
            (format!("ip saddr != {own}"), format!("ip daddr != {own}"))
        } else {
            Default::default()
        };
        let rules = format!(
            "table inet cut {{\n chain input {{ type filter hook input priority 0; iifname eth0 {source} drop; }}\n \
             chain output {{ type filter hook output priority 0; oifname eth0 {target} drop; }}\n}}\n"
        );
        nft(&self.places[node].1, &rules)
    }

    /// Takes the cut away.
    pub fn mend(&self, node: usize) -> anyhow::Result<()> {
        nft(&self.places[node].1, "delete table inet cut\n")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.places.iter().map(|(_, name)| name).chain([&self.hub]) {
            // What was not made is not there to be removed.
            let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
        }
    }
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("ip (Debian: iproute2)")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn nft(namespace: &str, rules: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "nft", "-f", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("nft (Debian: nftables)")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "nft: {}{rules}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
