//! Reads one whole command from contiguous bytes: the terminals of RFC 3501 §9, from which each command's file builds
//! its grammar. Never goes back: each byte is looked at once, but for words that are compared in place.

use std::borrow::Cow;
use std::num::NonZeroU32;

use super::types::{Dialect, MailboxName, NameError};

/// `ATOM-CHAR`
pub(crate) const ATOM: u8 = 1;
/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
pub(crate) const ASTRING: u8 = 2;
/// `list-char = ATOM-CHAR / list-wildcards / resp-specials`
pub(crate) const LIST: u8 = 4;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        classes[byte] = match byte as u8 {
            b'(' | b')' | b'{' | b'"' | b'\\' => 0,
            b'%' | b'*' => LIST,
            b']' => ASTRING | LIST,
            _ => ATOM | ASTRING | LIST,
        };
        byte += 1;
    }
    classes
}

/// Whether a byte is of one of those classes.
pub(crate) fn class(byte: u8, classes: u8) -> bool {
    CLASSES[usize::from(byte)] & classes != 0
}

/// Why a command is not carried out, found while reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Against the grammar: `BAD`.
    Bad(&'static str),
    /// Within the grammar, and still not possible: `NO [CANNOT]`.
    Cannot(&'static str),
    /// It names a sequence number, and the client has said that it would not: `BAD [UIDREQUIRED]` (RFC 9586 §3).
    UidRequired,
    /// An event that NOTIFY does not know: `NO [BADEVENT (…)]` (RFC 5465 §3.1).
    BadEvent,
    /// A charset that SEARCH does not know: `NO [BADCHARSET (…)]`.
    BadCharset,
}

/// A place in a command.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    dialect: Dialect,
}

type Parsed<T> = Result<T, Refusal>;

