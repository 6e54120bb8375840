//! Whether a message is one that SEARCH asks for (RFC 3501 §6.4.4).

use std::ops::RangeInclusive;

use super::Message;
use super::text::Needle;
use crate::imap::command::search::SearchKey;
use crate::imap::types::{Date, DateTime, Flag, SequenceSet, Uid};

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
    /// When it was received (INTERNALDATE), in seconds since 1970.
    fn received(&self) -> i64;
    /// When it came into this mailbox, in seconds since 1970.
    fn saved(&self) -> i64;
    /// Its modification sequence.
    fn mod_sequence(&self) -> u64;
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Its bytes, if they are at hand.
    fn message(&self) -> Option<&Message>;
    /// The message, if at least its header is at hand: nothing but the header is asked of it.
    fn header(&self) -> Option<&Message> {
        self.message()
    }
    /// Its EMAILID, if that is at hand.
    fn email_id(&self) -> Option<&str> {
        None
    }
    /// Its THREADID, if that is at hand.
    fn thread_id(&self) -> Option<&str> {
        None
    }
}

/// What a key is understood against: the searching session's numbers and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The largest sequence number in use; 0 in an empty mailbox.
    pub last_sequence: u32,
    /// The largest UID in use; 0 in an empty mailbox.
    pub last_uid: u32,
    /// The saved result (`$`) as UIDs: ascending, disjoint ranges.
    pub saved: &'a [RangeInclusive<u32>],
    /// In seconds since 1970.
    pub now: i64,
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
    SavedBefore(Date),
    SavedOn(Date),
    SavedSince(Date),
    /// Received at that time or later, in seconds since 1970.
    ReceivedFrom(i64),
    ModSeq(u64),
    Larger(u64),
    Smaller(u64),
    Header(String, Needle),
    Body(Needle),
    Text(Needle),
    EmailId(String),
    ThreadId(String),
    Sequence(Vec<RangeInclusive<u32>>),
    Uid(Vec<RangeInclusive<u32>>),
    Not(Box<Test>),
    Any(Vec<Test>),
    Every(Vec<Test>),
}

impl Query {
    /// The key under these circumstances.
    pub fn new(key: &SearchKey, circumstances: &Circumstances<'_>) -> Self {
        Self { test: Test::new(key, circumstances) }
    }

    /// Whether the message is asked for. None when that takes the message's bytes and they are not at hand: ask again
    /// with them.
    pub fn matches(&self, candidate: &impl Candidate) -> Option<bool> {
        self.test.holds(candidate)
    }
}

