//! Flags: five that the protocol knows, and keywords that users invent.

use std::fmt;

use crate::imap::cursor::{ATOM, Cursor, Refusal, class};

/// The longest keyword, in bytes.
const KEYWORD_BYTES: usize = 128;

/// A flag of a message that a client may set (RFC 3501 §2.3.2). `\Recent` is none: only the server gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Seen`
    Seen,
    /// `\Draft`
    Draft,
    /// Any other, as `$Forwarded` or `work`.
    Keyword(Keyword),
}

/// `flag-keyword = atom` (RFC 3501 §9). The case is kept, and does not count.
#[derive(Debug, Clone)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The keyword of that text, if it is one.
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > KEYWORD_BYTES || !text.iter().all(|byte| class(*byte, ATOM)) {
            return None;
        }
        std::str::from_utf8(text).ok().map(|text| Self(text.into()))
    }

    /// As it was first written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(other.folded())
    }
}

impl std::hash::Hash for Keyword {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
    }
}

impl Flag {
    /// The flags that the protocol knows, in the order in which RFC 3501 lists them.
    pub const SYSTEM: [Self; 5] = [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Seen => "\\Seen",
            Self::Draft => "\\Draft",
            Self::Keyword(keyword) => keyword.as_str(),
        }
    }

    /// The flag that is written so, in any case.
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.first() == Some(&b'\\') {
            Self::SYSTEM.into_iter().find(|flag| flag.as_str().as_bytes().eq_ignore_ascii_case(text))
        } else {
            Keyword::new(text).map(Self::Keyword)
        }
    }

    fn bit(&self) -> u8 {
        match self {
            Self::Answered => 1,
            Self::Flagged => 2,
            Self::Deleted => 4,
            Self::Seen => 8,
            Self::Draft => 16,
            Self::Keyword(_) => 0,
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of flags. Iterates in one order: system flags as RFC 3501 lists them, then keywords by letter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    system: u8,
    /// Sorted, each once.
    keywords: Vec<Keyword>,
}

impl Flags {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.system.count_ones() as usize + self.keywords.len()
    }

    /// Whether it holds that one.
    pub fn contains(&self, flag: &Flag) -> bool {
        match flag {
            Flag::Keyword(keyword) => self.keywords.binary_search(keyword).is_ok(),
            system => self.system & system.bit() != 0,
        }
    }

    /// Adds one. Says whether it is new.
    pub fn insert(&mut self, flag: Flag) -> bool {
        let new = !self.contains(&flag);
        match flag {
            Flag::Keyword(keyword) => {
                if let Err(place) = self.keywords.binary_search(&keyword) {
                    self.keywords.insert(place, keyword);
                }
            }
            system => self.system |= system.bit(),
        }
        new
    }

    /// Takes one out. Says whether it was there.
    pub fn remove(&mut self, flag: &Flag) -> bool {
        let present = self.contains(flag);
        match flag {
            Flag::Keyword(keyword) => self.keywords.retain(|one| one != keyword),
            system => self.system &= !system.bit(),
        }
        present
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Flag> + '_ {
        let system = Flag::SYSTEM.into_iter().filter(|flag| self.system & flag.bit() != 0);
        system.chain(self.keywords.iter().cloned().map(Flag::Keyword))
    }

    /// The keywords among them.
    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    /// `flag-list = "(" [flag *(SP flag)] ")"`
    pub(crate) fn parse_list(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        cursor.expect(b'(')?;
        let mut flags = Vec::new();
        if cursor.take(b')') {
            return Ok(Self::new());
        }
        loop {
            flags.extend(Self::parse_one(cursor)?);
            if cursor.take(b')') {
                return Ok(flags.into_iter().collect());
            }
            cursor.space()?;
        }
    }

    /// `store-att-flags` allows the flags without parentheses: `flag *(SP flag)`
    pub(crate) fn parse_bare(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        let mut flags = Vec::new();
        loop {
            flags.extend(Self::parse_one(cursor)?);
            if !cursor.take(b' ') {
                return Ok(flags.into_iter().collect());
            }
        }
    }

    /// `flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension`
    fn parse_one(cursor: &mut Cursor<'_>) -> Result<Option<Flag>, Refusal> {
        let start = cursor.rest();
        let system = cursor.take(b'\\');
        let name = cursor.atom()?;
        let text = &start[..name.len() + usize::from(system)];
        // quirk_recent: some clients send back all the flags that they were told of; \Recent is not theirs to set.
        if text.eq_ignore_ascii_case(b"\\Recent") {
            return Ok(None);
        }
        let unknown = if system { "Unknown system flag" } else { "Keyword too long" };
        Flag::new(text).map(Some).ok_or(Refusal::Bad(unknown))
    }
}

