//! Replies: a code of three digits, mostly an enhanced status code (RFC 3463), and lines for people.
//!
//! Invariants: an encoded reply is made of printable ASCII, each line at most 512 bytes with its end (RFC 5321
//! §4.5.3.1.5), whatever the text says; a reply that is read is bounded in its lines and in the length of each.

use std::borrow::Cow;
use std::fmt;

use bytes::{Buf, BytesMut};

/// The longest line of a reply that is read from a server, in bytes. The RFC allows 512; servers send more.
const LINE_LIMIT_BYTES: usize = 2048;
/// The most lines of one reply that are read from a server.
const LINES_LIMIT: usize = 128;
/// The most bytes of text in one line that is written.
const TEXT_LIMIT_BYTES: usize = 480;

/// An enhanced status code: class, subject, detail (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Enhanced {
    /// Reads `5.1.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| {
            // RFC 3463 §2: at most three digits.
            let plain = !number.is_empty() && number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| number.parse::<u16>().ok()).flatten()
        });
        let class = u8::try_from(numbers.next()??).ok()?;
        let (subject, detail) = (numbers.next()??, numbers.next()??);
        (numbers.next().is_none() && matches!(class, 2 | 4 | 5)).then_some(Self(class, subject, detail))
    }
}

/// What a reply means for what was asked (RFC 5321 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// 2xx: done.
    Positive,
    /// 3xx: go on.
    Intermediate,
    /// 4xx: not now; try again later.
    Temporary,
    /// 5xx: no, and not later either.
    Permanent,
}

/// A reply to a command. Its text may have several lines, apart by `\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// The enhanced status code; none in greetings, in answers to EHLO and in 3xx (RFC 2034 §3).
    pub enhanced: Option<Enhanced>,
    /// What a person reads.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status code.
    pub fn new(code: u16, enhanced: Enhanced, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: Some(enhanced), text: text.into() }
    }

    /// A reply whose words are known beforehand.
    pub const fn known(code: u16, enhanced: Enhanced, text: &'static str) -> Self {
        Self { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    /// A reply without an enhanced status code.
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: None, text: text.into() }
    }

    /// What the reply means.
    pub fn severity(&self) -> Severity {
        match self.code {
            ..=299 => Severity::Positive,
            300..=399 => Severity::Intermediate,
            400..=499 => Severity::Temporary,
            500.. => Severity::Permanent,
        }
    }

    /// Whether what was asked for is done.
    pub fn is_positive(&self) -> bool {
        self.severity() == Severity::Positive
    }

    /// Appends the reply as it goes over the wire.
    pub fn encode(&self, output: &mut BytesMut) {
        // RFC 5321 §4.2: Reply-code with "-" on all lines but the last.
        let mut lines = self.text.lines().peekable();
        if lines.peek().is_none() {
            self.encode_line(output, b' ', "");
        }
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { b'-' } else { b' ' };
            self.encode_line(output, mark, line);
        }
    }

    fn encode_line(&self, output: &mut BytesMut, mark: u8, line: &str) {
        output.extend_from_slice(self.code.to_string().as_bytes());
        output.extend_from_slice(&[mark]);
        if let Some(enhanced) = self.enhanced {
            // RFC 2034 §4: the code stands on every line.
            output.extend_from_slice(enhanced.to_string().as_bytes());
            output.extend_from_slice(b" ");
        }
        let printable = |character: char| if matches!(character, ' '..='~') { character as u8 } else { b'?' };
        output.extend(line.chars().take(TEXT_LIMIT_BYTES).map(printable));
        output.extend_from_slice(b"\r\n");
    }
}

impl fmt::Display for Reply {
    /// The reply in one line, as it stands in a log or in a report (RFC 3464 §2.3.6 `smtp`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.text.lines() {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

/// What a server sent is not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent something that is not an SMTP reply")]
pub(super) struct Malformed;

/// Reads replies from the bytes that a server sends.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// The lines so far of a reply that has more.
    partial: Option<(Reply, usize)>,
}

