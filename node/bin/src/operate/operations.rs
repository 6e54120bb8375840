//! The operations of a node as such, whatever its roles: `cluster status`, `node drain`, `node resume`.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use estafeta_cluster::membership::Membership;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Perform, Placing, input, output};
use estafeta_core::members::MembersView;
use estafeta_core::{Failure, NodeName, Reason};
use serde::Deserialize;
use serde_json::Value;

use super::drain::Drainer;
use super::journal::{EVENTS_LIMIT, Journal};
use super::report::Report;

/// Answers a [`Report`].
pub const STATUS: &str = "cluster status";

/// Answers a [`super::drain::Progress`], as [`RESUME`] and [`PROGRESS`] do.
pub const DRAIN: &str = "node drain";

/// Calls a node back.
pub const RESUME: &str = "node resume";

/// How far a node is with its drain.
pub const PROGRESS: &str = "node progress";

const NODE: Field = Field { name: "node", kind: Kind::Text, placing: Placing::Positional, about: "The node's name" };

const EVENTS: Field = Field {
    name: "events",
    kind: Kind::Integer,
    placing: Placing::Option,
    about: "How many of the last changes to show [default: 10, at most 200]",
};

const DEADLINE: Field = Field {
    name: "deadline_seconds",
    kind: Kind::Integer,
    placing: Placing::Option,
    about: "How long it goes on serving who is or comes there, in seconds [default: as its configuration has it, 600]",
};

/// How many changes `cluster status` shows when nobody says.
const EVENTS_SHOWN: usize = 10;

/// The rows. Those that the command line shows in a way of its own are hidden from it.
pub fn operations() -> Vec<Operation> {
    let row = |name, about, fields, changes, hidden| Operation {
        name,
        about,
        fields,
        changes,
        confirm: None,
        columns: &[],
        asked_by: &[],
        hidden,
        perform: Perform::OnNode((name != STATUS).then_some(NODE.name)),
    };
    vec![
        row(STATUS, "Show every node, its roles and what changed lately, as seen from here", &[EVENTS], false, true),
        row(DRAIN, "Send everybody elsewhere, then stop a node's roles", &[NODE, DEADLINE], true, true),
        row(RESUME, "Call a drained node back", &[NODE], true, false),
        row(PROGRESS, "How far a node is with its drain", &[NODE], false, true),
    ]
}

/// Carries them out on this node.
pub struct NodeOperations {
    /// This node.
    pub node: NodeName,
    /// The cluster as it sees it.
    pub members: MembersView,
    /// Its gossip, when it is in a cluster.
    pub membership: Option<Membership>,
    /// What happened.
    pub journal: Journal,
    /// Its drain.
    pub drainer: Drainer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusInput {
    events: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeInput {
    node: NodeName,
    deadline_seconds: Option<u64>,
}

#[async_trait]
impl Administration for NodeOperations {
    async fn perform(&self, operation: &str, given: Value) -> Result<Value, Failure> {
        match operation {
            STATUS => {
                let StatusInput { events } = input(given)?;
                let events = self.journal.newest(events.unwrap_or(EVENTS_SHOWN).min(EVENTS_LIMIT));
                let standings = self.membership.as_ref().map(Membership::standings).unwrap_or_default();
                let members = self.members.current();
                output(&Report::new(self.node.clone(), &members, &standings, events, SystemTime::now()))
            }
            DRAIN => {
                let deadline = self.meant(given)?.deadline_seconds.map(Duration::from_secs);
                output(&self.drainer.drain(deadline)?)
            }
            RESUME => {
                self.meant(given)?;
                output(&self.drainer.resume()?)
            }
            PROGRESS => {
                self.meant(given)?;
                output(&self.drainer.progress())
            }
            _ => Err(Failure::new(Reason::NotFound, format!("there is no operation {operation:?} of a node"))),
        }
    }
}

impl NodeOperations {
    /// The input, when it means this node.
    fn meant(&self, given: Value) -> Result<NodeInput, Failure> {
        let given: NodeInput = input(given)?;
        if given.node == self.node {
            return Ok(given);
        }
        Err(Failure::new(Reason::Invalid, format!("node {} was meant, and this is {}", given.node, self.node)))
    }
}
