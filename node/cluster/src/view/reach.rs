//! Who probes whom, and what the probes together say.
//!
//! Each node is probed by a few others, chosen by rendezvous: every node that sees the same names computes the same
//! choice, and a node that goes changes only the choices that it was in.

use estafeta_core::{NodeName, RoleName};

use crate::gossip::description::Unreached;

/// The nodes out of `nodes` that probe `target`, at most `count`.
pub fn probers<'a>(target: &NodeName, nodes: impl Iterator<Item = &'a NodeName>, count: usize) -> Vec<&'a NodeName> {
    let mut ranked: Vec<_> = nodes.filter(|node| *node != target).map(|node| (weight(node, target), node)).collect();
    ranked.sort();
    ranked.truncate(count);
    ranked.into_iter().map(|(_, node)| node).collect()
}

/// FNV-1a, finished as SplitMix64 does: the same on every node and in every version, which is all that is asked of it.
fn weight(prober: &NodeName, target: &NodeName) -> u64 {
    let bytes = prober.as_str().bytes().chain([0]).chain(target.as_str().bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Why the role of a node counts as out of reach: most of its probers say so, two at least unless there is but one. None
/// when it counts as reachable.
pub fn out_of_reach<'a>(
    node: &NodeName,
    role: &RoleName,
    probers: &[&NodeName],
    complaints: impl Fn(&NodeName) -> Option<&'a [Unreached]>,
) -> Option<String> {
    let mut who = Vec::new();
    let mut why = None;
    for prober in probers {
        let complaint = complaints(prober)
            .unwrap_or_default()
            .iter()
            .find(|complaint| &complaint.node == node && &complaint.role == role);
        if let Some(complaint) = complaint {
            who.push(prober.as_str());
            why.get_or_insert(complaint.why.as_str());
        }
    }
    let enough = who.len() * 2 > probers.len() && (who.len() >= 2 || probers.len() == 1);
    enough.then(|| format!("cannot be reached by {}: {}", who.join(", "), why.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<NodeName> {
        (0..count).map(|number| format!("n{number}").parse().unwrap()).collect()
    }

    #[test]
    fn everyone_chooses_alike_and_the_work_is_spread() {
        let all = names(30);
        let mut work = std::collections::BTreeMap::new();
        for target in &all {
            let chosen = probers(target, all.iter(), 3);
            assert_eq!(chosen.len(), 3);
            assert!(!chosen.contains(&target));
            assert_eq!(chosen, probers(target, all.iter().rev(), 3));
            // Who was not chosen can go without a change.
            let gone = all.iter().find(|name| !chosen.contains(name)).unwrap();
            assert_eq!(chosen, probers(target, all.iter().filter(|name| *name != gone), 3));
            chosen.into_iter().for_each(|prober| *work.entry(prober).or_insert(0) += 1);
        }
        assert!(work.len() > 20 && work.values().all(|count| *count < 12), "{work:?}");
        assert!(probers(&all[0], all[..1].iter(), 3).is_empty());
    }

    #[test]
    fn one_complaint_is_not_enough_where_more_could_have_been_made() {
        let all = names(4);
        let role = RoleName::EDGE;
        let complaint = [Unreached { node: all[0].clone(), role: role.clone(), why: "no greeting".into() }];
        let verdict = |complaining: &[usize], probing: &[usize]| {
            let probers: Vec<_> = probing.iter().map(|at| &all[*at]).collect();
            out_of_reach(&all[0], &role, &probers, |name| {
                complaining.iter().any(|at| &all[*at] == name).then_some(&complaint[..])
            })
        };
        assert_eq!(verdict(&[1], &[1, 2, 3]), None);
        assert_eq!(verdict(&[1, 2], &[1, 2, 3]).unwrap(), "cannot be reached by n1, n2: no greeting");
        assert_eq!(verdict(&[1], &[1, 2]), None);
        assert_eq!(verdict(&[1], &[1]).unwrap(), "cannot be reached by n1: no greeting");
        assert_eq!(verdict(&[1, 2], &[3]), None);
        assert_eq!(verdict(&[], &[]), None);
    }
}
