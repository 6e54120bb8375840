//! SEARCH and UID SEARCH (RFC 3501 §6.4.4), with results as asked for (RFC 4731, RFC 5182), by age (RFC 5032), by
//! modification sequence (RFC 7162 §3.1.5) and by the date of saving (RFC 8514 §4.2), inexactly (RFC 6203).

use super::{Command, Numbering, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{Date, Flag, Keyword, SequenceSet, Window};

/// The deepest nesting of keys.
const DEPTH: usize = 32;
/// The most keys in one command.
const KEYS: usize = 1_000;

/// Which messages are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// UID SEARCH: answer with UIDs.
    pub by_uid: bool,
    /// What must hold of a message.
    pub key: SearchKey,
    /// What of the result to answer, by ESEARCH; none for all of it by SEARCH.
    pub give: Option<Give>,
}

/// What of a search's result is wanted (RFC 4731 §3.1, RFC 5182 §2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Give {
    /// `MIN`: the lowest number.
    pub min: bool,
    /// `MAX`: the highest number.
    pub max: bool,
    /// `ALL`: all numbers.
    pub all: bool,
    /// `COUNT`: how many.
    pub count: bool,
    /// `SAVE`: remember the result as `$`.
    pub save: bool,
    /// `PARTIAL`: only this page of the numbers (RFC 9394 §3.1).
    pub window: Option<Window>,
    /// `RELEVANCY`: how well each answers what FUZZY asks for (RFC 6203 §4).
    pub relevancy: bool,
}

impl Give {
    /// `"(" [search-return-opt *(SP search-return-opt)] ")"`; none means ALL (RFC 4731 §3.1).
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        cursor.expect(b'(')?;
        let mut give = Self::default();
        while !cursor.take(b')') {
            let option = match cursor.atom()?.to_ascii_uppercase().as_slice() {
                b"MIN" => &mut give.min,
                b"MAX" => &mut give.max,
                b"ALL" => &mut give.all,
                b"COUNT" => &mut give.count,
                b"SAVE" => &mut give.save,
                b"RELEVANCY" => &mut give.relevancy,
                b"PARTIAL" if give.window.is_none() => {
                    cursor.space()?;
                    give.window = Some(Window::parse(cursor)?);
                    &mut false
                }
                _ => return Err(Refusal::Bad("Unknown result option")),
            };
            *option = true;
            if cursor.peek() != Some(b')') {
                cursor.space()?;
            }
        }
        give.all |= give == Self::default();
        // RFC 9394 §3.1
        if give.all && give.window.is_some() {
            return Err(Refusal::Bad("ALL and PARTIAL together make no sense"));
        }
        Ok(give)
    }
}

/// What must hold of a message (`search-key`). Keys that abbreviate others are written out: NEW is
/// `And([Recent, Not(Has(Seen))])`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    /// Anything.
    All,
    /// It has the flag.
    Has(Flag),
    /// It is recent in this session.
    Recent,
    /// INTERNALDATE's day is before that one.
    Before(Date),
    /// INTERNALDATE's day is that one.
    On(Date),
    /// INTERNALDATE's day is that one or later.
    Since(Date),
    /// The Date field's day is before that one.
    SentBefore(Date),
    /// The Date field's day is that one.
    SentOn(Date),
    /// The Date field's day is that one or later.
    SentSince(Date),
    /// Its size in bytes is above that.
    Larger(u32),
    /// Its size in bytes is below that.
    Smaller(u32),
    /// The field is there and holds the text; with an empty text, the field is there.
    Header {
        /// The field's name.
        name: String,
        /// The text.
        text: String,
    },
    /// The body holds the text.
    Body(String),
    /// The header or the body holds the text.
    Text(String),
    /// Its sequence number is one of these.
    Sequence(SequenceSet),
    /// It is the content of that EMAILID (RFC 8474 §6).
    EmailId(String),
    /// It is of the thread of that THREADID (RFC 8474 §6).
    ThreadId(String),
    /// Its UID is one of these.
    Uid(SequenceSet),
    /// `$`: the last saved result holds it (RFC 5182 §2).
    Saved,
    /// It was received within so many seconds (RFC 5032 §3).
    Younger(u32),
    /// It was received so many seconds ago or earlier (RFC 5032 §3).
    Older(u32),
    /// The day on which it was saved is before that one (RFC 8514 §4.2).
    SavedBefore(Date),
    /// The day on which it was saved is that one.
    SavedOn(Date),
    /// The day on which it was saved is that one or later.
    SavedSince(Date),
    /// Its modification sequence is that or higher (RFC 7162 §3.1.5).
    ModSeq(u64),
    /// It holds, more or less (RFC 6203 §3).
    Fuzzy(Box<SearchKey>),
    /// The key does not hold.
    Not(Box<SearchKey>),
    /// One of both holds.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// All hold.
    And(Vec<SearchKey>),
}

