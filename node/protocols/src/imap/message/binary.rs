//! Parts without their transfer encoding: `BINARY[…]`, `BINARY.SIZE[…]` (RFC 3516 §4.2).

use bytes::Bytes;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::Message;
use super::content_type::Parameterised;
use super::field::Fields;
use super::part::Content;
use super::section::Piece;
use crate::imap::types::{Partial, Section};

/// The encoding of a part is not one that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEncoding;

impl Message {
    /// The part that a section names, decoded, cut to `partial`; none when the message has no such part.
    pub fn binary(&self, section: &Section, partial: Option<Partial>) -> Result<Option<Piece>, UnknownEncoding> {
        let Some(part) = self.find(section) else {
            // Without a number, it is the message as it stands (RFC 3516 §4.2).
            return Ok(self.section(section, partial).filter(|_| section.path().is_empty()));
        };
        let encoding = Fields::new(self.slice(&part.header)).first("Content-Transfer-Encoding");
        let encoding = encoding.map(|field| Parameterised::parse(field.value).value).unwrap_or_default();
        let decode: fn(&[u8]) -> Option<Vec<u8>> = match encoding.to_ascii_lowercase().as_slice() {
            // RFC 2045 §6.4: what holds parts is not encoded itself.
            _ if part.content != Content::Single => return Ok(self.section(section, partial)),
            b"" | b"7bit" | b"8bit" | b"binary" => return Ok(self.section(section, partial)),
            b"base64" => |body| base64_decode(body),
            b"quoted-printable" => |body| quoted_printable_decode(body),
            _ => return Err(UnknownEncoding),
        };
        let body = self.slice(&part.body);
        // quirk_decoding: what is not what it says comes as it stands.
        let decoded = decode(body).map_or_else(|| self.body.slice(part.body.clone()), Bytes::from);
        let range = partial.map_or(0..decoded.len(), |partial| partial.range(decoded.len()));
        Ok(Some([decoded.slice(range), Bytes::new()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::cursor::Cursor;

    const MESSAGE: &str = "Subject: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Transfer-Encoding: BASE64 (yes)\r\n\r\naGUAbGxv\r\nISE=\r\n--b\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nca=C3=B1a=\r\n x\r\n--b\r\n\r\nplain\r\n--b\r\n\
        Content-Transfer-Encoding: x-uuencode\r\n\r\nabc\r\n--b\r\n\
        Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nSubject: in\r\n\r\nYQ==\r\n--b--\r\n";

    fn binary(text: &str) -> Result<Option<Vec<u8>>, UnknownEncoding> {
        let message = Message::new(Bytes::new(), Bytes::from_static(MESSAGE.as_bytes()));
        let mut cursor = Cursor::new(text.as_bytes());
        let section = Section::parse(&mut cursor).unwrap();
        let partial = Partial::parse_optional(&mut cursor).unwrap();
        Ok(message.binary(&section, partial)?.map(|piece| piece.concat()))
    }

    #[test]
    fn known_answers() {
        for (section, content) in [
            ("1]", Some("he\0llo!!")),
            ("1]<2.3>", Some("\0ll")),
            ("1]<20.3>", Some("")),
            ("2]", Some("caña x")),
            ("3]", Some("plain")),
            ("3]<1.2>", Some("la")),
            ("5]", Some("Subject: in\r\n\r\nYQ==")),
            ("6]", None),
            ("]", Some(MESSAGE)),
            ("]<0.7>", Some("Subject")),
        ] {
            assert_eq!(binary(section), Ok(content.map(|text| text.as_bytes().to_vec())), "{section}");
        }
        assert_eq!(binary("4]"), Err(UnknownEncoding));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(body in "(=|[0-9A-F]|\r\n|[a-z]|ñ|\\+|/){0,60}", encoding in "base64|quoted-printable|8bit") {
            let text = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}");
            let message = Message::new(Bytes::new(), text.into());
            let section = Section::parse(&mut Cursor::new(b"1]")).unwrap();
            proptest::prop_assert!(matches!(message.binary(&section, None), Ok(Some(_))));
        }
    }
}
