//! Pieces of a message: `BODY[…]` (RFC 3501 §6.4.5).

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::Message;
use super::field::{Field, Fields};
use super::part::{Content, Part};
use crate::imap::types::{Partial, Section, SectionPart};

/// A piece of a message, in at most two stretches of its memory.
pub type Piece = [Bytes; 2];

impl Message {
    /// The piece that a section names, cut to `partial`; none when the message has no such part. Shares the message's
    /// memory where the piece stands in it as it is.
    pub fn section(&self, section: &Section, partial: Option<Partial>) -> Option<Piece> {
        let [first, second] = if section.path().is_empty() {
            self.of_message(section.part())
        } else {
            [Bytes::new(), self.of_part(section)?]
        };
        let Some(partial) = partial else { return Some([first, second]) };
        let range = partial.range(first.len() + second.len());
        let split = |place: usize| (place.min(first.len()), place.saturating_sub(first.len()));
        let (start, end) = (split(range.start), split(range.end));
        Some([first.slice(start.0..end.0), second.slice(start.1..end.1)])
    }

    fn of_message(&self, part: &SectionPart) -> Piece {
        let text = || self.body.slice(self.header_end..);
        match part {
            // The MIME header of a message is not a thing (`Section::new`).
            SectionPart::Whole | SectionPart::Mime => [self.prefix.clone(), self.body.clone()],
            SectionPart::Header => [self.prefix.clone(), self.body.slice(..self.header_end)],
            SectionPart::Text => [Bytes::new(), text()],
            SectionPart::HeaderFields(names) => [Bytes::new(), select(self.header(), names, true)],
            SectionPart::HeaderFieldsNot(names) => [Bytes::new(), select(self.header(), names, false)],
        }
    }

    fn of_part(&self, section: &Section) -> Option<Bytes> {
        let part = self.find(section)?;
        // RFC 3501 §6.4.5: HEADER and TEXT are of the message that a message/rfc822 part holds.
        let inner = match &part.content {
            Content::Message(inner) => Some(inner),
            _ => None,
        };
        let slice = |range: &Range<usize>| self.body.slice(range.clone());
        let fields = |range: &Range<usize>| Fields::new(self.slice(range));
        Some(match section.part() {
            SectionPart::Whole => slice(&part.body),
            SectionPart::Mime => slice(&part.header),
            SectionPart::Header => slice(&inner?.header),
            SectionPart::Text => slice(&inner?.body),
            SectionPart::HeaderFields(names) => select(fields(&inner?.header), names, true),
            SectionPart::HeaderFieldsNot(names) => select(fields(&inner?.header), names, false),
        })
    }

    /// Follows the numbers. A message that is no multipart has one part, itself (RFC 3501 §6.4.5).
    pub(super) fn find(&self, section: &Section) -> Option<&Part> {
        let (first, rest) = section.path().split_first()?;
        let mut part = part_of_message(self.root(), first.get())?;
        for number in rest {
            part = match &part.content {
                Content::Single => return None,
                Content::Multipart(parts) => parts.get(number.get() as usize - 1)?,
                Content::Message(inner) => part_of_message(inner, number.get())?,
            };
        }
        Some(part)
    }
}

fn part_of_message(message: &Part, number: u32) -> Option<&Part> {
    match &message.content {
        Content::Multipart(parts) => parts.get(number as usize - 1),
        _ => (number == 1).then_some(message),
    }
}