impl SearchKey {
    /// Whether something in it is asked for inexactly.
    pub fn is_fuzzy(&self) -> bool {
        match self {
            Self::Fuzzy(_) => true,
            Self::Not(key) => key.is_fuzzy(),
            Self::Or(first, second) => first.is_fuzzy() || second.is_fuzzy(),
            Self::And(keys) => keys.iter().any(Self::is_fuzzy),
            _ => false,
        }
    }
}

/// RFC 6203 §4, §6: how relevant a message is says FUZZY alone.
pub(super) fn check_relevancy(wanted: bool, key: &SearchKey) -> Result<(), Refusal> {
    if wanted && !key.is_fuzzy() { Err(Refusal::Bad("RELEVANCY without FUZZY")) } else { Ok(()) }
}

/// `search = "SEARCH" [SP "RETURN" SP search-return-opts] [SP "CHARSET" SP astring] 1*(SP search-key)`
pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Result<Request, Refusal> {
    cursor.space()?;
    let mut give = None;
    if cursor.take_word(b"RETURN") {
        cursor.space()?;
        give = Some(Give::parse(cursor)?);
        cursor.space()?;
    }
    if cursor.take_word(b"CHARSET") {
        // RFC 9755 §3: everything is UTF-8 then, and this is an error.
        if cursor.dialect().utf8 {
            return Err(Refusal::Bad("No CHARSET after ENABLE UTF8=ACCEPT"));
        }
        cursor.space()?;
        charset(cursor)?;
        cursor.space()?;
    }
    let key = keys(cursor)?;
    check_relevancy(give.is_some_and(|give| give.relevancy), &key)?;
    Ok(Request::Role(Command::Search(Search { by_uid: numbering == Numbering::Uid, key, give })))
}

/// A charset that texts are read in. RFC 3501 §6.4.4: US-ASCII must be supported; what is sent in it is read as UTF-8 too.
pub(super) fn charset(cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
    let charset = cursor.astring()?;
    let known = charset.eq_ignore_ascii_case(b"UTF-8") || charset.eq_ignore_ascii_case(b"US-ASCII");
    if known { Ok(()) } else { Err(Refusal::BadCharset) }
}

/// `search-key *(SP search-key)`: all of them hold.
pub(super) fn keys(cursor: &mut Cursor<'_>) -> Result<SearchKey, Refusal> {
    let mut keys = Keys { left: KEYS };
    let mut all = vec![keys.parse(cursor, 0)?];
    while cursor.take(b' ') && !cursor.at_end() {
        all.push(keys.parse(cursor, 0)?);
    }
    Ok(and(all))
}

