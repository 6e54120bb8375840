//! A message as it comes in: lines with dots before them (DATA), or counted bytes (BDAT).
//!
//! Invariants:
//! - only CR LF ends a line, and only CR LF `.` CR LF ends DATA; a message that holds a bare CR or a bare LF is refused
//!   (RFC 5321 §2.3.8), so that no server behind this one can see an end of data where this one saw none;
//! - once something is at fault, nothing more of the message is handed on, and its end is still found.

use bytes::{Bytes, BytesMut};

use super::config::Limits;
use crate::smtp::reply::{Enhanced, Reply};
use crate::smtp::scan::first_pair;

pub(super) const TOO_LARGE: Reply = Reply::known(552, Enhanced(5, 3, 4), "Message too large");
const BARE: Reply = Reply::known(550, Enhanced(5, 6, 0), "Message holds a bare CR or LF; lines must end in CRLF");
const LONG_LINE: Reply = Reply::known(550, Enhanced(5, 6, 0), "Message holds a line that is too long");

/// What came of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Not enough bytes to say more.
    Nothing,
    /// A piece of the message, as it is stored.
    Text(Bytes),
    /// The message has just turned out to be at fault.
    Fault,
    /// The message, or the chunk, is complete.
    End,
}

/// One message on its way in.
#[derive(Debug)]
pub(super) struct Body {
    limit_bytes: u64,
    line_limit_bytes: usize,
    /// What came so far, handed on or swallowed.
    size_bytes: u64,
    line_bytes: usize,
    at_line_start: bool,
    after_cr: bool,
    fault: Option<Reply>,
}

impl Body {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limit_bytes: limits.message_bytes,
            line_limit_bytes: limits.text_line(),
            size_bytes: 0,
            line_bytes: 0,
            at_line_start: true,
            after_cr: false,
            fault: None,
        }
    }

    /// Why the message is refused, if it is.
    pub(super) fn fault(&self) -> Option<&Reply> {
        self.fault.as_ref()
    }

    /// Refuses the message; what still comes of it is swallowed. The first fault stands.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.fault.get_or_insert(reply);
    }

    /// Whether so much was swallowed that going on is no longer worth it.
    pub(super) fn is_overrun(&self) -> bool {
        self.fault.is_some() && self.size_bytes > self.limit_bytes.saturating_mul(2)
    }

    /// Whether `more_bytes` still fit.
    pub(super) fn has_room(&self, more_bytes: u64) -> bool {
        self.size_bytes.saturating_add(more_bytes) <= self.limit_bytes
    }

    /// Takes what it can of a DATA body from `input`, without the dots that the client put before lines.
    pub(super) fn take_lines(&mut self, input: &mut BytesMut) -> Taken {
        let mut text = BytesMut::new();
        loop {
            // RFC 5321 §4.5.2: a lone dot ends the message; a dot that begins a longer line is taken away.
            if self.at_line_start && input.first() == Some(&b'.') {
                match input.get(1..) {
                    Some([b'\r', b'\n', ..]) if text.is_empty() => {
                        let _ = input.split_to(3);
                        return Taken::End;
                    }
                    Some([b'\r', b'\n', ..] | [] | [b'\r']) | None => return given(text),
                    Some(_) => {
                        let _ = input.split_to(1);
                        self.at_line_start = false;
                    }
                }
            }
            let end = first_odd_pair(input).map_or(input.len(), |index| index + 1);
            if end == 0 {
                return given(text);
            }
            match self.accept(input.split_to(end)) {
                Ok(piece) if text.is_empty() => text = piece,
                Ok(piece) => text.extend_from_slice(&piece),
                Err(true) => return Taken::Fault,
                Err(false) => {}
            }
        }
    }

    /// Takes what it can of a chunk of BDAT, `remaining_bytes` of which are still to come.
    pub(super) fn take_chunk(&mut self, input: &mut BytesMut, remaining_bytes: &mut u64) -> Taken {
        while *remaining_bytes > 0 {
            let here = usize::try_from(*remaining_bytes).unwrap_or(usize::MAX).min(input.len());
            let end = first_odd_pair(&input[..here]).map_or(here, |index| index + 1);
            if end == 0 {
                return Taken::Nothing;
            }
            *remaining_bytes -= end as u64;
            match self.accept(input.split_to(end)) {
                Ok(piece) => return Taken::Text(piece.freeze()),
                Err(true) => return Taken::Fault,
                Err(false) => {}
            }
        }
        Taken::End
    }

    /// What the last chunk still lacks to end in CRLF, so that every message ends in a whole line.
    pub(super) fn close_chunks(&mut self) -> Taken {
        if self.at_line_start || self.fault.is_some() {
            return Taken::End;
        }
        if self.after_cr {
            self.refuse(BARE);
            return Taken::Fault;
        }
        self.at_line_start = true;
        Taken::Text(Bytes::from_static(b"\r\n"))
    }

    /// Accounts for a piece without odd pairs inside. Fails with whether the fault is new.
    fn accept(&mut self, piece: BytesMut) -> Result<BytesMut, bool> {
        let (Some(&first), Some(&last)) = (piece.first(), piece.last()) else { return Ok(piece) };
        let bare = self.after_cr != (first == b'\n');
        self.at_line_start = piece.ends_with(b"\r\n") || (self.after_cr && *piece == b"\n"[..]);
        self.after_cr = last == b'\r';
        self.size_bytes += piece.len() as u64;
        if self.fault.is_some() {
            return Err(false);
        }
        let long = self.measure_lines(&piece);
        let fault = if bare {
            BARE
        } else if self.size_bytes > self.limit_bytes {
            TOO_LARGE
        } else if long {
            LONG_LINE
        } else {
            return Ok(piece);
        };
        self.fault = Some(fault);
        Err(true)
    }

    /// Follows the length of the line that goes through the pieces. A piece is shorter than the limit, so no line that
    /// lies inside it needs a look. Answers whether a line is too long.
    fn measure_lines(&mut self, piece: &[u8]) -> bool {
        let Some(first_end) = piece.iter().position(|&byte| byte == b'\n') else {
            self.line_bytes += piece.len();
            return self.line_bytes > self.line_limit_bytes;
        };
        let long = self.line_bytes + first_end + 1 > self.line_limit_bytes;
        self.line_bytes = piece.iter().rev().take_while(|&&byte| byte != b'\n').count();
        long
    }
}

