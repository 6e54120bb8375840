//! FETCH and UID FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4, RFC 8514 §4.3).

use super::{Command, Numbering, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{Messages, Partial, Section, SectionPart, Window};

/// The most items that one command may name: each may cost the whole message.
const ITEMS: usize = 64;

/// Which messages, and what of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The messages.
    pub messages: Messages,
    /// What of each, each once, in the order asked for. UID FETCH always names [`FetchItem::Uid`] (RFC 3501 §6.4.8), unless the
    /// answer will be UIDFETCH.
    pub items: Vec<FetchItem>,
    /// `CHANGEDSINCE`: only messages whose modification sequence is higher. The items name [`FetchItem::ModSeq`] then
    /// (RFC 7162 §3.1.4.1).
    pub changed_since: Option<u64>,
    /// `VANISHED`: say which of the messages were expunged since, too (RFC 7162 §3.2.6).
    pub vanished: bool,
    /// `PARTIAL`: of the messages that are named, only this page, whether it has changed or not (RFC 9394 §3.3, §3.4).
    pub window: Option<Window>,
}

/// One thing that FETCH can say of a message (`fetch-att`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FetchItem {
    /// `BODY`: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `MODSEQ` (RFC 7162 §3.1.4.2)
    ModSeq,
    /// `EMAILID`: the name of its content (RFC 8474 §5.1).
    EmailId,
    /// `PREVIEW`: how its text begins (RFC 8970 §3). LAZY asks for no less, for it is always at hand.
    Preview,
    /// `SAVEDATE`: when it came into this mailbox (RFC 8514 §4.3).
    SaveDate,
    /// `RFC822`: as `BODY[]`, with another name.
    Rfc822,
    /// `RFC822.HEADER`: as `BODY.PEEK[HEADER]`, with another name.
    Rfc822Header,
    /// `RFC822.SIZE`
    Rfc822Size,
    /// `RFC822.TEXT`: as `BODY[TEXT]`, with another name.
    Rfc822Text,
    /// `THREADID`: the name of its thread (RFC 8474 §5.2).
    ThreadId,
    /// `UID`
    Uid,
    /// `BINARY[…]<…>` and `BINARY.PEEK[…]<…>`: a part without its transfer encoding (RFC 3516 §4.2).
    Binary {
        /// Which part.
        section: Section,
        /// Which stretch of it, decoded.
        partial: Option<Partial>,
        /// Whether it is read without setting `\Seen`.
        peek: bool,
    },
    /// `BINARY.SIZE[…]`: how long the part is, decoded.
    BinarySize(Section),
    /// `BODY[…]<…>` and `BODY.PEEK[…]<…>`
    Section {
        /// Which piece.
        section: Section,
        /// Which stretch of it.
        partial: Option<Partial>,
        /// Whether it is read without setting `\Seen`.
        peek: bool,
    },
}

impl FetchItem {
    /// Whether asking for it sets `\Seen` (RFC 3501 §6.4.5).
    pub fn sets_seen(&self) -> bool {
        matches!(
            self,
            Self::Rfc822 | Self::Rfc822Text | Self::Section { peek: false, .. } | Self::Binary { peek: false, .. }
        )
    }

    /// Whether it can only be answered from the message's bytes.
    pub fn needs_bytes(&self) -> bool {
        !matches!(self, Self::Flags | Self::InternalDate | Self::ModSeq | Self::Rfc822Size | Self::SaveDate | Self::Uid)
    }
}

/// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
///           [SP "(" fetch-modifier *(SP fetch-modifier) ")"]`
pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Result<Request, Refusal> {
    let messages = numbering.messages(cursor)?;
    cursor.space()?;
    let mut items = Vec::new();
    if cursor.take(b'(') {
        items = parse_items(cursor)?;
    } else {
        parse_item(cursor, &mut items)?;
    }
    let mut fetch = Fetch { messages, items, changed_since: None, vanished: false, window: None };
    if cursor.take(b' ') && !cursor.at_end() {
        parse_modifiers(cursor, numbering, &mut fetch)?;
    }
    if fetch.changed_since.is_some() && !fetch.items.contains(&FetchItem::ModSeq) {
        fetch.items.push(FetchItem::ModSeq);
    }
    // RFC 9586 §3: UIDFETCH says the UID already.
    let implied = numbering == Numbering::Uid && !cursor.dialect().uid_only;
    if implied && !fetch.items.contains(&FetchItem::Uid) {
        fetch.items.insert(0, FetchItem::Uid);
    }
    Ok(Request::Role(Command::Fetch(fetch)))
}

