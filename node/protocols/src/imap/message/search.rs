//! Whether a message is one that SEARCH asks for (RFC 3501 §6.4.4).

use std::ops::RangeInclusive;

use super::Message;
use super::fold::Needle;
use super::fuzzy;
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
    /// Whether the folded text is there, if an index knows.
    fn indexed(&self, _place: Place, _text: &str) -> Option<bool> {
        None
    }
}

/// Where an index looks for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the fields of the header, each with its name.
    Header,
    /// In the texts of the body.
    Body,
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
    /// What a message that FUZZY found is worth, for each test that holds.
    worths: Vec<(u32, Test)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
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
        Self { test: Test::new(key, circumstances, false), worths: Vec::new() }
    }

    /// The same, ready to say how well a message answers what the key asks FUZZY for (RFC 6203 §4).
    pub fn with_worths(key: &SearchKey, circumstances: &Circumstances<'_>) -> Self {
        let mut query = Self::new(key, circumstances);
        Test::add_worths(key, false, &mut query.worths);
        query
    }

    /// How well the message answers, compared with others: none when that takes more than what is at hand.
    pub fn worth(&self, candidate: &impl Candidate) -> Option<u32> {
        let mut worth = 0_u32;
        for (points, test) in &self.worths {
            worth = worth.saturating_add(if test.holds(candidate)? { *points } else { 0 });
        }
        Some(worth)
    }

    /// Whether the message is asked for. None when that takes the message's bytes and they are not at hand: ask again
    /// with them.
    pub fn matches(&self, candidate: &impl Candidate) -> Option<bool> {
        self.test.holds(candidate)
    }
}

