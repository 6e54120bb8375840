//! The name that a client gives to a command.

use std::fmt;

use crate::imap::cursor::{ASTRING, class};

/// `tag = 1*<any ASTRING-CHAR except "+">` (RFC 3501 §9).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(Box<str>);

/// The longest tag, in bytes: clients use four to ten.
const TAG_BYTES: usize = 128;

impl Tag {
    /// The tag of that text, if it is one.
    pub fn new(text: &[u8]) -> Option<Self> {
        let legal = |byte: &u8| class(*byte, ASTRING) && *byte != b'+';
        if text.is_empty() || text.len() > TAG_BYTES || !text.iter().all(legal) {
            return None;
        }
        std::str::from_utf8(text).ok().map(|text| Self(text.into()))
    }

    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal() {
        for text in ["A001", "a.1", "]", "0"] {
            assert_eq!(Tag::new(text.as_bytes()).unwrap().as_str(), text);
        }
        for text in ["", "+", "a+b", "a b", "*", "a*", "(", "\u{7f}", "é", &"a".repeat(TAG_BYTES + 1)] {
            assert_eq!(Tag::new(text.as_bytes()), None, "{text:?}");
        }
    }
}
