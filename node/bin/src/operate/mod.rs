//! Operating the cluster: what happened and how everybody stands, sending a node away and calling it back, telling people
//! of troubles, and a message that shows that mail comes through.
//!
//! Everything here is opinion of one node, from [`MembersView`] and its gossip; nothing here decides who is chosen.

mod alerts;
mod canary;
mod config;
mod drain;
mod effect;
mod facts;
mod journal;
mod operations;
mod post;
mod report;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use estafeta_cluster::membership::Membership;
use estafeta_core::administration::Administration;
use estafeta_core::members::MembersView;
use estafeta_core::{NodeName, RoleName};
use estafeta_net::tls::Tls;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

pub use self::config::{AlertsConfig, CanaryConfig, DrainConfig, OperateConfig};
pub use self::drain::{Drainer, Phase, Progress};
pub use self::journal::Event;
pub use self::operations::{DRAIN, PROGRESS, STATUS, operations};
pub use self::report::{NodeRow, Report, RoleRow};
use crate::status::Metrics;
use crate::supervise::Supervised;

/// What operating a node needs of it.
pub struct Parts {
    /// The three sections of its configuration.
    pub config: OperateConfig,
    /// Its name.
    pub node: NodeName,
    /// What it calls itself in SMTP.
    pub hostname: String,
    /// The cluster as it sees it.
    pub members: MembersView,
    /// Its gossip, when it is in a cluster.
    pub membership: Option<Membership>,
    /// Its TLS.
    pub tls: Arc<Tls>,
    /// What it counts.
    pub metrics: Metrics,
    /// Its certificates: what each is, and its file.
    pub certificates: Vec<(&'static str, PathBuf)>,
}

/// Describes what is counted here.
pub fn describe_metrics() {
    alerts::describe_metrics();
    canary::describe_metrics();
    drain::describe_metrics();
}

/// Starts to watch over the node, whose roles run. What runs ends when the set is dropped. The other half answers the
/// node's own operations.
pub fn start(
    parts: Parts,
    drainer: Drainer,
    data: &Path,
    roles: &[Supervised],
) -> (JoinSet<()>, Arc<dyn Administration>) {
    let Parts { config, node, hostname, members, membership, tls, metrics, certificates } = parts;
    let journal = journal::Journal::open(data);
    let mut tasks = JoinSet::new();
    if let Some(membership) = &membership {
        tasks.spawn(write_down(membership.clone(), members.clone(), journal.clone()));
    }
    let reins: Vec<(RoleName, _)> = roles.iter().map(|role| (role.name.clone(), role.reins())).collect();
    tasks.spawn(drainer.clone().watch(reins));
    let own = alerts::OwnTroubles {
        node: node.clone(),
        members: members.clone(),
        metrics,
        certificates,
        config: config.alerts.clone(),
    };
    tasks.spawn(own.watch());
    let post = post::Post { node: node.clone(), hostname, tls, members: members.clone() };
    if config.alerts.tells() {
        let mut watching = alerts::Alerts::start(config.alerts, post.clone(), data.join("alerts.json"));
        tasks.spawn(async move { while watching.join_next().await.is_some() {} });
    }
    if let Some(config) = config.canary {
        tasks.spawn(canary::Canary { config, post }.run());
    }
    let operations = operations::NodeOperations { node, members, membership, journal, drainer };
    (tasks, Arc::new(operations))
}

/// How long changes that belong together are gathered, before it is told what they did to names.
const GATHER: Duration = Duration::from_millis(20);

/// Writes every change of a standing into the journal, with what it did to names and routes.
async fn write_down(membership: Membership, members: MembersView, journal: journal::Journal) {
    let mut changes = membership.events();
    let mut before = members.current();
    loop {
        let first = match changes.recv().await {
            Ok(first) => first,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "more changed at once than the journal could follow: these are not in it");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        // One cause, many changes: a node has several roles.
        tokio::time::sleep(GATHER).await;
        let mut batch = vec![first];
        while let Ok(next) = changes.try_recv() {
            batch.push(next);
        }
        let after = members.current();
        for (index, change) in batch.iter().enumerate() {
            // What several did together stands with the last of them.
            let is_last = !batch[index + 1..].iter().any(|later| later.role == change.role);
            let effects = if is_last { effect::effects(&before, &after, change.role.as_ref()) } else { Vec::new() };
            for effect in &effects {
                tracing::info!(node = %change.node, role = change.role.as_ref().map(RoleName::as_str), effect, "names follow");
            }
            journal.add(Event::new(change.clone(), effects));
        }
        before = after;
    }
}
