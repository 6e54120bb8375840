//! A cluster of real processes whose nodes fail in every way while clients send and read, and how long it takes until
//! nobody is sent to the failed node any more.
//!
//! [`Scenario`] starts the cluster, [`Scenario::run`] is one failure from beginning to end, [`report`] turns many runs into
//! the page docs/failover.md.

pub mod dependency;
pub mod failure;
pub mod load;
pub mod network;
pub mod report;
pub mod watch;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use self::dependency::Scanner;
use self::failure::{Failure, SmallDisk, Surroundings};
use self::load::{Load, Reckoning};
use self::network::Network;
use self::watch::{Answers, Client, Visits};
use crate::client::Smtp;
use crate::cluster::Cluster;
use crate::tokens;
use crate::topology::Topology;

/// How long any change may take before a run is given up as failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// A node that fails again and again stays out longer and longer; here the same few fail all the time, and the next run
/// waits until they are back.
const COMEBACK: &str = "[membership]\nreturn_longest_ms = 4000\n";

/// How long everything must have been well for a client before a run is over.
const QUIET: Duration = Duration::from_millis(2500);

/// How many clients send at once.
const SENDERS: u64 = 2;

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was done.
    pub failure: Failure,
    /// To whom.
    pub node: String,
    /// From the failure until no service name and no MX named the node; of a filter, until edge nodes knew.
    pub out_of_dns: Duration,
    /// From the failure until every client that came was served.
    pub served: Duration,
    /// How many clients came, and how many were not served.
    pub clients: (usize, usize),
    /// From its end until the node was named again.
    pub back: Duration,
    /// By how much a ticker of 100 ms came late at worst: the machine stood still.
    pub stall: Duration,
}

/// The cluster and everything around it.
pub struct Scenario {
    cluster: Cluster,
    network: Option<Network>,
    scanners: Vec<(String, Scanner)>,
    servers: Vec<SocketAddr>,
    accounts: Vec<String>,
    load: Load,
    /// Unmounted after the cluster has ended, because a field is dropped after those before it.
    _disks: Vec<SmallDisk>,
}

impl Scenario {
    /// Starts it: 3 edge, 2 access, 2 dns, 2 filter, directory, mailbox. With namespaces the calling thread enters them, for
    /// good.
    pub fn start(with_namespaces: bool) -> anyhow::Result<Self> {
        let mut topology = Topology::default()
            .with("directory1", &["directory"], None)
            .with("mailbox1", &["mailbox"], Some("a"))
            .with("filter1", &["filter"], None)
            .with("filter2", &["filter"], None)
            .with("edge1", &["edge"], None)
            .with("edge2", &["edge"], None)
            .with("edge3", &["edge"], None)
            .with("access1", &["access"], None)
            .with("access2", &["access"], None)
            .with("dns1", &["dns"], None)
            .with("dns2", &["dns"], None);
        topology.top += COMEBACK;
        let network = with_namespaces.then(|| Network::new(topology.nodes.len())).transpose()?;
        if let Some(network) = &network {
            network.enter()?;
            topology.namespaces.clone_from(&network.places);
        }
        let mut cluster = Cluster::prepare(&topology)?;
        let beside = network.as_ref().map_or([127, 0, 0, 1].into(), Network::own_address);
        let mut scanners = Vec::new();
        for name in ["filter1", "filter2"] {
            let scanner = Scanner::new(SocketAddr::new(beside, 0))?;
            let file = &cluster.node(name)?.configuration;
            add_key(file, "[filter]", &format!("clamd = \"{}\"", scanner.address()))?;
            scanners.push((name.to_owned(), scanner));
        }
        let mut disks = Vec::new();
        for name in Failure::FullDisk.victims() {
            disks.push(SmallDisk::mount(&cluster.node(name)?.directory.join("data"))?);
        }
        cluster.start()?;
        let accounts = ["ana", "luis"].map(|name| cluster.account(name)).into_iter().collect::<Result<_, _>>()?;
        let servers = cluster.all_at("dns")?;
        wait_until_known(&servers)?;
        Ok(Self { cluster, network, scanners, servers, accounts, load: Load::default(), _disks: disks })
    }

    /// The cluster.
    pub fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Whether this failure can be made here: a network can only be cut where there is one.
    pub fn can(&self, failure: Failure) -> bool {
        failure != Failure::Cut || self.network.is_some()
    }

