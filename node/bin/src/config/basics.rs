//! The part of the configuration that every node has, whatever its roles.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use estafeta_core::{NodeName, SiteName, StoreGroup};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::operate::{AlertsConfig, CanaryConfig, DrainConfig};

/// The top of the file and the sections that belong to no role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Basics {
    /// The node's name in the cluster: lower-case letters, digits, hyphens.
    pub name: NodeName,
    /// What this node does.
    pub roles: Vec<Spanned<String>>,
    /// Where its services listen, and where the other nodes find it.
    pub address: IpAddr,
    /// Where it stands: a campus, a machine room. Clients are sent to the nearest site that is ready. None by default.
    pub site: Option<SiteName>,
    /// What it calls itself in SMTP and in `Received`: a name that DNS knows. The node's name by default.
    pub hostname: Option<String>,
    /// Where it keeps what it keeps. Made, with mode 0700, when it is not there.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// Whom to become once every socket is bound, when started as root. Stays who it is by default.
    pub user: Option<String>,
    /// Services elsewhere than on their usual port of `address`: `smtp = "192.0.2.1:2525"`, or `"off"`.
    #[serde(default)]
    pub listen: BTreeMap<Spanned<String>, ListenAddress>,
    /// The certificate that clients see.
    pub tls: Option<ServiceTls>,
    /// This node's own certificate. Without it the node stands alone.
    pub cluster: Option<ClusterTls>,
    /// The nodes of the cluster.
    #[serde(default)]
    pub nodes: Vec<ListedNode>,
    /// Where `/health` and `/metrics` answer, in clear text: loopback by default; `"off"` for nowhere.
    #[serde(default = "default_status")]
    pub status: ListenAddress,
    /// The Unix socket of the administration API. `estafeta.sock` in the data directory by default.
    pub socket: Option<PathBuf>,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// How long whatever stops waits for what is running, in seconds; then it is cut off. 30 by default.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u64,
    /// How soon other nodes are taken for gone, and named again.
    #[serde(default)]
    pub membership: estafeta_cluster::membership::Config,
    /// How a node leaves.
    #[serde(default)]
    pub drain: DrainConfig,
    /// Whom to tell when something is wrong.
    #[serde(default)]
    pub alerts: AlertsConfig,
    /// A message that goes all the way, again and again.
    pub canary: Option<CanaryConfig>,
    /// When a role is ready.
    #[serde(default)]
    pub health: crate::health::Config,
}

impl Basics {
    /// Its keys, for the hint at a mistyped one. A test holds them against the type.
    pub const KEYS: &[&str] = &[
        "name",
        "roles",
        "address",
        "site",
        "hostname",
        "data",
        "user",
        "listen",
        "tls",
        "cluster",
        "nodes",
        "status",
        "socket",
        "log",
        "drain_seconds",
        "membership",
        "drain",
        "alerts",
        "canary",
        "health",
    ];
}

fn default_data() -> PathBuf {
    "/var/lib/estafeta".into()
}

fn default_status() -> ListenAddress {
    ListenAddress(Some(SocketAddr::from(([127, 0, 0, 1], 7480))))
}

fn default_drain_seconds() -> u64 {
    30
}

/// The certificate that clients see, in PEM. Paths are relative to the configuration file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceTls {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// This node's certificate inside the cluster, as `estafeta cluster certificate` issues it. Paths are relative to the
/// configuration file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterTls {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// This node's.
    pub certificate: PathBuf,
    /// Its private key. The same file as the certificate is best: a renewal replaces both at once.
    pub key: PathBuf,
    /// The authority's private key: with the role directory, this node then lets others join and renews their
    /// certificates. Read before privileges drop. None by default.
    pub authority_key: Option<PathBuf>,
}

/// A node of the cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListedNode {
    /// Its name.
    pub name: NodeName,
    /// Where its services are.
    pub address: IpAddr,
    /// What it does.
    pub roles: Vec<Spanned<String>>,
    /// The store group of its mailbox role.
    pub store_group: Option<StoreGroup>,
    /// Where it stands.
    pub site: Option<SiteName>,
    /// Services elsewhere than on their usual port of `address`.
    #[serde(default)]
    pub listen: BTreeMap<Spanned<String>, ListenAddress>,
}

/// What is logged and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    /// Levels by module, as tracing has them: `info`, or `info,estafeta_edge=debug`. `info` by default.
    pub filter: String,
    /// `auto` (text on a terminal, JSON otherwise; the default), `text` or `json`.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Auto }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise: systemd's journal keeps each line as it is.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// An address with its port, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListenAddress(pub Option<SocketAddr>);

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self(None));
        }
        let wrong = || {
            serde::de::Error::custom(format!(
                "{text:?} is neither an address with a port, like \"192.0.2.1:25\", nor \"off\""
            ))
        };
        text.parse().map(|address| Self(Some(address))).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_net::section::Section;

    #[test]
    fn the_known_keys_are_those_of_the_type() {
        let error = Section::parse("nonsense = 1").unwrap().read::<Basics>().unwrap_err();
        let listed = error.message.split_once("the keys here are ").unwrap().1;
        assert_eq!(listed.split(", ").collect::<Vec<_>>(), Basics::KEYS);
    }
}