/// Many at once, in time for sorting them: one by one, each would move those behind it.
impl Extend<Flag> for Flags {
    fn extend<I: IntoIterator<Item = Flag>>(&mut self, flags: I) {
        for flag in flags {
            match flag {
                Flag::Keyword(keyword) => self.keywords.push(keyword),
                system => self.system |= system.bit(),
            }
        }
        // Stable, so that of two that differ in case the first stays.
        self.keywords.sort();
        self.keywords.dedup();
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = Self::new();
        set.extend(flags);
        set
    }
}

/// Without the parentheses.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for flag in Flag::SYSTEM.iter().filter(|flag| self.system & flag.bit() != 0) {
            write!(f, "{separator}{flag}")?;
            separator = " ";
        }
        for keyword in &self.keywords {
            write!(f, "{separator}{}", keyword.as_str())?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Flags> {
        let mut cursor = Cursor::new(text.as_bytes());
        Flags::parse_list(&mut cursor).ok().filter(|_| cursor.at_end())
    }

    #[test]
    fn decode_encode_decode() {
        for (text, encoded) in [
            ("()", ""),
            ("(\\Seen)", "\\Seen"),
            ("(\\SEEN \\deleted)", "\\Deleted \\Seen"),
            ("(work $Forwarded \\Draft WORK)", "\\Draft $Forwarded work"),
            ("(\\Recent \\Seen)", "\\Seen"),
        ] {
            let flags = parse(text).unwrap();
            assert_eq!(flags.to_string(), encoded);
            assert_eq!(parse(&format!("({flags})")).unwrap(), flags);
            assert_eq!(flags.iter().collect::<Flags>(), flags);
        }
        for text in ["", "(", "(\\)", "(\\Foo)", "(a", "(a )", "( a)", "(a\"b)", "(])", "\\Seen"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_set() {
        let mut flags = Flags::new();
        let keyword = |text: &str| Flag::new(text.as_bytes()).unwrap();
        assert!(flags.insert(Flag::Seen) && flags.insert(keyword("Work")));
        assert!(!flags.insert(keyword("work")) && !flags.insert(Flag::Seen));
        assert_eq!(flags.len(), 2);
        assert!(flags.contains(&keyword("WORK")) && !flags.contains(&Flag::Draft));
        assert!(flags.remove(&keyword("wORK")) && !flags.remove(&keyword("work")));
        assert!(flags.remove(&Flag::Seen) && flags.is_empty());
    }

    #[test]
    fn many_at_once() {
        let keyword = |text: &str| Flag::new(text.as_bytes()).unwrap();
        let flags = Flags::from_iter([keyword("b"), Flag::Seen, keyword("Work"), keyword("a"), keyword("work")]);
        assert_eq!(flags.to_string(), "\\Seen a b Work");
        // As many as stand in a response of a megabyte, the last first: put in one by one, each would move all the others.
        let flags: Flags = (0..150_000).rev().map(|number| keyword(&format!("{number:06}"))).collect();
        assert!(flags.len() == 150_000 && flags.keywords().is_sorted());
    }
}