    /// One failure of one node, from a cluster that is well to a cluster that is well.
    pub fn run(&mut self, failure: Failure, node: &str) -> anyhow::Result<Run> {
        let (answers, visits) = (Answers::default(), Visits::default());
        let (stop, stop_clients) = (AtomicBool::new(false), AtomicBool::new(false));
        let Self { cluster, network, scanners, servers, accounts, load, .. } = self;
        let (servers, accounts, load) = (&*servers, &*accounts, &*load);
        let smtp = cluster.at("smtp")?.port();
        let client = if node.starts_with("access") {
            Client::Reader(cluster.at("imaps")?.port(), cluster.trust.clone())
        } else {
            Client::Mail(smtp)
        };
        thread::scope(|scope| {
            // Whatever ends this run, nobody waits for ever.
            let _ends = Ends([&stop, &stop_clients]);
            let stall = scope.spawn(|| watch::longest_stall(&stop));
            for server in servers {
                let (answers, stop) = (&answers, &stop);
                scope.spawn(move || answers.watch(*server, stop));
            }
            for number in 0..SENDERS {
                let (stop, id) = (&stop, fastrand::u64(..) / 2 * 2 + number);
                scope.spawn(move || load.send(id, servers, smtp, accounts, stop));
            }
            let mut surroundings = Surroundings { network: network.as_ref(), scanners };
            let watching = Watching { answers: &answers, node };
            watching.wait(cluster, true).context("before the failure")?;
            scope.spawn(|| visits.watch(&client, servers, &stop_clients));
            thread::sleep(Duration::from_millis(fastrand::u64(300..1300)));
            answers.forget();
            let struck = Instant::now();
            surroundings.strike(cluster, node, failure)?;
            let out_of_dns =
                watching.wait(cluster, false).context("after the failure")?.saturating_duration_since(struck);
            // A client that came just before the names changed may still have been sent to the node.
            let quiet_since = || visits.last_unserved().unwrap_or(struck).max(struck + out_of_dns);
            while quiet_since().elapsed() < QUIET {
                if struck.elapsed() > PATIENCE {
                    bail!("{:?} after {} of {node} clients are still not served", struck.elapsed(), failure.about());
                }
                thread::sleep(Duration::from_millis(50));
            }
            let served = visits.last_unserved().map_or(Duration::ZERO, |at| at.saturating_duration_since(struck));
            stop_clients.store(true, Ordering::Relaxed);
            let undone = Instant::now();
            surroundings.undo(cluster, node, failure)?;
            watching.wait(cluster, true).context("after the end of the failure")?;
            let back = undone.elapsed();
            stop.store(true, Ordering::Relaxed);
            let stall = stall.join().unwrap_or_default();
            Ok(Run { failure, node: node.to_owned(), out_of_dns, served, clients: visits.counts(), back, stall })
        })
    }

    /// What became of every message that was sent since the start.
    pub fn reckon(&mut self) -> anyhow::Result<Reckoning> {
        for node in &mut self.cluster.nodes {
            node.wait_healthy()?;
        }
        self.load.reckon(self.cluster.at("imaps")?, &self.cluster.trust, &self.accounts)
    }

    /// Ends it, with nothing to complain of.
    pub fn succeed(mut self) {
        self.cluster.keep_quiet();
    }

    /// Kills every name server. Clients who know addresses by then still bring mail, until `meanwhile` is over, and read it.
    pub fn name_servers_gone(&mut self, meanwhile: Duration) -> anyhow::Result<()> {
        let mut random = fastrand::Rng::new();
        let exchanges = watch::exchanges(&self.servers, &mut random);
        let fronts = watch::resolve(&self.servers, "imap.demo.test", &mut random);
        ensure!(exchanges.len() >= 2 && fronts.len() == 2, "named before the failure: {exchanges:?}, {fronts:?}");
        for name in ["dns1", "dns2"] {
            self.cluster.node(name)?.kill()?;
        }
        ensure!(watch::resolve(&self.servers, "imap.demo.test", &mut random).is_empty(), "somebody still answers");
        let (smtp, imaps) = (self.cluster.at("smtp")?.port(), self.cluster.at("imaps")?.port());
        let to = self.accounts.first().context("an account")?.clone();
        let (begun, mut sent) = (Instant::now(), 0_usize);
        while begun.elapsed() < meanwhile {
            for exchange in &exchanges {
                let text = tokens::message(&format!("nameless-{sent}"), &to, 1_000);
                let mut client = Smtp::connect(SocketAddr::new(*exchange, smtp))?;
                client.send("a@example.com", &[&to], &text)?.expect(250)?;
                sent += 1;
            }
            thread::sleep(Duration::from_millis(500));
        }
        for front in fronts {
            let held = tokens::in_mailbox(SocketAddr::new(front, imaps), &self.cluster.trust, &to)?;
            let there = (0..sent).filter(|number| held.get(&format!("nameless-{number}")) == Some(&1)).count();
            ensure!(there == sent, "through {front} {there} of {sent} messages are read");
        }
        for name in ["dns1", "dns2"] {
            self.cluster.node(name)?.start()?;
        }
        wait_until_known(&self.servers)
    }

