//! Line ends of an appended message, which comes in pieces.
//!
//! A message is made of whole lines that end in CRLF (RFC 5322 §2.1): SMTP takes nothing else, and a client that appends
//! should send nothing else (RFC 3501 §6.3.11), but some do. A message is mended once, on its way in, and not wherever
//! it is read: so RFC822.SIZE, the size that POP3 announces (RFC 1939 §11), and what either sends agree. A CR that ends
//! no line disturbs nobody, and stays.

use std::borrow::Cow;

/// Makes whole lines of a text.
#[derive(Debug)]
pub struct LineEnds {
    /// The last byte so far. An empty text lacks nothing.
    last: u8,
}

impl LineEnds {
    /// At the begin of a text.
    pub fn new() -> Self {
        Self { last: b'\n' }
    }

    /// The next piece of the text, a CR put before each LF that has none.
    pub fn mend<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let before = self.last;
        self.last = piece.last().copied().unwrap_or(before);
        let is_bare = |at: usize| piece[at] == b'\n' && at.checked_sub(1).map_or(before, |at| piece[at]) != b'\r';
        let Some(first) = (0..piece.len()).find(|at| is_bare(*at)) else { return Cow::Borrowed(piece) };
        let mut mended = Vec::with_capacity(piece.len() + piece.len() / 8);
        mended.extend_from_slice(&piece[..first]);
        for (at, byte) in piece.iter().enumerate().skip(first) {
            if is_bare(at) {
                mended.push(b'\r');
            }
            mended.push(*byte);
        }
        Cow::Owned(mended)
    }

    /// The next piece of the text is this, which stays as it is: what is binary (RFC 3516 §4.4) has no lines to mend.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        if !piece.is_empty() {
            self.last = b'\n';
        }
    }

    /// What the last line lacks.
    pub fn finish(self) -> &'static [u8] {
        match self.last {
            b'\n' => b"",
            b'\r' => b"\n",
            _ => b"\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mended(pieces: &[&[u8]]) -> Vec<u8> {
        let mut ends = LineEnds::new();
        let mut text: Vec<u8> = pieces.iter().flat_map(|piece| ends.mend(piece).into_owned()).collect();
        text.extend_from_slice(ends.finish());
        text
    }

    #[test]
    fn lines_become_whole() {
        for (text, expected) in [
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\n\nb\n", "a\r\n\r\nb\r\n"),
            ("\n", "\r\n"),
            ("a\rb", "a\rb\r\n"),
            ("a\r", "a\r\n"),
            ("\r\r\n", "\r\r\n"),
            ("", ""),
        ] {
            assert_eq!(mended(&[text.as_bytes()]), expected.as_bytes(), "{text:?}");
        }
        assert!(matches!(LineEnds::new().mend(b"whole\r\nlines\r\n"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_and_twice_is_once(text in "[ab\r\n]{0,40}", cuts in prop::collection::vec(0usize..40, 0..5)) {
            let whole = mended(&[text.as_bytes()]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([text.len()]);
            let pieces: Vec<_> = starts.zip(ends).map(|(start, end)| &text.as_bytes()[start..end]).collect();
            prop_assert_eq!(&mended(&pieces), &whole);
            prop_assert_eq!(&mended(&[&whole]), &whole);
            // Nothing but line ends is different.
            let plain = |text: &[u8]| -> Vec<u8> { text.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect() };
            prop_assert_eq!(plain(&whole), plain(text.as_bytes()));
            prop_assert!(whole.is_empty() || whole.ends_with(b"\r\n"));
        }
    }
}
