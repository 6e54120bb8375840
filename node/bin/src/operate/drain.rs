//! `node drain` and `node resume`: this node is sent away, and called back.
//!
//! Draining, it says so of itself, so that names and routes lead elsewhere; who is here stays, and who still comes with an
//! old answer is served. At the deadline, or when nobody has been here for a while, its roles finish what runs and refuse
//! whoever comes. The order is kept in the file `draining` of the data directory, so that a restart obeys it too.
//!
//! Invariant: what this node does follows from the kept order and the time alone ([`Order::is_due`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafeta_cluster::files::replace;
use estafeta_core::members::{Members, MembersView};
use estafeta_core::{Failure, NodeName, RoleName};
use serde::{Deserialize, Serialize};

use super::config::DrainConfig;
use crate::supervise::Reins;

/// How often the sessions are counted.
const PERIOD: Duration = Duration::from_millis(250);

/// A conversation that is younger is a probe, or may be: no session.
const SESSION_AGE: Duration = Duration::from_secs(3);

/// The order to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    /// When it was given, in seconds since 1970.
    since_seconds: u64,
    /// When the roles stop, in seconds since 1970.
    deadline_seconds: u64,
}

impl Order {
    /// Whether the roles stop now: at the deadline, or when nobody is here and what names were kept has run out.
    fn is_due(&self, now_seconds: u64, sessions: usize, quiet_seconds: u64) -> bool {
        let quiet = sessions == 0 && now_seconds >= self.since_seconds.saturating_add(quiet_seconds);
        quiet || now_seconds >= self.deadline_seconds
    }
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is chosen, and serves.
    Serving,
    /// It is not chosen any more, and serves who is here or comes.
    Draining,
    /// Its roles rest.
    Drained,
}

/// How far a node is, and what is still to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The node.
    pub node: NodeName,
    /// How far it is.
    pub state: Phase,
    /// How many sessions it has.
    pub sessions: usize,
    /// How long until its roles stop, in seconds, while it drains.
    pub seconds_left: Option<u64>,
    /// What nobody serves once it is drained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where this node is sent away and called back. Cheap to clone.
#[derive(Clone)]
pub struct Drainer(Arc<Inner>);

struct Inner {
    node: NodeName,
    members: MembersView,
    config: DrainConfig,
    /// What a role gets to finish what runs when it stops.
    grace: Duration,
    file: PathBuf,
    order: Mutex<Option<Order>>,
    /// The roles, once they run.
    roles: OnceLock<Vec<(RoleName, Reins)>>,
}

/// Describes what a drain counts.
pub fn describe_metrics() {
    metrics::describe_gauge!("estafeta_draining", "1 while this node drains or is drained, 0 otherwise.");
    metrics::describe_gauge!("estafeta_sessions", "Conversations of this node's roles that last longer than a moment.");
}

impl Drainer {
    /// Starts with the order that the data directory keeps. When there is one, the node says from the start that it
    /// drains.
    pub fn open(
        node: NodeName,
        members: MembersView,
        config: DrainConfig,
        grace: Duration,
        data: &Path,
    ) -> Result<Self, Failure> {
        let file = data.join("draining");
        let order = match fs::read(&file) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "the order to drain cannot be read, and its deadline is taken to be over");
                Order { since_seconds: 0, deadline_seconds: 0 }
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::internal(format_args!("{}: {error}", file.display()))),
        };
        if order.is_some() {
            tracing::warn!(
                "this node was drained before it was started: it serves again after: estafeta node resume {node}"
            );
        }
        members.change(&node, |member| member.draining |= order.is_some());
        let inner = Inner { node, members, config, grace, file, order: Mutex::new(order), roles: OnceLock::new() };
        Ok(Self(Arc::new(inner)))
    }

    /// The roles run: they are held to the order from now on, until the task is dropped.
    pub async fn watch(self, roles: Vec<(RoleName, Reins)>) {
        // The roles of a node are made once.
        let _ = self.0.roles.set(roles);
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(seconds_now());
        }
    }

    fn look(&self, now_seconds: u64) {
        let sessions = self.sessions();
        let order = self.order();
        metrics::gauge!("estafeta_sessions").set(sessions as f64);
        metrics::gauge!("estafeta_draining").set(f64::from(u8::from(order.is_some())));
        let due = order.is_some_and(|order| order.is_due(now_seconds, sessions, self.0.config.quiet_seconds));
        if due && !self.reins().any(|reins| reins.is_held()) {
            tracing::info!(sessions, "drained: what runs is finished, and who comes is refused");
            self.reins().for_each(|reins| reins.rest(self.0.grace));
        }
    }

    /// Sends the node away; its roles stop after `deadline` at the latest. Said again, the deadline is a new one.
    pub fn drain(&self, deadline: Option<Duration>) -> Result<Progress, Failure> {
        let now = seconds_now();
        let deadline = deadline.map_or(self.0.config.deadline_seconds, |deadline| deadline.as_secs());
        let mut order = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        let since_seconds = order.map_or(now, |order| order.since_seconds);
        let new = Order { since_seconds, deadline_seconds: now.saturating_add(deadline) };
        // First on disk: what was promised is kept.
        serde_json::to_vec(&new)
            .map_err(io::Error::other)
            .and_then(|content| replace(&self.0.file, &content, 0o600))
            .map_err(|error| Failure::internal(format_args!("{}: {error}", self.0.file.display())))?;
        *order = Some(new);
        drop(order);
        tracing::info!(
            deadline_seconds = deadline,
            "draining: names and routes lead elsewhere, who is here or comes is served until the deadline"
        );
        self.0.members.change(&self.0.node, |member| member.draining = true);
        Ok(self.progress())
    }

    /// Calls the node back.
    pub fn resume(&self) -> Result<Progress, Failure> {
        let mut order = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(&self.0.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::internal(format_args!("{}: {error}", self.0.file.display())));
            }
            _ => {}
        }
        *order = None;
        drop(order);
        tracing::info!("resumed: the roles serve again, and names and routes may lead here");
        self.reins().for_each(Reins::serve);
        // A role that has rested is not ready before it has started anew, so nobody is sent here too early.
        self.0.members.change(&self.0.node, |member| member.draining = false);
        Ok(self.progress())
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let order = self.order();
        let rests = self.reins().all(|reins| reins.rests());
        let state = match order {
            None => Phase::Serving,
            Some(_) if rests && self.0.roles.get().is_some() => Phase::Drained,
            Some(_) => Phase::Draining,
        };
        let seconds_left = order
            .filter(|_| state == Phase::Draining)
            .map(|order| order.deadline_seconds.saturating_sub(seconds_now()));
        let warnings = if order.is_some() { left_alone(&self.0.members.current(), &self.0.node) } else { Vec::new() };
        Progress { node: self.0.node.clone(), state, sessions: self.sessions(), seconds_left, warnings }
    }

    fn order(&self) -> Option<Order> {
        *self.0.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reins(&self) -> impl Iterator<Item = &Reins> {
        self.0.roles.get().into_iter().flatten().map(|(_, reins)| reins)
    }

    fn sessions(&self) -> usize {
        self.reins().map(|reins| reins.conversations(SESSION_AGE)).sum()
    }
}

