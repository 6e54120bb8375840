//! The demonstration's nodes: who does what, at which address, with which configuration.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use estafeta_cluster::enrolment::ADMINISTRATION;
use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::{NodeName, RoleName, ServiceName};
use estafeta_net::role::Role;

/// The mail domain of the demonstration (RFC 6761 §6.2: `test` is nobody's).
pub const DOMAIN: &str = "demo.test";

/// One node: its name, its last octet in 127.0.10.0/24, its role, the store group of a mailbox.
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its address.
    pub address: IpAddr,
    /// Its role.
    pub role: RoleName,
    group: Option<&'static str>,
}

/// Every node, its certificates and configuration under one directory.
pub struct Layout {
    /// The directory.
    pub directory: PathBuf,
    /// The nodes.
    pub nodes: Vec<Node>,
    privileged: bool,
}

impl Layout {
    /// Decides who is where. Ports are the usual ones when this process may bind them, 10000 more otherwise.
    pub fn new(directory: PathBuf) -> Self {
        let node = |name: &'static str, octet, role: &RoleName, group| Node {
            name: NodeName::fixed(name),
            address: Ipv4Addr::new(127, 0, 10, octet).into(),
            role: role.clone(),
            group,
        };
        let nodes = vec![
            node("dns1", 1, &RoleName::DNS, None),
            node("dns2", 2, &RoleName::DNS, None),
            node("edge1", 11, &RoleName::EDGE, None),
            node("edge2", 12, &RoleName::EDGE, None),
            node("filter1", 21, &RoleName::FILTER, None),
            node("filter2", 22, &RoleName::FILTER, None),
            node("access1", 31, &RoleName::ACCESS, None),
            node("access2", 32, &RoleName::ACCESS, None),
            node("mailbox1", 51, &RoleName::MAILBOX, Some("red")),
            node("mailbox2", 52, &RoleName::MAILBOX, Some("blue")),
            node("directory1", 41, &RoleName::DIRECTORY, None),
        ];
        let privileged = TcpListener::bind((Ipv4Addr::new(127, 0, 10, 11), 25)).is_ok();
        Self { directory, nodes, privileged }
    }

    /// The port of a service here.
    pub fn port(&self, usual: u16) -> u16 {
        if usual >= 1024 || self.privileged { usual } else { 10_000 + usual }
    }

    /// The node of this address.
    pub fn at(&self, address: IpAddr) -> Option<&Node> {
        self.nodes.iter().find(|node| node.address == address)
    }

    /// The nodes with a role.
    pub fn with(&self, role: &RoleName) -> Vec<&Node> {
        self.nodes.iter().filter(|node| &node.role == role).collect()
    }

    /// A node's configuration file.
    pub fn config(&self, node: &Node) -> PathBuf {
        self.directory.join(format!("{}.toml", node.name))
    }

    /// A node's log.
    pub fn log(&self, node: &Node) -> PathBuf {
        self.directory.join(format!("{}.log", node.name))
    }

    /// A node's administration socket.
    pub fn socket(&self, node: &Node) -> PathBuf {
        self.directory.join(node.name.as_str()).join("estafeta.sock")
    }

    /// Where a node's `/health` answers.
    pub fn status(&self, node: &Node) -> SocketAddr {
        SocketAddr::new(node.address, 7480)
    }

    /// The authority's certificate: it vouches for the certificate that clients see, too.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Writes certificates and configurations.
    pub fn write(&self, table: &[Role]) -> anyhow::Result<()> {
        let now = SystemTime::now();
        let authority = AuthorityFiles::init(&self.directory, now)?;
        let names = ["", "mx.", "imap.", "pop.", "smtp."].map(|prefix| format!("{prefix}{DOMAIN}"));
        let own = self.nodes.iter().flat_map(|node| [format!("{}.{DOMAIN}", node.name), node.address.to_string()]);
        authority.issue_service(&names.into_iter().chain(own).collect::<Vec<_>>(), now)?;
        for node in &self.nodes {
            authority.issue_node(&node.name, std::slice::from_ref(&node.role), now)?;
            fs::write(self.config(node), self.text(node, table)?)?;
        }
        Ok(())
    }

    fn text(&self, node: &Node, table: &[Role]) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "name = \"{}\"", node.name)?;
        writeln!(text, "hostname = \"{}.{DOMAIN}\"", node.name)?;
        writeln!(text, "roles = [\"{}\"]", node.role)?;
        writeln!(text, "address = \"{}\"", node.address)?;
        writeln!(text, "data = \"{}\"", node.name)?;
        writeln!(text, "status = \"{}\"", self.status(node))?;
        writeln!(text, "drain_seconds = 3")?;
        self.listen(&mut text, "[listen]", node, table)?;
        writeln!(text, "\n[log]\nfilter = \"info\"\nformat = \"json\"")?;
        writeln!(text, "\n[tls]\ncertificate = \"service.pem\"\nkey = \"service.key\"")?;
        writeln!(text, "\n[cluster]\nauthority = \"ca.pem\"\ncertificate = \"{0}.pem\"\nkey = \"{0}.key\"", node.name)?;
        if let Some(group) = node.group {
            writeln!(text, "\n[{}]\nstore_group = \"{group}\"", node.role)?;
        }
        let asks_dns = [(RoleName::FILTER, "filter"), (RoleName::EDGE, "edge.outgoing")];
        if let Some((_, section)) = asks_dns.iter().find(|(role, _)| *role == node.role) {
            // The demonstration must not depend on, nor trouble, a resolver outside: its own name servers answer.
            let dns: Vec<String> = self
                .with(&RoleName::DNS)
                .iter()
                .map(|node| format!("\"{}\"", SocketAddr::new(node.address, self.port(53))))
                .collect();
            writeln!(text, "\n[{section}]\nresolvers = [{}]", dns.join(", "))?;
        }
        for other in &self.nodes {
            writeln!(
                text,
                "\n[[nodes]]\nname = \"{}\"\naddress = \"{}\"\nroles = [\"{}\"]",
                other.name, other.address, other.role
            )?;
            if let Some(group) = other.group {
                writeln!(text, "store_group = \"{group}\"")?;
            }
            self.listen(&mut text, "[nodes.listen]", other, table)?;
        }
        Ok(text)
    }

    /// The services that are not on their usual port.
    fn listen(&self, text: &mut String, heading: &str, node: &Node, table: &[Role]) -> std::fmt::Result {
        let services = table.iter().filter(|role| role.name == node.role).flat_map(|role| &role.services);
        let moved: Vec<_> = services.filter(|service| self.port(service.port) != service.port).collect();
        if !moved.is_empty() {
            writeln!(text, "{}{heading}", if heading == "[listen]" { "\n" } else { "" })?;
        }
        for service in moved {
            writeln!(text, "{} = \"{}\"", service.name, SocketAddr::new(node.address, self.port(service.port)))?;
        }
        Ok(())
    }

    /// Says which address is taken already, before eleven processes say it at once.
    pub fn check_free(&self) -> io::Result<()> {
        for node in &self.nodes {
            for address in [SocketAddr::new(node.address, ADMINISTRATION.1), self.status(node)] {
                TcpListener::bind(address).map_err(|error| {
                    io::Error::new(
                        error.kind(),
                        format!("{address} ({}) cannot be bound: {error}: does another demonstration run?", node.name),
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The usual port of a service in the role table.
    pub fn service_port(&self, table: &[Role], service: &ServiceName) -> u16 {
        let services = table.iter().flat_map(|role| &role.services);
        self.port(services.filter(|row| &row.name == service).map(|row| row.port).next().unwrap_or_default())
    }
}

/// A directory of its own for this demonstration; gone when it is dropped.
pub struct Throwaway(pub PathBuf);

impl Throwaway {
    /// Makes it.
    pub fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("estafeta-demo-{}", std::process::id()));
        // Made, not taken over, and nobody else's to read: keys come to stand in it.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
