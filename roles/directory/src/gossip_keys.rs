//! Which keys the members' gossip has: made at the first start, rolled on request and when a node is removed, retired
//! when nobody sends with them any more.
//!
//! Invariants: a key is known everywhere before anybody sends with it; an old one is taken until nobody can still be
//! sending with it; there are never more than [`KEYS_LIMIT`].

use aws_lc_rs::rand;
use estafeta_core::Failure;
use estafeta_core::settings::GossipKey;

/// How long every node has to learn of a new key before anybody sends with it, in seconds: nodes ask every second.
pub const ANNOUNCED_SECONDS: u64 = 60;

/// How long the old keys are still taken after that, in seconds: a node that could not ask the directory sends with one.
const TAKEN_SECONDS: u64 = 600;

/// The most keys at a time.
pub const KEYS_LIMIT: usize = 8;

/// A new key to send with from `from_seconds` on, after these.
pub fn next(keys: &[GossipKey], from_seconds: u64) -> Result<GossipKey, Failure> {
    let mut secret = [0_u8; 32];
    rand::fill(&mut secret).map_err(|_| Failure::internal("the system gives no random bytes"))?;
    let id = keys.last().map_or(1, |newest| newest.id.wrapping_add(1));
    Ok(GossipKey { id, from_seconds, secret: secret.iter().map(|byte| format!("{byte:02x}")).collect() })
}

/// The oldest key that must still be taken now.
pub fn oldest_taken(keys: &[GossipKey], now: u64) -> Option<u32> {
    let settled = keys.iter().rev().find(|key| key.from_seconds.saturating_add(TAKEN_SECONDS) <= now);
    let within_limit = keys.get(keys.len().saturating_sub(KEYS_LIMIT));
    settled.or(keys.first()).into_iter().chain(within_limit).map(|key| key.id).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_keys_go_once_the_new_one_is_settled() {
        let first = next(&[], 0).unwrap();
        let second = next(std::slice::from_ref(&first), 1_000).unwrap();
        assert_eq!((first.id, second.id, second.secret.len()), (1, 2, 64));
        assert_ne!(first.secret, second.secret);
        let keys = [first, second];
        assert_eq!(oldest_taken(&[], 5), None);
        // Announced; in use and not settled; settled.
        for (now, oldest) in [(900, 1), (1_599, 1), (1_600, 2), (9_999_999, 2)] {
            assert_eq!(oldest_taken(&keys, now), Some(oldest), "{now}");
        }
    }

    #[test]
    fn many_rolls_at_once_stay_within_the_limit() {
        let mut keys: Vec<GossipKey> = Vec::new();
        for _ in 0..KEYS_LIMIT + 3 {
            keys.push(next(&keys, 1_000).unwrap());
        }
        assert_eq!(oldest_taken(&keys, 1_000), Some(4));
    }
}
