//! The lines of an answer that has several (RFC 1939 §3), made of a text that comes in pieces of any size.
//!
//! Invariants: what [`DotStuffing`] gives ends every line in CRLF, whatever the text does; no line of it but the last is
//! a lone dot; nothing is copied but what is put in.

/// Makes the lines of an answer: puts a dot before a line that begins with one, and a CR before a LF that has none.
#[derive(Debug, Clone, Copy)]
pub struct DotStuffing {
    at_line_start: bool,
    after_cr: bool,
}

impl Default for DotStuffing {
    fn default() -> Self {
        Self { at_line_start: true, after_cr: false }
    }
}

impl DotStuffing {
    /// At the begin of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece of the text, as it goes over the wire: in order, the runs of it that stay as they are and what is
    /// put between them. All of it must be taken before the piece after it.
    pub fn stuff<'a>(&'a mut self, piece: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = piece;
        let mut dotted = false;
        std::iter::from_fn(move || {
            let first = *rest.first()?;
            // RFC 1939 §3: "byte-stuffed" by a dot.
            if first == b'.' && self.at_line_start && !dotted {
                dotted = true;
                return Some(&b"."[..]);
            }
            dotted = false;
            if first == b'\n' && !self.after_cr {
                rest = &rest[1..];
                self.at_line_start = true;
                return Some(&b"\r\n"[..]);
            }
            let (run, behind) = rest.split_at(first_insertion(rest));
            rest = behind;
            self.at_line_start = run.last() == Some(&b'\n');
            self.after_cr = run.last() == Some(&b'\r');
            Some(run)
        })
    }

    /// What ends the answer: the dot on a line of its own, behind a line's end that the text may lack.
    pub fn finish(self) -> &'static [u8] {
        if self.at_line_start { b".\r\n" } else { b"\r\n.\r\n" }
    }
}

/// Where something has to be put into `text`, behind its first byte.
fn first_insertion(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(offset) = text[from..].iter().position(|byte| *byte == b'\n') {
        let end = from + offset;
        if end > 0 && text[end - 1] != b'\r' {
            return end;
        }
        from = end + 1;
        if text.get(from) == Some(&b'.') {
            return from;
        }
    }
    text.len()
}

/// The begin of a message that TOP shows (RFC 1939 §7): the header, the line that ends it, and so many of the body's.
#[derive(Debug, Clone, Copy)]
pub struct Top {
    in_header: bool,
    /// Lines of the body that are still to come.
    remaining: u32,
    /// Bytes of the line that is not complete yet, and whether it begins with a CR.
    line_bytes: usize,
    cr_first: bool,
}

impl Top {
    /// So many lines of the body.
    pub fn new(lines: u32) -> Self {
        Self { in_header: true, remaining: lines, line_bytes: 0, cr_first: false }
    }

    /// Whether nothing more of the message belongs to it.
    pub fn is_complete(&self) -> bool {
        !self.in_header && self.remaining == 0
    }

