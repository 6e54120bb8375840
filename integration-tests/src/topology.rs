//! Which nodes a cluster has.

use std::net::IpAddr;

/// A service of a role, and the port that it has in tests: its usual one and 10000, so that no privilege is needed.
pub struct TestService {
    /// The role.
    pub role: &'static str,
    /// The service.
    pub name: &'static str,
    /// The port.
    pub port: u16,
}

const fn service(role: &'static str, name: &'static str, port: u16) -> TestService {
    TestService { role, name, port }
}

/// Every service. A test compares it with what the binary says it has.
pub const SERVICES: &[TestService] = &[
    service("dns", "dns", 10053),
    service("dns", "dns-tls", 10853),
    service("dns", "dns-transfer", 18530),
    service("access", "imap", 10143),
    service("access", "imaps", 10993),
    service("access", "pop3", 10110),
    service("access", "pop3s", 10995),
    service("edge", "smtp", 10025),
    service("edge", "submission", 10587),
    service("edge", "submissions", 10465),
    service("edge", "edge-submission", 11587),
    service("filter", "filter", 11333),
    service("mailbox", "lmtp", 10024),
    service("mailbox", "mailbox-imap", 11143),
    service("mailbox", "mailbox-pop3", 11110),
    service("directory", "ldaps", 10636),
];

/// The administration API's port in tests.
pub const ADMINISTRATION_PORT: u16 = 17443;

/// The port of gossip, UDP, in tests.
pub const GOSSIP_PORT: u16 = 17946;

/// Where `/health` and `/metrics` answer in tests.
pub const STATUS_PORT: u16 = 17480;

/// One node.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<&'static str>,
    /// The store group of its mailbox role.
    pub store_group: Option<&'static str>,
}

/// The nodes of a cluster, and what is added to their configurations.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    /// The nodes.
    pub nodes: Vec<Planned>,
    /// Further keys of roles' sections: the role and lines of TOML.
    pub sections: Vec<(&'static str, String)>,
    /// Further keys at the top of every file.
    pub top: String,
    /// Where mail for other domains goes: the domain, and a host with its port.
    pub routes: Vec<(String, String)>,
    /// Where the nodes stand, in their order: each in a network namespace of its own, at this address. On loopback when
    /// empty.
    pub namespaces: Vec<(IpAddr, String)>,
}

impl Topology {
    /// One node that does everything.
    pub fn single() -> Self {
        Self::default().with("all1", &["dns", "access", "edge", "filter", "mailbox", "directory"], Some("a"))
    }

    /// The fewest nodes between which everything crosses a network: one a role.
    pub fn apart() -> Self {
        Self::default()
            .with("directory1", &["directory"], None)
            .with("mailbox1", &["mailbox"], Some("a"))
            .with("filter1", &["filter"], None)
            .with("edge1", &["edge"], None)
            .with("access1", &["access"], None)
    }

    /// The demonstration's: two each of edge, filter, access, dns and mailbox, and one directory.
    pub fn demonstration() -> Self {
        Self::default()
            .with("directory1", &["directory"], None)
            .with("mailbox1", &["mailbox"], Some("a"))
            .with("mailbox2", &["mailbox"], Some("b"))
            .with("filter1", &["filter"], None)
            .with("filter2", &["filter"], None)
            .with("edge1", &["edge"], None)
            .with("edge2", &["edge"], None)
            .with("access1", &["access"], None)
            .with("access2", &["access"], None)
            .with("dns1", &["dns"], None)
            .with("dns2", &["dns"], None)
    }

    /// And a node.
    #[must_use]
    pub fn with(mut self, name: &str, roles: &[&'static str], store_group: Option<&'static str>) -> Self {
        self.nodes.push(Planned { name: name.to_owned(), roles: roles.to_vec(), store_group });
        self
    }

    /// And lines in the section of a role, on every node that has the role.
    #[must_use]
    pub fn section(mut self, role: &'static str, lines: &str) -> Self {
        self.sections.push((role, lines.to_owned()));
        self
    }

    /// And a way for mail to another domain.
    #[must_use]
    pub fn route(mut self, domain: &str, to: std::net::SocketAddr) -> Self {
        self.routes.push((domain.to_owned(), to.to_string()));
        self
    }
}