fn given(text: BytesMut) -> Taken {
    if text.is_empty() { Taken::Nothing } else { Taken::Text(text.freeze()) }
}

/// The first place where a CR is not followed by a LF, a LF does not follow a CR, or a dot begins a line.
fn first_odd_pair(bytes: &[u8]) -> Option<usize> {
    first_pair(bytes, |first, second| ((first == b'\r') != (second == b'\n')) | ((first == b'\n') & (second == b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message or its fault, and what was left behind its end.
    type Received = (Result<Vec<u8>, Reply>, Vec<u8>);

    /// Feeds DATA in pieces of a size; gives the message, or the fault, and what was left behind the end.
    fn lines(limits: &Limits, wire: &[u8], piece_bytes: usize) -> Option<Received> {
        let mut body = Body::new(limits);
        let (mut input, mut text) = (BytesMut::new(), Vec::new());
        let mut pieces = wire.chunks(piece_bytes);
        loop {
            match body.take_lines(&mut input) {
                Taken::Nothing => input.extend_from_slice(pieces.next()?),
                Taken::Text(piece) => text.extend_from_slice(&piece),
                Taken::Fault => text.clear(),
                Taken::End => break,
            }
        }
        pieces.for_each(|piece| input.extend_from_slice(piece));
        Some((body.fault().map_or(Ok(text), |fault| Err(fault.clone())), input.to_vec()))
    }

    fn message(wire: &[u8]) -> Option<Received> {
        let whole = lines(&Limits::default(), wire, wire.len());
        for piece_bytes in 1..wire.len().min(9) {
            assert_eq!(lines(&Limits::default(), wire, piece_bytes), whole, "in pieces of {piece_bytes}");
        }
        whole
    }

    #[test]
    fn known_answers() {
        for (wire, expected) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b".a\r\n..b\r\n\r\n.\r\n", b"a\r\n.b\r\n\r\n"),
            (b"\r\n.\r\n", b"\r\n"),
            (b"a.\r\nb\r\n.\r\n", b"a.\r\nb\r\n"),
        ] {
            assert_eq!(message(wire), Some((Ok(expected.to_vec()), vec![])), "{wire:?}");
        }
        assert_eq!(message(b"a\r\n.\r\nQUIT\r\n"), Some((Ok(b"a\r\n".to_vec()), b"QUIT\r\n".to_vec())));
        assert_eq!(message(b"a\r\n."), None);
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        for smuggled in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\r\n.\r\r\n",
            b"\n\n.\r\n",
            b"\r\n\0.\r\n",
        ] {
            let wire = [b"a", smuggled, b"MAIL FROM:<x@y>\r\n.\r\nNOOP\r\n"].concat();
            let (result, rest) = message(&wire).unwrap();
            assert_eq!(rest, b"NOOP\r\n", "{smuggled:?}");
            assert_eq!(result.is_err(), !smuggled.contains(&0), "{smuggled:?}");
        }
    }

    #[test]
    fn bounds() {
        let limits = Limits { message_bytes: 10, ..Limits::default() };
        assert_eq!(lines(&limits, b"12345678\r\n.\r\n", 3).unwrap().0, Ok(b"12345678\r\n".to_vec()));
        assert_eq!(lines(&limits, b"123456789\r\n.\r\n", 3).unwrap().0, Err(TOO_LARGE));
        let limits = Limits::default();
        let line = vec![b'x'; limits.text_line() - 2];
        assert!(lines(&limits, &[&line, &b"\r\n.\r\n"[..]].concat(), 16384).unwrap().0.is_ok());
        assert_eq!(lines(&limits, &[&line, &b"x\r\n.\r\n"[..]].concat(), 16384).unwrap().0, Err(LONG_LINE));
    }

    #[test]
    fn chunks_are_held_to_the_same_lines() {
        let chunks = |chunks: &[&[u8]]| {
            let mut body = Body::new(&Limits::default());
            let mut text = Vec::new();
            for chunk in chunks {
                let (mut input, mut remaining) = (BytesMut::from(*chunk), chunk.len() as u64);
                while let Taken::Text(piece) = body.take_chunk(&mut input, &mut remaining) {
                    text.extend_from_slice(&piece);
                }
            }
            while let Taken::Text(piece) = body.close_chunks() {
                text.extend_from_slice(&piece);
            }
            body.fault().map_or(Ok(text), |fault| Err(fault.clone()))
        };
        assert_eq!(chunks(&[b".a\r", b"\n.\r\n.", b"b"]), Ok(b".a\r\n.\r\n.b\r\n".to_vec()));
        assert_eq!(chunks(&[]), Ok(vec![]));
        assert_eq!(chunks(&[b"a\nb\r\n"]), Err(BARE));
        assert_eq!(chunks(&[b"a\r", b"b\r\n"]), Err(BARE));
        assert_eq!(chunks(&[b"a", b"\nb\r\n"]), Err(BARE));
        assert_eq!(chunks(&[b"a\r"]), Err(BARE));
    }

    /// Puts dots before lines, as a client does.
    fn stuffed(message: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        for line in message.split_inclusive(|&byte| byte == b'\n') {
            if line.first() == Some(&b'.') {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    proptest! {
        #[test]
        fn dots_round_trip(lines_of_text in prop::collection::vec("[.a\\x00é]{0,4}", 0..40), piece_bytes in 1usize..40) {
            let whole: String = lines_of_text.iter().map(|line| format!("{line}\r\n")).collect();
            let taken = lines(&Limits::default(), &stuffed(whole.as_bytes()), piece_bytes);
            prop_assert_eq!(taken, Some((Ok(whole.into_bytes()), vec![])));
        }

        #[test]
        fn pieces_do_not_matter(wire in prop::collection::vec(prop::sample::select(b"\r\n.ab".to_vec()), 0..60), piece_bytes in 1usize..20) {
            let wire = [&wire[..], b"\r\n.\r\n"].concat();
            prop_assert_eq!(lines(&Limits::default(), &wire, piece_bytes), lines(&Limits::default(), &wire, wire.len()));
        }
    }
}
