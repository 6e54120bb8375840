//! Text as a reader sees it: encodings and charsets taken away. For SEARCH; nothing of it is ever sent.

use std::borrow::Cow;

use mail_parser::HeaderValue;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;

use super::Message;
use super::content_type::Parameterised;
use super::field::Fields;
use super::part::{Content, Part};
use crate::imap::types::Date;

/// What is searched for, compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needle {
    lower: String,
    ascii: bool,
}

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        let lower = text.to_lowercase();
        let ascii = lower.is_ascii();
        Self { lower, ascii }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return text.to_lowercase().contains(&self.lower);
        }
        let Some((first, rest)) = self.lower.as_bytes().split_first().filter(|_| self.ascii) else {
            return self.is_empty();
        };
        let mut text = text.as_bytes();
        while let Some(place) = text.iter().position(|byte| byte.to_ascii_lowercase() == *first) {
            text = &text[place + 1..];
            if text.get(..rest.len()).is_some_and(|start| start.eq_ignore_ascii_case(rest)) {
                return true;
            }
        }
        false
    }
}

/// A field's value with its encoded words decoded (RFC 2047).
pub(super) fn decode_field(value: &[u8]) -> String {
    if !value.windows(2).any(|pair| pair == b"=?") {
        return String::from_utf8_lossy(&super::field::unfold(value)).into_owned();
    }
    // The parser stops at a line's end that is not followed by white space.
    let line = [value.trim_ascii(), b"\n"].concat();
    match MessageStream::new(&line).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

impl Message {
    /// Whether a field of that name is there and holds the text.
    pub(super) fn field_holds(&self, name: &str, needle: &Needle) -> bool {
        let mut fields = self.header().filter(|field| field.is(name));
        fields.any(|field| needle.is_empty() || needle.is_in(&decode_field(field.value)))
    }

    /// Whether the header holds the text.
    pub(super) fn header_holds(&self, needle: &Needle) -> bool {
        header_holds(self.header(), needle)
    }

    /// Whether the body holds the text: in a text part, or in the header of a message within.
    pub(super) fn body_holds(&self, needle: &Needle) -> bool {
        needle.is_empty() || self.part_holds(self.root(), needle)
    }

    fn part_holds(&self, part: &Part, needle: &Needle) -> bool {
        match &part.content {
            Content::Multipart(parts) => parts.iter().any(|part| self.part_holds(part, needle)),
            Content::Message(inner) => {
                header_holds(Fields::new(self.slice(&inner.header)), needle) || self.part_holds(inner, needle)
            }
            Content::Single if part.is_text() => needle.is_in(&self.decode_body(part, usize::MAX)),
            Content::Single => false,
        }
    }

    /// The text of a part, without the mark-up of HTML. No more is decoded than `limit_bytes` of how it stands in the
    /// message.
    pub(super) fn decode_body(&self, part: &Part, limit_bytes: usize) -> String {
        let text = self.decode_charset(part, limit_bytes);
        if part.content_type.is("text", "html") { html_to_text(&text) } else { text }
    }

    fn decode_charset(&self, part: &Part, limit_bytes: usize) -> String {
        let mut body = self.slice(&part.body);
        if let Some(start) = body.get(..limit_bytes) {
            // Whole lines: an encoding must not be cut within a group.
            body = start.iter().rposition(|byte| *byte == b'\n').map_or(start, |end| &start[..=end]);
        }
        let encoding = Fields::new(self.slice(&part.header)).first("Content-Transfer-Encoding");
        let encoding = encoding.map(|field| Parameterised::parse(field.value).value).unwrap_or_default();
        let decoded = match encoding.to_ascii_lowercase().as_slice() {
            b"base64" => base64_decode(body).map(Cow::Owned),
            b"quoted-printable" => quoted_printable_decode(body).map(Cow::Owned),
            _ => None,
        };
        let decoded = decoded.unwrap_or(Cow::Borrowed(body));
        match part.content_type.parameter("charset").and_then(charset_decoder) {
            Some(decode) if !decoded.is_ascii() => decode(&decoded),
            _ => String::from_utf8_lossy(&decoded).into_owned(),
        }
    }

    /// The day of the Date field, as it is written there, whatever its zone (RFC 3501 §6.4.4).
    pub(super) fn sent_date(&self) -> Option<Date> {
        let field = self.header().first("Date")?;
        let line = [field.value.trim_ascii(), b"\n"].concat();
        match MessageStream::new(&line).parse_date() {
            HeaderValue::DateTime(date) => Date::new(date.year, date.month, date.day),
            _ => None,
        }
    }
}

fn header_holds(mut fields: Fields<'_>, needle: &Needle) -> bool {
    needle.is_empty()
        || fields.any(|field| {
            needle.is_in(&format!("{}: {}", String::from_utf8_lossy(field.name), decode_field(field.value)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn needles() {
        for (needle, text, found) in [
            ("", "", true),
            ("", "a", true),
            ("a", "", false),
            ("ab", "xAABy", true),
            ("aab", "aaab", true),
            ("abc", "ab", false),
            ("ä", "Ä", true),
            ("ä", "a", false),
            ("straße", "STRASSE", false),
            ("éa", "xÉAx", true),
            ("a", "É A", true),
        ] {
            assert_eq!(Needle::new(needle).is_in(text), found, "{needle} in {text}");
        }
    }

    #[test]
    fn decoded_text() {
        let body = Bytes::from_static(
            "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?q?_aus_M=FCnchen?=\r\n\
             Date: Thu, 31 Dec 2020 23:30:00 -0500 (EST)\r\nX: plain\r\n folded\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n\
             --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
             caf=E9 au=\r\n lait\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
             w4RwZmVs\r\n--b\r\nContent-Type: application/x\r\n\r\nhidden\r\n\
             --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n--b--\r\n"
                .as_bytes(),
        );
        let message = Message::new(Bytes::new(), body);
        let body = |text: &str| message.body_holds(&Needle::new(text));
        assert!(body("CAFÉ AU LAIT") && body("äpfel") && body("inner") && body("deep"));
        assert!(!body("hidden") && !body("preamble") && !body("grüße"));
        let field = |name: &str, text: &str| message.field_holds(name, &Needle::new(text));
        assert!(field("Subject", "grüße aus münchen") && field("x", "PLAIN folded") && field("DATE", ""));
        assert!(!field("Subject", "plain") && !field("Y", ""));
        assert!(message.header_holds(&Needle::new("x: plain")));
        assert_eq!(message.sent_date(), Date::new(2020, 12, 31));
    }
}
