//! How an answer begins: `+OK` or `-ERR`, a code for the program, a text for the user.
//!
//! Invariant: encoded, it is one line of printable ASCII of at most 512 bytes with its end (RFC 2449 §4), whatever the
//! text says.

use std::borrow::Cow;

use bytes::BytesMut;

/// The most bytes of text in an answer's first line, so that the line stays within 512.
const TEXT_BYTES: usize = 480;

/// What a program reads of an answer (RFC 2449 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The credentials were at fault, or what they may do (RFC 3206 §4).
    Auth,
    /// Something failed on our side and may work later (RFC 3206 §4).
    SysTemp,
    /// Something is wrong on our side until somebody mends it (RFC 3206 §4).
    SysPerm,
    /// Another session holds the mailbox (RFC 2449 §8.1.2).
    InUse,
    /// The account logs in too often (RFC 2449 §8.1.1).
    LoginDelay,
}

impl Code {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::SysTemp => "SYS/TEMP",
            Self::SysPerm => "SYS/PERM",
            Self::InUse => "IN-USE",
            Self::LoginDelay => "LOGIN-DELAY",
        }
    }
}

/// The first line of an answer, mostly the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion<'a> {
    /// Whether what was asked for is done.
    pub positive: bool,
    /// What a program reads of it.
    pub code: Option<Code>,
    /// What a user reads of it: one line; what is not printable ASCII is written as `?`.
    pub text: Cow<'a, str>,
}

impl<'a> Completion<'a> {
    /// Done.
    pub fn ok(text: impl Into<Cow<'a, str>>) -> Self {
        Self { positive: true, code: None, text: text.into() }
    }

    /// Not done.
    pub fn no(text: impl Into<Cow<'a, str>>) -> Self {
        Self { positive: false, code: None, text: text.into() }
    }

    /// The same with a code.
    #[must_use]
    pub fn with(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// Appends the line as it goes over the wire.
    pub fn encode(&self, output: &mut BytesMut) {
        let status: &[u8] = if self.positive { b"+OK" } else { b"-ERR" };
        output.extend_from_slice(status);
        if let Some(code) = self.code {
            output.extend_from_slice(b" [");
            output.extend_from_slice(code.name().as_bytes());
            output.extend_from_slice(b"]");
        }
        if !self.text.is_empty() {
            let printable = |character: char| if matches!(character, ' '..='~') { character as u8 } else { b'?' };
            output.extend_from_slice(b" ");
            output.extend(self.text.chars().take(TEXT_BYTES).map(printable));
        }
        output.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(completion: &Completion<'_>) -> String {
        let mut output = BytesMut::new();
        completion.encode(&mut output);
        String::from_utf8(output.to_vec()).unwrap()
    }

    #[test]
    fn known_answers() {
        assert_eq!(encoded(&Completion::ok("2 320")), "+OK 2 320\r\n");
        assert_eq!(encoded(&Completion::ok("")), "+OK\r\n");
        assert_eq!(encoded(&Completion::no("later").with(Code::SysTemp)), "-ERR [SYS/TEMP] later\r\n");
        assert_eq!(encoded(&Completion::no("").with(Code::InUse)), "-ERR [IN-USE]\r\n");
    }

    #[test]
    fn a_text_stays_one_short_line() {
        assert_eq!(encoded(&Completion::no("a\r\n+OK ñ\0")), "-ERR a??+OK ??\r\n");
        assert!(encoded(&Completion::no("é".repeat(10_000)).with(Code::LoginDelay)).len() <= 512);
    }
}
