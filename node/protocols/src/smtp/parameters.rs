//! The parameters behind the paths of MAIL and RCPT, `SP keyword ["=" value]` (RFC 5321 §4.1.2).
//!
//! Invariant: a parameter is obeyed, or it is refused; none is ignored but `AUTH=` (RFC 4954 §5, which allows it) and what of
//! DSN is about reports of failure and delay (RET, and the rest of NOTIFY): those are written by whoever holds the queue,
//! never by a store. They are checked all the same.

use super::reply::{Enhanced, Reply};
use super::server::OriginalRecipient;

/// The longest envelope id, in bytes, decoded (RFC 3461 §4.4).
pub(super) const ENVELOPE_ID_LIMIT_BYTES: usize = 100;
/// The longest ORCPT, in bytes as it is written (RFC 3461 §4.2).
pub(super) const ORIGINAL_LIMIT_BYTES: usize = 500;

const SYNTAX: Reply = Reply::known(501, Enhanced(5, 5, 4), "Parameter not understood");
const REPEATED: Reply = Reply::known(501, Enhanced(5, 5, 4), "Parameter given twice");
// RFC 5321 §4.1.1.11: 555 for a parameter that is not recognised.
const UNKNOWN: Reply = Reply::known(555, Enhanced(5, 5, 4), "Parameter not implemented");

/// What MAIL says about the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    pub(super) size_bytes: Option<u64>,
    pub(super) eight_bit: bool,
    pub(super) smtputf8: bool,
    pub(super) envelope_id: Option<String>,
}

impl MailParameters {
    /// Reads what stands behind the reverse path. `dsn` and `auth` say whether these extensions are offered.
    pub(super) fn read(text: &str, dsn: bool, auth: bool) -> Result<Self, Reply> {
        let mut read = Self::default();
        each(text, |keyword, value| match (keyword, value) {
            // RFC 1870 §6: 1*20DIGIT.
            ("SIZE", Some(value)) if value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                read.size_bytes = Some(value.parse().unwrap_or(u64::MAX));
                Ok(())
            }
            // RFC 6152 §2.
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => Ok(()),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                read.eight_bit = true;
                Ok(())
            }
            // RFC 6531 §3.4: it has no value.
            ("SMTPUTF8", None) => {
                read.smtputf8 = true;
                Ok(())
            }
            ("AUTH", Some(_)) if auth => Ok(()),
            // RFC 3461 §4.3, §4.4.
            ("RET", Some(value)) if dsn && ["FULL", "HDRS"].iter().any(|known| value.eq_ignore_ascii_case(known)) => {
                Ok(())
            }
            ("ENVID", Some(value)) if dsn => {
                let id = decode_xtext(value).filter(|id| id.len() <= ENVELOPE_ID_LIMIT_BYTES).ok_or(SYNTAX)?;
                read.envelope_id = Some(id);
                Ok(())
            }
            ("SIZE" | "BODY" | "SMTPUTF8", _) => Err(SYNTAX),
            ("RET" | "ENVID", _) if dsn => Err(SYNTAX),
            _ => Err(UNKNOWN),
        })?;
        Ok(read)
    }
}

/// What RCPT says about the recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RecipientParameters {
    pub(super) original: Option<OriginalRecipient>,
    pub(super) notify_success: bool,
}

impl RecipientParameters {
    /// Reads what stands behind a forward path.
    pub(super) fn read(text: &str, dsn: bool) -> Result<Self, Reply> {
        let mut read = Self::default();
        each(text, |keyword, value| match (keyword, value) {
            // RFC 3461 §4.1: "NEVER" / 1#("SUCCESS" / "FAILURE" / "DELAY")
            ("NOTIFY", Some(value)) if dsn => {
                read.notify_success = reads_notify(value).ok_or(SYNTAX)?;
                Ok(())
            }
            // RFC 3461 §4.2: addr-type ";" xtext
            ("ORCPT", Some(value)) if dsn && value.len() <= ORIGINAL_LIMIT_BYTES => {
                let (kind, address) = value.split_once(';').ok_or(SYNTAX)?;
                let address = decode_xtext(address).filter(|_| !kind.is_empty()).ok_or(SYNTAX)?;
                read.original = Some(OriginalRecipient { kind: kind.to_owned(), address });
                Ok(())
            }
            ("NOTIFY" | "ORCPT", _) if dsn => Err(SYNTAX),
            _ => Err(UNKNOWN),
        })?;
        Ok(read)
    }
}

/// Whether NOTIFY asks to be told of a success; none when it is none.
fn reads_notify(value: &str) -> Option<bool> {
    let is = |word: &str, known: &str| word.eq_ignore_ascii_case(known);
    let known = |word: &str| ["SUCCESS", "FAILURE", "DELAY"].iter().any(|known| is(word, known));
    let valid = is(value, "NEVER") || value.split(',').all(known);
    valid.then(|| value.split(',').any(|word| is(word, "SUCCESS")))
}

