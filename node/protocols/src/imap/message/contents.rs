//! What is kept of a message when it comes, so that nobody has to read it again to list it: its header, and what FETCH
//! says of it (ENVELOPE, BODYSTRUCTURE, PREVIEW), ready to be sent.
//!
//! Invariants: what is kept depends on the body alone, never on what was put before it at delivery; an answer from what
//! was kept is, byte for byte, the answer from the message; what is too long to be kept is absent, and read from the
//! message.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::Message;
use super::envelope::{self, envelope};
use super::field::Fields;
use super::structure::{structure, without_extension};
use crate::imap::command::fetch::FetchItem;
use crate::imap::types::{Section, SectionPart};

/// The longest header that is kept, in bytes.
const HEADER_BYTES: usize = 64 * 1024;
/// The longest ENVELOPE or BODYSTRUCTURE that is kept, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;
/// The longest message identifier that is kept, in bytes: RFC 5322 §2.1.1 allows no longer line.
const ROOT_BYTES: usize = 998;
/// Stands for the length of what is absent.
const ABSENT: u32 = u32::MAX;

/// What is kept of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// All but the header, in a form of our own.
    pub summary: Bytes,
    /// The header, its empty line included; absent when it is too long.
    pub header: Option<Bytes>,
}

impl Contents {
    /// Of which form [`Contents::summary`] is. What was kept in another one is made anew.
    pub const VERSION: u32 = 2;

    /// What is kept of this body: as much work as reading it once.
    pub fn of(body: &Bytes) -> Self {
        let message = Message::new(Bytes::new(), body.clone());
        let header = body.slice(..message.header_end);
        let short = |answer: Bytes| Some(answer).filter(|answer| answer.len() <= ANSWER_BYTES);
        let mut summary = BytesMut::with_capacity(1024);
        put(&mut summary, short(envelope(&message)).as_deref());
        put(&mut summary, short(structure(&message, true)).as_deref());
        put(&mut summary, message.preview().as_deref().map(str::as_bytes));
        put(&mut summary, message.thread_root().filter(|root| root.len() <= ROOT_BYTES).as_deref());
        Self { summary: summary.freeze(), header: Some(header).filter(|header| header.len() <= HEADER_BYTES) }
    }
}

fn put(summary: &mut BytesMut, field: Option<&[u8]>) {
    summary.put_u32(field.and_then(|field| u32::try_from(field.len()).ok()).unwrap_or(ABSENT));
    summary.extend_from_slice(field.unwrap_or_default());
}

/// Takes the next field off a summary. One that is cut short ends in absent fields.
fn take(summary: &mut Bytes) -> Option<Bytes> {
    let length = summary.get(..4)?.try_into().map(u32::from_be_bytes).ok()?;
    let _ = summary.split_to(4);
    if length == ABSENT || summary.len() < length as usize {
        return None;
    }
    Some(summary.split_to(length as usize))
}

/// What was kept of a message, taken up again.
#[derive(Debug)]
pub struct Kept {
    envelope: Option<Bytes>,
    structure: Option<Bytes>,
    preview: Option<Bytes>,
    thread_root: Option<Bytes>,
    header: Option<Message>,
}

impl Kept {
    /// Of the message that is `prefix` and then the body that this was kept of; `header` as far as it was kept and is
    /// asked for.
    pub fn new(prefix: Bytes, mut summary: Bytes, header: Option<Bytes>) -> Self {
        // A field of the envelope that was put before the body is not in what was kept.
        let told = Fields::new(&prefix).any(|field| envelope::FIELDS.iter().any(|name| field.is(name)));
        Self {
            envelope: take(&mut summary).filter(|_| !told),
            structure: take(&mut summary),
            preview: take(&mut summary),
            thread_root: take(&mut summary),
            header: header.map(|header| Message::new(prefix, header)),
        }
    }

    /// The message without its text, if its header is at hand: good for what is in the header, and for nothing else.
    pub fn header(&self) -> Option<&Message> {
        self.header.as_ref()
    }

    /// What [`envelope`] says of the message.
    pub fn envelope(&self) -> Option<Bytes> {
        self.envelope.clone().or_else(|| self.header.as_ref().map(envelope))
    }

    /// What [`structure`] says of the message.
    pub fn structure(&self, extended: bool) -> Option<Cow<'_, [u8]>> {
        let structure = self.structure.as_deref()?;
        Some(if extended { Cow::Borrowed(structure) } else { Cow::Owned(without_extension(structure)) })
    }

    /// What [`Message::preview`] says of the message.
    pub fn preview(&self) -> Option<&str> {
        self.preview.as_deref().and_then(|preview| std::str::from_utf8(preview).ok())
    }

    /// What [`Message::thread_root`] says of the message.
    pub fn thread_root(&self) -> Option<&[u8]> {
        self.thread_root.as_deref()
    }

    /// Whether the item can be answered from what is at hand.
    pub fn answers(&self, item: &FetchItem) -> bool {
        match item {
            FetchItem::Envelope => self.envelope.is_some() || self.header.is_some(),
            FetchItem::Body | FetchItem::BodyStructure => self.structure.is_some(),
            FetchItem::EmailId | FetchItem::ThreadId | FetchItem::Preview => true,
            item if item.section().is_some_and(|(section, _)| is_of_header(&section)) => self.header.is_some(),
            item => !item.needs_bytes(),
        }
    }
}

