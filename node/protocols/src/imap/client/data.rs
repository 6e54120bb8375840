//! What responses say. What is not understood is none: a client passes over what it did not ask for (RFC 3501 §7).

use bytes::Bytes;

use super::value::Value;
use crate::imap::types::{DateTime, Flag, Flags, modified_utf7};

/// How the server stands, or how a command ended: `OK [CODE] text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// OK, NO, BAD, PREAUTH or BYE, in capitals.
    pub word: &'static str,
    /// What stands in brackets; empty when nothing does.
    pub code: String,
    /// The rest, for people.
    pub text: String,
}

impl Condition {
    /// None for what is none.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let word = ["OK", "NO", "BAD", "PREAUTH", "BYE"].into_iter().find(|known| known.eq_ignore_ascii_case(word))?;
        let (code, text) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((code, text)) => (code, text.trim_start()),
            None => ("", rest),
        };
        Some(Self { word, code: code.to_owned(), text: text.to_owned() })
    }

    /// Whether it is OK.
    pub fn is_ok(&self) -> bool {
        self.word == "OK"
    }

    /// What follows this word in the code; none for another code.
    pub fn code_of(&self, word: &str) -> Option<&str> {
        let (first, rest) = self.code.split_once(' ').unwrap_or((&self.code, ""));
        first.eq_ignore_ascii_case(word).then_some(rest)
    }
}

/// The capabilities that a response tells (RFC 3501 §7.2.1), in capitals.
pub fn capabilities(values: &[Value]) -> Option<Vec<String>> {
    let (first, rest) = values.split_first()?;
    let text = |value: &Value| Some(String::from_utf8_lossy(value.bytes()?).to_ascii_uppercase());
    first.is("CAPABILITY").then(|| rest.iter().filter_map(text).collect())
}

/// A mailbox in a list (RFC 3501 §7.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its attributes, as they were written.
    pub attributes: Vec<String>,
    /// What separates the levels of its name.
    pub delimiter: Option<char>,
    /// Its name as the server wants to hear it.
    pub wire: Bytes,
}

impl Listed {
    /// None for another response.
    pub fn of(values: &[Value]) -> Option<Self> {
        let [word, attributes, delimiter, name, ..] = values else { return None };
        if !word.is("LIST") {
            return None;
        }
        let text = |value: &Value| Some(String::from_utf8_lossy(value.bytes()?).into_owned());
        Some(Self {
            attributes: attributes.list()?.iter().filter_map(text).collect(),
            delimiter: text(delimiter).and_then(|text| text.chars().next()),
            wire: name_of(name)?,
        })
    }

    /// Whether it has this attribute, in any case.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|one| one.eq_ignore_ascii_case(attribute))
    }

    /// Its name as people read it; none when it is not in the encoding that was agreed upon: UTF-8 (RFC 9755 §3), or modified
    /// UTF-7.
    pub fn name(&self, utf8: bool) -> Option<String> {
        if utf8 { String::from_utf8(self.wire.to_vec()).ok() } else { modified_utf7::decode(&self.wire) }
    }
}

/// A mailbox's name: NIL is one, too.
fn name_of(value: &Value) -> Option<Bytes> {
    match value {
        Value::Atom(name) | Value::Text(name) => Some(name.clone()),
        Value::Large(_) | Value::List(_) => None,
    }
}

/// What names of mailboxes begin with (RFC 2342), as they are on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Those of one's own.
    pub own: Vec<Bytes>,
    /// Those of others, and of all.
    pub foreign: Vec<Bytes>,
}

impl Namespaces {
    /// None for another response.
    pub fn of(values: &[Value]) -> Option<Self> {
        let [word, own, others, shared, ..] = values else { return None };
        let prefixes = |value: &Value| {
            let spaces = value.list().unwrap_or_default().iter();
            spaces.filter_map(|space| space.list()?.first()?.bytes().cloned()).collect::<Vec<_>>()
        };
        word.is("NAMESPACE")
            .then(|| Self { own: prefixes(own), foreign: [prefixes(others), prefixes(shared)].concat() })
    }
}

/// What STATUS told (RFC 3501 §7.2.4); zero for what it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// How many messages.
    pub messages: u32,
    /// Above every UID.
    pub uid_next: u32,
    /// The life of the UIDs.
    pub uid_validity: u32,
}

/// The numbers of a STATUS response; none for another.
pub fn status_of(values: &[Value]) -> Option<Status> {
    let [word, _, items, ..] = values else { return None };
    if !word.is("STATUS") {
        return None;
    }
    let mut status = Status::default();
    for pair in items.list()?.chunks_exact(2) {
        let number = u32::try_from(pair[1].number().unwrap_or_default()).unwrap_or(u32::MAX);
        for (name, field) in [
            ("MESSAGES", &mut status.messages),
            ("UIDNEXT", &mut status.uid_next),
            ("UIDVALIDITY", &mut status.uid_validity),
        ] {
            if pair[0].is(name) {
                *field = number;
            }
        }
    }
    Some(status)
}

/// How many messages a mailbox has, when it says so.
pub fn exists(values: &[Value]) -> Option<u32> {
    numbered(values, "EXISTS")
}

/// The sequence number of a message that is gone.
pub fn expunged(values: &[Value]) -> Option<u32> {
    numbered(values, "EXPUNGE")
}

fn numbered(values: &[Value], word: &str) -> Option<u32> {
    let [number, second, ..] = values else { return None };
    second.is(word).then(|| number.number().and_then(|number| u32::try_from(number).ok()))?
}

/// What FETCH told of a message (RFC 3501 §7.4.2); of what was not told, none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Its sequence number.
    pub sequence: u32,
    /// Its UID.
    pub uid: Option<u32>,
    /// Its flags, but for those that nobody may set.
    pub flags: Flags,
    /// When it was received.
    pub internal_date: Option<DateTime>,
    /// Its size as the server has it.
    pub size: Option<u64>,
    /// `BODY[]`: the text, or how many bytes of it were handed on before.
    pub text: Option<Value>,
}

impl Fetched {
    /// None for another response.
    pub fn of(values: Vec<Value>) -> Option<Self> {
        let sequence = numbered(&values, "FETCH")?;
        let mut fetched = Self { sequence, ..Self::default() };
        let Some(Value::List(items)) = values.into_iter().nth(2) else { return None };
        let mut items = items.into_iter();
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            if name.is("UID") {
                fetched.uid = value.number().and_then(|uid| u32::try_from(uid).ok()).filter(|uid| *uid > 0);
            } else if name.is("RFC822.SIZE") {
                fetched.size = value.number();
            } else if name.is("INTERNALDATE") {
                fetched.internal_date = value.bytes().and_then(|text| DateTime::parse(text));
            } else if name.is("FLAGS") {
                let flags = value.list().unwrap_or_default().iter();
                fetched.flags.extend(flags.filter_map(|flag| Flag::new(flag.bytes()?)));
            } else if name.is("BODY[]") && !matches!(value, Value::List(_)) && !value.is("NIL") {
                fetched.text = Some(value);
            }
        }
        Some(fetched)
    }
}