impl<'a> Cursor<'a> {
    /// At the beginning of those bytes, which do not hold the line's end.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, dialect: Dialect::default() }
    }

    /// The same, of a client that speaks so.
    pub(crate) fn speaking(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// How the client speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn end(&self) -> Parsed<()> {
        if self.at_end() { Ok(()) } else { Err(Refusal::Bad("Unexpected text behind the command")) }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn advance(&mut self, count: usize) -> &'a [u8] {
        let (read, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        read
    }

    /// Reads that byte if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    /// Reads that byte.
    pub(crate) fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.take(byte) {
            return Ok(());
        }
        Err(Refusal::Bad(match byte {
            b'(' => "Expected an opening parenthesis",
            b')' => "Expected a closing parenthesis",
            b']' => "Expected a closing bracket",
            _ => "Expected another character",
        }))
    }

    /// `SP`
    pub(crate) fn space(&mut self) -> Parsed<()> {
        if self.take(b' ') { Ok(()) } else { Err(Refusal::Bad("Expected a space")) }
    }

    /// Reads that word, in any case, if it comes next and no letter, digit or `.` goes on behind it.
    pub(crate) fn take_word(&mut self, word: &[u8]) -> bool {
        let found = self.rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && !self.rest.get(word.len()).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'.');
        if found {
            self.advance(word.len());
        }
        found
    }

    /// As many bytes of that class as there are.
    fn run(&mut self, classes: u8) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| !class(*byte, classes)).unwrap_or(self.rest.len());
        self.advance(length)
    }

    /// Everything up to the next space or the end.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| *byte == b' ').unwrap_or(self.rest.len());
        self.advance(length)
    }

    /// `atom = 1*ATOM-CHAR`
    pub(crate) fn atom(&mut self) -> Parsed<&'a [u8]> {
        match self.run(ATOM) {
            [] => Err(Refusal::Bad("Expected an atom")),
            atom => Ok(atom),
        }
    }

    /// `number = 1*DIGIT`, below 2^32
    pub(crate) fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| Refusal::Bad("Number too large"))
    }

    /// `number64 = 1*DIGIT`, below 2^64
    pub(crate) fn number64(&mut self) -> Parsed<u64> {
        let length = self.rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len());
        match self.advance(length) {
            [] => Err(Refusal::Bad("Expected a number")),
            digits => decimal(digits).ok_or(Refusal::Bad("Number too large")),
        }
    }

    /// `nz-number = digit-nz *DIGIT`
    pub(crate) fn nonzero_number(&mut self) -> Parsed<NonZeroU32> {
        NonZeroU32::new(self.number()?).ok_or(Refusal::Bad("Number must not be zero"))
    }

    /// `string = quoted / literal`
    pub(crate) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(Refusal::Bad("Expected a string")),
        }
    }

    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`. quirk_utf8: UTF-8 is let through, as clients send it.
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.advance(1);
        let plain = |rest: &[u8]| rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0));
        let unfinished = Refusal::Bad("Quoted string without an end");
        let length = plain(self.rest).ok_or(unfinished)?;
        let first = self.advance(length);
        if self.take(b'"') {
            return Ok(Cow::Borrowed(first));
        }
        let mut text = first.to_vec();
        loop {
            match (self.take(b'\\'), self.peek()) {
                (true, Some(byte @ (b'"' | b'\\'))) => {
                    text.push(byte);
                    self.advance(1);
                }
                (false, Some(b'"')) => {
                    self.advance(1);
                    return Ok(Cow::Owned(text));
                }
                (true, Some(_)) => return Err(Refusal::Bad("Only a quote or a backslash may follow a backslash")),
                _ => return Err(unfinished),
            }
            let length = plain(self.rest).ok_or(unfinished)?;
            text.extend_from_slice(self.advance(length));
        }
    }

    /// `literal = "{" number ["+"] "}" CRLF *CHAR8` (RFC 7888 §8). That it is all here, the machine has seen to.
    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let content = self.literal_of_octets()?;
        // RFC 3501 §9: CHAR8 is any octet except NUL.
        if content.contains(&0) { Err(Refusal::Bad("Literal with a NUL byte")) } else { Ok(content) }
    }

    /// The same, whatever its octets.
    fn literal_of_octets(&mut self) -> Parsed<&'a [u8]> {
        self.advance(1);
        let size = self.number64()?;
        self.take(b'+');
        self.expect(b'}')?;
        self.take(b'\r');
        self.expect(b'\n')?;
        let size = usize::try_from(size).ok().filter(|size| *size <= self.rest.len());
        Ok(self.advance(size.ok_or(Refusal::Bad("Literal without its content"))?))
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub(crate) fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.string_or(ASTRING)
    }

    /// `list-mailbox = 1*list-char / string`
    pub(crate) fn list_mailbox(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.string_or(LIST)
    }

    fn string_or(&mut self, classes: u8) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            // quirk_utf8: raw UTF-8 in an atom is let through, as it is in a quoted string.
            _ => {
                let legal = |byte: u8| class(byte, classes) || byte >= 0x80;
                let length = self.rest.iter().position(|byte| !legal(*byte)).unwrap_or(self.rest.len());
                match self.advance(length) {
                    [] => Err(Refusal::Bad("Expected a string")),
                    text => Ok(Cow::Borrowed(text)),
                }
            }
        }
    }

    /// An `astring` that is text.
    pub(crate) fn text(&mut self) -> Parsed<String> {
        String::from_utf8(self.astring()?.into_owned()).map_err(|_| Refusal::Bad("Text is not UTF-8"))
    }

    /// `nstring = string / nil`, as text: what is not UTF-8 is replaced.
    pub(crate) fn optional_text(&mut self) -> Parsed<Option<String>> {
        if self.take_word(b"NIL") {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&self.string()?).into_owned()))
    }

    /// `value = nstring / literal8`, `literal8 = "~{" number ["+"] "}" CRLF *OCTET` (RFC 5464 §5, RFC 3516 §4)
    pub(crate) fn binary_value(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.take_word(b"NIL") {
            return Ok(None);
        }
        if !self.take(b'~') {
            return self.string().map(Some);
        }
        if self.peek() != Some(b'{') {
            return Err(Refusal::Bad("Expected a literal"));
        }
        self.literal_of_octets().map(Cow::Borrowed).map(Some)
    }

    /// `mailbox = "INBOX" / astring` (RFC 3501 §5.1)
    pub(crate) fn mailbox(&mut self) -> Parsed<MailboxName> {
        let wire = self.astring()?;
        self.mailbox_name(&wire).map_err(super::command::invalid_name)
    }

    /// The name that travelled so: in modified UTF-7, or in UTF-8 where that was agreed on.
    pub(crate) fn mailbox_name(&self, wire: &[u8]) -> Result<MailboxName, NameError> {
        if !self.dialect.is_utf8() {
            return MailboxName::from_wire(wire);
        }
        MailboxName::new(std::str::from_utf8(wire).map_err(|_| NameError::Encoding)?)
    }
}

/// The number that those digits write, below 2^64.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        for (wire, value, rest) in [
            ("atom rest", "atom", " rest"),
            ("a]b)", "a]b", ")"),
            ("\"\" x", "", " x"),
            ("\"a \\\"b\\\" \\\\\"", "a \"b\" \\", ""),
            ("\"ü\"", "ü", ""),
            ("ü ", "ü", " "),
            ("{3}\r\na\"b c", "a\"b", " c"),
            ("{3+}\na\r\n", "a\r\n", ""),
            ("{0}\r\n", "", ""),
        ] {
            let mut cursor = Cursor::new(wire.as_bytes());
            assert_eq!(cursor.astring().unwrap(), value.as_bytes(), "{wire:?}");
            assert_eq!(cursor.rest(), rest.as_bytes(), "{wire:?}");
        }
        for wire in [
            "",
            "(",
            "\"",
            "\"a",
            "\"\\a\"",
            "\"\\",
            "\"a\nb\"",
            "{3}\r\nab",
            "{}\r\n",
            "{1}ab",
            "{99999999999999999999}\r\n",
            "{1}\r\n\0",
        ] {
            assert!(Cursor::new(wire.as_bytes()).astring().is_err(), "{wire:?}");
        }
    }

    #[test]
    fn numbers() {
        let number = |wire: &str| Cursor::new(wire.as_bytes()).number().ok();
        assert_eq!(
            (number("0"), number("4294967295"), number("4294967296"), number("x")),
            (Some(0), Some(u32::MAX), None, None)
        );
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!((decimal(b"18446744073709551616"), decimal(b"1x")), (None, None));
    }

    #[test]
    fn names_of_mailboxes_in_both_dialects() {
        let name = |wire: &str, dialect| Cursor::new(wire.as_bytes()).speaking(dialect).mailbox().ok();
        let (old, new) = (Dialect::default(), Dialect { rev2: true, ..Dialect::default() });
        let name_is = |text: &str| MailboxName::new(text).ok();
        assert_eq!((name("a&AOQ-", old), name("\"a&AOQ-\"", new)), (name_is("aä"), name_is("a&AOQ-")));
        assert_eq!((name("\"Q&A\"", old), name("\"Q&A\"", new)), (None, name_is("Q&A")));
        assert_eq!((name("ä", old), name("ä", Dialect { utf8: true, ..old })), (name_is("ä"), name_is("ä")));
        assert_eq!(Cursor::new(b"\"\xff\"").speaking(new).mailbox().ok(), None);
    }

    #[test]
    fn words_end_where_they_should() {
        let mut cursor = Cursor::new(b"Body.peek[");
        assert!(!cursor.take_word(b"BODY"));
        assert!(cursor.take_word(b"BODY.PEEK"));
        assert!(cursor.take(b'['));
    }
}
