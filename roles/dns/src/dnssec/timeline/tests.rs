//! Key roll-overs against a model of what every cache on the Internet may hold.

use std::collections::BTreeMap;

use super::*;

fn key(number: u64) -> KeptKey {
    KeptKey { private: format!("key {number}"), made_seconds: number }
}

const WAITS: Waits = Waits { keys_seconds: 40, delegation_seconds: 60, content_seconds: 50 };

#[test]
fn a_first_key_and_a_roll_over_go_step_by_step() {
    let first = ZoneKeys::first(key(1), 0);
    assert_eq!((first.signing(), first.delegated()), (0, None));
    assert_eq!(first.advanced(1000, false, &WAITS), None, "a node has not got it");
    let published = first.advanced(10, true, &WAITS).unwrap();
    assert_eq!((published.stage, published.until_seconds), (Stage::Published, 60));
    assert!(published.with_ds_published(20, &WAITS).unwrap_err().contains("in 40 s"));
    assert_eq!(published.advanced(59, true, &WAITS), None);
    let offered = published.advanced(60, true, &WAITS).unwrap();
    assert_eq!((offered.stage, offered.delegated()), (Stage::Offered, Some(0)));
    assert_eq!(offered.advanced(9999, true, &WAITS), None, "only an operator knows what the parent has");
    assert!(offered.rolled(key(2), 70).unwrap_err().contains("first key"));
    let settled = offered.with_ds_published(70, &WAITS).unwrap();
    assert_eq!(settled.stage, Stage::Settled);

    let announced = settled.rolled(key(2), 100).unwrap();
    assert_eq!((announced.keys.len(), announced.signing(), announced.delegated()), (2, 0, Some(0)));
    assert!(announced.rolled(key(3), 100).unwrap_err().contains("already"));
    let offered = announced.advanced(101, true, &WAITS).unwrap().advanced(141, true, &WAITS).unwrap();
    assert_eq!((offered.stage, offered.signing(), offered.delegated()), (Stage::Offered, 0, Some(1)));
    let delegated = offered.with_ds_published(200, &WAITS).unwrap();
    assert_eq!((delegated.stage, delegated.signing(), delegated.until_seconds), (Stage::Delegated, 0, 260));
    assert!(delegated.with_ds_published(201, &WAITS).is_err());
    let switching = delegated.advanced(260, true, &WAITS).unwrap();
    assert_eq!((switching.stage, switching.signing()), (Stage::Switching, 1));
    let switched = switching.advanced(261, true, &WAITS).unwrap();
    assert_eq!(switched.advanced(310, true, &WAITS), None);
    let settled = switched.advanced(311, true, &WAITS).unwrap();
    assert_eq!((settled.stage, settled.keys, settled.until_seconds), (Stage::Settled, vec![key(2)], 311));
}

/// What caches may hold: each thing with the last second in which somebody could fetch it.
#[derive(Default)]
struct Caches {
    key_sets: BTreeMap<Vec<u64>, u64>,
    signers: BTreeMap<Option<u64>, u64>,
    delegations: BTreeMap<Option<u64>, u64>,
}

impl Caches {
    /// Everything that a cache may still hold fits together: whatever a resolver combines, it validates.
    fn check(&self, now: u64) {
        let alive = |seen: u64, ttl: u64| seen + ttl > now || seen == now;
        for (delegation, seen) in &self.delegations {
            let (Some(delegation), true) = (delegation, alive(*seen, WAITS.delegation_seconds)) else { continue };
            for (keys, seen) in &self.key_sets {
                if !alive(*seen, WAITS.keys_seconds) {
                    continue;
                }
                assert!(keys.contains(delegation), "at {now}: the DS of {delegation} over the keys {keys:?}");
                for (signer, seen) in &self.signers {
                    if alive(*seen, WAITS.content_seconds) {
                        let known = signer.is_some_and(|signer| keys.contains(&signer));
                        assert!(known, "at {now}: signed by {signer:?}, the keys are {keys:?}");
                    }
                }
            }
        }
    }
}

struct Node {
    has: Option<ZoneKeys>,
    cut_off_until: u64,
}

/// Nodes that read late, a leader that steps, an operator who is slow or hasty: gives the number of finished roll-overs.
fn simulate(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut nodes: Vec<Node> = (0..random.usize(1..5)).map(|_| Node { has: None, cut_off_until: 0 }).collect();
    let (mut book, mut delegation, mut made, mut finished) = (None::<ZoneKeys>, None::<u64>, 0, 0);
    let mut caches = Caches::default();
    for now in 1..4000 {
        for node in &mut nodes {
            let keys = node.has.as_ref().map(|keys| keys.keys.iter().map(|key| key.made_seconds).collect::<Vec<_>>());
            let signer = node.has.as_ref().map(|keys| keys.keys[keys.signing()].made_seconds);
            caches.key_sets.insert(keys.unwrap_or_default(), now);
            caches.signers.insert(signer, now);
            if random.u32(0..400) == 0 {
                node.cut_off_until = now + random.u64(0..300);
            }
            if now >= node.cut_off_until && random.u32(0..3) == 0 {
                node.has = book.clone();
            }
        }
        caches.delegations.insert(delegation, now);
        caches.check(now);
        let everywhere = nodes.iter().all(|node| node.has == book);
        let Some(keys) = &book else {
            made = now;
            book = Some(ZoneKeys::first(key(now), now));
            continue;
        };
        let next = match random.u32(0..10) {
            0..4 => keys.advanced(now, everywhere, &WAITS),
            4 => keys.rolled(key(now), now).ok(),
            // The operator looks what is offered, brings it to the parent, and says so now or later.
            5 if keys.stage == Stage::Offered => {
                delegation = keys.delegated().map(|index| keys.keys[index].made_seconds);
                None
            }
            6 if delegation == keys.keys.last().map(|key| key.made_seconds) => keys.with_ds_published(now, &WAITS).ok(),
            _ => None,
        };
        if let Some(next) = next {
            finished += usize::from(next.stage == Stage::Settled && next.keys[0].made_seconds > made);
            book = Some(next);
        }
    }
    finished
}

#[test]
fn no_resolver_ever_fails_whatever_it_has_cached() {
    let seeds = match std::env::var("ESTAFETA_LONG") {
        Ok(_) => 3_000,
        Err(_) => 300,
    };
    let base = std::env::var("ESTAFETA_SEED").ok().and_then(|seed| seed.parse().ok());
    let finished: usize = match base {
        Some(seed) => simulate(seed),
        None => (0..seeds).map(simulate).sum(),
    };
    assert!(finished > 0, "no roll-over ever ended");
}
