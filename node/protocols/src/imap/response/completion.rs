//! Status responses (RFC 3501 §7.1): how a command ended, and what the server says unasked.

use std::borrow::Cow;

use super::{Code, Output};
use crate::imap::types::Tag;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Done.
    Ok,
    /// Not done.
    No,
    /// Not understood.
    Bad,
}

/// The end of a command: the condition, a code for the program and a text for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion<'a> {
    /// How it ended.
    pub condition: Condition,
    /// What a program reads of it.
    pub code: Option<Code<'a>>,
    /// What a user reads of it: one line; what is not printable ASCII is written as `?`.
    pub text: Cow<'a, str>,
}

impl<'a> Completion<'a> {
    /// Done.
    pub fn ok(text: impl Into<Cow<'a, str>>) -> Self {
        Self { condition: Condition::Ok, code: None, text: text.into() }
    }

    /// Not done.
    pub fn no(text: impl Into<Cow<'a, str>>) -> Self {
        Self { condition: Condition::No, code: None, text: text.into() }
    }

    /// Not understood.
    pub fn bad(text: impl Into<Cow<'a, str>>) -> Self {
        Self { condition: Condition::Bad, code: None, text: text.into() }
    }

    /// The same with a code.
    #[must_use]
    pub fn with(mut self, code: Code<'a>) -> Self {
        self.code = Some(code);
        self
    }
}

impl Output {
    /// An untagged `OK`, with something to tell beside a command.
    pub fn notice(&mut self, code: &Code<'_>, text: &str) {
        self.status(b"*", b"OK", Some(code), text);
    }

    /// An untagged `NO`: a warning.
    pub fn warning(&mut self, code: Option<&Code<'_>>, text: &str) {
        self.status(b"*", b"NO", code, text);
    }

    /// The end of a command; of one whose tag could not be read, `*`.
    pub(crate) fn completion(&mut self, tag: Option<&Tag>, completion: &Completion<'_>) {
        let condition: &[u8] = match completion.condition {
            Condition::Ok => b"OK",
            Condition::No => b"NO",
            Condition::Bad => b"BAD",
        };
        let tag = tag.map_or(&b"*"[..], |tag| tag.as_str().as_bytes());
        self.status(tag, condition, completion.code.as_ref(), &completion.text);
    }

    /// `* BYE`: the server is about to close (RFC 3501 §7.1.5).
    pub(crate) fn bye(&mut self, code: Option<&Code<'_>>, text: &str) {
        self.status(b"*", b"BYE", code, text);
    }

    /// `+ …`: the server waits for more of the command (RFC 3501 §7.5).
    pub(crate) fn continuation(&mut self, text: &str) {
        self.put(b"+ ");
        self.put(text.as_bytes());
        self.end_line();
    }

    /// `resp-text = ["[" resp-text-code "]" SP] text`
    fn status(&mut self, tag: &[u8], condition: &[u8], code: Option<&Code<'_>>, text: &str) {
        self.put(tag);
        self.put_byte(b' ');
        self.put(condition);
        self.put_byte(b' ');
        if let Some(code) = code {
            self.code(code);
        }
        // A text must not be empty, must not end the line, and must not look like a code (RFC 3501 §9: text).
        if text.is_empty() || (code.is_none() && text.starts_with('[')) {
            self.put_byte(b'-');
        }
        for character in text.chars() {
            self.put_byte(if matches!(character, ' '..='~') { character as u8 } else { b'?' });
        }
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let mut output = Output::default();
        let tag = Tag::new(b"a1").unwrap();
        output.completion(Some(&tag), &Completion::ok("SELECT completed").with(Code::ReadWrite));
        output.completion(None, &Completion::bad("No tag"));
        output.completion(Some(&tag), &Completion::no(""));
        output.notice(&Code::Unseen(3), "First unseen");
        output.bye(None, "Gone");
        output.continuation("");
        assert_eq!(
            output.drain(),
            "a1 OK [READ-WRITE] SELECT completed\r\n* BAD No tag\r\na1 NO -\r\n* OK [UNSEEN 3] First unseen\r\n* BYE Gone\r\n+ \r\n"
        );
    }

    #[test]
    fn no_text_breaks_the_line() {
        let mut output = Output::default();
        output.warning(None, "[a]\r\n* BYE ü\0");
        assert_eq!(output.drain(), "* NO -[a]??* BYE ??\r\n");
    }
}
