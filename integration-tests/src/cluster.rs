//! A cluster of node processes on loopback addresses of its own, in a directory that goes with it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use estafeta_cluster::authority::{Authority, Pair};
use estafeta_core::{NodeName, RoleName};
use tempfile::TempDir;

use crate::binary;
use crate::client::Trust;
use crate::configuration::configuration;
use crate::loopback;
use crate::node::{Node, tail};
use crate::topology::Topology;

/// The mail domain of every test cluster.
pub const DOMAIN: &str = "demo.test";

/// The password of every test account.
pub const PASSWORD: &str = "correct horse";

/// A cluster.
pub struct Cluster {
    /// Its nodes, in the order of the topology.
    pub nodes: Vec<Node>,
    /// Whom its clients believe.
    pub trust: Trust,
    /// The authority's certificate, in PEM.
    pub authority: PathBuf,
    /// Its directory.
    pub directory: TempDir,
    succeeded: bool,
}

impl Cluster {
    /// Runs `test` on a running cluster with the domain [`DOMAIN`] and no account. When it fails, the ends of all logs
    /// are printed. A node that logs a panic or another bug fails the test.
    pub fn run(topology: &Topology, test: impl FnOnce(&mut Cluster) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut cluster = Self::prepare(topology)?;
        cluster.start()?;
        test(&mut cluster)?;
        for node in &cluster.nodes {
            if let Some(line) = node.log().lines().find(|line| line.contains("panic") || line.contains("a bug:")) {
                bail!("{} logged a bug: {line}", node.name());
            }
        }
        cluster.succeeded = true;
        Ok(())
    }

    /// Starts every node and makes the domain.
    pub fn start(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.spawn()?;
        }
        for node in &mut self.nodes {
            node.wait_healthy()?;
        }
        self.administer(&["domain", "add", DOMAIN], "")
    }

    /// The cluster as files: every node configured, none running.
    pub fn prepare(topology: &Topology) -> anyhow::Result<Self> {
        let binary = binary::path()?;
        let directory = tempfile::Builder::new().prefix("estafeta-test-").tempdir()?;
        let network: Vec<IpAddr> = match &topology.namespaces[..] {
            [] => loopback::network(topology.nodes.len())?,
            places => places.iter().map(|(address, _)| *address).collect(),
        };
        let authority_file = directory.path().join("ca.pem");
        let pair = Authority::create(SystemTime::now())?;
        let authority = Authority::load(&pair)?;
        write_pair(&authority_file, &directory.path().join("ca.key"), &pair)?;
        let mut nodes = Vec::new();
        for (index, (planned, address)) in topology.nodes.iter().zip(network.iter().copied()).enumerate() {
            let own = directory.path().join(&planned.name);
            fs::create_dir(&own)?;
            let name: NodeName = planned.name.parse()?;
            let roles: Vec<RoleName> = planned.roles.iter().filter_map(|role| role.parse().ok()).collect();
            let pair = authority.issue_node(&name, &roles, SystemTime::now())?;
            write_pair(&own.join("node.pem"), &own.join("node.key"), &pair)?;
            let names = [address.to_string(), DOMAIN.to_owned(), format!("*.{DOMAIN}"), "localhost".to_owned()];
            let pair = authority.issue_service(&names, SystemTime::now())?;
            write_pair(&own.join("service.pem"), &own.join("service.key"), &pair)?;
            let namespace = topology.namespaces.get(index).map(|(_, name)| name.clone());
            let node = Node::new(planned.clone(), address, own, binary.clone(), namespace);
            fs::write(&node.configuration, configuration(topology, &network, index))?;
            nodes.push(node);
        }
        let trust = Trust::in_file(&authority_file)?;
        Ok(Self { nodes, trust, authority: authority_file, directory, succeeded: false })
    }

    /// Gives a node another service certificate: it shows it once it has reloaded.
    pub fn renew_service_certificate(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.node(name)?;
        let (address, certificate, key) =
            (node.address, node.directory.join("service.pem"), node.directory.join("service.key"));
        self.issue_service(address, &certificate, &key)
    }

    /// Writes a certificate of the cluster's authority for whoever serves at this address.
    pub fn issue_service(&self, address: IpAddr, certificate: &Path, key: &Path) -> anyhow::Result<()> {
        let pair =
            Pair { certificate: fs::read_to_string(&self.authority)?, key: fs::read_to_string(self.authority_key())? };
        let pair = Authority::load(&pair)?.issue_service(&[address.to_string()], SystemTime::now())?;
        write_pair(certificate, key, &pair)
    }

    fn authority_key(&self) -> PathBuf {
        self.directory.path().join("ca.key")
    }

    /// The node of this name.
    pub fn node(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name() == name).with_context(|| format!("no node {name}"))
    }

    /// Where the first node that offers it has a service.
    pub fn at(&self, service: &str) -> anyhow::Result<SocketAddr> {
        self.all_at(service)?.first().copied().with_context(|| format!("nobody offers {service}"))
    }

    /// Where every node that offers it has a service.
    pub fn all_at(&self, service: &str) -> anyhow::Result<Vec<SocketAddr>> {
        let all: Vec<SocketAddr> = self.nodes.iter().filter_map(|node| node.at(service).ok()).collect();
        ensure!(!all.is_empty(), "nobody offers {service}");
        Ok(all)
    }

    /// A command of the command line, asked of the last node that runs; it must succeed. In every topology of several
    /// nodes that one has no directory role, so the request is passed on.
    pub fn administer(&self, arguments: &[&str], input: &str) -> anyhow::Result<()> {
        let node = self.nodes.iter().rfind(|node| node.runs()).context("no node runs")?;
        let done = node.command(arguments, input)?;
        done.ok().with_context(|| arguments.join(" "))?;
        Ok(())
    }

    /// Makes an account `local`@[`DOMAIN`] with [`PASSWORD`]; gives its address. Its store group is chosen by the cluster.
    pub fn account(&self, local: &str) -> anyhow::Result<String> {
        self.account_in(local, None)
    }

    /// Makes an account in a store group.
    pub fn account_in(&self, local: &str, store_group: Option<&str>) -> anyhow::Result<String> {
        let address = format!("{local}@{DOMAIN}");
        let mut arguments = vec!["account", "add", &address];
        if let Some(group) = store_group {
            arguments.extend(["--group", group]);
        }
        self.administer(&arguments, &format!("{PASSWORD}\n"))?;
        Ok(address)
    }

    /// Says that what was wanted was seen, when the cluster was not run by [`Cluster::run`].
    pub fn succeed(mut self) {
        self.keep_quiet();
    }

    /// Its logs are not printed at its end, whatever happens: for whoever is no test.
    pub fn keep_quiet(&mut self) {
        self.succeeded = true;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.succeeded {
            for node in &self.nodes {
                eprint_log(node);
            }
        }
    }
}

/// Whoever reads a failed test wants the nodes' words: this is the one place that prints.
#[allow(clippy::print_stderr)]
fn eprint_log(node: &Node) {
    eprintln!("--- the end of the log of {}\n{}", node.name(), tail(&node.log(), 60));
}

/// Writes a certificate and its key, which only the owner may read.
pub(crate) fn write_pair(certificate: &Path, key: &Path, pair: &Pair) -> anyhow::Result<()> {
    fs::write(certificate, &pair.certificate)?;
    fs::write(key, &pair.key)?;
    fs::set_permissions(key, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
