//! Health that means something: a role is ready when it runs, its listeners answer their own protocol, it proves what it
//! can prove about itself, its disk takes writes and what it needs answers.
//!
//! The supervisor says whether a role runs; the role says what it needs and how to check it; [`own`] checks, and is the
//! only writer of this node's own readiness; [`judgement`] decides; [`outside`] looks at other nodes. All of it derives
//! from the role table.

mod config;
mod judgement;
mod needs;
mod outside;
mod own;
mod probes;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use estafeta_core::RoleName;
use estafeta_core::members::MembersView;
use estafeta_net::role::{Provides, Remote, Role};
use estafeta_net::sockets::Sockets;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config::Config;
use needs::Needed;
use outside::Outside;
pub use outside::Watch;
use own::{Checks, Condition, Subject};
use probes::Probes;

/// This node's health.
pub struct Health {
    config: Config,
    probes: Arc<Probes>,
    needed: Arc<Needed>,
    members: MembersView,
    asking: Vec<JoinHandle<()>>,
}

impl Health {
    /// Nothing is watched yet.
    pub fn new(config: Config, table: &[Role], remote: Remote, members: MembersView) -> Self {
        describe_metrics();
        let probes = Arc::new(Probes::of(table, remote, config.timeout()));
        let needed = Arc::new(Needed::new(config, probes.clone(), members.clone()));
        let asking = vec![tokio::spawn(needed.clone().ask())];
        Self { config, probes, needed, members, asking }
    }

    /// Watches a role of this node from now on, until what it gives is dropped. The role is not ready until it runs and
    /// has passed a check.
    pub fn watch(&self, role: RoleName, data: PathBuf, sockets: Arc<Sockets>) -> Watched {
        let (condition, conditions) = watch::channel(Condition::Starting);
        let checks = Checks {
            role,
            config: self.config,
            data,
            sockets,
            probes: self.probes.clone(),
            needed: self.needed.clone(),
            members: self.members.clone(),
        };
        tokio::spawn(checks.run(conditions));
        Watched(condition)
    }

    /// Probes other nodes from now on.
    pub fn watch_others(&mut self, watch: impl Watch) {
        let outside = Outside::new(self.config, self.probes.clone(), self.members.clone(), watch);
        self.asking.push(tokio::spawn(outside.run()));
    }
}

/// Nobody is asked any more.
impl Drop for Health {
    fn drop(&mut self) {
        self.asking.iter().for_each(JoinHandle::abort);
    }
}

/// A role under watch: where the supervisor says what becomes of it.
pub struct Watched(watch::Sender<Condition>);

impl Watched {
    /// It runs and provides this.
    pub fn runs(&self, provides: &Provides) {
        let subject = Subject { health: provides.health.clone(), needs: provides.needs.clone() };
        self.0.send_replace(Condition::Running(subject));
    }

    /// It does not run, and this is why.
    pub fn fails(&self, why: impl Into<String>) {
        self.0.send_replace(Condition::Failed(why.into()));
    }

    /// It serves nobody for now because somebody wants it so, for this reason.
    pub fn rests(&self, why: impl Into<String>) {
        self.0.send_replace(Condition::Resting(why.into()));
    }

    /// It drains: from now on it listens no more.
    pub fn leaves(&self) {
        self.0.send_replace(Condition::Leaving);
    }
}

fn describe_metrics() {
    metrics::describe_gauge!("estafeta_ready", "Whether a role of this node is ready: 1, or 0.");
    metrics::describe_histogram!(
        "estafeta_health_check_seconds",
        metrics::Unit::Seconds,
        "How long one check of a role of this node took."
    );
    metrics::describe_counter!(
        "estafeta_probe_failures_total",
        "Probes of other nodes that failed as seen from this one, by node and role."
    );
}
