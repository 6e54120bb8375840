//! Names of mailboxes, and what some mailboxes are for.
//!
//! A name is Unicode text; `/` stands between the levels. Modified UTF-7 (RFC 3501 §5.1.3) is the protocol's affair.

use std::fmt;
use std::str::FromStr;

/// What stands between the levels of a name.
pub const DELIMITER: char = '/';

/// The longest name, in bytes.
pub const NAME_BYTES: usize = 1000;

/// The most levels of a name.
pub const NAME_LEVELS: usize = 32;

/// The name of a mailbox. `INBOX` in any case is `INBOX`, as the first level of a longer name too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(String);

/// Why a text is not a mailbox name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailboxNameError {
    /// Too long or too deep.
    #[error("a mailbox name takes at most 1000 bytes and 32 levels")]
    TooLong,
    /// An empty level: a slash at either end, two in a row, or no name at all.
    #[error("a mailbox name has no empty level")]
    EmptyLevel,
    /// A character that no name may hold: a control character, or one of the wildcards `*` and `%`.
    #[error("a mailbox name holds no control character, * or %")]
    Character,
}

impl MailboxName {
    /// Where mail arrives.
    pub fn inbox() -> Self {
        Self("INBOX".into())
    }

    /// Whether this is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names above this one, the outermost first.
    pub fn superiors(&self) -> impl Iterator<Item = MailboxName> + '_ {
        self.0.match_indices(DELIMITER).map(|(end, _)| Self(self.0[..end].to_owned()))
    }

    /// Whether `other` lies below this one.
    pub fn is_above(&self, other: &Self) -> bool {
        other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with(DELIMITER))
    }
}

impl FromStr for MailboxName {
    type Err = MailboxNameError;

    fn from_str(text: &str) -> Result<Self, MailboxNameError> {
        let (first, rest) = text.split_at(text.find(DELIMITER).unwrap_or(text.len()));
        if text.len() > NAME_BYTES || rest.matches(DELIMITER).count() >= NAME_LEVELS {
            return Err(MailboxNameError::TooLong);
        }
        if text.split(DELIMITER).any(str::is_empty) {
            return Err(MailboxNameError::EmptyLevel);
        }
        if text.chars().any(|c| c.is_control() || matches!(c, '*' | '%')) {
            return Err(MailboxNameError::Character);
        }
        // RFC 9051 §5.1: INBOX is case-insensitive.
        let first = if first.eq_ignore_ascii_case("INBOX") { "INBOX" } else { first };
        Ok(Self(format!("{first}{rest}")))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a mailbox is for (RFC 6154). At most one mailbox of an account has each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\Sent`.
    Sent,
    /// `\Drafts`.
    Drafts,
    /// `\Trash`.
    Trash,
    /// `\Junk`.
    Junk,
    /// `\Archive`.
    Archive,
}

impl SpecialUse {
    /// Each of them: what a new account has beside INBOX, under these names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Sent, "Sent"),
        (Self::Drafts, "Drafts"),
        (Self::Trash, "Trash"),
        (Self::Junk, "Junk"),
        (Self::Archive, "Archive"),
    ];

    /// The attribute by which LIST shows it.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Sent => "\\Sent",
            Self::Drafts => "\\Drafts",
            Self::Trash => "\\Trash",
            Self::Junk => "\\Junk",
            Self::Archive => "\\Archive",
        }
    }

    /// The use of this attribute, in any case.
    pub fn from_attribute(attribute: &str) -> Option<Self> {
        Self::ALL.into_iter().map(|(one, _)| one).find(|one| one.attribute().eq_ignore_ascii_case(attribute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for (given, kept) in [
            ("inbox", "INBOX"),
            ("Inbox/a", "INBOX/a"),
            ("inboxes", "inboxes"),
            ("Año 2026/q 1", "Año 2026/q 1"),
            ("a/inbox", "a/inbox"),
        ] {
            assert_eq!(given.parse::<MailboxName>().unwrap().as_str(), kept);
        }
        for bad in ["", "/", "a/", "/a", "a//b", "a\nb", "a*", "%", &"x".repeat(1001), &["x"; 33].join("/")] {
            assert!(bad.parse::<MailboxName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn levels() {
        let name: MailboxName = "a/b/c".parse().unwrap();
        assert_eq!(name.superiors().map(|one| one.0).collect::<Vec<_>>(), ["a", "a/b"]);
        let above: MailboxName = "a/b".parse().unwrap();
        assert!(above.is_above(&name) && !above.is_above(&above) && !above.is_above(&"a/bc".parse().unwrap()));
    }
}