/// The fields of those names, or all the others, and the empty line.
fn select(header: Fields<'_>, names: &[String], wanted: bool) -> Bytes {
    let chosen = |field: &Field<'_>| names.iter().any(|name| field.is(name)) == wanted;
    let mut selected = BytesMut::with_capacity(256);
    for field in header.filter(chosen) {
        selected.extend_from_slice(field.whole);
    }
    if !selected.is_empty() && !selected.ends_with(b"\n") {
        selected.extend_from_slice(b"\r\n");
    }
    selected.extend_from_slice(b"\r\n");
    selected.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::Command;
    use crate::imap::command::fetch::FetchItem;
    use crate::imap::command::tests::command;

    const MESSAGE: &str = "Subject: out\r\nFrom: a@b\r\nSubject: again\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n\
        preamble\r\n--o\r\nX: one\r\n\r\nfirst\r\n--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\
        Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nX: two\r\n\r\nsecond\r\n--i\r\n\r\nthird\r\n--i--\r\n\
        --o\r\nContent-Type: message/rfc822\r\nX: three\r\n\r\nSubject: plain\r\n\r\nfourth\r\n--o--\r\n";

    fn fetch(message: &str, asked: &str) -> Option<String> {
        let Some(Command::Fetch(fetch)) = command(&format!("FETCH 1 BODY[{asked}")) else { panic!("{asked}") };
        let [FetchItem::Section { section, partial, .. }] = &fetch.items[..] else { panic!("{asked}") };
        // Wherever header lines are put before the body, the message reads the same.
        let mut pieces = Vec::new();
        for prefix in [0, message.find('\n').map_or(0, |end| end + 1)] {
            let (prefix, body) = message.as_bytes().split_at(if message.starts_with("Sub") { prefix } else { 0 });
            let message = Message::new(Bytes::copy_from_slice(prefix), Bytes::copy_from_slice(body));
            pieces.push(message.section(section, *partial).map(|piece| piece.concat()));
        }
        assert_eq!(pieces[0], pieces[1], "{asked}");
        pieces.remove(0).map(|piece| String::from_utf8_lossy(&piece).into_owned())
    }

    #[test]
    fn pieces() {
        let inner = "Subject: in\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n";
        let text = "--i\r\nX: two\r\n\r\nsecond\r\n--i\r\n\r\nthird\r\n--i--";
        let whole = format!("{inner}{text}");
        for (asked, expected) in [
            ("]", Some(MESSAGE)),
            ("HEADER.FIELDS (subject x)]", Some("Subject: out\r\nSubject: again\r\n\r\n")),
            ("HEADER.FIELDS (none)]", Some("\r\n")),
            ("HEADER.FIELDS.NOT (SUBJECT content-type)]", Some("From: a@b\r\n\r\n")),
            ("]<9.5>", Some("out\r\n")),
            ("]<5000.5>", Some("")),
            ("1]", Some("first")),
            ("1.MIME]", Some("X: one\r\n\r\n")),
            ("1.HEADER]", None),
            ("1.1]", None),
            ("2]", Some(whole.as_str())),
            ("2.HEADER]", Some(inner)),
            ("2.TEXT]", Some(text)),
            ("2.HEADER.FIELDS (SUBJECT)]", Some("Subject: in\r\n\r\n")),
            ("2.MIME]", Some("Content-Type: message/rfc822\r\n\r\n")),
            ("2.1]", Some("second")),
            ("2.1.MIME]", Some("X: two\r\n\r\n")),
            ("2.2]<1.3>", Some("hir")),
            ("2.3]", None),
            ("3.1]", Some("fourth")),
            ("3.1.MIME]", Some("Subject: plain\r\n\r\n")),
            ("3.TEXT]", Some("fourth")),
            ("4]", None),
            ("4294967295]", None),
        ] {
            assert_eq!(fetch(MESSAGE, asked).as_deref(), expected, "{asked}");
        }
        let (header, text) = (fetch(MESSAGE, "HEADER]").unwrap(), fetch(MESSAGE, "TEXT]").unwrap());
        assert_eq!(header + &text, MESSAGE);
    }

    #[test]
    fn a_single_part() {
        let message = "Subject: x\r\n\r\nbody\r\n";
        assert_eq!(fetch(message, "1]").unwrap(), "body\r\n");
        let mime = fetch("X: y\r\nSubject: x\r\n\r\nbody\r\n", "1.MIME]");
        assert_eq!(mime.unwrap(), "X: y\r\nSubject: x\r\n\r\n");
        assert_eq!(fetch(message, "2]"), None);
        assert_eq!(fetch("Subject: x", "HEADER.FIELDS (SUBJECT)]").unwrap(), "Subject: x\r\n\r\n");
        assert_eq!(fetch("Subject: x", "TEXT]").unwrap(), "");
    }

    #[test]
    fn large_pieces_share_memory() {
        let bytes = Bytes::from(format!("Subject: x\r\n\r\n{}", "x".repeat(10_000)));
        let message = Message::new(Bytes::new(), bytes.clone());
        let piece = message.section(&Section::new(Vec::new(), SectionPart::Text).unwrap(), None).unwrap();
        assert_eq!(piece[1].as_ptr(), bytes[14..].as_ptr());
    }
}
