//! Bytes from the client, and where a command ends in them.
//!
//! Each byte is scanned once for a line's end, however small the pieces in which it comes.

use bytes::{Buf, Bytes, BytesMut};

use super::{Tag, head};
use crate::imap::cursor::decimal;

/// What the bytes so far amount to. Lengths are counted from the first byte that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// No end yet.
    Incomplete,
    /// No end within the bound.
    TooLong,
    /// A line that announces a literal.
    Literal(Announcement),
    /// A whole command.
    Command {
        /// Its length without the line's end.
        text: usize,
        /// Its length with the line's end.
        whole: usize,
    },
}

/// `literal = "{" number ["+"] "}" CRLF *CHAR8` up to the content (RFC 7888 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announcement {
    /// The command's length without the line's end.
    pub(super) text: usize,
    /// The command's length with the line's end.
    pub(super) whole: usize,
    /// The content's length in bytes.
    pub(super) size: u64,
    /// Whether the client waits to be asked.
    pub(super) synchronising: bool,
}

/// Memory kept for the next command while the connection is silent.
const KEPT_BYTES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: BytesMut,
    /// Where the current line begins: behind the last literal that is held.
    line: usize,
    /// No line's end stands before here; behind all that is held while a literal's content is awaited.
    scanned: usize,
}

impl From<&[u8]> for Input {
    fn from(bytes: &[u8]) -> Self {
        Self { buffer: bytes.into(), ..Self::default() }
    }
}

impl Input {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing is here, not even the begin of a command.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The first bytes.
    pub(super) fn get(&self, length: usize) -> &[u8] {
        &self.buffer[..length.min(self.buffer.len())]
    }

    /// Looks for the end of a command that may hold literals.
    pub(super) fn frame(&mut self, limit: usize) -> Frame {
        match self.line(limit) {
            Frame::Command { text, whole } => match announcement(&self.buffer[self.line..text]) {
                Some((size, synchronising)) => Frame::Literal(Announcement { text, whole, size, synchronising }),
                None => Frame::Command { text, whole },
            },
            other => other,
        }
    }

    /// Looks for the end of a line, whatever stands in it. A line feed alone ends it too: people type by hand.
    pub(super) fn line(&mut self, limit: usize) -> Frame {
        let Some(unread) = self.buffer.get(self.scanned..) else {
            return Frame::Incomplete;
        };
        match unread.iter().position(|byte| *byte == b'\n') {
            Some(offset) => {
                let end = self.scanned + offset;
                if end >= limit {
                    return Frame::TooLong;
                }
                let text = if self.buffer[self.line..end].ends_with(b"\r") { end - 1 } else { end };
                // Stays where it is, so that asking again gives the same.
                self.scanned = end;
                Frame::Command { text, whole: end + 1 }
            }
            None if self.buffer.len() >= limit => Frame::TooLong,
            None => {
                self.scanned = self.buffer.len();
                Frame::Incomplete
            }
        }
    }

    /// Keeps an announced literal as a part of the command.
    pub(super) fn hold(&mut self, announcement: Announcement) {
        // The caller has bounded the size.
        self.line = announcement.whole.saturating_add(usize::try_from(announcement.size).unwrap_or(usize::MAX));
        self.scanned = self.line;
    }

    /// Lets go of the first bytes.
    pub(super) fn advance(&mut self, length: usize) {
        self.buffer.advance(length.min(self.buffer.len()));
        (self.line, self.scanned) = (0, 0);
    }

    /// Gives away the first bytes, as many as there are.
    pub(super) fn take_up_to(&mut self, length: u64) -> Bytes {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
        (self.line, self.scanned) = (0, 0);
        self.buffer.split_to(length).freeze()
    }

    pub(super) fn take_all(&mut self) -> Bytes {
        self.take_up_to(u64::MAX)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives memory up that a silent connection does not need.
    pub(super) fn release(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
    }

    /// The tag of the command that begins here, however it goes on.
    pub(super) fn tag(&self) -> Option<Tag> {
        head(&self.buffer).0
    }
}

/// The literal that a line announces at its end.
fn announcement(line: &[u8]) -> Option<(u64, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, synchronising) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, digits) = inner.split_at(inner.len() - digits);
    if digits.is_empty() || rest.last() != Some(&b'{') {
        return None;
    }
    // Ten gigabytes or ten to the thirtieth: both are too many, which is for the caller to say.
    Some((decimal(digits).unwrap_or(u64::MAX), synchronising))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        for (line, expected) in [
            ("a LOGIN {5}", Some((5, true))),
            ("a LOGIN {5+}", Some((5, false))),
            ("{0}", Some((0, true))),
            ("{99999999999999999999999}", Some((u64::MAX, true))),
            ("a {}", None),
            ("a {x}", None),
            ("a 5}", None),
            ("a {5} ", None),
            ("}", None),
            ("+}", None),
        ] {
            assert_eq!(announcement(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn each_byte_is_scanned_once_and_asking_again_gives_the_same() {
        let mut input = Input::from(&b"a NOOP"[..]);
        assert_eq!(input.frame(100), Frame::Incomplete);
        assert_eq!(input.scanned, 6);
        input.extend(b"\r\nb");
        let whole = Frame::Command { text: 6, whole: 8 };
        assert_eq!((input.frame(100), input.frame(100)), (whole, whole));
        input.advance(8);
        assert_eq!((input.frame(100), input.get(9)), (Frame::Incomplete, &b"b"[..]));
    }

    #[test]
    fn a_literal_is_no_line() {
        let mut input = Input::from(&b"a X {4}\r\n"[..]);
        let Frame::Literal(announcement) = input.frame(100) else { panic!() };
        input.hold(announcement);
        assert_eq!(input.frame(100), Frame::Incomplete);
        input.extend(b"\r\n{9");
        assert_eq!(input.frame(100), Frame::Incomplete);
        input.extend(b"}\n");
        // "}" stands in the second line; its "{9" belongs to the literal.
        assert_eq!(input.frame(100), Frame::Command { text: 14, whole: 15 });
    }

    #[test]
    fn bounds() {
        assert_eq!(Input::from(&b"12345678"[..]).frame(8), Frame::TooLong);
        assert_eq!(Input::from(&b"12345678\n"[..]).frame(8), Frame::TooLong);
        assert_eq!(Input::from(&b"1234567\n"[..]).frame(8), Frame::Command { text: 7, whole: 8 });
    }
}
