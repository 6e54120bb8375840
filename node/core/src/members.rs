//! The members of the cluster as one node sees them, and the pure choices that are made from them.
//!
//! Invariants (DESIGN.md, 5 and 6): members are opinion, not consensus; a choice never comes out empty or names only
//! nodes that are not ready while a ready one is known; with none ready, all are named.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::name::{NodeName, RoleName, ServiceName, SiteName, StoreGroup};

/// The fact by which a mailbox node says which store it serves: the store's identity, and [`SHARED`] behind it where other
/// nodes may serve it too.
pub const STORE: &str = "mailbox.store";

/// What the fact [`STORE`] ends with.
pub const SHARED: &str = " shared";

/// One service of a role at an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The role that serves it.
    pub role: RoleName,
    /// Which of its services.
    pub service: ServiceName,
    /// Where.
    pub address: SocketAddr,
}

/// Whether a role of a node is able to serve now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It is.
    Ready,
    /// It is not, and this is why.
    NotReady(String),
}

/// One node and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// Its roles and whether each is ready.
    pub roles: BTreeMap<RoleName, Readiness>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Where its administration API answers other nodes.
    pub administration: Option<SocketAddr>,
    /// Where it takes gossip, over UDP.
    #[serde(default)]
    pub gossip: Option<SocketAddr>,
    /// The store group whose mailboxes it serves, when it has the role `mailbox`.
    pub store_group: Option<StoreGroup>,
    /// Where it stands; clients are sent to the nearest site that is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// How busy it is, in hundredths of what its processors can do; above 100 work waits.
    #[serde(default)]
    pub load: u16,
    /// The version of the program that it runs; empty while it has not been heard of.
    #[serde(default)]
    pub version: String,
    /// Small facts that a role tells its like on other nodes, by `ROLE.WHAT`: at most a few hundred bytes each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Whether it drains: it finishes what it has and must not be chosen.
    pub draining: bool,
}

impl Member {
    /// A node of which nothing but its name is known.
    pub fn named(name: NodeName) -> Self {
        Self {
            name,
            roles: BTreeMap::new(),
            endpoints: Vec::new(),
            administration: None,
            gossip: None,
            store_group: None,
            site: None,
            load: 0,
            version: String::new(),
            facts: BTreeMap::new(),
            draining: false,
        }
    }

    /// Whether this role of the node may be chosen.
    pub fn is_ready(&self, role: &RoleName) -> bool {
        !self.draining && self.roles.get(role) == Some(&Readiness::Ready)
    }
}

/// Everyone that a node knows of, itself included: a value, never changed in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(Vec<Member>);

/// One endpoint of a node, as a choice names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// Its endpoint.
    pub endpoint: Endpoint,
}

impl Members {
    /// These members, in the order of their names.
    pub fn new(mut members: Vec<Member>) -> Self {
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Self(members)
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.iter()
    }

    /// The one of this name.
    pub fn get(&self, name: &NodeName) -> Option<&Member> {
        self.0.iter().find(|member| &member.name == name)
    }

    /// The endpoints of a service that may be named now: the ready ones, or all of them when none is ready. In the
    /// order of the nodes' names; `group` narrows them to one store group.
    pub fn candidates(&self, service: &ServiceName, group: Option<&StoreGroup>) -> Vec<Candidate> {
        let offered = self
            .0
            .iter()
            .filter(|member| group.is_none() || member.store_group.as_ref() == group)
            .flat_map(|member| member.endpoints.iter().map(move |endpoint| (member, endpoint)))
            .filter(|(_, endpoint)| &endpoint.service == service);
        ready_or_all(offered, |(member, endpoint)| member.is_ready(&endpoint.role))
            .into_iter()
            .map(|(member, endpoint)| Candidate { node: member.name.clone(), endpoint: endpoint.clone() })
            .collect()
    }

    /// Every store group that some member serves, in order.
    pub fn store_groups(&self) -> Vec<StoreGroup> {
        let mut groups: Vec<_> = self.0.iter().filter_map(|member| member.store_group.clone()).collect();
        groups.sort();
        groups.dedup();
        groups
    }
}

/// What may be named now: what is ready, or all of it when nothing is.
pub fn ready_or_all<T>(all: impl Iterator<Item = T>, is_ready: impl Fn(&T) -> bool) -> Vec<T> {
    let all: Vec<T> = all.collect();
    let some_is_ready = all.iter().any(&is_ready);
    all.into_iter().filter(|one| !some_is_ready || is_ready(one)).collect()
}

/// The members as of now: cheap to clone, always the newest.
#[derive(Debug, Clone, Default)]
pub struct MembersView(Arc<ArcSwap<Members>>);

impl MembersView {
    /// A view that starts with these.
    pub fn new(members: Members) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(members)))
    }

    /// The members now.
    pub fn current(&self) -> Arc<Members> {
        self.0.load_full()
    }

    /// Takes over who is enrolled. What this node knows of itself (`own`) stays as it is.
    pub fn enrol(&self, members: Members, own: &NodeName) {
        self.0.rcu(|known| {
            let others = members.0.iter().filter(|member| &member.name != own);
            Members::new(others.chain(known.get(own)).cloned().collect())
        });
    }

    /// Changes what is known of one member, for everyone who holds a clone of this view.
    pub fn change(&self, name: &NodeName, change: impl Fn(&mut Member)) {
        self.0.rcu(|members| {
            let mut members = Members::clone(members);
            members.0.iter_mut().filter(|member| &member.name == name).for_each(&change);
            members
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, ready: bool, draining: bool) -> Member {
        let readiness = if ready { Readiness::Ready } else { Readiness::NotReady("test".into()) };
        Member {
            roles: [(RoleName::EDGE, readiness)].into(),
            endpoints: vec![Endpoint {
                role: RoleName::EDGE,
                service: ServiceName::fixed("smtp"),
                address: "127.0.0.1:25".parse().unwrap(),
            }],
            draining,
            ..Member::named(name.parse().unwrap())
        }
    }

    fn named(members: Vec<Member>) -> Vec<String> {
        let members = Members::new(members);
        let chosen = members.candidates(&ServiceName::fixed("smtp"), None);
        chosen.into_iter().map(|candidate| candidate.node.to_string()).collect()
    }

    #[test]
    fn enrolment_changes_the_others_alone() {
        let own = "me".parse().unwrap();
        let view = MembersView::new(Members::new(vec![member("me", true, false), member("old", true, false)]));
        view.change(&own, |member| member.draining = true);
        view.enrol(Members::new(vec![member("me", true, false), member("new", true, false)]), &own);
        let members = view.current();
        assert_eq!(members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["me", "new"]);
        assert!(members.get(&own).unwrap().draining);
    }

    #[test]
    fn only_ready_ones_are_named_and_all_when_none_is() {
        assert_eq!(named(vec![member("b", true, false), member("a", true, false)]), ["a", "b"]);
        assert_eq!(named(vec![member("a", false, false), member("b", true, false)]), ["b"]);
        assert_eq!(named(vec![member("a", true, true), member("b", true, false)]), ["b"]);
        assert_eq!(named(vec![member("a", true, true), member("b", false, false)]), ["a", "b"]);
    }
}