fn and(mut keys: Vec<SearchKey>) -> SearchKey {
    match (keys.len(), keys.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            keys.push(last);
            SearchKey::And(keys)
        }
        (_, None) => SearchKey::All,
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// Counts the keys that a command may still have.
struct Keys {
    left: usize,
}

impl Keys {
    /// `search-key = "ALL" / "ANSWERED" / … / sequence-set / "(" search-key *(SP search-key) ")"`
    fn parse(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<SearchKey, Refusal> {
        self.left = self.left.checked_sub(1).ok_or(Refusal::Bad("Too many search keys"))?;
        if depth > DEPTH {
            return Err(Refusal::Bad("Search keys nested too deep"));
        }
        match cursor.peek() {
            Some(b'(') => self.parenthesised(cursor, depth),
            Some(b'$') => cursor.expect(b'$').map(|()| SearchKey::Saved),
            Some(b'*' | b'0'..=b'9') if cursor.dialect().uid_only => Err(Refusal::UidRequired),
            Some(b'*' | b'0'..=b'9') => SequenceSet::parse(cursor).map(SearchKey::Sequence),
            _ => self.word(cursor, depth),
        }
    }

    fn parenthesised(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<SearchKey, Refusal> {
        cursor.expect(b'(')?;
        let mut keys = Vec::new();
        loop {
            keys.push(self.parse(cursor, depth + 1)?);
            if cursor.take(b')') {
                return Ok(and(keys));
            }
            cursor.space()?;
        }
    }

    fn word(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<SearchKey, Refusal> {
        use SearchKey::{
            All, And, Before, Body, EmailId, Has, Header, Larger, ModSeq, Older, On, Or, Recent, SavedBefore, SavedOn,
            SavedSince, SentBefore, SentOn, SentSince, Since, Smaller, Text, ThreadId, Uid, Younger,
        };

        let word = cursor.atom()?.to_ascii_uppercase();
        let key = match word.as_slice() {
            b"ALL" => All,
            b"ANSWERED" => Has(Flag::Answered),
            b"DELETED" => Has(Flag::Deleted),
            b"DRAFT" => Has(Flag::Draft),
            b"FLAGGED" => Has(Flag::Flagged),
            b"SEEN" => Has(Flag::Seen),
            b"UNANSWERED" => not(Has(Flag::Answered)),
            b"UNDELETED" => not(Has(Flag::Deleted)),
            b"UNDRAFT" => not(Has(Flag::Draft)),
            b"UNFLAGGED" => not(Has(Flag::Flagged)),
            b"UNSEEN" => not(Has(Flag::Seen)),
            b"RECENT" => Recent,
            b"NEW" => And(vec![Recent, not(Has(Flag::Seen))]),
            b"OLD" => not(Recent),
            b"KEYWORD" => Has(keyword(cursor)?),
            b"UNKEYWORD" => not(Has(keyword(cursor)?)),
            b"BEFORE" => Before(date(cursor)?),
            b"ON" => On(date(cursor)?),
            b"SINCE" => Since(date(cursor)?),
            b"SENTBEFORE" => SentBefore(date(cursor)?),
            b"SENTON" => SentOn(date(cursor)?),
            b"SENTSINCE" => SentSince(date(cursor)?),
            b"SAVEDBEFORE" => SavedBefore(date(cursor)?),
            b"SAVEDON" => SavedOn(date(cursor)?),
            b"SAVEDSINCE" => SavedSince(date(cursor)?),
            // RFC 8514 §4.2: every mailbox here knows its messages' dates of saving.
            b"SAVEDATESUPPORTED" => All,
            b"YOUNGER" => Younger(interval(cursor)?),
            b"OLDER" => Older(interval(cursor)?),
            b"MODSEQ" => ModSeq(mod_sequence(cursor)?),
            b"EMAILID" => EmailId(object_id(cursor)?),
            b"THREADID" => ThreadId(object_id(cursor)?),
            b"LARGER" => Larger(number(cursor)?),
            b"SMALLER" => Smaller(number(cursor)?),
            b"BCC" | b"CC" | b"FROM" | b"SUBJECT" | b"TO" => {
                Header { name: String::from_utf8_lossy(&word).into_owned(), text: text(cursor)? }
            }
            b"HEADER" => {
                cursor.space()?;
                let name = crate::imap::types::header_name(cursor)?;
                Header { name, text: text(cursor)? }
            }
            b"BODY" => Body(text(cursor)?),
            b"TEXT" => Text(text(cursor)?),
            b"UID" => {
                cursor.space()?;
                if cursor.take(b'$') { SearchKey::Saved } else { Uid(SequenceSet::parse(cursor)?) }
            }
            b"FUZZY" => {
                cursor.space()?;
                SearchKey::Fuzzy(Box::new(self.parse(cursor, depth + 1)?))
            }
            b"NOT" => {
                cursor.space()?;
                not(self.parse(cursor, depth + 1)?)
            }
            b"OR" => {
                cursor.space()?;
                let first = self.parse(cursor, depth + 1)?;
                cursor.space()?;
                Or(Box::new(first), Box::new(self.parse(cursor, depth + 1)?))
            }
            _ => return Err(Refusal::Bad("Unknown search key")),
        };
        Ok(key)
    }
}

fn keyword(cursor: &mut Cursor<'_>) -> Result<Flag, Refusal> {
    cursor.space()?;
    Keyword::new(cursor.atom()?).map(Flag::Keyword).ok_or(Refusal::Bad("Keyword too long"))
}

/// `date = date-text / DQUOTE date-text DQUOTE`
fn date(cursor: &mut Cursor<'_>) -> Result<Date, Refusal> {
    cursor.space()?;
    Date::parse(&cursor.astring()?).ok_or(Refusal::Bad("Not a date"))
}

fn number(cursor: &mut Cursor<'_>) -> Result<u32, Refusal> {
    cursor.space()?;
    cursor.number()
}

/// `nz-number`, in seconds (RFC 5032 §5).
fn interval(cursor: &mut Cursor<'_>) -> Result<u32, Refusal> {
    cursor.space()?;
    cursor.nonzero_number().map(std::num::NonZeroU32::get)
}

/// `search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer`, where `search-modseq-ext` names a flag and
/// whose value of it: flags here have no modification sequences of their own, so it is passed over (RFC 7162 §3.1.5).
fn mod_sequence(cursor: &mut Cursor<'_>) -> Result<u64, Refusal> {
    cursor.space()?;
    if cursor.peek() == Some(b'"') {
        cursor.string()?;
        cursor.space()?;
        if !["priv", "shared", "all"].iter().any(|scope| cursor.take_word(scope.as_bytes())) {
            return Err(Refusal::Bad("Expected priv, shared or all"));
        }
        cursor.space()?;
    }
    cursor.number64()
}

/// `objectid = 1*255(ALPHA / DIGIT / "_" / "-")` (RFC 8474 §7)
fn object_id(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    cursor.space()?;
    let id = String::from_utf8_lossy(cursor.atom()?).into_owned();
    let legal = id.len() <= 255 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if legal { Ok(id) } else { Err(Refusal::Bad("Not an object identifier")) }
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    cursor.space()?;
    cursor.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::{command, request};

    fn key(keys: &str) -> Option<SearchKey> {
        match command(&format!("SEARCH {keys}")) {
            Some(Command::Search(Search { key, by_uid: false, give: None })) => Some(key),
            _ => None,
        }
    }

    fn set(text: &str) -> SequenceSet {
        SequenceSet::parse(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn keys() {
        use SearchKey::*;
        let header = |name: &str, text: &str| Header { name: name.to_owned(), text: text.to_owned() };
        for (keys, expected) in [
            ("ALL", All),
            ("flagged", Has(Flag::Flagged)),
            ("UNSEEN", not(Has(Flag::Seen))),
            ("NEW", And(vec![Recent, not(Has(Flag::Seen))])),
            ("OLD", not(Recent)),
            ("KEYWORD $Forwarded", Has(Flag::new(b"$Forwarded").unwrap())),
            ("SINCE 1-Feb-1994", Since(Date::new(1994, 2, 1).unwrap())),
            ("SENTON \"01-Feb-1994\"", SentOn(Date::new(1994, 2, 1).unwrap())),
            ("LARGER 1000", Larger(1000)),
            ("FROM \"Smith\"", header("FROM", "Smith")),
            ("HEADER Message-ID <a@b>", header("Message-ID", "<a@b>")),
            ("HEADER X-Spam \"\"", header("X-Spam", "")),
            ("TEXT {6}\r\n\"ü\"ab", Text("\"ü\"ab".to_owned())),
            ("BODY ü", Body("ü".to_owned())),
            ("2,4:*", Sequence(set("2,4:*"))),
            ("UID 443:557", Uid(set("443:557"))),
            ("CHARSET UTF-8 ALL", All),
            ("$", Saved),
            ("UID $", Saved),
            ("YOUNGER 3600", Younger(3_600)),
            ("OLDER 1", Older(1)),
            ("SAVEDSINCE 1-Feb-1994", SavedSince(Date::new(1994, 2, 1).unwrap())),
            ("SAVEDATESUPPORTED", All),
            ("MODSEQ 620162338", ModSeq(620_162_338)),
            ("EMAILID M6d99ac3275bb4e", EmailId("M6d99ac3275bb4e".to_owned())),
            ("THREADID T64b478a75b7ea9_-", ThreadId("T64b478a75b7ea9_-".to_owned())),
            ("MODSEQ \"/flags/\\\\draft\" all 0", ModSeq(0)),
            (
                "OR (DELETED 1) NOT SEEN DRAFT",
                And(vec![
                    Or(Box::new(And(vec![Has(Flag::Deleted), Sequence(set("1"))])), Box::new(not(Has(Flag::Seen)))),
                    Has(Flag::Draft),
                ]),
            ),
            ("(ALL)", All),
            ("FUZZY (BODY x SEEN)", Fuzzy(Box::new(And(vec![Body("x".to_owned()), Has(Flag::Seen)])))),
        ] {
            assert_eq!(key(keys), Some(expected), "{keys}");
        }
        assert!(matches!(command("UID SEARCH ALL"), Some(Command::Search(Search { by_uid: true, .. }))));
    }

    #[test]
    fn what_to_give() {
        let give = |line: &str| match command(line) {
            Some(Command::Search(search)) => search.give,
            _ => None,
        };
        let none = Give::default();
        assert_eq!(give("SEARCH ALL"), None);
        assert_eq!(give("SEARCH RETURN () ALL"), Some(Give { all: true, ..none }));
        assert_eq!(give("SEARCH RETURN (MIN count) UNSEEN"), Some(Give { min: true, count: true, ..none }));
        assert_eq!(give("UID SEARCH RETURN (SAVE) CHARSET UTF-8 ALL"), Some(Give { save: true, ..none }));
        let relevant = Give { relevancy: true, ..none };
        assert_eq!(give("SEARCH RETURN (RELEVANCY) OR SEEN NOT FUZZY TEXT x"), Some(relevant));
        assert_eq!(give("SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT x"), Some(Give { all: true, ..relevant }));
        assert_eq!(command("SEARCH RETURN (RELEVANCY) TEXT x"), None);
        for line in ["SEARCH RETURN ALL", "SEARCH RETURN (FOO) ALL", "SEARCH RETURN (MIN ALL", "SEARCH RETURN ()"] {
            assert_eq!(command(line), None, "{line}");
        }
    }

    #[test]
    fn refused() {
        for keys in [
            "",
            "FOO",
            "()",
            "(ALL",
            "ALL)",
            "NOT",
            "OR ALL",
            "SINCE yesterday",
            "LARGER x",
            "FROM",
            "HEADER a",
            "HEADER a:b c",
            "KEYWORD \\Seen",
            "0",
            "CHARSET",
            "CHARSET UTF-8",
            "YOUNGER 0",
            "MODSEQ",
            "MODSEQ \"/flags/x\" 1",
            "$1",
            "EMAILID",
            "THREADID a.b",
            "FUZZY",
        ] {
            assert_eq!(key(keys), None, "{keys}");
        }
        assert_eq!(request(b"SEARCH CHARSET KOI8-R ALL"), Err(Refusal::BadCharset));
        assert_eq!(key(&format!("{}ALL", "NOT ".repeat(DEPTH + 1))), None);
        assert!(key(&format!("{}ALL", "NOT ".repeat(DEPTH))).is_some());
        assert_eq!(key(&"(".repeat(10_000)), None);
        assert_eq!(key(["ALL"; KEYS + 1].join(" ").as_str()), None);
    }
}
