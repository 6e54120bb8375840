//! Which datagrams were seen already.
//!
//! Invariants: no datagram is taken twice while this node runs, and none that is further than the allowed skew from this
//! node's clock; at most [`SENDERS`] senders with [`BOOTS`] starts each are remembered.
//!
//! A datagram carries its sender's name, a number drawn at the sender's start, a counter and the time. The counter is
//! held against a sliding window for each start, as IPsec does (RFC 4303 §3.4.3). After a restart this node remembers
//! nothing; then the time limits what could be played back to the last few seconds, and that changes nothing: heartbeats
//! only count when they grow, and descriptions are signed for one start of their node. Clocks that are apart by more than
//! the allowed skew silence a node, as if its certificate had not begun yet: that is said in the log, with the mend.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use estafeta_core::NodeName;

/// How many senders are remembered.
const SENDERS: usize = 1024;

/// How many starts of a sender are remembered.
const BOOTS: usize = 4;

/// How far behind the newest counter a datagram may come in.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// What a datagram says of its making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Drawn when the sender started.
    pub boot: u64,
    /// Grows by one with each datagram of that start.
    pub counter: u64,
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: u64,
}

/// Why a datagram is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// It was taken already, or is too far behind those that were.
    Seen,
    /// Its time is too far from ours.
    Skew,
}

/// What was seen of all senders.
#[derive(Debug, Default)]
pub struct Seen {
    senders: BTreeMap<NodeName, Sender>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Sender {
    boots: VecDeque<Boot>,
    used: u64,
}

#[derive(Debug)]
struct Boot {
    boot: u64,
    newest: u64,
    bits: [u64; WORDS],
}

impl Seen {
    /// Takes a datagram, once.
    pub fn take(&mut self, sender: &NodeName, stamp: Stamp, now_ms: u64, skew: Duration) -> Result<(), Stale> {
        if u128::from(now_ms.abs_diff(stamp.sent_ms)) > skew.as_millis() {
            return Err(Stale::Skew);
        }
        self.clock += 1;
        if !self.senders.contains_key(sender) {
            self.make_room();
        }
        let known = self.senders.entry(sender.clone()).or_default();
        known.used = self.clock;
        match known.boots.iter_mut().find(|boot| boot.boot == stamp.boot) {
            Some(boot) => boot.take(stamp.counter),
            None => {
                known.boots.truncate(BOOTS - 1);
                known.boots.push_front(Boot::begin(stamp));
                Ok(())
            }
        }
    }

    /// Forgets the sender that has been silent the longest when there are too many.
    fn make_room(&mut self) {
        if self.senders.len() >= SENDERS
            && let Some(oldest) =
                self.senders.iter().min_by_key(|(_, sender)| sender.used).map(|(name, _)| name.clone())
        {
            self.senders.remove(&oldest);
        }
    }
}

impl Boot {
    fn begin(stamp: Stamp) -> Self {
        let mut boot = Self { boot: stamp.boot, newest: stamp.counter, bits: [0; WORDS] };
        boot.mark(stamp.counter);
        boot
    }

    fn take(&mut self, counter: u64) -> Result<(), Stale> {
        if counter > self.newest {
            // What lies between was not seen; the places of what falls out of the window are theirs now.
            for passed in (self.newest + 1..=counter).take(WINDOW as usize) {
                self.clear(passed);
            }
            if counter - self.newest > WINDOW {
                self.bits = [0; WORDS];
            }
            self.newest = counter;
        } else if self.newest - counter >= WINDOW || self.is_marked(counter) {
            return Err(Stale::Seen);
        }
        self.mark(counter);
        Ok(())
    }

    fn place(counter: u64) -> (usize, u64) {
        let place = counter % WINDOW;
        ((place / 64) as usize, 1 << (place % 64))
    }

    fn mark(&mut self, counter: u64) {
        let (word, bit) = Self::place(counter);
        self.bits[word] |= bit;
    }

    fn clear(&mut self, counter: u64) {
        let (word, bit) = Self::place(counter);
        self.bits[word] &= !bit;
    }

    fn is_marked(&self, counter: u64) -> bool {
        let (word, bit) = Self::place(counter);
        self.bits[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SKEW: Duration = Duration::from_secs(30);
    const NOW: u64 = 1_800_000_000_000;

    fn stamp(boot: u64, counter: u64) -> Stamp {
        Stamp { boot, counter, sent_ms: NOW }
    }

    #[test]
    fn each_start_counts_apart_and_time_bounds_all() {
        let name: NodeName = "a".parse().unwrap();
        let mut seen = Seen::default();
        assert_eq!(seen.take(&name, stamp(1, 5), NOW, SKEW), Ok(()));
        assert_eq!(seen.take(&name, stamp(1, 5), NOW, SKEW), Err(Stale::Seen));
        assert_eq!(seen.take(&name, stamp(2, 5), NOW, SKEW), Ok(()));
        assert_eq!(seen.take(&name, stamp(1, 4), NOW, SKEW), Ok(()));
        assert_eq!(seen.take(&"b".parse().unwrap(), stamp(1, 5), NOW, SKEW), Ok(()));
        assert_eq!(seen.take(&name, stamp(1, 6), NOW + 31_000, SKEW), Err(Stale::Skew));
        assert_eq!(seen.take(&name, stamp(1, 6), NOW - 31_000, SKEW), Err(Stale::Skew));
        assert_eq!(seen.take(&name, stamp(1, u64::MAX), NOW, SKEW), Ok(()));
        assert_eq!(seen.take(&name, stamp(1, 7), NOW, SKEW), Err(Stale::Seen));
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..2 * SENDERS as u64 {
            let name: NodeName = format!("n{number}").parse().unwrap();
            for boot in 0..6 {
                seen.take(&name, stamp(boot, number), NOW, SKEW).unwrap();
            }
        }
        assert_eq!(seen.senders.len(), SENDERS);
        assert!(seen.senders.values().all(|sender| sender.boots.len() == BOOTS));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice_and_nothing_in_order_is_refused(counters in proptest::collection::vec(0u64..4000, 1..300)) {
            let name: NodeName = "a".parse().unwrap();
            let (mut seen, mut taken, mut newest) = (Seen::default(), BTreeSet::new(), 0);
            for counter in counters {
                let result = seen.take(&name, stamp(9, counter), NOW, SKEW);
                let recent = counter + WINDOW > newest;
                prop_assert_eq!(result.is_ok(), recent && !taken.contains(&counter), "{} after {}", counter, newest);
                if result.is_ok() {
                    taken.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }
}
