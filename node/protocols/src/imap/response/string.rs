//! Strings (RFC 3501 §4.3): an atom where it may be one, quoted where that is possible, else a literal.

use bytes::Bytes;

use super::Output;
use crate::imap::cursor::{ASTRING, class};
use crate::imap::message::Piece;
use crate::imap::types::MailboxName;

/// The longest string that is quoted: clients read a line at once.
const QUOTED_BYTES: usize = 1_000;

impl Output {
    /// `string = quoted / literal`. A NUL, as may stand in a header, is left out: no string holds one (RFC 3501 §9: CHAR8), and
    /// clients that know would not read the response.
    pub(crate) fn string(&mut self, text: &[u8]) {
        if text.contains(&0) {
            return self.string(&text.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>());
        }
        // Only these are legal in a quoted string, and 8-bit is not (RFC 3501 §9: TEXT-CHAR is a 7-bit CHAR).
        // where UTF-8 was not agreed on (RFC 9051 §9, RFC 9755 §3).
        let utf8 = self.dialect().is_utf8() && std::str::from_utf8(text).is_ok();
        let quotable = |byte: &u8| matches!(byte, 0x01..=0x7f) && !matches!(byte, b'\r' | b'\n');
        let quotable = |byte: &u8| quotable(byte) || (utf8 && *byte >= 0x80);
        if text.len() > QUOTED_BYTES || !text.iter().all(quotable) {
            self.literal_header(text.len());
            return self.put(text);
        }
        self.put_byte(b'"');
        let mut rest = text;
        while let Some(special) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            self.put(&rest[..special]);
            self.put(&[b'\\', rest[special]]);
            rest = &rest[special + 1..];
        }
        self.put(rest);
        self.put_byte(b'"');
    }

    /// `literal8 = "~{" number "}" CRLF *OCTET` (RFC 3516 §4.2)
    pub(crate) fn literal_of_octets(&mut self, octets: &[u8]) {
        self.put_byte(b'~');
        self.literal_header(octets.len());
        self.put(octets);
    }

    /// `nstring = string / nil`
    pub(crate) fn optional_string(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.string(text),
            None => self.put(b"NIL"),
        }
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub(crate) fn astring(&mut self, text: &[u8]) {
        let atom =
            !text.is_empty() && text.iter().all(|byte| class(*byte, ASTRING)) && !text.eq_ignore_ascii_case(b"NIL");
        if atom { self.put(text) } else { self.string(text) }
    }

    /// `mailbox`, in modified UTF-7, or in UTF-8 where that was agreed on.
    pub(crate) fn mailbox(&mut self, name: &MailboxName) {
        if self.dialect().is_utf8() {
            return self.astring(name.as_str().as_bytes());
        }
        self.astring(name.to_wire().as_bytes());
    }

    /// `literal`, whose content is passed on as it is.
    pub(crate) fn literal(&mut self, content: Piece) {
        self.literal_header(content.iter().map(Bytes::len).sum());
        content.into_iter().for_each(|stretch| self.share(stretch));
    }

    fn literal_header(&mut self, size: usize) {
        self.put_byte(b'{');
        self.put_number(size as u64);
        self.put(b"}\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::cursor::Cursor;

    fn written(write: impl Fn(&mut Output)) -> String {
        let mut output = Output::default();
        write(&mut output);
        output.drain()
    }

    #[test]
    fn forms() {
        for (text, string, astring) in [
            ("", "\"\"", "\"\""),
            ("abc", "\"abc\"", "abc"),
            ("nil", "\"nil\"", "\"nil\""),
            ("a b", "\"a b\"", "\"a b\""),
            ("a]", "\"a]\"", "a]"),
            ("a\"b\\", "\"a\\\"b\\\\\"", "\"a\\\"b\\\\\""),
            ("a\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb"),
            ("ü", "{2}\r\nü", "{2}\r\nü"),
            ("\t", "\"\t\"", "\"\t\""),
            ("\0", "\"\"", "\"\""),
            ("a\0ü\0", "{3}\r\naü", "{3}\r\naü"),
        ] {
            assert_eq!(written(|output| output.string(text.as_bytes())), string);
            assert_eq!(written(|output| output.astring(text.as_bytes())), astring);
        }
        assert_eq!(written(|output| output.optional_string(None)), "NIL");
        let name = MailboxName::new("Entwürfe/a b").unwrap();
        assert_eq!(written(|output| output.mailbox(&name)), "\"Entw&APw-rfe/a b\"");
    }

    proptest::proptest! {
        #[test]
        fn a_client_reads_what_was_meant(text in proptest::collection::vec(1_u8.., 0..1_200)) {
            let mut output = Output::default();
            output.astring(&text);
            let mut wire = Vec::new();
            while let Some(bytes) = output.take() {
                wire.extend_from_slice(&bytes);
            }
            let mut cursor = Cursor::new(&wire);
            proptest::prop_assert_eq!(cursor.astring().unwrap().into_owned(), text);
            proptest::prop_assert!(cursor.at_end());
        }
    }
}
