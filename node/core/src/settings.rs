//! The contract `Settings`: what the whole cluster agrees on, versioned. Owned by directory, asked by all; remote, the
//! administration API.
//!
//! Every node keeps the last version it saw in a file of mode 0600 and starts from it when the directory is away.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::address::Domain;
use crate::failure::Failure;
use crate::members::Member;
use crate::name::{NodeName, RoleName};

/// One version of the settings: a value, never changed in place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Grows by one with each change; 0 before the first.
    pub version: u64,
    /// The mail domains of this cluster, in order.
    pub domains: Vec<Domain>,
    /// The keys of the members' gossip, the oldest first. All are taken; which one is sent with,
    /// [`GossipKey::from_seconds`] says.
    #[serde(default)]
    pub gossip_keys: Vec<GossipKey>,
    /// The nodes that joined, as they were when they did: their readiness here means nothing.
    #[serde(default)]
    pub nodes: Vec<Member>,
    /// Whom nobody may talk with any more.
    #[serde(default)]
    pub shut_out: ShutOut,
}

/// One key of the members' gossip.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipKey {
    /// Names it on the wire.
    pub id: u32,
    /// From when it is the one to send with, in seconds since 1970: by then every node has it.
    pub from_seconds: u64,
    /// 256 bits, in hexadecimal digits.
    pub secret: String,
}

impl std::fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GossipKey")
            .field("id", &self.id)
            .field("from_seconds", &self.from_seconds)
            .finish_non_exhaustive()
    }
}

/// Nodes that were removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutOut {
    /// By name, whatever certificate they show.
    pub nodes: Vec<NodeName>,
    /// Serial numbers of certificates that have not expired yet, in lower-case hexadecimal digits: of nodes whose name
    /// was given anew.
    pub serials: Vec<String>,
}

/// A secret that a role keeps with the settings, and its version.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSecret {
    /// Grows by one with each change; 0 before the first.
    pub version: u64,
    /// What it is, in the words of the role.
    pub content: String,
}

impl std::fmt::Debug for KeptSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptSecret").field("version", &self.version).finish_non_exhaustive()
    }
}

/// The contract.
#[async_trait]
pub trait SettingsStore: Send + Sync {
    /// The settings now.
    async fn read(&self) -> Result<Settings, Failure>;

    /// Makes mail for `domain` ours. [`crate::Reason::Exists`] when it is.
    async fn add_domain(&self, domain: &Domain) -> Result<(), Failure>;

    /// Makes `domain` foreign again. [`crate::Reason::NotFound`] when it is; [`crate::Reason::Denied`] while accounts
    /// or aliases use it.
    async fn remove_domain(&self, domain: &Domain) -> Result<(), Failure>;

    /// A secret that only nodes with `role` may read: keys, say. None when it was never written.
    async fn read_secret(&self, role: &RoleName, name: &str) -> Result<Option<KeptSecret>, Failure>;

    /// Writes a secret in place of the version `known` (0: there is none yet). [`crate::Reason::Exists`] when another
    /// version stands there by now: read it, and decide anew.
    async fn write_secret(&self, role: &RoleName, name: &str, known: u64, content: &str) -> Result<(), Failure>;
}

/// The settings as of now: cheap to clone, always the newest that this node knows.
#[derive(Debug, Clone, Default)]
pub struct SettingsView(Arc<ArcSwap<Settings>>);

impl SettingsView {
    /// A view that starts with these.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// The settings now.
    pub fn current(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Takes over what a directory has just answered, and says whether it differs. Not only when it is newer: a directory
    /// that was restored knows less than this node remembers, and is right.
    pub fn replace(&self, settings: Settings) -> bool {
        let differs = settings != *self.current();
        if differs {
            self.0.store(Arc::new(settings));
        }
        differs
    }
}
