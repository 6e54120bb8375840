//! Flags and keywords of messages.
//!
//! A mailbox numbers its keywords in the order in which they first appear, and never takes a number back; so a message
//! carries all its keywords in 64 bits, and a mailbox has at most [`KEYWORDS_PER_MAILBOX`] of them.

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};
use std::str::FromStr;
use std::sync::Arc;

use super::FlagScope;

/// The most keywords that one mailbox knows.
pub const KEYWORDS_PER_MAILBOX: usize = 64;

/// The longest keyword, in bytes.
pub const KEYWORD_BYTES: usize = 64;

/// System flags (RFC 9051 §2.3.2) as bits. `\Recent` is none of them: it belongs to a session, see
/// [`super::Snapshot::recent`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SystemFlags(u8);

impl SystemFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `\Seen`.
    pub const SEEN: Self = Self(1);
    /// `\Answered`.
    pub const ANSWERED: Self = Self(2);
    /// `\Flagged`.
    pub const FLAGGED: Self = Self(4);
    /// `\Deleted`.
    pub const DELETED: Self = Self(8);
    /// `\Draft`.
    pub const DRAFT: Self = Self(16);

    /// Every flag.
    pub const ALL: Self = Self(31);

    /// Each flag and its name.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
    ];

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }

    /// Those of an image.
    pub fn of_bits(bits: i64) -> Self {
        Self(bits as u8 & 31)
    }

    /// As the database keeps them.
    pub(super) fn bits(self) -> u8 {
        self.0
    }

    /// As the database kept them.
    pub(super) fn from_bits(bits: u8) -> Self {
        Self(bits & 31)
    }
}

impl BitOr for SystemFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for SystemFlags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for SystemFlags {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0 & 31)
    }
}

impl fmt::Debug for SystemFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A keyword: an IMAP atom, by custom `$Forwarded`, `NonJunk`. Equal whatever its case (RFC 5788 §3).
#[derive(Debug, Clone)]
pub struct Keyword(Arc<str>);

impl Keyword {
    /// The keyword, in the case in which it first appeared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a keyword.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a keyword takes 1 to 64 printable ASCII characters other than ( ) {{ % * \" \\ ]")]
pub struct KeywordError;

impl FromStr for Keyword {
    type Err = KeywordError;

    fn from_str(text: &str) -> Result<Self, KeywordError> {
        // RFC 9051 §9: flag-keyword = atom; ATOM-CHAR = any CHAR but atom-specials.
        let legal = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte);
        if text.is_empty() || text.len() > KEYWORD_BYTES || !text.bytes().all(legal) {
            return Err(KeywordError);
        }
        Ok(Self(text.into()))
    }
}

/// A mailbox's keywords, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keywords(Vec<Keyword>);

impl Keywords {
    /// In the order of their numbers.
    pub(super) fn new(names: Vec<Keyword>) -> Self {
        Self(names)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Keyword> {
        self.0.iter()
    }

    /// Whether another can be added.
    pub fn has_room(&self) -> bool {
        self.0.len() < KEYWORDS_PER_MAILBOX
    }

    /// Adds one, under the next number.
    pub(super) fn push(&mut self, keyword: Keyword) {
        self.0.push(keyword);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of one; none when the mailbox does not know it.
    pub(super) fn number(&self, keyword: &Keyword) -> Option<usize> {
        self.0.iter().position(|known| known == keyword)
    }

    /// The bit of one; none when the mailbox does not know it.
    pub fn bit(&self, keyword: &Keyword) -> Option<KeywordBits> {
        self.number(keyword).map(|number| KeywordBits(1 << number))
    }

    /// The bits of those that the mailbox knows; the others are left out.
    pub fn bits<'a>(&self, keywords: impl IntoIterator<Item = &'a Keyword>) -> KeywordBits {
        KeywordBits(keywords.into_iter().filter_map(|keyword| self.bit(keyword)).fold(0, |all, bit| all | bit.0))
    }

    /// The keywords of a message.
    pub fn of(&self, bits: KeywordBits) -> impl Iterator<Item = &Keyword> {
        self.0.iter().enumerate().filter(move |(number, _)| bits.0 >> number & 1 == 1).map(|(_, keyword)| keyword)
    }
}

/// A message's keywords, by their numbers in its mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeywordBits(pub(super) u64);

impl KeywordBits {
    /// Whether all of `others` are set.
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A message's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// The system flags.
    pub system: SystemFlags,
    /// The keywords, by number: the mailbox's [`Keywords`] has their names.
    pub keywords: KeywordBits,
}

/// What STORE does with the flags that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagAction {
    /// `+FLAGS`.
    Add,
    /// `-FLAGS`.
    Remove,
    /// `FLAGS`: these and no others.
    Replace,
    /// These and no others of those in the scope; the rest stays as it is.
    ReplaceWithin(FlagScope),
}

/// A change of flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    /// What to do.
    pub action: FlagAction,
    /// With these.
    pub system: SystemFlags,
    /// And with these.
    pub keywords: Vec<Keyword>,
}

impl FlagChange {
    /// Adds one system flag.
    pub fn add(system: SystemFlags) -> Self {
        Self { action: FlagAction::Add, system, keywords: Vec::new() }
    }

    /// What becomes of a message's flags by this change, when the mailbox knows these keywords.
    pub fn apply(&self, flags: Flags, keywords: &Keywords) -> Flags {
        let (system, named) = (self.system, keywords.bits(&self.keywords).0);
        match self.action {
            FlagAction::Add => Flags { system: flags.system | system, keywords: KeywordBits(flags.keywords.0 | named) },
            FlagAction::Remove => {
                Flags { system: flags.system & !system, keywords: KeywordBits(flags.keywords.0 & !named) }
            }
            FlagAction::Replace => Flags { system, keywords: KeywordBits(named) },
            FlagAction::ReplaceWithin(scope) => Flags {
                system: flags.system & !scope.system | system,
                keywords: KeywordBits(if scope.keywords { named } else { flags.keywords.0 }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_atoms() {
        for good in ["$Forwarded", "NonJunk", "a", "x-1~"] {
            assert_eq!(good.parse::<Keyword>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "\\Seen", "a]", "ñ", "a\"", "a*", &"x".repeat(65)] {
            assert!(bad.parse::<Keyword>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bits_and_names_agree() {
        let keyword = |name: &str| name.parse::<Keyword>().unwrap();
        let keywords = Keywords::new(vec![keyword("a"), keyword("b"), keyword("c")]);
        let bits = keywords.bits(&[keyword("C"), keyword("a"), keyword("unknown")]);
        assert_eq!(keywords.of(bits).map(Keyword::as_str).collect::<Vec<_>>(), ["a", "c"]);
    }
}