/// Takes the parameters apart, keywords in capitals; each may stand once.
fn each(text: &str, mut take: impl FnMut(&str, Option<&str>) -> Result<(), Reply>) -> Result<(), Reply> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(SYNTAX);
    }
    let mut seen: Vec<String> = Vec::new();
    for parameter in text.split(' ').filter(|parameter| !parameter.is_empty()) {
        // esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-"); esmtp-value = 1*(%d33-60 / %d62-126)
        let (keyword, value) = match parameter.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (parameter, None),
        };
        let valid = !keyword.is_empty()
            && keyword.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && value.is_none_or(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()));
        if !valid {
            return Err(SYNTAX);
        }
        let keyword = keyword.to_ascii_uppercase();
        if seen.contains(&keyword) {
            return Err(REPEATED);
        }
        take(&keyword, value)?;
        seen.push(keyword);
    }
    Ok(())
}

/// Writes a text as `xtext` (RFC 3461 §4): anything but printable ASCII, and `+` and `=`, as `+` and two digits.
pub(super) fn encode_xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'+' | b'=') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("+{byte:02X}"));
        }
    }
    encoded
}

/// Reads `xtext` whose content is printable ASCII (RFC 3461 §4.4).
fn decode_xtext(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        let byte = match character {
            '+' => {
                let digits = rest.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            '=' => return None,
            _ => u8::try_from(character).ok()?,
        };
        if !matches!(byte, b' '..=b'~') {
            return None;
        }
        decoded.push(char::from(byte));
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let read = |text| MailParameters::read(text, true, true);
        assert_eq!(read(""), Ok(MailParameters::default()));
        assert_eq!(
            read(" SIZE=1000  body=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb AUTH=<>"),
            Ok(MailParameters {
                size_bytes: Some(1000),
                eight_bit: true,
                smtputf8: true,
                envelope_id: Some("a+b".to_owned()),
            })
        );
        assert_eq!(read(" SIZE=99999999999999999999").map(|read| read.size_bytes), Ok(Some(u64::MAX)));
    }

    #[test]
    fn refusals() {
        let code = |text| MailParameters::read(text, false, false).map_err(|reply| reply.code);
        for syntax in
            ["SIZE=1", " SIZE", " SIZE=", " SIZE=x", " SIZE=-1", " BODY=BINARYMIME", " SMTPUTF8=1", " =", " A_B=1"]
        {
            assert_eq!(code(syntax), Err(501), "{syntax}");
        }
        assert_eq!(code(" SIZE=1 SIZE=1"), Err(501));
        for unknown in [" FOO=1", " FOO", " ENVID=x", " RET=FULL", " AUTH=<>"] {
            assert_eq!(code(unknown), Err(555), "{unknown}");
        }
        for envelope_id in [" ENVID=+0A", " ENVID=+Z", " ENVID=+é1"] {
            assert_eq!(MailParameters::read(envelope_id, true, false).map_err(|reply| reply.code), Err(501));
        }
    }

    #[test]
    fn what_is_said_of_a_recipient() {
        let read = |text: &str| RecipientParameters::read(text, true);
        for plain in ["", " NOTIFY=NEVER", " NOTIFY=FAILURE,DELAY"] {
            assert_eq!(read(plain), Ok(RecipientParameters::default()), "{plain}");
        }
        let original =
            |kind: &str, address: &str| Some(OriginalRecipient { kind: kind.to_owned(), address: address.to_owned() });
        for (text, expected, notify_success) in [
            (" notify=Failure,success", None, true),
            (" ORCPT=x400;a+20b", original("x400", "a b"), false),
            (" NOTIFY=SUCCESS ORCPT=rfc822;a+2Bb@c.example", original("rfc822", "a+b@c.example"), true),
        ] {
            assert_eq!(read(text), Ok(RecipientParameters { original: expected, notify_success }), "{text}");
        }
        for syntax in
            [" NOTIFY", " NOTIFY=", " NOTIFY=NEVER,DELAY", " NOTIFY=,", " ORCPT=a@b", " ORCPT=;a", " ORCPT=rfc822;+0A"]
        {
            assert_eq!(read(syntax), Err(SYNTAX), "{syntax}");
        }
        assert_eq!(read(&format!(" ORCPT=rfc822;{}", "x".repeat(ORIGINAL_LIMIT_BYTES))), Err(SYNTAX));
        assert_eq!(RecipientParameters::read(" NOTIFY=NEVER", false), Err(UNKNOWN));
        assert_eq!(read(" X"), Err(UNKNOWN));
    }

    #[test]
    fn xtext_round_trips() {
        for text in ["", "0190f5a1-7c", "a+b=c d", "~"] {
            assert_eq!(decode_xtext(&encode_xtext(text)).as_deref(), Some(text));
        }
    }
}
