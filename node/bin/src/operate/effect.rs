//! What a change of a node's standing did to the names that clients ask for, and to the routes inside the cluster, in
//! words. Pure: the same choice as everywhere ([`Members::candidates`]), made on the members before and after.

use std::collections::BTreeSet;

use estafeta_core::members::Members;
use estafeta_core::{NodeName, RoleName, ServiceName, StoreGroup};

/// What is named by a service, and the service whose endpoints it is named after, the first that anybody offers.
struct Named {
    role: RoleName,
    label: &'static str,
    services: &'static [ServiceName],
}

/// Every choice that somebody can notice.
const NAMED: &[Named] = &[
    Named {
        role: RoleName::ACCESS,
        label: "imap",
        services: &[ServiceName::fixed("imaps"), ServiceName::fixed("imap")],
    },
    Named {
        role: RoleName::ACCESS,
        label: "pop",
        services: &[ServiceName::fixed("pop3s"), ServiceName::fixed("pop3")],
    },
    Named {
        role: RoleName::EDGE,
        label: "smtp",
        services: &[ServiceName::fixed("submissions"), ServiceName::fixed("submission")],
    },
    Named { role: RoleName::EDGE, label: "MX", services: &[ServiceName::fixed("smtp")] },
    Named { role: RoleName::FILTER, label: "the route to a verdict", services: &[ServiceName::fixed("filter")] },
    Named { role: RoleName::DIRECTORY, label: "the route to the directory", services: &[ServiceName::fixed("ldaps")] },
];

/// How many nodes a sentence names.
const NAMES_SHOWN: usize = 5;

/// What became of everything that is named after a role (all roles when none), a sentence each.
pub fn effects(before: &Members, after: &Members, role: Option<&RoleName>) -> Vec<String> {
    let about = |candidate: &RoleName| role.is_none_or(|role| role == candidate);
    let mut sentences = Vec::new();
    for named in NAMED.iter().filter(|named| about(&named.role)) {
        let service =
            named.services.iter().find(|service| [before, after].iter().any(|members| offered(members, service)));
        let Some(service) = service else { continue };
        sentences.extend(sentence(named.label, &chosen(before, service, None), &chosen(after, service, None)));
    }
    if about(&RoleName::MAILBOX) {
        let lmtp = ServiceName::fixed("lmtp");
        for group in after.store_groups() {
            let label = format!("the route to the mailboxes of {group}");
            let of = |members| chosen(members, &lmtp, Some(&group));
            sentences.extend(sentence(&label, &of(before), &of(after)));
        }
    }
    sentences
}

/// Who is named, and whether they are named although none of them is ready.
#[derive(PartialEq, Eq)]
struct Chosen {
    nodes: BTreeSet<NodeName>,
    for_want_of_better: bool,
}

fn offered(members: &Members, service: &ServiceName) -> bool {
    members.iter().any(|member| member.endpoints.iter().any(|endpoint| &endpoint.service == service))
}

fn chosen(members: &Members, service: &ServiceName, group: Option<&StoreGroup>) -> Chosen {
    let candidates = members.candidates(service, group);
    let ready = |node: &NodeName, role: &RoleName| members.get(node).is_some_and(|member| member.is_ready(role));
    Chosen {
        for_want_of_better: !candidates.iter().any(|one| ready(&one.node, &one.endpoint.role)),
        nodes: candidates.into_iter().map(|candidate| candidate.node).collect(),
    }
}

fn sentence(label: &str, before: &Chosen, after: &Chosen) -> Option<String> {
    if before == after {
        return None;
    }
    let names: Vec<&str> = after.nodes.iter().map(NodeName::as_str).collect();
    let shown = match names.as_slice() {
        [] => return Some(format!("{label} names nobody now")),
        [only] => format!("{only} only"),
        few if few.len() <= NAMES_SHOWN => few.join(", "),
        many => format!("{} and {} others", many[..NAMES_SHOWN].join(", "), many.len() - NAMES_SHOWN),
    };
    Some(if after.for_want_of_better {
        format!("{label} names {shown}: none is ready, and a name must lead somewhere")
    } else {
        format!("{label} names {shown} now")
    })
}

#[cfg(test)]
mod tests {
    use estafeta_core::members::{Endpoint, Member, Readiness};

    use super::*;

    fn members(access: &[(&str, bool)]) -> Members {
        let member = |name: &str, role: RoleName, service: &'static str, ready: bool, group: Option<&str>| Member {
            roles: [(role.clone(), if ready { Readiness::Ready } else { Readiness::NotReady("test".into()) })].into(),
            endpoints: vec![Endpoint {
                role,
                service: ServiceName::fixed(service),
                address: "192.0.2.1:1".parse().unwrap(),
            }],
            store_group: group.map(|group| group.parse().unwrap()),
            ..Member::named(name.parse().unwrap())
        };
        let mut members: Vec<Member> =
            access.iter().map(|(name, ready)| member(name, RoleName::ACCESS, "imaps", *ready, None)).collect();
        members.push(member("mailbox1", RoleName::MAILBOX, "lmtp", access.len() > 2, Some("red")));
        Members::new(members)
    }

    #[test]
    fn what_is_named_is_told_when_it_changes() {
        let both = members(&[("access1", true), ("access2", true)]);
        let one = members(&[("access1", false), ("access2", true)]);
        let none = members(&[("access1", false), ("access2", false)]);
        assert_eq!(effects(&both, &one, Some(&RoleName::ACCESS)), ["imap names access2 only now"]);
        assert_eq!(effects(&one, &both, Some(&RoleName::ACCESS)), ["imap names access1, access2 now"]);
        assert_eq!(
            effects(&one, &none, Some(&RoleName::ACCESS)),
            ["imap names access1, access2: none is ready, and a name must lead somewhere"]
        );
        assert!(effects(&both, &one, Some(&RoleName::EDGE)).is_empty());
        assert!(effects(&both, &both, None).is_empty());
    }

    #[test]
    fn many_are_counted_and_store_groups_stand_apart() {
        let before = members(&[("access1", true)]);
        let names: Vec<String> = (1..=8).map(|number| format!("access{number}")).collect();
        let all: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
        assert_eq!(
            effects(&before, &members(&all), None),
            [
                "imap names access1, access2, access3, access4, access5 and 3 others now",
                "the route to the mailboxes of red names mailbox1 only now"
            ]
        );
    }
}
