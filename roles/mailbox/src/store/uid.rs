//! The numbers by which IMAP knows mailboxes and messages, as types that cannot be mixed up.
//!
//! Invariant: a [`UidSet`] is sorted, its ranges are disjoint and not empty.

use std::fmt;
use std::ops::RangeInclusive;

/// A message's number in its mailbox: never used twice, never appears late (RFC 9051 §2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

/// The life of a mailbox's UIDs: another value means that every UID known before is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(pub u32);

/// A modification sequence (RFC 7162): it grows with every change of a mailbox and never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModSeq(pub u64);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Some UIDs, as ranges.
///
/// A session names its messages by ranges up to the highest UID that it knows. That is exact, and short for a whole
/// mailbox: whatever lies in between and is unknown to the session has been expunged, for a new message only ever
/// comes above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UidSet(Vec<RangeInclusive<u32>>);

impl UidSet {
    /// These ranges, in any order, overlapping or not; empty ones are left out.
    pub fn from_ranges(ranges: impl IntoIterator<Item = RangeInclusive<Uid>>) -> Self {
        let mut ranges: Vec<_> =
            ranges.into_iter().map(|range| range.start().0..=range.end().0).filter(|range| !range.is_empty()).collect();
        ranges.sort_by_key(|range| *range.start());
        let mut set = Self::default();
        for range in ranges {
            set.join(range);
        }
        set
    }

    /// These UIDs, in any order.
    pub fn from_uids(uids: impl IntoIterator<Item = Uid>) -> Self {
        Self::from_ranges(uids.into_iter().map(|uid| uid..=uid))
    }

    /// Every UID that there can be.
    pub fn all() -> Self {
        Self(vec![1..=u32::MAX])
    }

    /// Adds a range that starts no earlier than the last one does.
    fn join(&mut self, range: RangeInclusive<u32>) {
        match self.0.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => self.0.push(range),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is among them.
    pub fn contains(&self, uid: Uid) -> bool {
        let after = self.0.partition_point(|range| *range.start() <= uid.0);
        after > 0 && self.0[after - 1].contains(&uid.0)
    }

    /// Those up to this one, and those behind it.
    pub fn split_behind(&self, uid: Uid) -> (Self, Self) {
        let ranges = |bounds: RangeInclusive<u32>| {
            let cut = self.0.iter().map(|range| *range.start().max(bounds.start())..=*range.end().min(bounds.end()));
            Self(cut.filter(|range| !range.is_empty()).collect())
        };
        let behind = uid.0.checked_add(1).map_or_else(Self::default, |next| ranges(next..=u32::MAX));
        (ranges(0..=uid.0), behind)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.0.iter().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in_and_nothing_else(uids in proptest::collection::vec(1u32..60, 0..40)) {
            let set = UidSet::from_uids(uids.iter().copied().map(Uid));
            for uid in 1..70 {
                prop_assert_eq!(set.contains(Uid(uid)), uids.contains(&uid));
            }
            for cut in [0, 30, u32::MAX] {
                let (up_to, behind) = set.split_behind(Uid(cut));
                for uid in 1..70 {
                    prop_assert_eq!(up_to.contains(Uid(uid)), uid <= cut && set.contains(Uid(uid)));
                    prop_assert_eq!(behind.contains(Uid(uid)), uid > cut && set.contains(Uid(uid)));
                }
            }
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
        }
    }

    #[test]
    fn the_last_uid_is_no_special_case() {
        let set = UidSet::from_ranges([Uid(5)..=Uid(u32::MAX), Uid(u32::MAX)..=Uid(u32::MAX), Uid(9)..=Uid(3)]);
        assert_eq!(set.ranges().collect::<Vec<_>>(), [5..=u32::MAX]);
    }
}