impl Test {
    fn new(key: &SearchKey, circumstances: &Circumstances<'_>, fuzzy: bool) -> Self {
        let test = |key: &SearchKey| Self::new(key, circumstances, fuzzy);
        let of_text = |text: &str, test: &dyn Fn(Needle) -> Self| {
            if fuzzy && !text.is_empty() { fuzzy::test(text, test) } else { test(Needle::new(text)) }
        };
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
            SearchKey::Header { name, text } => of_text(text, &|needle| Self::Header(name.clone(), needle)),
            SearchKey::Body(text) => of_text(text, &Self::Body),
            SearchKey::Text(text) => of_text(text, &Self::Text),
            SearchKey::Fuzzy(key) => Self::new(key, circumstances, true),
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

    /// What it is worth to have what is asked for: not what is not to be had.
    fn add_worths(key: &SearchKey, fuzzy: bool, worths: &mut Vec<(u32, Self)>) {
        match key {
            SearchKey::Fuzzy(key) => Self::add_worths(key, true, worths),
            SearchKey::And(keys) => keys.iter().for_each(|key| Self::add_worths(key, fuzzy, worths)),
            SearchKey::Or(first, second) => {
                [first, second].iter().for_each(|key| Self::add_worths(key, fuzzy, worths));
            }
            SearchKey::Header { name, text } if fuzzy => {
                fuzzy::worths(text, |needle| Self::Header(name.clone(), needle), worths);
            }
            SearchKey::Body(text) if fuzzy => fuzzy::worths(text, Self::Body, worths),
            SearchKey::Text(text) if fuzzy => {
                fuzzy::worths(text, Self::Text, worths);
                fuzzy::worths(text, |needle| Self::Header("Subject".to_owned(), needle), worths);
            }
            _ => {}
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
            // What is in no field is not in this one.
            Self::Header(_, needle) if indexed(candidate, Place::Header, needle) == Some(false) => Some(false),
            Self::Header(name, needle) => Some(candidate.header()?.field_holds(name, needle)),
            Self::Body(needle) => in_body(candidate, needle),
            Self::Text(needle) => {
                let in_header = || Some(candidate.header()?.header_holds(needle));
                if indexed(candidate, Place::Body, needle) == Some(true)
                    || indexed(candidate, Place::Header, needle).or_else(in_header)?
                {
                    return Some(true);
                }
                in_body(candidate, needle)
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

fn indexed(candidate: &impl Candidate, place: Place, needle: &Needle) -> Option<bool> {
    if needle.is_empty() { Some(true) } else { candidate.indexed(place, needle.as_str()) }
}

fn in_body(candidate: &impl Candidate, needle: &Needle) -> Option<bool> {
    indexed(candidate, Place::Body, needle).or_else(|| Some(candidate.message()?.body_holds(needle)))
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
        self.tests().for_each(|test| test.add_wants(&mut wants));
        wants
    }

    /// The folded texts that it looks for, and where an index may be asked for them: each once.
    pub fn texts(&self) -> Vec<(Place, &str)> {
        let mut texts = Vec::new();
        self.tests().for_each(|test| test.add_texts(&mut texts));
        texts.sort_unstable();
        texts.dedup();
        texts
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        std::iter::once(&self.test).chain(self.worths.iter().map(|(_, test)| test))
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

impl Test {
    fn add_texts<'a>(&'a self, texts: &mut Vec<(Place, &'a str)>) {
        match self {
            Self::Header(_, needle) if !needle.is_empty() => texts.push((Place::Header, needle.as_str())),
            Self::Body(needle) if !needle.is_empty() => texts.push((Place::Body, needle.as_str())),
            Self::Text(needle) if !needle.is_empty() => {
                texts.extend([(Place::Header, needle.as_str()), (Place::Body, needle.as_str())]);
            }
            Self::Not(test) => test.add_texts(texts),
            Self::Any(tests) | Self::Every(tests) => tests.iter().for_each(|test| test.add_texts(texts)),
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
        /// What an index knows, if there is one.
        index: Option<&'static str>,
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
        fn indexed(&self, place: Place, text: &str) -> Option<bool> {
            self.index.map(|body| place == Place::Body && body.contains(text))
        }
    }

    fn matches(keys: &str, bytes: bool) -> Option<bool> {
        let text = "From: Ana <ana@x>\r\nDate: Sat, 28 Feb 2026 10:00:00 +0100\r\nSubject: hello\r\n\r\nworld\r\n";
        let message = bytes.then(|| Message::new(Bytes::new(), Bytes::from_static(text.as_bytes())));
        query(keys).matches(&Sample { message, ..sample() })
    }

    fn sample() -> Sample {
        let flags = Flags::from_iter([Flag::Seen, Flag::new(b"work").unwrap()]);
        Sample { flags, message: None, index: None }
    }

    fn query(keys: &str) -> Query {
        let Some(Command::Search(search)) = command(&format!("SEARCH {keys}")) else { panic!("{keys}") };
        let now = Date::new(2026, 3, 1).unwrap().days_since_epoch() * 86_400 + 7_200;
        let circumstances = Circumstances { last_sequence: 10, last_uid: 99, saved: &[60..=70], now };
        Query::with_worths(&search.key, &circumstances)
    }

    #[test]
    fn what_an_index_decides() {
        let sample = || Sample { index: Some("hola mundo"), ..sample() };
        for (keys, expected) in [
            ("BODY Mundo", Some(true)),
            ("BODY luna", Some(false)),
            ("BODY \"\"", Some(true)),
            ("TEXT mundo", Some(true)),
            ("TEXT luna", Some(false)),
            ("NOT TEXT luna", Some(true)),
            // In no field: so not in this one. That a field is there at all it does not know.
            ("SUBJECT mundo", Some(false)),
            ("HEADER Subject \"\"", None),
        ] {
            assert_eq!(query(keys).matches(&sample()), expected, "{keys}");
        }
        let query = query("OR TEXT Uno BODY Uno SUBJECT dos");
        assert_eq!(query.texts(), [(Place::Header, "dos"), (Place::Header, "uno"), (Place::Body, "uno")]);
    }

    #[test]
    fn fuzzy() {
        let message = |text: &str| Some(Message::new(Bytes::new(), Bytes::from(text.to_owned())));
        let aplazado = "Subject: Aplazado\r\n\r\nLa reuni\u{f3}n del lunes\r\n";
        for (keys, found) in [
            ("FUZZY TEXT \"reuniones aplazadas\"", true),
            ("TEXT \"reuniones aplazadas\"", false),
            ("FUZZY BODY \"reuniones aplazadas\"", false),
            ("FUZZY SUBJECT aplazar", false),
            ("FUZZY SUBJECT aplazamos", false),
            ("FUZZY SUBJECT aplazada", true),
            ("FUZZY (SUBJECT aplazadas BODY lunes)", true),
            ("FUZZY NOT BODY lunes", false),
            ("FUZZY SEEN", true),
            ("FUZZY UNSEEN", false),
            ("FUZZY BODY \"!\"", false),
            ("FUZZY BODY \"\"", true),
        ] {
            let sample = Sample { message: message(aplazado), ..sample() };
            assert_eq!(query(keys).matches(&sample), Some(found), "{keys}");
        }
        let worth = |text: &str| {
            let sample = Sample { message: message(text), ..sample() };
            query("FUZZY TEXT \"reuni\u{f3}n aplazada\"").worth(&sample).unwrap()
        };
        let worths = [
            worth("\r\nnada"),
            worth("\r\naplazamos las reuniones"),
            worth("\r\naplazada: la reunion"),
            worth("\r\nReuni\u{f3}n aplazada"),
            worth("Subject: Reuni\u{f3}n aplazada\r\n\r\n"),
        ];
        assert!(worths[0] == 0 && worths.is_sorted_by(|one, next| one < next), "{worths:?}");
        assert_eq!(query("TEXT a").worth(&sample()), Some(0));
        assert_eq!(query("FUZZY TEXT a").worth(&sample()), None);
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
