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
use super::field::{Field, Fields};
use super::fold::{Needle, folded};
use super::part::{Content, Part};
use crate::imap::types::Date;

/// How many encoded words may begin before one ends.
const OPEN_WORDS: usize = 16;

/// Whether a value has encoded words that are worth looking for. Where more and more of them begin and none ends it has not:
/// the parser would read from each of them to the end of the field, which may be as long as a message.
fn has_words(value: &[u8]) -> bool {
    let (mut at, mut open, mut found) = (0, 0, false);
    while let Some(pair) = value.get(at..at + 2) {
        match pair {
            b"=?" if open == OPEN_WORDS => return false,
            b"=?" => {
                (found, open) = (true, open + 1);
                // The question mark of a begin is not that of an end.
                at += 1;
            }
            b"?=" => open = 0,
            _ => {}
        }
        at += 1;
    }
    found
}

/// A field's value with its encoded words decoded (RFC 2047).
pub(super) fn decode_field(value: &[u8]) -> String {
    if !has_words(value) {
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
        needle.is_empty() || self.header().any(|field| needle.is_in(&written_out(&field)))
    }

    /// Whether the body holds the text: in a text part, or in the header of a message within.
    pub(super) fn body_holds(&self, needle: &Needle) -> bool {
        needle.is_empty() || self.any_piece(self.root(), usize::MAX, &mut |piece| needle.is_in(piece))
    }

    /// Looks at what is searched of a part, piece by piece, until one is found to be enough; says whether one was. Of a text
    /// no more is decoded than `limit_bytes` of how it stands in the message.
    fn any_piece(&self, part: &Part, limit_bytes: usize, is_enough: &mut dyn FnMut(&str) -> bool) -> bool {
        match &part.content {
            Content::Multipart(parts) => parts.iter().any(|part| self.any_piece(part, limit_bytes, is_enough)),
            Content::Message(inner) => {
                Fields::new(self.slice(&inner.header)).any(|field| is_enough(&written_out(&field)))
                    || self.any_piece(inner, limit_bytes, is_enough)
            }
            Content::Single if part.is_text() => is_enough(&self.decode_body(part, limit_bytes)),
            Content::Single => false,
        }
    }

    /// What a search looks through, as an index keeps it: up to `limit_bytes` of the header, and of the body.
    pub fn searchable(&self, limit_bytes: usize) -> Searchable {
        let mut header = Pieces::new(limit_bytes);
        let mut body = Pieces::new(limit_bytes);
        self.header().any(|field| header.put(&written_out(&field)));
        // What is encoded is longer than what it says; of HTML much is mark-up.
        let decoded_bytes = limit_bytes.saturating_mul(4);
        let cut = self.has_longer_text(self.root(), decoded_bytes);
        self.any_piece(self.root(), decoded_bytes, &mut |piece| body.put(piece));
        let is_whole = !cut && !header.is_full && !body.is_full;
        Searchable { header: header.text, body: body.text, is_whole }
    }

    fn has_longer_text(&self, part: &Part, bytes: usize) -> bool {
        match &part.content {
            Content::Multipart(parts) => parts.iter().any(|part| self.has_longer_text(part, bytes)),
            Content::Message(inner) => self.has_longer_text(inner, bytes),
            Content::Single => part.is_text() && part.body.len() > bytes,
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

/// A field as it is searched.
fn written_out(field: &Field<'_>) -> String {
    format!("{}: {}", String::from_utf8_lossy(field.name), decode_field(field.value))
}

/// What a search looks through, folded. Each piece (a field of a header, the text of a part) stands in a line of its own:
/// no text that is searched for holds a line's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searchable {
    /// Of the header.
    pub header: String,
    /// Of the body.
    pub body: String,
    /// Whether that is all: if not, what is not found here may be in the message.
    pub is_whole: bool,
}

impl Searchable {
    /// Of a message that cannot be read.
    pub fn unknown() -> Self {
        Self { header: String::new(), body: String::new(), is_whole: false }
    }
}

/// Pieces, one after the other, up to a limit.
struct Pieces {
    text: String,
    limit_bytes: usize,
    is_full: bool,
}

impl Pieces {
    fn new(limit_bytes: usize) -> Self {
        Self { text: String::new(), limit_bytes, is_full: false }
    }

    /// Says whether there is no room for more.
    fn put(&mut self, piece: &str) -> bool {
        self.text.push_str(&folded(piece));
        self.text.push('\n');
        self.is_full = self.text.len() > self.limit_bytes;
        if self.is_full {
            let end = (0..=self.limit_bytes).rev().find(|end| self.text.is_char_boundary(*end)).unwrap_or_default();
            self.text.truncate(end);
        }
        self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

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
        assert!(body("CAFÉ AU LAIT") && body("cafe au lait") && body("äpfel") && body("inner") && body("deep"));
        assert!(!body("hidden") && !body("preamble") && !body("grüße"));
        let field = |name: &str, text: &str| message.field_holds(name, &Needle::new(text));
        assert!(field("Subject", "grüße aus münchen") && field("x", "PLAIN folded") && field("DATE", ""));
        assert!(!field("Subject", "plain") && !field("Y", ""));
        assert!(message.header_holds(&Needle::new("x: plain")));
        assert_eq!(message.sent_date(), Date::new(2020, 12, 31));
        let searchable = message.searchable(10_000);
        assert_eq!(searchable.body, "cafe au lait\napfel\nsubject: inner\ndeep\n");
        assert!(searchable.is_whole && searchable.header.contains("subject: gruße aus munchen\n"));
        assert!(searchable.header.contains("x: plain folded"), "{searchable:?}");
    }

    #[test]
    fn words_that_do_not_end() {
        let decoded = "a =?cc?q?x b";
        assert_eq!(decode_field(b" a =?cc?q?x =?utf-8?q?b?=\r\n"), decoded);
        assert_eq!(decode_field(format!(" {}\r\n", "=?utf-8?q?=C3=B1?=".repeat(100)).as_bytes()), "ñ".repeat(100));
        // Took minutes when each was read to the end of the field.
        let open = "=?cc?q?x".repeat(200_000);
        assert_eq!(decode_field(open.as_bytes()), open);
    }

    #[test]
    fn no_more_than_so_much_is_searchable() {
        let message = |text: String| Message::new(Bytes::new(), Bytes::from(text));
        let long = message(format!("Subject: a\r\n\r\n{}", "ñu ".repeat(50))).searchable(100);
        assert_eq!((long.header.as_str(), long.is_whole), ("subject: a\n", false));
        assert_eq!(long.body, "nu ".repeat(34)[..100]);
        let markup = message(format!("Content-Type: text/html\r\n\r\n{}deep", "<br>\r\n".repeat(100))).searchable(100);
        assert!(!markup.is_whole && !markup.body.contains("deep"));
        let header = message(format!("Subject: {}\r\n\r\nb", "a".repeat(200))).searchable(100);
        assert_eq!((header.header.len(), header.is_whole, header.body.as_str()), (100, false, "b\n"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
        /// An index says what reading says.
        #[test]
        fn what_is_searchable_is_what_is_read(
            body in "((Content-Type: (multipart/a; boundary=b|message/rfc822|text/(html|plain); charset=\"(latin1|utf-8)\")|--b|--b--|[<>&;a ñ]{0,9}|Subject: x)?\r?\n?){0,20}",
            needle in "[añ <x:]{1,3}",
        ) {
            let message = Message::new(Bytes::new(), Bytes::from(body));
            let (needle, searchable) = (Needle::new(&needle), message.searchable(usize::MAX));
            proptest::prop_assert!(searchable.is_whole);
            proptest::prop_assert_eq!(searchable.body.contains(needle.as_str()), message.body_holds(&needle));
            proptest::prop_assert_eq!(searchable.header.contains(needle.as_str()), message.header_holds(&needle));
        }
    }
}
