//! A command on its way to a server.

use std::collections::VecDeque;

/// A command without its tag, in the parts that a server gives leave for: each ends its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(VecDeque<Vec<u8>>);

impl Command {
    /// One that begins with these words, which are ours.
    pub fn new(words: &str) -> Self {
        Self(VecDeque::from([words.as_bytes().to_vec()]))
    }

    fn last(&mut self) -> &mut Vec<u8> {
        if self.0.is_empty() {
            self.0.push_back(Vec::new());
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// Adds words of ours.
    #[must_use]
    pub fn words(mut self, words: &str) -> Self {
        self.last().extend_from_slice(words.as_bytes());
        self
    }

    /// Adds a space and a string of anybody's: quoted where that can be, else as a literal (RFC 3501 §4.3).
    #[must_use]
    pub fn string(mut self, text: &[u8]) -> Self {
        if text.len() <= 1000 && text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let last = self.last();
            last.extend_from_slice(b" \"");
            for byte in text {
                if matches!(byte, b'"' | b'\\') {
                    last.push(b'\\');
                }
                last.push(*byte);
            }
            last.push(b'"');
        } else {
            self.last().extend_from_slice(format!(" {{{}}}", text.len()).as_bytes());
            self.0.push_back(text.to_vec());
        }
        self
    }

    /// Adds what is said when the server has asked (RFC 3501 §7.5).
    #[must_use]
    pub fn answer(mut self, line: &str) -> Self {
        self.0.push_back(line.as_bytes().to_vec());
        self
    }

    /// The next part, its line's end included.
    pub(super) fn next_part(&mut self) -> Option<Vec<u8>> {
        let mut part = self.0.pop_front()?;
        part.extend_from_slice(b"\r\n");
        Some(part)
    }
}
