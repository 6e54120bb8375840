//! Whether a message is one that SEARCH asks for (RFC 3501 §6.4.4).

use std::ops::RangeInclusive;

use super::Message;
use super::text::Needle;
use crate::imap::command::search::SearchKey;
use crate::imap::types::{Date, Flag, SequenceSet, Uid};

/// A message that may be asked for, as the searching session sees it.
pub trait Candidate {
    /// Its place in the mailbox.
    fn sequence(&self) -> u32;
    /// Its UID.
    fn uid(&self) -> Uid;
    /// Whether it has the flag.
    fn has(&self, flag: &Flag) -> bool;
    /// Whether it is recent.
    fn recent(&self) -> bool;
    /// The day of its INTERNALDATE.
    fn date(&self) -> Date;
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Its bytes, if they are at hand.
    fn message(&self) -> Option<&Message>;
}

/// A search key made ready for many messages: sets resolved, texts folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    All,
    Has(Flag),
    Recent,
    Before(Date),
    On(Date),
    Since(Date),
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    Larger(u64),
    Smaller(u64),
    Header(String, Needle),
    Body(Needle),
    Text(Needle),
    Sequence(Vec<RangeInclusive<u32>>),
    Uid(Vec<RangeInclusive<u32>>),
    Not(Box<Test>),
    Any(Vec<Test>),
    Every(Vec<Test>),
}

impl Query {
    /// The key, in a mailbox where those are the largest numbers in use (0 when it is empty).
    pub fn new(key: &SearchKey, last_sequence: u32, last_uid: u32) -> Self {
        Self { test: Test::new(key, last_sequence, last_uid) }
    }

    /// Whether the message is asked for. None when that takes the message's bytes and they are not at hand: ask again
    /// with them.
    pub fn matches(&self, candidate: &impl Candidate) -> Option<bool> {
        self.test.holds(candidate)
    }
}

impl Test {
    fn new(key: &SearchKey, last_sequence: u32, last_uid: u32) -> Self {
        let test = |key: &SearchKey| Self::new(key, last_sequence, last_uid);
        let ranges = SequenceSet::ranges;
        match key {
            SearchKey::All => Self::All,
            SearchKey::Has(flag) => Self::Has(flag.clone()),
            SearchKey::Recent => Self::Recent,
            SearchKey::Before(date) => Self::Before(*date),
            SearchKey::On(date) => Self::On(*date),
            SearchKey::Since(date) => Self::Since(*date),
            SearchKey::SentBefore(date) => Self::SentBefore(*date),
            SearchKey::SentOn(date) => Self::SentOn(*date),
            SearchKey::SentSince(date) => Self::SentSince(*date),
            SearchKey::Larger(size) => Self::Larger(u64::from(*size)),
            SearchKey::Smaller(size) => Self::Smaller(u64::from(*size)),
            SearchKey::Header { name, text } => Self::Header(name.clone(), Needle::new(text)),
            SearchKey::Body(text) => Self::Body(Needle::new(text)),
            SearchKey::Text(text) => Self::Text(Needle::new(text)),
            SearchKey::Sequence(set) => Self::Sequence(ranges(set, last_sequence)),
            SearchKey::Uid(set) => Self::Uid(ranges(set, last_uid)),
            SearchKey::Not(key) => Self::Not(Box::new(test(key))),
            SearchKey::Or(first, second) => Self::Any(vec![test(first), test(second)]),
            SearchKey::And(keys) => Self::Every(keys.iter().map(test).collect()),
        }
    }

    /// In three values: what is not known yet may not matter.
    fn holds(&self, candidate: &impl Candidate) -> Option<bool> {
        let sent = |compare: fn(&Date, &Date) -> bool, date: &Date| {
            let message = candidate.message()?;
            // A message without a date was sent on no day.
            Some(message.sent_date().is_some_and(|sent| compare(&sent, date)))
        };
        match self {
            Self::All => Some(true),
            Self::Has(flag) => Some(candidate.has(flag)),
            Self::Recent => Some(candidate.recent()),
            Self::Before(date) => Some(candidate.date() < *date),
            Self::On(date) => Some(candidate.date() == *date),
            Self::Since(date) => Some(candidate.date() >= *date),
            Self::SentBefore(date) => sent(Date::lt, date),
            Self::SentOn(date) => sent(Date::eq, date),
            Self::SentSince(date) => sent(Date::ge, date),
            Self::Larger(size) => Some(candidate.size() > *size),
            Self::Smaller(size) => Some(candidate.size() < *size),
            Self::Header(name, needle) => Some(candidate.message()?.field_holds(name, needle)),
            Self::Body(needle) => Some(candidate.message()?.body_holds(needle)),
            Self::Text(needle) => {
                let message = candidate.message()?;
                Some(message.header_holds(needle) || message.body_holds(needle))
            }
            Self::Sequence(ranges) => Some(within(ranges, candidate.sequence())),
            Self::Uid(ranges) => Some(within(ranges, candidate.uid().get())),
            Self::Not(test) => test.holds(candidate).map(|holds| !holds),
            Self::Any(tests) => decide(tests, candidate, true),
            Self::Every(tests) => decide(tests, candidate, false),
        }
    }
}

