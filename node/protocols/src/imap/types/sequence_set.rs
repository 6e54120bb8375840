//! Sets of messages as a client writes them: `1:3,7,12:*`.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use super::Uid;
use crate::imap::cursor::{Cursor, Refusal};

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// That number.
    Number(NonZeroU32),
    /// `*`: the largest number in use.
    Last,
}

/// `sequence-set` (RFC 3501 §9), in sequence numbers or in UIDs: never empty, bounded by the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet(Vec<(Endpoint, Endpoint)>);

/// Which messages a command means, and by which numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Messages {
    /// By their place in the mailbox, as this session sees it.
    BySequence(SequenceSet),
    /// By UID (the `UID` form of a command).
    ByUid(SequenceSet),
    /// `$`: what the last SEARCH with `RETURN (SAVE)` found (RFC 5182 §2).
    Saved {
        /// Whether it was named in the `UID` form of a command, whose answers name UIDs.
        by_uid: bool,
    },
}

impl Messages {
    /// Whether the command names UIDs, and so must its answers.
    pub fn by_uid(&self) -> bool {
        matches!(self, Self::ByUid(_) | Self::Saved { by_uid: true })
    }
}

impl SequenceSet {
    /// `sequence-set = (seq-number / seq-range) *("," sequence-set)`
    /// `seq-range    = seq-number ":" seq-number`
    /// `seq-number   = nz-number / "*"`
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        let mut ranges = Vec::new();
        loop {
            let first = Endpoint::parse(cursor)?;
            let last = if cursor.take(b':') { Endpoint::parse(cursor)? } else { first };
            ranges.push((first, last));
            if !cursor.take(b',') {
                return Ok(Self(ranges));
            }
        }
    }

    /// These ranges of UIDs; none when there is none.
    pub fn of(uids: impl IntoIterator<Item = RangeInclusive<Uid>>) -> Option<Self> {
        let endpoint = |uid: &Uid| NonZeroU32::new(uid.get()).map(Endpoint::Number);
        let ranges = uids.into_iter().filter_map(|range| Some((endpoint(range.start())?, endpoint(range.end())?)));
        Some(Self(ranges.collect())).filter(|set| !set.0.is_empty())
    }

    /// `seq-number`, as a set of one.
    pub(crate) fn parse_one(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        let only = Endpoint::parse(cursor)?;
        Ok(Self(vec![(only, only)]))
    }

    /// The numbers that it means when `last` is the largest in use: ascending, disjoint ranges. With nothing in use
    /// (`last` is 0) ranges that name `*` mean nothing.
    pub fn ranges(&self, last: u32) -> Vec<RangeInclusive<u32>> {
        let value = |endpoint: Endpoint| match endpoint {
            Endpoint::Number(number) => number.get(),
            Endpoint::Last => last,
        };
        let mut sorted: Vec<(u32, u32)> = self
            .0
            .iter()
            .filter(|(first, end)| last > 0 || (*first != Endpoint::Last && *end != Endpoint::Last))
            // RFC 3501 §9: the order of the two ends does not count.
            .map(|(first, end)| (value(*first).min(value(*end)), value(*first).max(value(*end))))
            .collect();
        sorted.sort_unstable();
        let mut joined: Vec<RangeInclusive<u32>> = Vec::with_capacity(sorted.len());
        for (first, end) in sorted {
            match joined.last_mut() {
                Some(range) if first <= range.end().saturating_add(1) => {
                    *range = *range.start()..=end.max(*range.end())
                }
                _ => joined.push(first..=end),
            }
        }
        joined
    }
}

impl Endpoint {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        if cursor.take(b'*') { Ok(Self::Last) } else { cursor.nonzero_number().map(Self::Number) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Last => f.write_str("*"),
        }
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}:{last}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<SequenceSet> {
        let mut cursor = Cursor::new(text.as_bytes());
        SequenceSet::parse(&mut cursor).ok().filter(|_| cursor.at_end())
    }

    #[test]
    fn decode_encode_decode() {
        for text in ["1", "*", "1:*", "*:4", "2,4:7,9,12:*", "4294967295"] {
            let set = parse(text).unwrap();
            assert_eq!(set.to_string(), text);
            assert_eq!(parse(&set.to_string()).unwrap(), set);
        }
        for text in ["", "0", "1:", ":1", "1,", ",1", "1:0", "4294967296", "1::2", "a", "1:2:3"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn ranges_are_sorted_and_disjoint() {
        // RFC 3501 §9: 2,4:7,9,12:* in a mailbox of 15.
        assert_eq!(parse("2,4:7,9,12:*").unwrap().ranges(15), [2..=2, 4..=7, 9..=9, 12..=15]);
        assert_eq!(parse("*:4,5:7").unwrap().ranges(5), [4..=7]);
        assert_eq!(parse("9,3:1,2,4").unwrap().ranges(15), [1..=4, 9..=9]);
        // §6.4.8: "UID FETCH 559:*" always includes the last message, even when its UID is below 559.
        assert_eq!(parse("559:*").unwrap().ranges(12), [12..=559]);
        assert_eq!(parse("1:*").unwrap().ranges(0), []);
        assert_eq!(parse("1:*,7").unwrap().ranges(0), [7..=7]);
        assert_eq!(parse("1:4294967295,3:*").unwrap().ranges(u32::MAX), [1..=u32::MAX]);
    }
}
