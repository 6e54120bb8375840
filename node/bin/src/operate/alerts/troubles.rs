//! What is wrong in the cluster as one node sees it. Pure.
//!
//! A node that drains is where it was sent: that is no trouble. When a role is ready nowhere, that stands first, for it is
//! what users notice.

use std::collections::{BTreeMap, BTreeSet};

use estafeta_core::RoleName;
use estafeta_core::members::{Member, Members, Readiness};

use super::book::Trouble;
use crate::operate::facts::TROUBLE;

/// Everything that is wrong.
pub fn troubles(members: &Members) -> Vec<Trouble> {
    let mut troubles = nowhere_ready(members);
    for member in members.iter() {
        if !member.draining {
            troubles.extend(not_ready(member));
        }
        let own = member.facts.iter().filter_map(|(fact, text)| Some((fact.strip_prefix(TROUBLE)?, text)));
        troubles.extend(own.map(|(what, text)| Trouble {
            about: format!("{}/{what}", member.name),
            text: format!("node {}: {text}", member.name),
        }));
    }
    troubles
}

/// A trouble for each role that nobody serves.
fn nowhere_ready(members: &Members) -> Vec<Trouble> {
    let mut ready: BTreeMap<&RoleName, bool> = BTreeMap::new();
    for member in members.iter() {
        for role in member.roles.keys() {
            *ready.entry(role).or_default() |= member.is_ready(role);
        }
    }
    let nowhere = ready.into_iter().filter(|(_, ready)| !ready);
    nowhere
        .map(|(role, _)| Trouble {
            about: format!("role/{role}"),
            text: format!("no node is ready for the role {role}: nobody serves it"),
        })
        .collect()
}

/// One trouble for a node of which nothing is ready for one and the same reason, else one for each role.
fn not_ready(member: &Member) -> Vec<Trouble> {
    let wrong: BTreeMap<&RoleName, &str> = member
        .roles
        .iter()
        .filter_map(|(role, readiness)| match readiness {
            Readiness::Ready => None,
            Readiness::NotReady(why) => Some((role, why.as_str())),
        })
        .collect();
    let reasons: BTreeSet<&str> = wrong.values().copied().collect();
    match reasons.first() {
        Some(why) if reasons.len() == 1 && wrong.len() == member.roles.len() => {
            vec![Trouble { about: member.name.to_string(), text: format!("node {} is not ready: {why}", member.name) }]
        }
        _ => wrong
            .into_iter()
            .map(|(role, why)| Trouble {
                about: format!("{}/{role}", member.name),
                text: format!("the role {role} of node {} is not ready: {why}", member.name),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, roles: &[(RoleName, Option<&str>)]) -> Member {
        let roles = roles
            .iter()
            .map(|(role, why)| (role.clone(), why.map_or(Readiness::Ready, |why| Readiness::NotReady(why.to_owned()))));
        Member { roles: roles.collect(), ..Member::named(name.parse().unwrap()) }
    }

    fn about(members: Vec<Member>) -> Vec<String> {
        troubles(&Members::new(members)).into_iter().map(|trouble| trouble.about).collect()
    }

    #[test]
    fn nodes_roles_and_what_nobody_serves() {
        let (access, edge) = (RoleName::ACCESS, RoleName::EDGE);
        let well = || member("a", &[(access.clone(), None), (edge.clone(), None)]);
        assert!(about(vec![well()]).is_empty());
        let away = member("b", &[(access.clone(), Some("not heard of")), (edge.clone(), Some("not heard of"))]);
        assert_eq!(about(vec![well(), away.clone()]), ["b"]);
        let partly = member("b", &[(access.clone(), Some("full")), (edge.clone(), None)]);
        assert_eq!(about(vec![well(), partly]), ["b/access"]);
        let unlike = member("b", &[(access.clone(), Some("full")), (edge.clone(), Some("late"))]);
        assert_eq!(about(vec![well(), unlike]), ["b/access", "b/edge"]);
        assert_eq!(about(vec![away.clone()]), ["role/access", "role/edge", "b"]);
        // Whoever drains was sent; but when nobody is left, that is told.
        let drains = Member { draining: true, ..away };
        assert!(about(vec![well(), drains.clone()]).is_empty());
        assert_eq!(about(vec![drains]), ["role/access", "role/edge"]);
    }

    #[test]
    fn what_a_node_says_of_itself_is_told_too() {
        let mut node = member("a", &[(RoleName::EDGE, None)]);
        node.facts.insert(format!("{TROUBLE}queue"), "20000 messages wait".into());
        node.facts.insert("dns.versions".into(), "1".into());
        let troubles = troubles(&Members::new(vec![node]));
        assert_eq!(troubles, [Trouble { about: "a/queue".into(), text: "node a: 20000 messages wait".into() }]);
    }
}
