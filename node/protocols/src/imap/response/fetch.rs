//! FETCH responses (RFC 3501 §7.4.2).

use super::Output;
use crate::imap::command::fetch::FetchItem;
use crate::imap::message::Piece;
use crate::imap::types::{DateTime, Partial, Section, SectionPart, Uid};

/// Writes the items of one FETCH response.
#[derive(Debug)]
pub struct FetchItems<'a> {
    output: &'a mut Output,
    first: bool,
}

impl Output {
    /// The same of a message that is named by its UID, where it was agreed on that (RFC 9586 §3.4).
    pub fn fetch_of(&mut self, sequence: u32, uid: Option<Uid>, write: impl FnOnce(&mut FetchItems<'_>)) {
        match uid.filter(|_| self.dialect().uid_only) {
            Some(uid) => {
                self.put_display(format_args!("* {uid} UIDFETCH ("));
                write(&mut FetchItems { output: self, first: true });
                self.put(b")\r\n");
            }
            None => self.fetch(sequence, write),
        }
    }

    /// `* n FETCH (…)`, with the items that `write` writes; there must be at least one.
    pub fn fetch(&mut self, sequence: u32, write: impl FnOnce(&mut FetchItems<'_>)) {
        self.put(b"* ");
        self.put_number(u64::from(sequence));
        self.put(b" FETCH (");
        write(&mut FetchItems { output: self, first: true });
        self.put(b")\r\n");
    }
}

impl FetchItems<'_> {
    fn begin(&mut self, name: &[u8]) -> &mut Output {
        if !std::mem::take(&mut self.first) {
            self.output.put_byte(b' ');
        }
        self.output.put(name);
        self.output
    }

    fn name(&mut self, name: &[u8]) -> &mut Output {
        let output = self.begin(name);
        output.put_byte(b' ');
        output
    }

    /// `UID n`
    pub fn uid(&mut self, uid: Uid) {
        self.name(b"UID").put_number(u64::from(uid.get()));
    }

    /// `FLAGS (…)`: each flag as it stands on the wire, and `\Recent` if the message is recent in this session.
    pub fn flags<'f>(&mut self, flags: impl IntoIterator<Item = &'f str>, recent: bool) {
        // RFC 9051 appendix E: nothing is recent any more.
        let recent = recent && !self.output.dialect().rev2;
        let output = self.name(b"FLAGS");
        let mut separator = b'(';
        for flag in flags.into_iter().chain(recent.then_some("\\Recent")) {
            output.put_byte(std::mem::replace(&mut separator, b' '));
            output.put(flag.as_bytes());
        }
        output.put(if separator == b'(' { b"()" } else { b")" });
    }

    /// `INTERNALDATE "…"`
    pub fn internal_date(&mut self, date: DateTime) {
        self.name(b"INTERNALDATE").put_display(format_args!("\"{date}\""));
    }

    /// `RFC822.SIZE n`, in bytes.
    pub fn size(&mut self, size: u64) {
        self.name(b"RFC822.SIZE").put_number(size);
    }

    /// `MODSEQ (n)` (RFC 7162 §3.1.4.2)
    pub fn mod_sequence(&mut self, value: u64) {
        self.name(b"MODSEQ").put_display(format_args!("({value})"));
    }

    /// `SAVEDATE "…"` (RFC 8514 §4.3)
    pub fn save_date(&mut self, date: DateTime) {
        self.name(b"SAVEDATE").put_display(format_args!("\"{date}\""));
    }

    /// `EMAILID (…)` (RFC 8474 §5.1)
    pub fn email_id(&mut self, id: &str) {
        self.name(b"EMAILID").put_display(format_args!("({id})"));
    }

    /// `THREADID (…)`, or `NIL` for a message of no thread (RFC 8474 §5.2)
    pub fn thread_id(&mut self, id: Option<&str>) {
        let output = self.name(b"THREADID");
        match id {
            Some(id) => output.put_display(format_args!("({id})")),
            None => output.put(b"NIL"),
        }
    }

    /// `PREVIEW "…"`, in UTF-8; empty for a message without text (RFC 8970 §3.1).
    pub fn preview(&mut self, preview: &str) {
        self.name(b"PREVIEW").string(preview.as_bytes());
    }

    /// `ENVELOPE (…)`, as [`envelope`](crate::imap::message::envelope::envelope) wrote it.
    pub fn envelope(&mut self, envelope: &[u8]) {
        self.name(b"ENVELOPE").put(envelope);
    }

    /// `BODY (…)` or `BODYSTRUCTURE (…)`, as [`structure`](crate::imap::message::structure::structure) wrote it.
    pub fn structure(&mut self, structure: &[u8], extended: bool) {
        self.name(if extended { b"BODYSTRUCTURE" } else { b"BODY" }).put(structure);
    }

    /// A piece of the message, under the name that it was asked for by; `NIL` when there is no such piece. The
    /// content is the stretch itself, already cut.
    pub fn content(&mut self, item: &FetchItem, content: Option<Piece>) {
        let output = match item {
            FetchItem::Rfc822 => self.name(b"RFC822"),
            FetchItem::Rfc822Header => self.name(b"RFC822.HEADER"),
            FetchItem::Rfc822Text => self.name(b"RFC822.TEXT"),
            FetchItem::Section { section, partial, .. } => {
                let output = self.begin(b"BODY[");
                output.section(section, *partial);
                output
            }
            _ => return,
        };
        output.optional_literal(content);
    }
}

