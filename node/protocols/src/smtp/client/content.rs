//! A message on its way out: with dots before lines (DATA), or as it is (BDAT).

use bytes::{Bytes, BytesMut};

use crate::smtp::scan::first_pair;

/// How much is prepared at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// How the message is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Ended by a dot on a line of its own.
    Lines,
    /// As many bytes as BDAT announced; those that are still owed.
    Counted(u64),
}

/// The role gave more or less than it had announced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch;

/// The message of the transaction that is going on.
#[derive(Debug)]
pub(super) struct Content {
    framing: Framing,
    /// What the role gave and is not yet written.
    given: Bytes,
    at_line_start: bool,
}

impl Content {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, given: Bytes::new(), at_line_start: true }
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes the next bytes of the message, when those before are written.
    pub(super) fn give(&mut self, bytes: Bytes) -> Result<(), Mismatch> {
        if let Framing::Counted(owed_bytes) = &mut self.framing {
            *owed_bytes = owed_bytes.checked_sub(bytes.len() as u64).ok_or(Mismatch)?;
        }
        self.given = bytes;
        Ok(())
    }

    /// The next bytes for the wire; none when all that was given is written.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        if self.given.is_empty() {
            return None;
        }
        if self.framing != Framing::Lines {
            return Some(std::mem::take(&mut self.given));
        }
        let piece = self.given.split_to(self.given.len().min(PIECE_BYTES));
        let starts_line = std::mem::replace(&mut self.at_line_start, piece.last() == Some(&b'\n'));
        Some(stuffed(piece, starts_line))
    }

    /// What ends the message.
    pub(super) fn end(&self) -> Result<&'static [u8], Mismatch> {
        match self.framing {
            Framing::Counted(0) => Ok(b""),
            Framing::Counted(_) => Err(Mismatch),
            Framing::Lines if self.at_line_start => Ok(b".\r\n"),
            Framing::Lines => Ok(b"\r\n.\r\n"),
        }
    }
}

/// RFC 5321 §4.5.2: a line that begins with a dot gets another one. Also behind a bare LF: should one be in a message,
/// it must not be taken for the end of it anywhere.
fn stuffed(piece: Bytes, starts_line: bool) -> Bytes {
    let line_dot = |first, second| (first == b'\n') & (second == b'.');
    let starts_with_dot = starts_line && piece.first() == Some(&b'.');
    if !starts_with_dot && first_pair(&piece, line_dot).is_none() {
        return piece;
    }
    let mut wire = BytesMut::with_capacity(piece.len() + piece.len() / 16);
    if starts_with_dot {
        wire.extend_from_slice(b".");
    }
    let mut rest = &piece[..];
    while let Some(index) = first_pair(rest, line_dot) {
        wire.extend_from_slice(&rest[..=index]);
        wire.extend_from_slice(b".");
        rest = &rest[index + 1..];
    }
    wire.extend_from_slice(rest);
    wire.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(parts: &[&'static [u8]]) -> Vec<u8> {
        let mut content = Content::new(Framing::Lines);
        let mut wire = Vec::new();
        for part in parts {
            content.give(Bytes::from_static(part)).unwrap();
            while let Some(piece) = content.next_piece() {
                wire.extend_from_slice(&piece);
            }
        }
        wire.extend_from_slice(content.end().unwrap());
        wire
    }

    #[test]
    fn known_answers() {
        assert_eq!(wire(&[]), b".\r\n");
        assert_eq!(wire(&[b"a\r\n"]), b"a\r\n.\r\n");
        assert_eq!(wire(&[b"a"]), b"a\r\n.\r\n");
        assert_eq!(wire(&[b".\r\n..\r\na.\r\n.b\r\n"]), b"..\r\n...\r\na.\r\n..b\r\n.\r\n");
        assert_eq!(wire(&[b"a\r\n", b".b\r\n", b"c", b".d\r\n"]), b"a\r\n..b\r\nc.d\r\n.\r\n");
        assert_eq!(wire(&[b"a\n.\r\n"]), b"a\n..\r\n.\r\n");
    }

    #[test]
    fn counted_content_is_held_to_its_count() {
        let mut content = Content::new(Framing::Counted(3));
        assert_eq!(content.give(Bytes::from_static(b".a")), Ok(()));
        assert_eq!(content.next_piece(), Some(Bytes::from_static(b".a")));
        assert_eq!(content.end(), Err(Mismatch));
        assert_eq!(content.give(Bytes::from_static(b"bc")), Err(Mismatch));
        assert_eq!(content.give(Bytes::from_static(b"b")), Ok(()));
        assert_eq!(content.end(), Ok(&b""[..]));
    }
}
