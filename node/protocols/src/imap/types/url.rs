//! URLs of messages and their pieces (RFC 5092), as far as CATENATE names them: within the account that is open.

use std::num::NonZeroU32;

use super::{MailboxName, Partial, Section, SectionPart, Uid, UidValidity};
use crate::imap::cursor::{Cursor, decimal};

/// What such a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageUrl {
    /// The mailbox; the open one, when none is named.
    pub mailbox: Option<MailboxName>,
    /// What its UIDs' validity must be.
    pub validity: Option<UidValidity>,
    /// The message.
    pub uid: Uid,
    /// Which piece of it.
    pub section: Section,
    /// Which stretch of the piece.
    pub partial: Option<Partial>,
}

impl MessageUrl {
    /// `"/" enc-mailbox [";UIDVALIDITY=" nz-number] "/" imessagepart`, or `imessagepart` alone, of the open mailbox
    /// (RFC 5092 §7.2).
    /// `imessagepart = ";UID=" nz-number ["/;SECTION=" enc-section] ["/;PARTIAL=" partial-range]`
    ///
    /// URLs that name a server are not understood: which servers are this one, no mailbox node knows.
    pub fn parse(url: &str) -> Option<Self> {
        let (place, message) = match url.strip_prefix('/') {
            Some(path) => {
                let at = position(path, "/;UID=")?;
                (Some(&path[..at]), &path[at + 1..])
            }
            None => (None, url),
        };
        let (mut mailbox, mut validity) = (None, None);
        if let Some(place) = place {
            let (name, number) = match position(place, ";UIDVALIDITY=") {
                Some(at) => (&place[..at], Some(value(&place[at..])?)),
                None => (place, None),
            };
            mailbox = Some(MailboxName::new(&decoded(name)?).ok()?);
            if let Some(number) = number {
                validity = Some(UidValidity::new(number32(number)?)?);
            }
        }
        let mut parts = message.split("/;");
        let uid = parts.next().filter(|part| position(part, ";UID=") == Some(0)).and_then(value)?;
        let mut found = Self {
            mailbox,
            validity,
            uid: Uid::new(number32(uid)?)?,
            section: Section::new(Vec::new(), SectionPart::Whole)?,
            partial: None,
        };
        for part in parts {
            if position(part, "SECTION=") == Some(0) {
                let text = decoded(value(part)?)? + "]";
                let mut cursor = Cursor::new(text.as_bytes());
                found.section = Section::parse(&mut cursor).ok().filter(|_| cursor.at_end())?;
            } else if position(part, "PARTIAL=") == Some(0) {
                found.partial = Some(range(value(part)?)?);
            } else {
                return None;
            }
        }
        Some(found)
    }
}

/// Where that stands first, in any case.
fn position(text: &str, part: &str) -> Option<usize> {
    text.as_bytes().windows(part.len()).position(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// What stands behind the first "=".
fn value(text: &str) -> Option<&str> {
    text.split_once('=').map(|(_, value)| value)
}

fn number32(digits: &str) -> Option<u32> {
    u32::try_from(decimal(digits.as_bytes()).filter(|_| !digits.is_empty())?).ok()
}

/// `partial-range = number ["." nz-number]`
fn range(text: &str) -> Option<Partial> {
    let (offset, length) = match text.split_once('.') {
        Some((offset, length)) => (offset, NonZeroU32::new(number32(length)?)?),
        None => (text, NonZeroU32::MAX),
    };
    Some(Partial { offset: number32(offset)?, length })
}

/// Without percent signs (RFC 3986 §2.1); UTF-8 (RFC 5092 §4).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = after;
            continue;
        }
        let digits = after.get(..2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        Section::parse(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn known_answers() {
        let whole = MessageUrl {
            mailbox: Some(MailboxName::new("Drafts").unwrap()),
            validity: UidValidity::new(385_759_045),
            uid: Uid::new(20).unwrap(),
            section: section("]"),
            partial: None,
        };
        let url = |text: &str| MessageUrl::parse(text);
        // RFC 4469 §5.
        assert_eq!(url("/Drafts;UIDVALIDITY=385759045/;UID=20"), Some(whole.clone()));
        let header = MessageUrl { section: section("HEADER]"), ..whole.clone() };
        assert_eq!(url("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER"), Some(header));
        let piece = Partial { offset: 5, length: NonZeroU32::new(7).unwrap() };
        let fields = section("1.2.HEADER.FIELDS (FROM)]");
        let part = MessageUrl { validity: None, section: fields, partial: Some(piece), ..whole.clone() };
        assert_eq!(url("/Drafts/;uid=20/;SECTION=1.2.HEADER.FIELDS%20(FROM)/;PARTIAL=5.7"), Some(part));
        let rest = Partial { offset: 9, length: NonZeroU32::MAX };
        let open = MessageUrl { mailbox: None, validity: None, partial: Some(rest), ..whole.clone() };
        assert_eq!(url(";UID=20/;PARTIAL=9"), Some(open));
        let below = MessageUrl { mailbox: Some(MailboxName::new("Año/2026").unwrap()), validity: None, ..whole };
        assert_eq!(url("/A%C3%B1o/2026/;UID=20"), Some(below.clone()));
        assert_eq!(url("/Año%2f2026/;UID=20"), Some(below));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "/",
            "x",
            "/Drafts",
            "/Drafts/;UID=",
            "/Drafts/;UID=0",
            "/Drafts/;UID=x",
            "/Drafts/;UID=4294967296",
            "/Drafts;UIDVALIDITY=/;UID=1",
            "/;UID=1",
            "/%zz/;UID=1",
            "/%ff/;UID=1",
            "/%4/;UID=1",
            "/Drafts/;UID=1/;SECTION=FOO",
            "/Drafts/;UID=1/;SECTION=1]2",
            "/Drafts/;UID=1/;PARTIAL=1.0",
            "/Drafts/;UID=1/;URLAUTH=anonymous",
            "imap://ana@example.edu/Drafts/;UID=1",
        ] {
            assert_eq!(MessageUrl::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text in "(/|;|UID=|SECTION=|PARTIAL=|UIDVALIDITY=|[0-9]|\\.|%|[a-f]|ñ){0,30}") {
            let _ = MessageUrl::parse(&text);
        }
    }
}
