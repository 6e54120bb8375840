//! What nodes tell each other about operating them, as facts of a member (`node.…`), and who of them does what only one
//! should do. Members are opinion: in a partition each side may have its own.

use std::collections::BTreeSet;

use estafeta_core::NodeName;
use estafeta_core::members::{Member, Members, MembersView};

/// The node has somebody to tell of troubles.
pub const TELLS: &str = "node.alerts";

/// What the node has told of and is not over, separated by commas.
pub const TOLD: &str = "node.alerts.told";

/// The node has a canary to send.
pub const CANARY: &str = "node.canary";

/// Before the name of something that is wrong with the node, as the node itself sees it.
pub const TROUBLE: &str = "node.trouble.";

/// A fact is at most so long, in bytes.
const FACT_BYTES: usize = 400;

/// Sets a fact of this node, or takes it back.
pub fn set(view: &MembersView, own: &NodeName, fact: &str, text: Option<&str>) {
    let known = view.current();
    let known = known.get(own).and_then(|member| member.facts.get(fact));
    let text = text.map(|text| &text[..text.floor_char_boundary(FACT_BYTES)]);
    if known.map(String::as_str) == text {
        return;
    }
    view.change(own, |member| {
        match text {
            Some(text) => member.facts.insert(fact.to_owned(), text.to_owned()),
            None => member.facts.remove(fact),
        };
    });
}

/// Who does what only one of the nodes with this fact should do: the ready one with the lowest name. With none ready,
/// each does it for itself.
pub fn holds(members: &Members, own: &NodeName, fact: &str) -> bool {
    let holder = members.iter().filter(|member| member.facts.contains_key(fact)).find(|member| is_ready(member));
    match holder {
        Some(holder) => &holder.name == own,
        None => members.get(own).is_some_and(|member| member.facts.contains_key(fact)),
    }
}

/// Whether a node serves with any of its roles.
fn is_ready(member: &Member) -> bool {
    member.roles.keys().any(|role| member.is_ready(role))
}

/// As a fact: as many of the words as it has room for.
pub fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        if text.len() + word.len() + 1 > FACT_BYTES {
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(word);
    }
    text
}

/// The words of this fact on all the other nodes.
pub fn words(members: &Members, own: &NodeName, fact: &str) -> BTreeSet<String> {
    let others = members.iter().filter(|member| &member.name != own);
    others.filter_map(|member| member.facts.get(fact)).flat_map(|text| text.split(',').map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use estafeta_core::RoleName;
    use estafeta_core::members::Readiness;

    use super::*;

    fn member(name: &str, ready: bool, fact: Option<&str>) -> Member {
        let readiness = if ready { Readiness::Ready } else { Readiness::NotReady("test".into()) };
        let facts = fact.map(|text| (TELLS.to_owned(), text.to_owned()));
        Member {
            roles: [(RoleName::DNS, readiness)].into(),
            facts: facts.into_iter().collect(),
            ..Member::named(name.parse().unwrap())
        }
    }

    fn holders(members: Vec<Member>) -> Vec<String> {
        let members = Members::new(members);
        let all = members.iter().filter(|member| holds(&members, &member.name, TELLS));
        all.map(|member| member.name.to_string()).collect()
    }

    #[test]
    fn the_lowest_ready_one_holds_it() {
        let nodes = |a, b| vec![member("a", a, Some("")), member("b", b, Some("")), member("c", true, None)];
        assert_eq!(holders(nodes(true, true)), ["a"]);
        assert_eq!(holders(nodes(false, true)), ["b"]);
        assert_eq!(holders(nodes(false, false)), ["a", "b"]);
        assert!(holders(vec![member("c", true, None)]).is_empty());
    }

    #[test]
    fn facts_are_bounded_lists() {
        let long: Vec<String> = (0..200).map(|number| format!("node{number}/access")).collect();
        let text = list(long.iter().map(String::as_str));
        assert!(text.len() <= FACT_BYTES && text.starts_with("node0/access,node1/access,"));
        let members = Members::new(vec![member("a", true, Some("x,y")), member("b", true, Some("z"))]);
        assert_eq!(words(&members, &"b".parse().unwrap(), TELLS), ["x".to_owned(), "y".to_owned()].into());

        let (own, view) = ("a".parse().unwrap(), MembersView::new(members));
        set(&view, &own, TOLD, Some(&"ñ".repeat(300)));
        assert_eq!(view.current().get(&own).unwrap().facts[TOLD].len(), FACT_BYTES);
        set(&view, &own, TOLD, None);
        assert!(!view.current().get(&own).unwrap().facts.contains_key(TOLD));
    }
}
