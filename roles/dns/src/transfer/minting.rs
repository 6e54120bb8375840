//! Who mints the next version of a zone, who takes it over, and when it may be shown: pure, one decision at a time.
//!
//! Each dns node holds one version a zone, on disk, and shows secondaries one that it holds or held. The lowest-named
//! ready node mints; the others take over what they see to be newer; a version is shown once every ready node holds it.
//!
//! Why one serial number never names two contents among all that is ever shown, whatever each node believes of the
//! others: a node only ever takes over a later serial number than it holds, so of each number it holds one content at
//! most. Who shows a version has seen it at more than half of the enrolled dns nodes, or at exactly half and the
//! lowest-named of them ([`Electorate::is_quorum`]); two such sets always have a node in common. It rests on two things:
//! what a node held is on its disk (one that lost its disk is enrolled under another name), and dns nodes are enrolled
//! and removed one at a time.
//!
//! Why it never goes back at a node: what is shown was held, and what is held only grows. Across a partition the smaller
//! part neither mints nor shows anything new: secondaries keep what they have.

use std::collections::{BTreeMap, BTreeSet};

use estafeta_core::NodeName;
use estafeta_core::members::{Member, Members};

use super::version::{Mark, is_after};

/// The dns nodes as one node sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Electorate {
    /// All that are enrolled.
    pub enrolled: BTreeSet<NodeName>,
    /// Those of them that are ready.
    pub ready: BTreeSet<NodeName>,
}

impl Electorate {
    /// The dns nodes among these members.
    pub fn of(members: &Members) -> Self {
        let role = &estafeta_core::RoleName::DNS;
        let enrolled = members.iter().filter(|member| member.roles.contains_key(role));
        let ready = members.iter().filter(|member| member.is_ready(role));
        let names = |member: &Member| member.name.clone();
        Self { enrolled: enrolled.map(names).collect(), ready: ready.map(names).collect() }
    }

    /// Whether these nodes are more than half of the enrolled ones, or half of them and the lowest-named among them.
    pub fn is_quorum(&self, nodes: &BTreeSet<NodeName>) -> bool {
        let present = self.enrolled.intersection(nodes).count();
        let has_lowest = self.enrolled.first().is_some_and(|lowest| nodes.contains(lowest));
        2 * present > self.enrolled.len() || (2 * present == self.enrolled.len() && has_lowest)
    }

    /// Whether this node mints: the lowest-named ready one, and enough others are ready.
    pub fn is_minter(&self, node: &NodeName) -> bool {
        self.ready.first() == Some(node) && self.is_quorum(&self.ready)
    }
}

/// What one node knows of one zone.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// This node.
    pub own: &'a NodeName,
    /// The dns nodes.
    pub electorate: &'a Electorate,
    /// The version that this node holds.
    pub held: Option<Mark>,
    /// The one that it shows.
    pub shown: Option<Mark>,
    /// What the others were last heard to hold; a node that has not been heard is not there, one that holds none has none.
    pub others: &'a BTreeMap<NodeName, Option<Mark>>,
    /// Whether the zone's content is another by now than that of the version held, or its signatures grow old. False
    /// where this node has no content of its own for it.
    pub is_due: bool,
    /// The time, in seconds since 1970.
    pub now_seconds: u64,
}

/// What to do next. When it is done, the situation is another one: decide anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch what this node holds, which is newer, and hold it.
    TakeOver(NodeName),
    /// Make a version of the content with this serial number, and hold it.
    Mint(u32),
    /// Show the version held.
    Show,
}

/// The next thing to do for a zone.
pub fn decide(situation: &Situation<'_>) -> Option<Action> {
    let Situation { own, electorate, held, shown, others, .. } = *situation;
    let newest = others
        .iter()
        .filter_map(|(node, mark)| Some((node, (*mark)?)))
        .reduce(|best, next| if next.1.is_after(best.1.serial) { next } else { best });
    if let Some((node, mark)) = newest
        && held.is_none_or(|held| mark.is_after(held.serial))
    {
        return Some(Action::TakeOver(node.clone()));
    }
    if let Some(held) = held
        && shown != Some(held)
        && is_held_by_all(own, electorate, held, others)
    {
        return Some(Action::Show);
    }
    // Two nodes that each took themselves for the minter have made one number two contents; neither will be shown.
    let has_rival = held.is_some_and(|held| {
        others.values().flatten().any(|mark| mark.serial == held.serial && mark.digest != held.digest)
    });
    // What is on its way to be shown comes first; what changes meanwhile is minted after it.
    let is_free = held == shown || has_rival;
    let all_heard = electorate.ready.iter().all(|node| node == own || others.contains_key(node));
    if (situation.is_due || has_rival) && is_free && all_heard && electorate.is_minter(own) {
        return Some(Action::Mint(next_serial(held.map(|held| held.serial), situation.now_seconds)));
    }
    None
}

/// Whether every ready node, and enough of all, hold this version as this node does.
fn is_held_by_all(
    own: &NodeName,
    electorate: &Electorate,
    held: Mark,
    others: &BTreeMap<NodeName, Option<Mark>>,
) -> bool {
    let holds = |node: &NodeName| node == own || others.get(node) == Some(&Some(held));
    let holders: BTreeSet<NodeName> = electorate.enrolled.iter().filter(|node| holds(node)).cloned().collect();
    electorate.ready.iter().all(holds) && electorate.is_quorum(&holders)
}

/// What stands in the way of showing the zone as it is now, for whoever must mend it.
pub fn obstacle(situation: &Situation<'_>) -> String {
    let Situation { own, electorate, held, others, .. } = *situation;
    let names = |nodes: Vec<&NodeName>| nodes.into_iter().map(|node| node.as_str()).collect::<Vec<_>>().join(", ");
    if !electorate.is_quorum(&electorate.ready) {
        return format!(
            "too few dns nodes are ready ({} of {}): start the others, or remove those that are gone for good with: \
             estafeta node remove NODE",
            electorate.ready.len(),
            electorate.enrolled.len()
        );
    }
    let unheard =
        electorate.ready.iter().filter(|node| *node != own && !others.contains_key(*node)).collect::<Vec<_>>();
    if !unheard.is_empty() {
        return format!("{} cannot be asked: see that the service dns-transfer can be reached there", names(unheard));
    }
    let behind = electorate.ready.iter().filter(|node| *node != own && others.get(*node) != Some(&held));
    let behind = behind.collect::<Vec<_>>();
    if situation.held != situation.shown && !behind.is_empty() {
        return format!("{} does not take over the version held here: see its log", names(behind));
    }
    match electorate.ready.first() {
        Some(minter) if minter != own => {
            format!("{minter} makes the next version, and has not: see that [dns.transfer] is the same there")
        }
        _ => "it cannot be made or kept: the log has said why".into(),
    }
}

/// The serial number after `last`, which no other node is known to have passed: the time, unless that would go back.
/// A clock that was wrong by more than half of the circle (68 years) is of no use (RFC 1982 §3.2).
fn next_serial(last: Option<u32>, now_seconds: u64) -> u32 {
    let Some(last) = last else { return clock(now_seconds) };
    let now = clock(now_seconds);
    if is_after(now, last) { now } else { last.wrapping_add(1) }
}

/// A serial number that every one comes after that was or will be minted near this time (RFC 1982 §3.2).
pub fn before_all(now_seconds: u64) -> u32 {
    clock(now_seconds).wrapping_sub(1 << 30)
}

/// The time as a serial number, which goes round in 2106 (RFC 1982 §7).
fn clock(now_seconds: u64) -> u32 {
    (now_seconds & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