impl FetchItems<'_> {
    /// `BINARY[…] …`: a part, decoded; as `~{n}` when there is a NUL in it (RFC 3516 §4.2).
    pub fn binary(&mut self, section: &Section, partial: Option<Partial>, content: Option<Piece>) {
        let output = self.begin(b"BINARY[");
        output.section(section, partial);
        match content {
            Some(piece) if piece.iter().any(|stretch| stretch.contains(&0)) => {
                output.put_byte(b'~');
                output.literal(piece);
            }
            content => output.optional_literal(content),
        }
    }

    /// `BINARY.SIZE[…] n`, in bytes.
    pub fn binary_size(&mut self, section: &Section, size: u64) {
        let output = self.begin(b"BINARY.SIZE[");
        output.section(section, None);
        output.put_number(size);
    }
}

impl Output {
    fn optional_literal(&mut self, content: Option<Piece>) {
        match content {
            Some([first, second]) if first.is_empty() && second.is_empty() => self.put(b"\"\""),
            Some(piece) => self.literal(piece),
            None => self.put(b"NIL"),
        }
    }

    /// `section ["<" number ">"] SP`, from behind the opening bracket.
    fn section(&mut self, section: &Section, partial: Option<Partial>) {
        for (index, number) in section.path().iter().enumerate() {
            if index > 0 {
                self.put_byte(b'.');
            }
            self.put_number(u64::from(number.get()));
        }
        if !section.path().is_empty() && *section.part() != SectionPart::Whole {
            self.put_byte(b'.');
        }
        match section.part() {
            SectionPart::Whole => {}
            SectionPart::Header => self.put(b"HEADER"),
            SectionPart::Text => self.put(b"TEXT"),
            SectionPart::Mime => self.put(b"MIME"),
            SectionPart::HeaderFields(names) => self.header_list(b"HEADER.FIELDS (", names),
            SectionPart::HeaderFieldsNot(names) => self.header_list(b"HEADER.FIELDS.NOT (", names),
        }
        self.put_byte(b']');
        if let Some(partial) = partial {
            self.put_display(format_args!("<{}>", partial.offset));
        }
        self.put_byte(b' ');
    }

    fn header_list(&mut self, start: &[u8], names: &[String]) {
        self.put(start);
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                self.put_byte(b' ');
            }
            self.astring(name.as_bytes());
        }
        self.put_byte(b')');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;
    use crate::imap::command::{Command, fetch::Fetch};
    use bytes::Bytes;

    #[test]
    fn known_answers() {
        let mut output = Output::default();
        output.fetch(12, |items| {
            items.uid(Uid::new(7).unwrap());
            items.flags(["\\Seen"], true);
            items.internal_date(DateTime::from_unix_seconds(0));
            items.size(4423);
            items.envelope(b"(NIL)");
            items.structure(b"(\"TEXT\")", true);
        });
        output.fetch(1, |items| items.flags([], true));
        output.fetch(2, |items| items.flags([], false));
        assert_eq!(
            output.drain(),
            "* 12 FETCH (UID 7 FLAGS (\\Seen \\Recent) INTERNALDATE \" 1-Jan-1970 00:00:00 +0000\" RFC822.SIZE 4423 \
             ENVELOPE (NIL) BODYSTRUCTURE (\"TEXT\"))\r\n* 1 FETCH (FLAGS (\\Recent))\r\n* 2 FETCH (FLAGS ())\r\n"
        );
    }

    /// Each section is echoed so that it parses again to the same.
    #[test]
    fn sections_come_back() {
        for (asked, written) in [
            ("BODY[]", "BODY[] {2}\r\nhi"),
            ("BODY.PEEK[HEADER]", "BODY[HEADER] {2}\r\nhi"),
            ("BODY.PEEK[1.2.MIME]<3.5>", "BODY[1.2.MIME]<3> {2}\r\nhi"),
            ("BODY[HEADER.FIELDS (From \"X-A\")]", "BODY[HEADER.FIELDS (From X-A)] {2}\r\nhi"),
            ("BODY[4.HEADER.FIELDS.NOT (\"a(b\")]<0.1>", "BODY[4.HEADER.FIELDS.NOT (\"a(b\")]<0> {2}\r\nhi"),
            ("RFC822", "RFC822 {2}\r\nhi"),
            ("RFC822.HEADER", "RFC822.HEADER {2}\r\nhi"),
            ("RFC822.TEXT", "RFC822.TEXT {2}\r\nhi"),
        ] {
            let Some(Command::Fetch(Fetch { items, .. })) = command(&format!("FETCH 1 {asked}")) else {
                panic!("{asked}")
            };
            let mut output = Output::default();
            output.fetch(1, |writer| writer.content(&items[0], Some(["h", "i"].map(Bytes::from))));
            assert_eq!(output.drain(), format!("* 1 FETCH ({written})\r\n"));
        }
    }

    #[test]
    fn nothing_and_nil() {
        let Some(Command::Fetch(Fetch { items, .. })) = command("FETCH 1 BODY[3]") else { panic!() };
        let mut output = Output::default();
        output.fetch(1, |writer| writer.content(&items[0], None));
        output.fetch(1, |writer| writer.content(&items[0], Some(Piece::default())));
        assert_eq!(output.drain(), "* 1 FETCH (BODY[3] NIL)\r\n* 1 FETCH (BODY[3] \"\")\r\n");
    }
}