/// Whether a section is a piece of the message's own header.
pub fn is_of_header(section: &Section) -> bool {
    let part = section.part();
    section.path().is_empty()
        && matches!(part, SectionPart::Header | SectionPart::HeaderFields(_) | SectionPart::HeaderFieldsNot(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::Command;
    use crate::imap::command::tests::command;

    const MESSAGE: &str = "Subject: =?utf-8?q?h=C3=A9?=\r\nFrom: a@b\r\nMessage-ID: <x@y>\r\nReferences: <r@y> <s@y>\r\n\
        Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: text/plain\r\n\r\nfirst\r\n second\r\n--o\r\n\
        Content-Type: message/rfc822\r\nContent-Language: de, en\r\n\r\nSubject: in \"side\r\n\r\ntwo\r\n--o--\r\n";

    fn section(text: &str) -> Section {
        let Some(Command::Fetch(fetch)) = command(&format!("FETCH 1 BODY[{text}]")) else { panic!("{text}") };
        fetch.items[0].section().unwrap().0
    }

    #[test]
    fn what_was_kept_says_what_the_message_says() {
        let body = Bytes::from_static(MESSAGE.as_bytes());
        for prefix in ["", "Received: here\r\n", "Received: a\r\nTo: late@x\r\n"] {
            let message = Message::new(Bytes::from(prefix), body.clone());
            let Contents { summary, header } = Contents::of(&body);
            let kept = Kept::new(Bytes::from(prefix), summary.clone(), header);
            assert_eq!(kept.envelope().unwrap(), envelope(&message), "{prefix}");
            for extended in [true, false] {
                assert_eq!(kept.structure(extended).unwrap()[..], structure(&message, extended));
            }
            assert_eq!(kept.preview(), message.preview().as_deref());
            assert_eq!((kept.preview(), kept.thread_root()), (Some("first second"), Some(&b"<r@y>"[..])));
            for text in ["HEADER", "HEADER.FIELDS (SUBJECT RECEIVED)", "HEADER.FIELDS.NOT (FROM)"] {
                assert!(is_of_header(&section(text)));
                let piece = |message: &Message| message.section(&section(text), None).map(|piece| piece.concat());
                assert_eq!(piece(kept.header().unwrap()), piece(&message));
            }
            // Without the header, only an envelope that the prefix changes is unknown.
            let bare = Kept::new(Bytes::from(prefix), summary, None);
            assert_eq!(bare.answers(&FetchItem::Envelope), !prefix.contains("To:"));
            assert!(bare.answers(&FetchItem::Body) && !bare.answers(&FetchItem::Rfc822Header));
            assert!(!bare.answers(&FetchItem::Rfc822));
        }
        assert!(!is_of_header(&section("1.MIME")) && !is_of_header(&section("TEXT")) && !is_of_header(&section("")));
    }

    #[test]
    fn what_is_too_long_is_absent() {
        let long = format!("Subject: {}\r\n\r\nbody", "x".repeat(HEADER_BYTES));
        let contents = Contents::of(&Bytes::from(long));
        assert_eq!(contents.header, None);
        let kept = Kept::new(Bytes::new(), contents.summary, None);
        assert_eq!((kept.envelope(), kept.preview()), (None, Some("body")));
        assert!(kept.structure(true).is_some());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn any_message_is_kept_as_it_is(body in "((Content-Type: (multipart/[a-b]; boundary=[ab]|message/rfc822|text/(html|plain); charset=\"[a\"()\\\\]\")|--[ab]|--[ab]--|[<>&;a \"()\\\\é]{0,9}|Subject: x)?\r?\n?){0,25}") {
            let body = Bytes::from(body);
            let message = Message::new(Bytes::new(), body.clone());
            let Contents { summary, header } = Contents::of(&body);
            let kept = Kept::new(Bytes::new(), summary, header);
            proptest::prop_assert_eq!(kept.envelope().unwrap(), envelope(&message));
            proptest::prop_assert_eq!(&kept.structure(true).unwrap()[..], &structure(&message, true)[..]);
            proptest::prop_assert_eq!(&kept.structure(false).unwrap()[..], &structure(&message, false)[..]);
        }

        #[test]
        fn any_summary_is_safe(summary in proptest::collection::vec(0_u8..9, 0..60)) {
            let kept = Kept::new(Bytes::new(), Bytes::from(summary), None);
            let _ = (kept.structure(false), kept.envelope(), kept.preview(), kept.thread_root());
        }
    }
}
