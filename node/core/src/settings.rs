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

/// One version of the settings: a value, never changed in place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Grows by one with each change; 0 before the first.
    pub version: u64,
    /// The mail domains of this cluster, in order.
    pub domains: Vec<Domain>,
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