    /// What belongs to it of the message's next piece.
    pub fn take<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let mut from = 0;
        while !self.is_complete() {
            let rest = &piece[from..];
            if self.line_bytes == 0 {
                self.cr_first = rest.first() == Some(&b'\r');
            }
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                self.line_bytes += rest.len();
                return piece;
            };
            let line_bytes = self.line_bytes + length;
            self.line_bytes = 0;
            from += length + 1;
            if !self.in_header {
                self.remaining -= 1;
            } else if line_bytes == usize::from(self.cr_first) {
                self.in_header = false;
            }
        }
        &piece[..from]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A text as an answer, given in pieces.
    fn stuffed<'t>(pieces: impl Iterator<Item = &'t [u8]>) -> Vec<u8> {
        let mut stuffing = DotStuffing::new();
        let mut wire = Vec::new();
        for piece in pieces {
            stuffing.stuff(piece).for_each(|run| wire.extend_from_slice(run));
        }
        wire.extend_from_slice(stuffing.finish());
        wire
    }

    /// As a client reads it; none when the end does not stand where it should.
    fn read(wire: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut lines = wire.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if line == b".\r\n" {
                return lines.peek().is_none().then_some(text);
            }
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        None
    }

    fn top(lines: u32, message: &[u8], piece_bytes: usize) -> Vec<u8> {
        let mut top = Top::new(lines);
        message.chunks(piece_bytes).flat_map(|piece| top.take(piece).to_vec()).collect()
    }

    #[test]
    fn known_answers() {
        for (text, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"..\r\n.a\r\n", b"...\r\n..a\r\n.\r\n"),
            (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"\n\n.", b"\r\n\r\n..\r\n.\r\n"),
            (b"a.\r\n", b"a.\r\n.\r\n"),
            // A CR alone is no line's end, for us and for who reads it.
            (b"a\r.\r\n", b"a\r.\r\n.\r\n"),
            (b"a\r", b"a\r\r\n.\r\n"),
        ] {
            for piece_bytes in 1..=text.len().max(1) {
                assert_eq!(stuffed(text.chunks(piece_bytes)), wire, "{text:?} in pieces of {piece_bytes}");
            }
        }
    }

    #[test]
    fn a_clean_text_is_one_run() {
        let text = b"Subject: x\r\n\r\nmany\r\nlines\r\n".repeat(100);
        let mut stuffing = DotStuffing::new();
        assert_eq!(stuffing.stuff(&text).collect::<Vec<_>>(), [&text[..]]);
    }

    #[test]
    fn top_ends_where_it_should() {
        for (message, lines, expected) in [
            (&b"A: 1\r\nB: 2\r\n\r\none\r\ntwo\r\n"[..], 0, &b"A: 1\r\nB: 2\r\n\r\n"[..]),
            (b"A: 1\r\n\r\none\r\ntwo\r\n", 1, b"A: 1\r\n\r\none\r\n"),
            (b"A: 1\r\n\r\none\r\n\r\n", 2, b"A: 1\r\n\r\none\r\n\r\n"),
            (b"A: 1\r\n\r\none\r\ntwo", 9, b"A: 1\r\n\r\none\r\ntwo"),
            (b"A: 1\n\none\ntwo\n", 1, b"A: 1\n\none\n"),
            (b"\r\none\r\ntwo\r\n", 1, b"\r\none\r\n"),
            // No body at all, and a line that is a CR and more.
            (b"A: 1\r\n", 3, b"A: 1\r\n"),
            (b"A: 1\r\n\rB\r\n\r\none\r\n", 0, b"A: 1\r\n\rB\r\n\r\n"),
            (b"A: 1\r\n\r\r\n\r\none\r\n", 0, b"A: 1\r\n\r\r\n\r\n"),
        ] {
            for piece_bytes in 1..=message.len() {
                assert_eq!(top(lines, message, piece_bytes), expected, "{lines} in pieces of {piece_bytes}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_client_reads_what_was_sent(text in prop::collection::vec(prop::sample::select(b"\r\n..ab".to_vec()), 0..60), piece_bytes in 1usize..20) {
            let wire = stuffed(text.chunks(piece_bytes));
            // Every LF has its CR, and the text ends in a line's end.
            let mut expected = Vec::new();
            for &byte in &text {
                if byte == b'\n' && expected.last() != Some(&b'\r') {
                    expected.push(b'\r');
                }
                expected.push(byte);
            }
            if !expected.is_empty() && expected.last() != Some(&b'\n') {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(read(&wire), Some(expected));
        }

        #[test]
        fn top_is_a_begin_of_the_message(message in prop::collection::vec(prop::sample::select(b"\r\n\n:a".to_vec()), 0..60), lines in 0u32..5, piece_bytes in 1usize..20) {
            let shown = top(lines, &message, piece_bytes);
            prop_assert!(message.starts_with(&shown));
            prop_assert_eq!(&shown, &top(lines, &message, message.len().max(1)));
            prop_assert!(shown.len() >= top(lines.saturating_sub(1), &message, 7).len());
        }
    }
}
