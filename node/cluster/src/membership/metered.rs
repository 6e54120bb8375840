//! What membership counts.

use std::time::Duration;

use crate::gossip::identity::Unbelieved;
use crate::gossip::transport;
use crate::view::standing::{Change, NodeStanding, Standing};

const CHANGES: &str = "estafeta_member_changes_total";
const STANDING: &str = "estafeta_members";
const STALL: &str = "estafeta_membership_stall_seconds";
const UNBELIEVED: &str = "estafeta_gossip_unbelieved_total";
const RESTARTS: &str = "estafeta_gossip_restarts_total";

pub fn describe() {
    transport::describe();
    metrics::describe_counter!(
        CHANGES,
        "Changes of a node's standing as this node sees it, by node, role and what it came to."
    );
    metrics::describe_gauge!(STANDING, "Roles of enrolled nodes by role and standing, as this node sees them.");
    metrics::describe_histogram!(STALL, "Times that this process did not run, over half a second.");
    metrics::describe_counter!(UNBELIEVED, "Descriptions of nodes that were not believed, by cause.");
    metrics::describe_counter!(RESTARTS, "Times that gossip ended and began anew: what ended it is in the log.");
}

/// Counts a change, and says it in the log.
pub fn changed(change: &Change) {
    let role = change.role.as_ref().map_or("-", |role| role.as_str());
    let to = change.to.as_str();
    metrics::counter!(CHANGES, "node" => change.node.to_string(), "role" => role.to_owned(), "to" => to).increment(1);
    let from = change.from.as_str();
    match change.to {
        Standing::Ready | Standing::Draining => {
            tracing::info!(node = %change.node, role, from, to, why = %change.why, "a member has changed");
        }
        _ => tracing::warn!(node = %change.node, role, from, to, why = %change.why, "a member has changed"),
    }
}

/// Sets the gauges.
pub fn standings(all: &[NodeStanding]) {
    let mut counted = std::collections::BTreeMap::new();
    for (role, standing) in all.iter().flat_map(|node| &node.roles) {
        for possible in [Standing::Ready, Standing::NotReady, Standing::Draining, Standing::Unheard] {
            *counted.entry((role, possible.as_str())).or_insert(0.0) +=
                f64::from(u8::from(standing.standing == possible));
        }
    }
    for ((role, standing), count) in counted {
        metrics::gauge!(STANDING, "role" => role.to_string(), "standing" => standing).set(count);
    }
}

pub fn stalled(away: Duration) {
    metrics::histogram!(STALL).record(away.as_secs_f64());
}

pub fn unbelieved(why: Unbelieved) {
    metrics::counter!(UNBELIEVED, "cause" => why.as_str()).increment(1);
}

pub fn restarted() {
    metrics::counter!(RESTARTS).increment(1);
}
