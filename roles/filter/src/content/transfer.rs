//! Content transfer encodings (RFC 2045 §6), decoded as leniently as mail clients do: what is not of the alphabet is
//! passed over, so that a single bad character hides nothing.

use std::borrow::Cow;

/// How a part is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary, or one that nobody knows.
    Identity,
    /// RFC 2045 §6.8.
    Base64,
    /// RFC 2045 §6.7.
    QuotedPrintable,
}

impl Encoding {
    /// What the value of a `Content-Transfer-Encoding` field means. A comment behind the word is passed over.
    pub fn from_field(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let end =
            value.iter().position(|byte| byte.is_ascii_whitespace() || b";(".contains(byte)).unwrap_or(value.len());
        let word = &value[..end];
        if word.eq_ignore_ascii_case(b"base64") {
            Self::Base64
        } else if word.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }

    /// The bytes that were wrapped; never more than the bytes that are given.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Identity => Cow::Borrowed(bytes),
            Self::Base64 => Cow::Owned(base64(bytes)),
            Self::QuotedPrintable => Cow::Owned(quoted_printable(bytes)),
        }
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
    let (mut group, mut count) = (0u32, 0);
    for &byte in bytes {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                // The end of a run; several runs one after the other occur where encoders were concatenated.
                finish_group(&mut decoded, group, count);
                (group, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        group = group << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            decoded.extend_from_slice(&group.to_be_bytes()[1..]);
            (group, count) = (0, 0);
        }
    }
    finish_group(&mut decoded, group, count);
    decoded
}

/// Two characters hold one byte, three hold two; one holds none.
fn finish_group(decoded: &mut Vec<u8>, group: u32, count: u32) {
    if count >= 2 {
        let bytes = (group << (6 * (4 - count))).to_be_bytes();
        decoded.extend_from_slice(&bytes[1..count as usize]);
    }
}

fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'=' {
            decoded.push(byte);
            continue;
        }
        // RFC 2045 §6.7 rule 5: "=" at the end of a line, white space behind it passed over, joins it with the next.
        let line_end = behind.iter().position(|byte| !matches!(byte, b' ' | b'\t')).map_or(&[][..], |at| &behind[at..]);
        if let Some(next) = line_end.strip_prefix(b"\r\n").or_else(|| line_end.strip_prefix(b"\n")) {
            rest = next;
        } else if let [high, low, next @ ..] = behind
            && let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(*low))
        {
            decoded.push(high << 4 | low);
            rest = next;
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(encoding: Encoding, wrapped: &str) -> String {
        String::from_utf8(encoding.decode(wrapped.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn fields_are_read_in_any_case() {
        assert_eq!(Encoding::from_field(b" BASE64\r\n"), Encoding::Base64);
        assert_eq!(Encoding::from_field(b" base64 (as ever)\r\n"), Encoding::Base64);
        assert_eq!(Encoding::from_field(b"Quoted-Printable"), Encoding::QuotedPrintable);
        assert_eq!(Encoding::from_field(b" 8bit\r\n"), Encoding::Identity);
        assert_eq!(Encoding::from_field(b""), Encoding::Identity);
    }

    #[test]
    fn base64_passes_over_what_is_not_of_its_alphabet() {
        // RFC 4648 §10.
        for (wrapped, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(text(Encoding::Base64, wrapped), plain);
        }
        assert_eq!(text(Encoding::Base64, "Zm\r\n 9v-YmE"), "fooba");
        assert_eq!(text(Encoding::Base64, "Zg==Zm8="), "ffo");
        assert_eq!(text(Encoding::Base64, "Zm9vY"), "foo");
    }

    #[test]
    fn quoted_printable_keeps_what_it_cannot_decode() {
        assert_eq!(text(Encoding::QuotedPrintable, "a=3Db=3d"), "a=b=");
        assert_eq!(text(Encoding::QuotedPrintable, "long=\r\nline= \t\nend"), "longlineend");
        assert_eq!(text(Encoding::QuotedPrintable, "a=ZZ=4"), "a=ZZ=4");
        assert_eq!(text(Encoding::QuotedPrintable, "="), "=");
    }

    proptest! {
        #[test]
        fn nothing_grows_and_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for encoding in [Encoding::Identity, Encoding::Base64, Encoding::QuotedPrintable] {
                prop_assert!(encoding.decode(&bytes).len() <= bytes.len());
            }
        }
    }
}