/// `decisive` if one of the tests gives it, else not known if one is not known.
fn decide(tests: &[Test], candidate: &impl Candidate, decisive: bool) -> Option<bool> {
    // What needs no bytes is asked first; with the bytes at hand, it still spares the costly look.
    let (cheap, costly): (Vec<&Test>, Vec<&Test>) = tests.iter().partition(|test| test.is_cheap());
    let mut known = true;
    for test in cheap.into_iter().chain(costly) {
        match test.holds(candidate) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(!decisive)
}

impl Test {
    /// Whether it looks at no bytes, and at nothing that may.
    fn is_cheap(&self) -> bool {
        match self {
            Self::SentBefore(_) | Self::SentOn(_) | Self::SentSince(_) => false,
            Self::Header(..) | Self::Body(_) | Self::Text(_) => false,
            Self::Not(test) => test.is_cheap(),
            Self::Any(_) | Self::Every(_) => false,
            _ => true,
        }
    }
}

/// Whether a number is in one of the ascending, disjoint ranges.
fn within(ranges: &[RangeInclusive<u32>], number: u32) -> bool {
    let place = ranges.partition_point(|range| *range.end() < number);
    ranges.get(place).is_some_and(|range| range.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::Command;
    use crate::imap::command::tests::command;
    use crate::imap::types::Flags;
    use bytes::Bytes;

    struct Sample {
        flags: Flags,
        message: Option<Message>,
    }

    impl Candidate for Sample {
        fn sequence(&self) -> u32 {
            5
        }
        fn uid(&self) -> Uid {
            Uid::new(70).unwrap()
        }
        fn has(&self, flag: &Flag) -> bool {
            self.flags.contains(flag)
        }
        fn recent(&self) -> bool {
            true
        }
        fn date(&self) -> Date {
            Date::new(2026, 3, 1).unwrap()
        }
        fn size(&self) -> u64 {
            1_000
        }
        fn message(&self) -> Option<&Message> {
            self.message.as_ref()
        }
    }

    fn matches(keys: &str, bytes: bool) -> Option<bool> {
        let Some(Command::Search(search)) = command(&format!("SEARCH {keys}")) else { panic!("{keys}") };
        let text = "From: Ana <ana@x>\r\nDate: Sat, 28 Feb 2026 10:00:00 +0100\r\nSubject: hello\r\n\r\nworld\r\n";
        let message = bytes.then(|| Message::new(Bytes::new(), Bytes::from_static(text.as_bytes())));
        let flags = Flags::from_iter([Flag::Seen, Flag::new(b"work").unwrap()]);
        Query::new(&search.key, 10, 99).matches(&Sample { flags, message })
    }

    #[test]
    fn without_bytes() {
        for (keys, expected) in [
            ("ALL", true),
            ("SEEN", true),
            ("UNSEEN", false),
            ("NEW", false),
            ("RECENT", true),
            ("OLD", false),
            ("KEYWORD WORK", true),
            ("UNKEYWORD other", true),
            ("5", true),
            ("1:4,6:*", false),
            ("*", false),
            ("UID 70", true),
            ("UID 100:*", false),
            ("UID 1:70", true),
            ("BEFORE 1-Mar-2026", false),
            ("ON 1-Mar-2026", true),
            ("SINCE 1-Mar-2026", true),
            ("BEFORE 2-Mar-2026 SINCE 28-Feb-2026", true),
            ("LARGER 999 SMALLER 1001", true),
            ("LARGER 1000", false),
            ("OR SEEN FLAGGED", true),
            ("NOT (SEEN 5)", false),
        ] {
            assert_eq!(matches(keys, false), Some(expected), "{keys}");
            assert_eq!(matches(keys, true), Some(expected), "{keys}");
        }
    }

    #[test]
    fn with_bytes() {
        for (keys, expected) in [
            ("FROM ana", true),
            ("TO ana", false),
            ("SUBJECT HELLO", true),
            ("HEADER date \"\"", true),
            ("BODY world", true),
            ("BODY hello", false),
            ("TEXT hello", true),
            ("TEXT world", true),
            ("SENTON 28-Feb-2026", true),
            ("SENTBEFORE 28-Feb-2026", false),
            ("SENTSINCE 28-Feb-2026", true),
            ("NOT BODY hello", true),
            ("SEEN BODY world", true),
            ("OR UNSEEN BODY world", true),
        ] {
            assert_eq!(matches(keys, true), Some(expected), "{keys}");
            assert_eq!(matches(keys, false), None, "{keys}");
        }
        // What is decided without them does not ask for them.
        assert_eq!(matches("UNSEEN BODY world", false), Some(false));
        assert_eq!(matches("OR BODY world SEEN", false), Some(true));
        assert_eq!(matches("NOT (BODY world UNSEEN)", false), Some(true));
    }
}