/// `fetch-att *(SP fetch-att) ")"`
pub(super) fn parse_items(cursor: &mut Cursor<'_>) -> Result<Vec<FetchItem>, Refusal> {
    let mut items = Vec::new();
    loop {
        parse_item(cursor, &mut items)?;
        if items.len() > ITEMS {
            return Err(Refusal::Bad("Too many items"));
        }
        // quirk_space: a space before the closing parenthesis is let through.
        if cursor.take(b')') || (cursor.take(b' ') && cursor.take(b')')) {
            return Ok(items);
        }
    }
}

/// `"(" fetch-modifier *(SP fetch-modifier) ")"`
/// `fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED" / "PARTIAL" SP partial-range`
fn parse_modifiers(cursor: &mut Cursor<'_>, numbering: Numbering, fetch: &mut Fetch) -> Result<(), Refusal> {
    cursor.expect(b'(')?;
    // RFC 7162 §3.2.6, RFC 9394 §3.3: the others only of UID FETCH.
    let by_uid = numbering == Numbering::Uid;
    loop {
        if fetch.changed_since.is_none() && cursor.take_word(b"CHANGEDSINCE") {
            cursor.space()?;
            fetch.changed_since = Some(cursor.number64()?);
        } else if by_uid && !fetch.vanished && cursor.take_word(b"VANISHED") {
            fetch.vanished = true;
        } else if by_uid && fetch.window.is_none() && cursor.take_word(b"PARTIAL") {
            cursor.space()?;
            fetch.window = Some(Window::parse(cursor)?);
        } else {
            return Err(Refusal::Bad("Unknown modifier"));
        }
        if cursor.take(b')') {
            break;
        }
        cursor.space()?;
    }
    // RFC 7162 §3.2.6: VANISHED says since when by CHANGEDSINCE.
    if fetch.vanished && fetch.changed_since.is_none() {
        return Err(Refusal::Bad("VANISHED needs CHANGEDSINCE"));
    }
    Ok(())
}

/// `fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] /
///              "BODY" ["STRUCTURE"] / "UID" / "BODY" [".PEEK"] section ["<" number "." nz-number ">"]`
fn parse_item(cursor: &mut Cursor<'_>, items: &mut Vec<FetchItem>) -> Result<(), Refusal> {
    use FetchItem::{
        Body, BodyStructure, EmailId, Envelope, Flags, InternalDate, ModSeq, Preview, Rfc822, Rfc822Header, Rfc822Size,
        Rfc822Text, SaveDate, ThreadId, Uid,
    };

    const WORDS: &[(&[u8], &[FetchItem])] = &[
        (b"FLAGS", &[Flags]),
        (b"UID", &[Uid]),
        (b"RFC822.SIZE", &[Rfc822Size]),
        (b"INTERNALDATE", &[InternalDate]),
        (b"MODSEQ", &[ModSeq]),
        (b"SAVEDATE", &[SaveDate]),
        (b"EMAILID", &[EmailId]),
        (b"THREADID", &[ThreadId]),
        (b"ENVELOPE", &[Envelope]),
        (b"BODYSTRUCTURE", &[BodyStructure]),
        (b"RFC822.HEADER", &[Rfc822Header]),
        (b"RFC822.TEXT", &[Rfc822Text]),
        (b"RFC822", &[Rfc822]),
        (b"ALL", &[Flags, InternalDate, Rfc822Size, Envelope]),
        (b"FAST", &[Flags, InternalDate, Rfc822Size]),
        (b"FULL", &[Flags, InternalDate, Rfc822Size, Envelope, Body]),
    ];
    let mut add = |item: &FetchItem| {
        if !items.contains(item) {
            items.push(item.clone());
        }
    };
    for (word, meaning) in WORDS {
        if cursor.take_word(word) {
            meaning.iter().for_each(add);
            return Ok(());
        }
    }
    if cursor.take_word(b"PREVIEW") {
        // RFC 8970 §6: "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"], preview-mod = "LAZY"
        if cursor.rest().get(..7).is_some_and(|next| next.eq_ignore_ascii_case(b" (LAZY)")) {
            cursor.space()?;
            cursor.expect(b'(')?;
            cursor.take_word(b"LAZY");
            cursor.expect(b')')?;
        }
        add(&Preview);
        return Ok(());
    }
    if cursor.take_word(b"BINARY.SIZE") {
        add(&FetchItem::BinarySize(parse_binary(cursor)?));
        return Ok(());
    }
    let peek = cursor.take_word(b"BINARY.PEEK");
    if peek || cursor.take_word(b"BINARY") {
        let section = parse_binary(cursor)?;
        let partial = Partial::parse_optional(cursor)?;
        add(&FetchItem::Binary { section, partial, peek });
        return Ok(());
    }
    let peek = cursor.take_word(b"BODY.PEEK");
    if !peek && !cursor.take_word(b"BODY") {
        return Err(Refusal::Bad("Unknown item"));
    }
    if !peek && cursor.peek() != Some(b'[') {
        add(&Body);
        return Ok(());
    }
    cursor.expect(b'[')?;
    let section = Section::parse(cursor)?;
    let partial = Partial::parse_optional(cursor)?;
    add(&FetchItem::Section { section, partial, peek });
    Ok(())
}

