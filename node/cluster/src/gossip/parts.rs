//! Cuts messages into parts that fit a datagram, and puts them together again: chitchat's messages are up to 64 KB, and
//! packets that the network itself must cut are lost whole, and often on purpose.
//!
//! Invariants: at most [`PENDING`] messages of at most [`PARTS`] parts wait for the rest; the oldest gives way.

use std::collections::VecDeque;

use estafeta_core::NodeName;

use super::seal::{Opened, PAYLOAD};

/// The most parts of a message.
pub const PARTS: usize = 64;

/// How many messages may wait for their parts.
const PENDING: usize = 32;

/// A part of a message: its number and how many there are, and what it carries.
pub type Part<'a> = ((u8, u8), &'a [u8]);

/// The parts of a message. None when it is too long.
pub fn cut(message: &[u8]) -> Option<Vec<Part<'_>>> {
    let count = message.len().div_ceil(PAYLOAD).max(1);
    if count > PARTS {
        return None;
    }
    let number = |at: usize| u8::try_from(at).unwrap_or(u8::MAX);
    if message.is_empty() {
        return Some(vec![((0, 1), message)]);
    }
    Some(message.chunks(PAYLOAD).enumerate().map(|(at, part)| ((number(at), number(count)), part)).collect())
}

/// Messages whose parts are coming in.
#[derive(Debug, Default)]
pub struct Waiting(VecDeque<Pending>);

#[derive(Debug)]
struct Pending {
    sender: NodeName,
    boot: u64,
    /// The counter of its first part: parts of one message are sealed one after the other.
    first: u64,
    parts: Vec<Option<Vec<u8>>>,
}

impl Waiting {
    /// Takes a part; gives the message when it was the last one that was missing.
    pub fn take(&mut self, opened: Opened) -> Option<Vec<u8>> {
        let (part, count) = opened.part;
        if part >= count || usize::from(count) > PARTS {
            return None;
        }
        if count == 1 {
            return Some(opened.payload);
        }
        let first = opened.stamp.counter.checked_sub(u64::from(part))?;
        let is_it = |pending: &Pending| {
            pending.sender == opened.sender && pending.boot == opened.stamp.boot && pending.first == first
        };
        let at = match self.0.iter().position(is_it) {
            Some(at) => at,
            None => {
                if self.0.len() >= PENDING {
                    self.0.pop_front();
                }
                let parts = vec![None; usize::from(count)];
                self.0.push_back(Pending { sender: opened.sender, boot: opened.stamp.boot, first, parts });
                self.0.len() - 1
            }
        };
        let pending = self.0.get_mut(at)?;
        // A part that lies about how many there are may be beyond the last: it is not taken.
        *pending.parts.get_mut(usize::from(part))? = Some(opened.payload);
        if pending.parts.iter().any(Option::is_none) {
            return None;
        }
        let pending = self.0.remove(at)?;
        Some(pending.parts.into_iter().flatten().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::replay::Stamp;
    use proptest::prelude::*;

    fn opened(counter: u64, part: (u8, u8), payload: &[u8]) -> Opened {
        let stamp = Stamp { boot: 1, counter, sent_ms: 0 };
        Opened { sender: "a".parse().unwrap(), stamp, part, payload: payload.to_vec() }
    }

    proptest! {
        #[test]
        fn what_was_cut_comes_together_in_any_order(length in 0usize..60_000, turn in 0usize..64) {
            let message: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut parts: Vec<_> = cut(&message).unwrap().into_iter().enumerate().collect();
            let turn = turn % parts.len();
            parts.rotate_left(turn);
            let mut waiting = Waiting::default();
            let whole: Vec<_> = parts
                .iter()
                .filter_map(|(at, (part, payload))| waiting.take(opened(100 + *at as u64, *part, payload)))
                .collect();
            prop_assert_eq!(whole, vec![message]);
            prop_assert!(waiting.0.is_empty());
        }

        #[test]
        fn any_parts_are_taken_calmly(parts in proptest::collection::vec((any::<u64>(), any::<(u8, u8)>()), 0..200)) {
            let mut waiting = Waiting::default();
            for (counter, part) in parts {
                waiting.take(opened(counter, part, b"x"));
            }
            prop_assert!(waiting.0.len() <= PENDING);
        }
    }

    #[test]
    fn what_is_too_long_is_not_cut() {
        assert!(cut(&vec![0; PARTS * PAYLOAD]).is_some());
        assert!(cut(&vec![0; PARTS * PAYLOAD + 1]).is_none());
        // The longest message that chitchat makes.
        const { assert!(PARTS * PAYLOAD >= 65_507) };
    }
}
