//! What all parts of the role share: the other roles, the queue, the configuration.

use std::sync::Arc;

use estafeta_core::contracts::Contracts;
use estafeta_core::settings::SettingsView;
use estafeta_net::drain::Drain;
use estafeta_net::login::Gate;
use estafeta_storage::spool::SpoolDirectory;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::outgoing::Outgoing;
use crate::queue::{Paces, Queue};
use crate::report::Reporter;

/// The role's insides. Shared by reference; nothing in it is replaced while the role runs.
pub struct Edge {
    /// What this node calls itself in SMTP.
    pub hostname: String,
    /// The section of the configuration.
    pub config: Config,
    /// The other roles.
    pub contracts: Contracts,
    /// What the cluster agrees on: our domains.
    pub settings: SettingsView,
    /// Messages while they come in.
    pub spool: SpoolDirectory,
    /// What was accepted and waits.
    pub queue: Queue,
    /// Places for those who write mail of the cluster's own into the queue.
    pub own_mail: Arc<Semaphore>,
    /// When what waits is tried again.
    pub paces: Paces,
    /// Writes reports to senders.
    pub reporter: Reporter,
    /// The way to other people's servers.
    pub outgoing: Outgoing,
    /// Who may log in.
    pub gate: Gate,
    /// When to stop.
    pub drain: Drain,
}

impl Edge {
    /// Whether mail for a domain is ours.
    pub fn is_ours(&self, domain: &str) -> bool {
        self.settings.current().domains.iter().any(|ours| ours.as_str() == domain)
    }
}