    /// Cuts every name server off from the cluster, but not from the test; gives what each says about a service name once it
    /// has noticed, and mends the cut.
    pub fn name_servers_alone(&mut self, meanwhile: Duration) -> anyhow::Result<Vec<usize>> {
        let network = self.network.as_ref().context("only in a network of its own")?;
        let nodes: Vec<usize> =
            ["dns1", "dns2"].map(|name| failure::index(&self.cluster, name)).into_iter().collect::<Result<_, _>>()?;
        for node in &nodes {
            network.cut(*node, true)?;
        }
        thread::sleep(meanwhile);
        let mut random = fastrand::Rng::new();
        let named = |server: &SocketAddr| watch::resolve(&[*server], "imap.demo.test", &mut random).len();
        let counts = self.servers.iter().map(named).collect();
        for node in &nodes {
            network.mend(*node)?;
        }
        Ok(counts)
    }
}

/// Sets flags when it goes.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
}

/// Waits for what everybody says about one node.
struct Watching<'a> {
    answers: &'a Answers,
    node: &'a str,
}

impl Watching<'_> {
    /// Waits until the node is named everywhere, or nowhere; gives when that was so: for nowhere, just after the last
    /// answer that named it.
    fn wait(&self, cluster: &mut Cluster, named: bool) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        let address = cluster.node(self.node)?.address;
        loop {
            if begun.elapsed() > PATIENCE {
                bail!("{} is {} named after {PATIENCE:?}", self.node, if named { "not yet" } else { "still" });
            }
            if self.node.starts_with("filter") {
                // No service name stands for a filter: what counts is whom edge nodes ask.
                if believed_ready(cluster, self.node)? == named {
                    return Ok(Instant::now());
                }
            } else if self.answers.agreed(self.node, address) == Some(named) {
                let last = self.answers.last_named(self.node, address).filter(|_| !named);
                return Ok(last.unwrap_or_else(Instant::now));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Waits until each name server has the settings that name the domain: a server cut off before that refuses, and rightly.
fn wait_until_known(servers: &[SocketAddr]) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut random = fastrand::Rng::new();
    let mut known = |server: &SocketAddr| !watch::resolve(&[*server], "imap.demo.test", &mut random).is_empty();
    while !servers.iter().all(&mut known) {
        ensure!(begun.elapsed() < PATIENCE, "a name server does not answer for the domain after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Whether every edge node believes the filter to be ready.
fn believed_ready(cluster: &mut Cluster, filter: &str) -> anyhow::Result<bool> {
    let mut all = true;
    for edge in ["edge1", "edge2", "edge3"] {
        let status = cluster.node(edge)?.command(&["cluster", "status", "--json"], "")?.ok()?.json()?;
        all &= standing(&status, filter).context("cluster status does not show the filter")? == "ready";
    }
    Ok(all)
}

/// The standing of a node's only role in what `cluster status --json` says.
fn standing<'a>(status: &'a Value, node: &str) -> Option<&'a str> {
    let nodes = status.get("nodes")?.as_array()?;
    let node = nodes.iter().find(|known| known.get("name").and_then(Value::as_str) == Some(node))?;
    node.get("roles")?.as_object()?.values().next()?.get("standing")?.as_str()
}

/// Adds a key behind the head of a section in a configuration file.
fn add_key(file: &Path, section: &str, line: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let (before, after) = text.split_once(section).with_context(|| format!("no {section} in {}", file.display()))?;
    Ok(std::fs::write(file, format!("{before}{section}\n{line}{after}"))?)
}