impl ReplyReader {
    /// Takes the next reply from `input`; none while it is incomplete.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
        loop {
            let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
                return if input.len() > LINE_LIMIT_BYTES { Err(Malformed) } else { Ok(None) };
            };
            if end > LINE_LIMIT_BYTES {
                return Err(Malformed);
            }
            let line = input.split_to(end);
            input.advance(1);
            if let Some(reply) = self.line(line.strip_suffix(b"\r").unwrap_or(&line))? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, Malformed> {
        let (digits, rest) = line.split_at_checked(3).ok_or(Malformed)?;
        let code = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let code = code.and_then(|digits| digits.parse().ok()).ok_or(Malformed)?;
        if !(200..=599).contains(&code) {
            return Err(Malformed);
        }
        let (more, text) = match rest.split_first() {
            None => (false, rest),
            Some((b' ', text)) => (false, text),
            Some((b'-', text)) => (true, text),
            Some(_) => return Err(Malformed),
        };
        let text = String::from_utf8_lossy(text);
        let (word, after) = text.split_once(' ').unwrap_or((&text, ""));
        let class = code / 100;
        let enhanced = Enhanced::parse(word).filter(|enhanced| u16::from(enhanced.0) == class);
        let text = if enhanced.is_some() { after.trim_start() } else { &text };

        let (reply, lines) = match self.partial.take() {
            None => (Reply { code, enhanced, text: Cow::Owned(text.to_owned()) }, 1),
            Some((mut reply, lines)) => {
                if reply.code != code || lines >= LINES_LIMIT {
                    return Err(Malformed);
                }
                let whole = reply.text.to_mut();
                whole.push('\n');
                whole.push_str(text);
                (reply, lines + 1)
            }
        };
        if more {
            self.partial = Some((reply, lines));
            return Ok(None);
        }
        Ok(Some(reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply) -> String {
        let mut output = BytesMut::new();
        reply.encode(&mut output);
        String::from_utf8(output.to_vec()).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        ReplyReader::default().next(&mut BytesMut::from(bytes))
    }

    #[test]
    fn known_answers() {
        assert_eq!(encoded(&Reply::known(250, Enhanced(2, 1, 0), "OK")), "250 2.1.0 OK\r\n");
        assert_eq!(encoded(&Reply::plain(220, "mx ESMTP")), "220 mx ESMTP\r\n");
        assert_eq!(encoded(&Reply::plain(250, "a\nb\nc")), "250-a\r\n250-b\r\n250 c\r\n");
        assert_eq!(encoded(&Reply::known(550, Enhanced(5, 7, 1), "one\ntwo")), "550-5.7.1 one\r\n550 5.7.1 two\r\n");
        assert_eq!(encoded(&Reply::plain(354, "")), "354 \r\n");
    }

    #[test]
    fn a_text_cannot_forge_a_reply() {
        assert_eq!(encoded(&Reply::plain(550, "no\r250 yes\0é")), "550 no?250 yes??\r\n");
        assert!(encoded(&Reply::plain(550, "x".repeat(5000))).len() <= 512);
    }

    #[test]
    fn reads_what_it_writes() {
        for reply in [
            Reply::known(250, Enhanced(2, 1, 0), "OK"),
            Reply::plain(354, "go on"),
            Reply::known(550, Enhanced(5, 1, 1), "one\ntwo\nthree"),
            Reply::plain(220, ""),
        ] {
            assert_eq!(read(encoded(&reply).as_bytes()), Ok(Some(reply)));
        }
    }

    #[test]
    fn reads_bare_codes_and_bare_line_feeds() {
        assert_eq!(read(b"250\r\n"), Ok(Some(Reply::plain(250, ""))));
        assert_eq!(read(b"250 ok\n"), Ok(Some(Reply::plain(250, "ok"))));
        assert_eq!(read(b"250 ok"), Ok(None));
    }

    #[test]
    fn a_status_code_of_another_class_is_text() {
        assert_eq!(read(b"250 5.1.1 odd\r\n"), Ok(Some(Reply::plain(250, "5.1.1 odd"))));
    }

    #[test]
    fn refuses_nonsense() {
        for nonsense in [&b"hello\r\n"[..], b"2\r\n", b"250+x\r\n", b"250-a\r\n251 b\r\n", b"999 x\r\n", b"\r\n"] {
            assert_eq!(read(nonsense), Err(Malformed), "{nonsense:?}");
        }
        assert_eq!(read(&[b'2'; LINE_LIMIT_BYTES + 1]), Err(Malformed));
        assert_eq!(read("250-x\r\n".repeat(LINES_LIMIT + 1).as_bytes()), Err(Malformed));
    }
}