/// What nobody else could serve now, a sentence each.
fn left_alone(members: &Members, node: &NodeName) -> Vec<String> {
    let Some(own) = members.get(node) else { return Vec::new() };
    let alone = own.roles.keys().filter(|role| {
        let group = own.store_group.as_ref().filter(|_| **role == RoleName::MAILBOX);
        !members.iter().any(|member| {
            &member.name != node && member.is_ready(role) && (group.is_none() || member.store_group.as_ref() == group)
        })
    });
    alone
        .map(|role| match &own.store_group {
            Some(group) if *role == RoleName::MAILBOX => {
                format!("no other node keeps the mailboxes of {group}: once {node} is drained they cannot be opened, and mail for them waits")
            }
            _ => format!("no other node is ready for the role {role}: once {node} is drained nobody serves it"),
        })
        .collect()
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use estafeta_core::members::{Member, Readiness};

    use super::*;

    #[test]
    fn the_roles_stop_at_the_deadline_or_when_nobody_is_left() {
        let order = Order { since_seconds: 1000, deadline_seconds: 1600 };
        assert!(!order.is_due(1059, 0, 60));
        assert!(order.is_due(1060, 0, 60));
        assert!(!order.is_due(1599, 1, 60));
        assert!(order.is_due(1600, 1, 60));
    }

    fn member(name: &str, roles: &[RoleName], group: Option<&str>) -> Member {
        Member {
            roles: roles.iter().map(|role| (role.clone(), Readiness::Ready)).collect(),
            store_group: group.map(|group| group.parse().unwrap()),
            ..Member::named(name.parse().unwrap())
        }
    }

    #[test]
    fn who_leaves_something_undone_is_warned() {
        let (edge, mailbox) = (RoleName::EDGE, RoleName::MAILBOX);
        let members = Members::new(vec![
            member("a", &[edge.clone(), mailbox.clone()], Some("red")),
            member("b", &[edge.clone(), mailbox], Some("blue")),
        ]);
        let warnings = left_alone(&members, &"a".parse().unwrap());
        assert!(warnings.len() == 1 && warnings[0].contains("mailboxes of red"), "{warnings:?}");
        let alone = Members::new(vec![member("a", &[edge], None)]);
        assert!(left_alone(&alone, &"a".parse().unwrap())[0].contains("nobody serves it"));
    }

    #[test]
    fn an_order_survives_a_restart_until_it_is_taken_back() {
        let data = tempfile::tempdir().unwrap();
        let own: NodeName = "a".parse().unwrap();
        let open = || {
            let view = MembersView::new(Members::new(vec![member("a", &[RoleName::EDGE], None)]));
            let drainer =
                Drainer::open(own.clone(), view.clone(), DrainConfig::default(), Duration::ZERO, data.path()).unwrap();
            (drainer, view)
        };
        let draining = |view: &MembersView| view.current().get(&own).unwrap().draining;
        let (drainer, view) = open();
        assert!(drainer.progress().state == Phase::Serving && !draining(&view));
        let progress = drainer.drain(Some(Duration::from_secs(100))).unwrap();
        assert!(progress.state == Phase::Draining && progress.seconds_left.unwrap() >= 99 && draining(&view));
        let (drainer, view) = open();
        assert!(drainer.progress().state == Phase::Draining && draining(&view));
        assert_eq!(drainer.resume().unwrap().state, Phase::Serving);
        assert!(!draining(&view) && !draining(&open().1));
        // Half a file is an order whose deadline is not known.
        fs::write(data.path().join("draining"), "{").unwrap();
        assert_eq!(open().0.progress().seconds_left, Some(0));
    }
}