/// `section-binary = "[" [section-part] "]"` (RFC 3516 §7): part numbers alone.
fn parse_binary(cursor: &mut Cursor<'_>) -> Result<Section, Refusal> {
    cursor.expect(b'[')?;
    let section = Section::parse(cursor)?;
    if *section.part() == SectionPart::Whole { Ok(section) } else { Err(Refusal::Bad("Expected part numbers alone")) }
}

impl Fetch {
    /// Whether carrying it out sets `\Seen`.
    pub fn sets_seen(&self) -> bool {
        self.items.iter().any(FetchItem::sets_seen)
    }
}

impl FetchItem {
    /// The section that it stands for, if it is a piece of the message.
    pub fn section(&self) -> Option<(Section, Option<Partial>)> {
        let part = match self {
            Self::Section { section, partial, .. } => return Some((section.clone(), *partial)),
            Self::Rfc822 => SectionPart::Whole,
            Self::Rfc822Header => SectionPart::Header,
            Self::Rfc822Text => SectionPart::Text,
            _ => return None,
        };
        Section::new(Vec::new(), part).map(|section| (section, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    fn items(line: &str) -> Option<Vec<FetchItem>> {
        match command(line) {
            Some(Command::Fetch(fetch)) => Some(fetch.items),
            _ => None,
        }
    }

    fn section(text: &[u8], peek: bool) -> FetchItem {
        let mut cursor = Cursor::new(text);
        let section = Section::parse(&mut cursor).unwrap();
        FetchItem::Section { section, partial: Partial::parse_optional(&mut cursor).unwrap(), peek }
    }

    #[test]
    fn words_and_macros() {
        use FetchItem::*;
        for (line, expected) in [
            ("FETCH 1 FLAGS", vec![Flags]),
            ("FETCH 1:* (UID FLAGS uid)", vec![Uid, Flags]),
            ("UID FETCH 1:* FLAGS", vec![Uid, Flags]),
            ("UID FETCH 1:* (FLAGS UID)", vec![Flags, Uid]),
            (
                "FETCH 2:4 (RFC822 RFC822.SIZE RFC822.HEADER RFC822.TEXT)",
                vec![Rfc822, Rfc822Size, Rfc822Header, Rfc822Text],
            ),
            ("FETCH 1 ALL", vec![Flags, InternalDate, Rfc822Size, Envelope]),
            ("FETCH 1 fast", vec![Flags, InternalDate, Rfc822Size]),
            ("FETCH 1 FULL", vec![Flags, InternalDate, Rfc822Size, Envelope, Body]),
            ("FETCH 1 (BODY BODYSTRUCTURE )", vec![Body, BodyStructure]),
            ("FETCH 1 BODY[]", vec![section(b"]", false)]),
            ("FETCH 1 (MODSEQ SAVEDATE)", vec![ModSeq, SaveDate]),
            ("FETCH 1 (EMAILID THREADID)", vec![EmailId, ThreadId]),
            ("FETCH 1 PREVIEW", vec![Preview]),
            ("FETCH 1 (PREVIEW (LAZY) FLAGS)", vec![Preview, Flags]),
            ("FETCH 1 PREVIEW (CHANGEDSINCE 1)", vec![Preview, ModSeq]),
            ("FETCH 1 PREVIEW (lazy) (CHANGEDSINCE 1)", vec![Preview, ModSeq]),
            ("FETCH 1:* FLAGS (CHANGEDSINCE 12345)", vec![Flags, ModSeq]),
            ("UID FETCH $ (FLAGS) (changedsince 0)", vec![Uid, Flags, ModSeq]),
            ("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 7 VANISHED)", vec![Uid, Flags, ModSeq]),
            (
                "FETCH 1 (BODY.PEEK[HEADER.FIELDS (DATE FROM)] BODY[1.TEXT]<0.10>)",
                vec![section(b"HEADER.FIELDS (DATE FROM)]", true), section(b"1.TEXT]<0.10>", false)],
            ),
        ] {
            assert_eq!(items(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn refused() {
        for line in [
            "FETCH",
            "FETCH 1",
            "FETCH 1 ",
            "FETCH 1 FOO",
            "FETCH 1 ()",
            "FETCH 1 (FLAGS",
            "FETCH 1 BODY[",
            "FETCH 1 BODY.PEEK",
            "FETCH 1 BODY[]<0>",
            "FETCH 1 FLAGS UID",
            "FETCH 1 FLAGS (CHANGEDSINCE)",
            "FETCH 1 FLAGS (CHANGEDSINCE 1",
            "FETCH 1 FLAGS (SINCE 1)",
            "FETCH $1 FLAGS",
            "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
            "UID FETCH 1 FLAGS (CHANGEDSINCE 1 FOO)",
            "FETCH 0 FLAGS",
            "FETCH 1 (PREVIEW (FUZZY))",
            "FETCH 1 (PREVIEW (LAZY FLAGS)",
            "FETCH 1 RFC822.FOO",
        ] {
            assert_eq!(items(line), None, "{line}");
        }
        let many: String = (1..=ITEMS + 1).map(|number| format!("BODY[{number}] ")).collect();
        assert_eq!(items(&format!("FETCH 1 ({many})")), None);
    }

    #[test]
    fn binary_parts_and_pages() {
        let part = |path: &[u8]| Section::parse(&mut Cursor::new(path)).unwrap();
        let partial = Partial::parse_optional(&mut Cursor::new(b"<0.10>")).unwrap();
        assert_eq!(
            items("FETCH 1 (BINARY[1.2] BINARY.PEEK[]<0.10> binary.size[1])"),
            Some(vec![
                FetchItem::Binary { section: part(b"1.2]"), partial: None, peek: false },
                FetchItem::Binary { section: part(b"]"), partial, peek: true },
                FetchItem::BinarySize(part(b"1]")),
            ])
        );
        for line in ["BINARY", "BINARY[TEXT]", "BINARY[1.MIME]", "BINARY.SIZE", "BINARY.SIZE[1]<0.1>", "BINARY.PEEK"] {
            assert_eq!(items(&format!("FETCH 1 {line}")), None, "{line}");
        }
        let Some(Command::Fetch(fetch)) = command("UID FETCH 1:* (UID FLAGS) (PARTIAL -1:-30 CHANGEDSINCE 98305)")
        else {
            panic!()
        };
        let window = Window::parse(&mut Cursor::new(b"-1:-30")).ok();
        assert_eq!((fetch.window, fetch.changed_since), (window, Some(98305)));
        for line in [
            "FETCH 1 FLAGS (PARTIAL 1:2)",
            "UID FETCH 1 FLAGS (PARTIAL 1)",
            "UID FETCH 1 FLAGS (PARTIAL 1:2 PARTIAL 1:2)",
            "UID FETCH 1 FLAGS (VANISHED)",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
    }

    #[test]
    fn what_sets_seen() {
        for (line, seen) in [
            ("FETCH 1 FULL", false),
            ("FETCH 1 BODY.PEEK[]", false),
            ("FETCH 1 RFC822.HEADER", false),
            ("FETCH 1 RFC822", true),
            ("FETCH 1 BODY[1]", true),
            ("FETCH 1 BINARY[1]", true),
            ("FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])", false),
        ] {
            let Some(Command::Fetch(fetch)) = command(line) else { panic!("{line}") };
            assert_eq!(fetch.sets_seen(), seen, "{line}");
        }
    }
}
