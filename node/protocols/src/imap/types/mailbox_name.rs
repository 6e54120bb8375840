//! Names of mailboxes.

use std::fmt;

use super::modified_utf7;

/// Separates the levels of a name.
pub const HIERARCHY_SEPARATOR: char = '/';

/// The longest name, in bytes of UTF-8.
pub const NAME_BYTES: usize = 1000;

/// The deepest name, in levels.
const NAME_LEVELS: usize = 32;

/// The name of a mailbox, in UTF-8: not empty, no empty level, no control characters. `INBOX` (and the `INBOX` that a
/// longer name begins with) is in capitals, however it was written (RFC 3501 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Box<str>);

/// Why a text is not a mailbox's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("Mailbox name is empty")]
    Empty,
    /// Longer than [`NAME_BYTES`], or too many levels.
    #[error("Mailbox name is too long")]
    TooLong,
    /// Not modified UTF-7.
    #[error("Mailbox name is not modified UTF-7")]
    Encoding,
    /// A control character.
    #[error("Mailbox name has a control character")]
    Control,
    /// Two separators in a row, or one at an end.
    #[error("Mailbox name has an empty level")]
    EmptyLevel,
}

impl MailboxName {
    /// The name INBOX.
    pub fn inbox() -> Self {
        Self("INBOX".into())
    }

    /// The name of that text.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES || text.split(HIERARCHY_SEPARATOR).count() > NAME_LEVELS {
            return Err(NameError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if text.split(HIERARCHY_SEPARATOR).any(str::is_empty) {
            return Err(NameError::EmptyLevel);
        }
        let inbox = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("INBOX"));
        match (inbox, text.get(5..)) {
            (true, Some(rest)) if rest.is_empty() || rest.starts_with(HIERARCHY_SEPARATOR) => {
                Ok(Self(format!("INBOX{rest}").into()))
            }
            _ => Ok(Self(text.into())),
        }
    }

    /// The name that travelled in modified UTF-7.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        Self::new(&modified_utf7::decode(wire).ok_or(NameError::Encoding)?)
    }

    /// In UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In modified UTF-7, not yet quoted.
    pub fn to_wire(&self) -> String {
        modified_utf7::encode(&self.0)
    }

    /// Whether it is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    /// The name one level up, if there is one.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once(HIERARCHY_SEPARATOR).map(|(parent, _)| Self(parent.into()))
    }

    /// What follows `ancestor` and a separator, if this name lies below it.
    pub fn below(&self, ancestor: &Self) -> Option<&str> {
        self.0.strip_prefix(&*ancestor.0)?.strip_prefix(HIERARCHY_SEPARATOR)
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_in_any_case() {
        for text in ["INBOX", "inbox", "InBoX"] {
            assert!(MailboxName::new(text).unwrap().is_inbox());
        }
        assert_eq!(MailboxName::new("inbox/Sub").unwrap().as_str(), "INBOX/Sub");
        assert_eq!(MailboxName::new("inboxes").unwrap().as_str(), "inboxes");
        assert_eq!(MailboxName::new("a/inbox").unwrap().as_str(), "a/inbox");
        assert_eq!(MailboxName::new("inbö").unwrap().as_str(), "inbö");
    }

    #[test]
    fn wire_and_back() {
        for text in ["INBOX", "Entwürfe/2026", "a b", "a&b", "a\"b\\c", "台北"] {
            let name = MailboxName::new(text).unwrap();
            assert_eq!(MailboxName::from_wire(name.to_wire().as_bytes()).unwrap(), name);
        }
    }

    #[test]
    fn refused_by_name() {
        assert_eq!(MailboxName::new(""), Err(NameError::Empty));
        assert_eq!(MailboxName::new(&"a".repeat(NAME_BYTES + 1)), Err(NameError::TooLong));
        assert_eq!(MailboxName::new(&["a"; NAME_LEVELS + 1].join("/")), Err(NameError::TooLong));
        assert_eq!(MailboxName::new("a\r\nb"), Err(NameError::Control));
        assert_eq!(MailboxName::from_wire(b"&AAA-"), Err(NameError::Control));
        assert_eq!(MailboxName::from_wire(b"&"), Err(NameError::Encoding));
        for text in ["/", "/a", "a/", "a//b"] {
            assert_eq!(MailboxName::new(text), Err(NameError::EmptyLevel));
        }
    }

    #[test]
    fn levels() {
        let name = MailboxName::new("a/b/c").unwrap();
        let parent = name.parent().unwrap();
        assert_eq!(parent.as_str(), "a/b");
        assert_eq!(name.below(&parent), Some("c"));
        assert_eq!(name.below(&MailboxName::new("a/b/").unwrap_or_else(|_| MailboxName::inbox())), None);
        assert_eq!(MailboxName::new("ab").unwrap().below(&MailboxName::new("a").unwrap()), None);
        assert_eq!(MailboxName::inbox().parent(), None);
    }
}
