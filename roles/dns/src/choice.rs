//! Which of a record set's data an answer names, and in which order: pure.

use hickory_proto::rr::{RData, RecordType};

use crate::content::services::{ELSEWHERE, NEAREST};
use crate::sites::{Nearness, Sites};
use crate::zone::{Choice, Datum, RecordSet};

/// The most addresses that one answer names, chosen in turn: so an answer of addresses fits 512 bytes, however many
/// nodes there are, and nobody has to ask again over TCP.
pub const ADDRESSES: usize = 16;

/// What an answer names of `set` at this turn, for whoever is that near to the sites.
pub fn choose(set: &RecordSet, turn: usize, sites: &Sites, nearness: Nearness) -> Vec<RData> {
    if set.choice == Choice::All {
        return set.data.iter().map(|datum| datum.data.clone()).collect();
    }
    let preference = sites.preference(nearness);
    match set.kind {
        RecordType::A | RecordType::AAAA => {
            let nearest =
                preference.iter().find(|site| set.data.iter().any(|datum| datum.site.as_ref() == Some(*site)));
            let near: Vec<&Datum> =
                set.data.iter().filter(|datum| nearest.is_none() || datum.site.as_ref() == nearest).collect();
            in_turn(near, turn).into_iter().take(ADDRESSES).map(|datum| datum.data.clone()).collect()
        }
        RecordType::MX => {
            let of_site = |datum: &&Datum| preference.iter().position(|site| datum.site.as_ref() == Some(site));
            let nearest = set.data.iter().filter_map(|datum| of_site(&datum)).min();
            let prefer = |datum: &Datum| match (&datum.data, nearest) {
                (RData::MX(exchange), Some(nearest)) if datum.site.is_some() => {
                    let mut exchange = exchange.clone();
                    exchange.preference = if of_site(&datum) == Some(nearest) { NEAREST } else { ELSEWHERE };
                    RData::MX(exchange)
                }
                (data, _) => data.clone(),
            };
            in_turn(set.data.iter().collect(), turn).into_iter().map(prefer).collect()
        }
        _ => in_turn(set.data.iter().collect(), turn).into_iter().map(|datum| datum.data.clone()).collect(),
    }
}

/// The data, beginning with another one at each turn: each as often as its weight says, and evenly spread over the turns.
fn in_turn(mut data: Vec<&Datum>, turn: usize) -> Vec<&Datum> {
    let weight = |datum: &&Datum| usize::from(datum.weight.max(1));
    let first = match data.as_slice() {
        [] => return data,
        [one, rest @ ..] if rest.iter().all(|other| other.weight == one.weight) => turn % data.len(),
        _ => {
            let total: usize = data.iter().map(weight).sum();
            let mut drawn = (turn % total).wrapping_mul(stride(total)) % total;
            let reached = |datum: &&Datum| match drawn.checked_sub(weight(datum)) {
                None => true,
                Some(rest) => {
                    drawn = rest;
                    false
                }
            };
            data.iter().position(reached).unwrap_or(0)
        }
    };
    data.rotate_left(first);
    data
}

/// A step through `total` places that visits each once, and never stays long in one region: near the golden section.
fn stride(total: usize) -> usize {
    let coprime = |step: &usize| {
        let (mut a, mut b) = (total, *step);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    (total.saturating_mul(618) / 1000..total).chain([1]).find(coprime).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, MX};

    use super::*;
    use crate::config::Site;

    fn address(last: u8, site: Option<&str>, weight: u16) -> Datum {
        let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
        Datum { data, site: site.map(|site| site.parse().unwrap()), weight }
    }

    fn set(kind: RecordType, data: Vec<Datum>) -> RecordSet {
        RecordSet { kind, ttl_seconds: 30, choice: Choice::InTurn, data }
    }

    fn sites() -> Sites {
        let site = |name: &str, network: &str| Site {
            name: name.parse().unwrap(),
            networks: vec![network.parse().unwrap()],
            next: vec![],
        };
        Sites::new(&[site("north", "10.1.0.0/16"), site("south", "10.2.0.0/16"), site("east", "10.3.0.0/16")])
    }

    fn shown(set: &RecordSet, turn: usize, client: &str) -> Vec<String> {
        let sites = sites();
        let nearness = sites.nearness(client.parse().unwrap(), None);
        choose(set, turn, &sites, nearness).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_comes_first_as_often_as_its_weight_says() {
        for weights in [&[1, 1, 1][..], &[10, 1], &[10, 5, 1], &[3, 3, 7, 1], &[0, 2]] {
            let data: Vec<Datum> = (1_u8..).zip(weights).map(|(n, weight)| address(n, None, *weight)).collect();
            let (set, total) = (set(RecordType::A, data), weights.iter().map(|w| usize::from(*w.max(&1))).sum());
            let mut firsts: BTreeMap<String, u16> = BTreeMap::new();
            for turn in 0..total {
                let chosen = shown(&set, turn, "198.51.100.1");
                assert_eq!(chosen.len(), weights.len(), "nobody is left out");
                *firsts.entry(chosen[0].clone()).or_default() += 1;
            }
            let expected: Vec<u16> = weights.iter().map(|weight| *weight.max(&1)).collect();
            let even = weights.iter().all(|weight| *weight == weights[0]);
            assert!(even || firsts.into_values().eq(expected), "{weights:?}");
        }
    }

    #[test]
    fn a_busy_node_is_not_first_many_times_on_end() {
        let set = set(RecordType::A, vec![address(1, None, 10), address(2, None, 10), address(3, None, 9)]);
        let firsts: Vec<String> = (0..29).map(|turn| shown(&set, turn, "198.51.100.1")[0].clone()).collect();
        assert!(firsts.windows(3).all(|three| three.iter().any(|first| first != &three[0])), "{firsts:?}");
    }

    #[test]
    fn the_nearest_site_that_is_there_is_named_alone() {
        let set =
            set(RecordType::A, vec![address(1, Some("south"), 1), address(2, Some("east"), 1), address(3, None, 1)]);
        assert_eq!(shown(&set, 0, "10.2.0.1"), ["192.0.2.1"]);
        assert_eq!(shown(&set, 0, "10.3.0.1"), ["192.0.2.2"]);
        assert_eq!(shown(&set, 5, "10.1.0.1"), ["192.0.2.1"], "north has nobody, south comes next");
        assert_eq!(shown(&set, 0, "198.51.100.1").len(), 3, "nobody knows where they stand");
    }

    #[test]
    fn exchanges_of_the_nearest_site_are_preferred() {
        let exchange = |preference, host: &str, site: Option<&str>| Datum {
            data: RData::MX(MX::new(preference, Name::from_ascii(host).unwrap())),
            ..address(0, site, 1)
        };
        let set = set(
            RecordType::MX,
            vec![
                exchange(10, "mx-south.test.", Some("south")),
                exchange(20, "mx-east.test.", Some("east")),
                exchange(30, "edge1.test.", None),
            ],
        );
        assert_eq!(shown(&set, 0, "10.3.0.1"), ["20 mx-south.test.", "10 mx-east.test.", "30 edge1.test."]);
        assert_eq!(shown(&set, 0, "198.51.100.1"), ["10 mx-south.test.", "20 mx-east.test.", "30 edge1.test."]);
        assert_eq!(shown(&set, 0, "10.1.0.1")[0], "10 mx-south.test.", "north has none, south comes next");
    }
}