impl Test {
    fn new(key: &SearchKey, circumstances: &Circumstances<'_>) -> Self {
        let test = |key: &SearchKey| Self::new(key, circumstances);
        let ranges = SequenceSet::ranges;
        let ago = |seconds: u32| circumstances.now.saturating_sub(i64::from(seconds));
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
            SearchKey::EmailId(id) => Self::EmailId(id.clone()),
            SearchKey::ThreadId(id) => Self::ThreadId(id.clone()),
            SearchKey::Sequence(set) => Self::Sequence(ranges(set, circumstances.last_sequence)),
            SearchKey::Uid(set) => Self::Uid(ranges(set, circumstances.last_uid)),
            SearchKey::Saved => Self::Uid(circumstances.saved.to_vec()),
            SearchKey::SavedBefore(date) => Self::SavedBefore(*date),
            SearchKey::SavedOn(date) => Self::SavedOn(*date),
            SearchKey::SavedSince(date) => Self::SavedSince(*date),
            SearchKey::Younger(seconds) => Self::ReceivedFrom(ago(*seconds)),
            SearchKey::Older(seconds) => Self::Not(Box::new(Self::ReceivedFrom(ago(*seconds).saturating_add(1)))),
            SearchKey::ModSeq(value) => Self::ModSeq(*value),
            SearchKey::Not(key) => Self::Not(Box::new(test(key))),
            SearchKey::Or(first, second) => Self::Any(vec![test(first), test(second)]),
            SearchKey::And(keys) => Self::Every(keys.iter().map(test).collect()),
        }
    }

    /// In three values: what is not known yet may not matter.
    fn holds(&self, candidate: &impl Candidate) -> Option<bool> {
        let sent = |compare: fn(&Date, &Date) -> bool, date: &Date| {
            let message = candidate.header()?;
            // A message without a date was sent on no day.
            Some(message.sent_date().is_some_and(|sent| compare(&sent, date)))
        };
        match self {
            Self::All => Some(true),
            Self::Has(flag) => Some(candidate.has(flag)),
            Self::Recent => Some(candidate.recent()),
            Self::Before(date) => Some(day(candidate.received()) < *date),
            Self::On(date) => Some(day(candidate.received()) == *date),
            Self::Since(date) => Some(day(candidate.received()) >= *date),
            Self::SavedBefore(date) => Some(day(candidate.saved()) < *date),
            Self::SavedOn(date) => Some(day(candidate.saved()) == *date),
            Self::SavedSince(date) => Some(day(candidate.saved()) >= *date),
            Self::ReceivedFrom(time) => Some(candidate.received() >= *time),
            Self::ModSeq(value) => Some(candidate.mod_sequence() >= *value),
            Self::SentBefore(date) => sent(Date::lt, date),
            Self::SentOn(date) => sent(Date::eq, date),
            Self::SentSince(date) => sent(Date::ge, date),
            Self::Larger(size) => Some(candidate.size() > *size),
            Self::Smaller(size) => Some(candidate.size() < *size),
            Self::Header(name, needle) => Some(candidate.header()?.field_holds(name, needle)),
            Self::Body(needle) => Some(candidate.message()?.body_holds(needle)),
            Self::Text(needle) => {
                if candidate.header()?.header_holds(needle) {
                    return Some(true);
                }
                Some(candidate.message()?.body_holds(needle))
            }
            Self::EmailId(id) => candidate.email_id().map(|one| one == id),
            Self::ThreadId(id) => candidate.thread_id().map(|one| one == id),
            Self::Sequence(ranges) => Some(within(ranges, candidate.sequence())),
            Self::Uid(ranges) => Some(within(ranges, candidate.uid().get())),
            Self::Not(test) => test.holds(candidate).map(|holds| !holds),
            Self::Any(tests) => decide(tests, candidate, true),
            Self::Every(tests) => decide(tests, candidate, false),
        }
    }
}

/// What of messages a query may ask for, beside what a session knows anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// The header.
    pub header: bool,
    /// EMAILID or THREADID.
    pub ids: bool,
}

impl Query {
    /// What it may ask for; the text it may ask for beside.
    pub fn wants(&self) -> Wants {
        let mut wants = Wants::default();
        self.test.add_wants(&mut wants);
        wants
    }
}

impl Test {
    fn add_wants(&self, wants: &mut Wants) {
        match self {
            Self::SentBefore(_) | Self::SentOn(_) | Self::SentSince(_) | Self::Header(..) | Self::Text(_) => {
                wants.header = true;
            }
            Self::EmailId(_) | Self::ThreadId(_) => wants.ids = true,
            Self::Not(test) => test.add_wants(wants),
            Self::Any(tests) | Self::Every(tests) => tests.iter().for_each(|test| test.add_wants(wants)),
            _ => {}
        }
    }
}

fn day(unix_seconds: i64) -> Date {
    DateTime::from_unix_seconds(unix_seconds).date()
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
            Self::Header(..) | Self::Body(_) | Self::Text(_) | Self::EmailId(_) | Self::ThreadId(_) => false,
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
        fn received(&self) -> i64 {
            Date::new(2026, 3, 1).unwrap().days_since_epoch() * 86_400 + 3_600
        }
        fn saved(&self) -> i64 {
            Date::new(2026, 3, 5).unwrap().days_since_epoch() * 86_400
        }
        fn mod_sequence(&self) -> u64 {
            7_000_000_000
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
        let now = Date::new(2026, 3, 1).unwrap().days_since_epoch() * 86_400 + 7_200;
        let circumstances = Circumstances { last_sequence: 10, last_uid: 99, saved: &[60..=70], now };
        Query::new(&search.key, &circumstances).matches(&Sample { flags, message })
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
            ("$", true),
            ("NOT UID $", false),
            ("YOUNGER 3600", true),
            ("YOUNGER 3599", false),
            ("OLDER 3600", true),
            ("OLDER 3601", false),
            ("SAVEDON 5-Mar-2026", true),
            ("SAVEDBEFORE 5-Mar-2026", false),
            ("SAVEDSINCE 5-Mar-2026", true),
            ("MODSEQ 7000000000", true),
            ("MODSEQ 7000000001", false),
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
