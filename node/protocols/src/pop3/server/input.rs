//! Bytes from the client, and where a line ends in them.
//!
//! Each byte is scanned once for a line's end, however small the pieces in which it comes.

use bytes::{Buf, Bytes, BytesMut};

/// Memory kept for the next command while the connection is silent.
const KEPT_BYTES: usize = 1024;

/// What the bytes so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// No end yet.
    Incomplete,
    /// No end within the bound.
    TooLong,
    /// A line, without its end.
    Text(Bytes),
}

#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: BytesMut,
    /// No line's end stands before here.
    scanned: usize,
}

impl From<&[u8]> for Input {
    fn from(bytes: &[u8]) -> Self {
        Self { buffer: bytes.into(), scanned: 0 }
    }
}

impl Input {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next line, of at most `limit` bytes with its end. A line feed alone ends it too: people type by hand.
    pub(super) fn take_line(&mut self, limit: usize) -> Line {
        let end =
            self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n').map(|offset| self.scanned + offset);
        match end {
            Some(end) if end < limit => {
                let mut line = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                self.scanned = 0;
                if line.ends_with(b"\r") {
                    line.truncate(end - 1);
                }
                Line::Text(line)
            }
            None if self.buffer.len() < limit => {
                self.scanned = self.buffer.len();
                Line::Incomplete
            }
            _ => Line::TooLong,
        }
    }

    pub(super) fn take_all(&mut self) -> Bytes {
        self.scanned = 0;
        self.buffer.split().freeze()
    }

    /// Forgets what is here.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives memory up that a silent connection does not need.
    pub(super) fn release(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
    }

    /// Whether nothing is here, not even the begin of a line.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_pieces() {
        let mut input = Input::from(&b"NO"[..]);
        assert_eq!(input.take_line(100), Line::Incomplete);
        assert_eq!(input.scanned, 2);
        input.extend(b"OP\r\nSTAT\n\r\n\r\r\nrest");
        for line in ["NOOP", "STAT", "", "\r"] {
            assert_eq!(input.take_line(100), Line::Text(line.into()));
        }
        assert_eq!(input.take_line(100), Line::Incomplete);
        assert_eq!(input.take_all(), "rest");
        assert_eq!(input.take_line(100), Line::Incomplete);
    }

    #[test]
    fn bounds() {
        assert_eq!(Input::from(&b"123456\r\n"[..]).take_line(8), Line::Text("123456".into()));
        assert_eq!(Input::from(&b"1234567\r\n"[..]).take_line(8), Line::TooLong);
        assert_eq!(Input::from(&b"12345678"[..]).take_line(8), Line::TooLong);
        assert_eq!(Input::from(&b"1234567"[..]).take_line(8), Line::Incomplete);
    }
}
