//! APPEND (RFC 3501 §6.3.11) of one message or several (RFC 3502), as a literal, as binary data (RFC 3516 §4.4), in UTF-8
//! (RFC 9755 §4) or put together of pieces (CATENATE, RFC 4469), and REPLACE (RFC 8508 §3).
//!
//! Such a command is read line by line: each line ends with the announcement of a literal, whose content is streamed and
//! never held, or ends the command. [`Grammar`] remembers in between what may come next.

use super::{Numbering, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{DateTime, Flags, MailboxName, Messages, SequenceSet};

/// The most messages of one command: each may wait in memory until all are there.
const MESSAGES: usize = 100;

/// Where messages are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// REPLACE: the one message of the open mailbox that goes when the new one has come.
    pub replaces: Option<Messages>,
}

/// What is to be said of a new message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Its first flags.
    pub flags: Flags,
    /// Its INTERNALDATE; now, when there is none.
    pub date: Option<DateTime>,
    /// `UTF8 (…)`: only for a client that has switched UTF8=ACCEPT on.
    pub utf8: bool,
}

/// One step of such a command, in their order: first `Begin`, then for each message `Message` and its pieces, in the end
/// `End`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppendStep {
    Begin(Append),
    Message(NewMessage),
    Url(String),
    Literal(Literal),
    End,
}

/// A literal that is announced: a message, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal {
    /// Its size in bytes.
    pub size: u64,
    /// `~{…}`: it may hold any byte, and is stored as it is (RFC 3516 §4.4).
    pub binary: bool,
}

/// What such a line comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// These steps; the last is a literal, or the end.
    Steps(Vec<AppendStep>),
    /// What is announced is not a message, but a mailbox's name or a URL, and belongs to the line.
    Held,
}

/// Which command is read, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grammar {
    /// REPLACE, by these numbers.
    replaces: Option<Numbering>,
    place: Place,
    messages: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind the command's name.
    Head,
    /// Behind a message, or before the first.
    Message,
    /// In CATENATE, before a piece.
    Piece,
    /// In CATENATE, behind a piece.
    BehindPiece,
    /// In UTF8, behind the literal.
    BehindUtf8,
}

impl Grammar {
    pub(crate) fn append() -> Self {
        Self { replaces: None, place: Place::Head, messages: 0 }
    }

    pub(crate) fn replace(numbering: Numbering) -> Self {
        Self { replaces: Some(numbering), ..Self::append() }
    }

    /// Reads a line, the announcement at its end included.
    ///
    /// `append         = "APPEND" SP mailbox 1*append-message`
    /// `replace        = "REPLACE" SP seq-number SP mailbox append-message`
    /// `append-message = [SP flag-list] [SP date-time] SP append-data`
    /// `append-data    = literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")"`
    /// `cat-part       = "TEXT" SP literal / "URL" SP astring`
    pub(crate) fn line(&mut self, cursor: &mut Cursor<'_>) -> Result<Line, Refusal> {
        let mut next = *self;
        let steps = next.steps(cursor)?;
        if steps.is_some() {
            *self = next;
        }
        Ok(steps.map_or(Line::Held, Line::Steps))
    }

    fn steps(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Vec<AppendStep>>, Refusal> {
        let mut steps = Vec::new();
        loop {
            match self.place {
                Place::Head => {
                    let Some(append) = self.head(cursor)? else { return Ok(None) };
                    steps.push(AppendStep::Begin(append));
                    self.place = Place::Message;
                }
                Place::Message => {
                    // quirk_trailing_space, as behind any command.
                    if self.messages > 0 && cursor.rest().iter().all(|byte| *byte == b' ') {
                        steps.push(AppendStep::End);
                        return Ok(Some(steps));
                    }
                    if let Some(literal) = self.message(cursor, &mut steps)? {
                        steps.push(AppendStep::Literal(literal));
                        return Ok(Some(steps));
                    }
                }
                Place::Piece if cursor.take_word(b"TEXT") => {
                    cursor.space()?;
                    steps.push(AppendStep::Literal(announced(cursor).ok_or(EXPECTED)?));
                    self.place = Place::BehindPiece;
                    return Ok(Some(steps));
                }
                Place::Piece if cursor.take_word(b"URL") => {
                    cursor.space()?;
                    if announced(cursor).is_some() {
                        return Ok(None);
                    }
                    steps.push(AppendStep::Url(cursor.text()?));
                    self.place = Place::BehindPiece;
                }
                Place::Piece => return Err(Refusal::Bad("Expected TEXT or URL")),
                Place::BehindPiece if cursor.take(b')') => self.place = Place::Message,
                Place::BehindPiece => {
                    cursor.space()?;
                    self.place = Place::Piece;
                }
                Place::BehindUtf8 => {
                    cursor.expect(b')')?;
                    self.place = Place::Message;
                }
            }
        }
    }

    /// Up to the mailbox; nothing when its name is announced as a literal.
    fn head(&self, cursor: &mut Cursor<'_>) -> Result<Option<Append>, Refusal> {
        cursor.space()?;
        let mut replaces = None;
        if let Some(numbering) = self.replaces {
            let set = SequenceSet::parse_one(cursor)?;
            replaces = Some(match numbering {
                Numbering::Sequence => Messages::BySequence(set),
                Numbering::Uid => Messages::ByUid(set),
            });
            cursor.space()?;
        }
        if announced(cursor).is_some() {
            return Ok(None);
        }
        Ok(Some(Append { mailbox: cursor.mailbox()?, replaces }))
    }

    /// `append-message`, up to its literal, if it is one.
    fn message(&mut self, cursor: &mut Cursor<'_>, steps: &mut Vec<AppendStep>) -> Result<Option<Literal>, Refusal> {
        if self.messages > 0 && self.replaces.is_some() {
            return Err(Refusal::Bad("Unexpected text behind the message"));
        }
        if self.messages == MESSAGES {
            return Err(Refusal::Bad("Too many messages"));
        }
        self.messages += 1;
        cursor.space().map_err(|_| EXPECTED)?;
        let mut message = NewMessage::default();
        if cursor.peek() == Some(b'(') {
            message.flags = Flags::parse_list(cursor)?;
            cursor.space()?;
        }
        if cursor.peek() == Some(b'"') {
            message.date = Some(DateTime::parse(&cursor.string()?).ok_or(Refusal::Bad("Not a date and time"))?);
            cursor.space()?;
        }
        if cursor.take_word(b"CATENATE") {
            cursor.space()?;
            cursor.expect(b'(')?;
            self.place = Place::Piece;
            steps.push(AppendStep::Message(message));
            return Ok(None);
        }
        if cursor.take_word(b"UTF8") {
            cursor.space()?;
            cursor.expect(b'(')?;
            message.utf8 = true;
            self.place = Place::BehindUtf8;
        } else {
            self.place = Place::Message;
        }
        steps.push(AppendStep::Message(message));
        announced(cursor).map(Some).ok_or(EXPECTED)
    }
}

const EXPECTED: Refusal = Refusal::Bad("Expected the message as a literal");

/// `["~"] "{" number ["+"] "}"`, if that is all that is left.
fn announced(cursor: &Cursor<'_>) -> Option<Literal> {
    let mut cursor = cursor.clone();
    let binary = cursor.take(b'~');
    let size = cursor.take(b'{').then(|| cursor.number64().ok())??;
    cursor.take(b'+');
    (cursor.take(b'}') && cursor.at_end()).then_some(Literal { size, binary })
}

/// A command in one line: put together of URLs alone.
pub(crate) fn parse_whole(cursor: &mut Cursor<'_>, mut grammar: Grammar) -> Result<Request, Refusal> {
    match grammar.line(cursor)? {
        Line::Steps(steps) if steps.last() == Some(&AppendStep::End) => {
            while cursor.take(b' ') {}
            Ok(Request::Append(steps))
        }
        _ => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::AppendStep::*;
    use super::*;
    use crate::imap::types::Flag;

    /// What the lines of a command come to.
    fn read(mut grammar: Grammar, lines: &[&str]) -> Result<Vec<Line>, Refusal> {
        lines.iter().map(|line| grammar.line(&mut Cursor::new(line.as_bytes()))).collect()
    }

    fn append(lines: &[&str]) -> Result<Vec<Line>, Refusal> {
        read(Grammar::append(), lines)
    }

    fn saved() -> AppendStep {
        Begin(Append { mailbox: MailboxName::new("saved-messages").unwrap(), replaces: None })
    }

    fn text(size: u64) -> AppendStep {
        Literal(super::Literal { size, binary: false })
    }

    fn binary(size: u64) -> AppendStep {
        Literal(super::Literal { size, binary: true })
    }

    fn steps(steps: &[AppendStep]) -> Line {
        Line::Steps(steps.to_vec())
    }

    #[test]
    fn one_message() {
        let plain = || Message(NewMessage::default());
        let whole = |message: AppendStep| Ok(vec![steps(&[saved(), message, text(310)]), steps(&[End])]);
        assert_eq!(append(&[" saved-messages {310}", ""]), whole(plain()));
        let seen = NewMessage { flags: Flags::from_iter([Flag::Seen]), ..NewMessage::default() };
        assert_eq!(append(&[" saved-messages (\\Seen) {310+}", "  "]), whole(Message(seen.clone())));
        let dated = NewMessage { date: DateTime::parse(b" 7-Feb-1994 21:52:25 -0800"), ..seen };
        let line = " \"saved-messages\" (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {310}";
        assert_eq!(append(&[line, ""]), whole(Message(dated)));
        assert_eq!(append(&[" {14}\r\nsaved-messages {310}", ""]), whole(plain()));
        assert_eq!(append(&[" saved-messages ~{310}"]), Ok(vec![steps(&[saved(), plain(), binary(310)])]));
        // The announcement of the mailbox's name, not of the message.
        assert_eq!(append(&[" {14}"]), Ok(vec![Line::Held]));
        let utf8 = NewMessage { utf8: true, ..NewMessage::default() };
        assert_eq!(
            append(&[" saved-messages UTF8 (~{310}", ")"]),
            Ok(vec![steps(&[saved(), Message(utf8), binary(310)]), steps(&[End])])
        );
    }

    #[test]
    fn several_messages_and_pieces() {
        let seen = NewMessage { flags: Flags::from_iter([Flag::Seen]), ..NewMessage::default() };
        let plain = Message(NewMessage::default());
        // RFC 3502 §6.3.11.
        assert_eq!(
            append(&[" saved-messages (\\Seen) {329}", " (\\Seen) {295+}", ""]),
            Ok(vec![
                steps(&[saved(), Message(seen.clone()), text(329)]),
                steps(&[Message(seen.clone()), text(295)]),
                steps(&[End])
            ])
        );
        // RFC 4469 §5.
        let url = "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER";
        assert_eq!(
            append(&[&format!(" saved-messages (\\Seen) CATENATE (URL \"{url}\" TEXT {{42}}"), " URL x)"]),
            Ok(vec![
                steps(&[saved(), Message(seen), Url(url.to_owned()), text(42)]),
                steps(&[Url("x".to_owned()), End])
            ])
        );
        assert_eq!(
            append(&[
                " saved-messages CATENATE (URL {1}",
                " saved-messages CATENATE (URL {1}\r\nx) CATENATE (TEXT {2+}",
                ")"
            ]),
            Ok(vec![Line::Held, steps(&[saved(), plain.clone(), Url("x".to_owned()), plain, text(2)]), steps(&[End])])
        );
    }

    #[test]
    fn replacing() {
        let replaces = |set: &str| {
            let set = SequenceSet::parse(&mut Cursor::new(set.as_bytes())).unwrap();
            Append { mailbox: MailboxName::new("Drafts").unwrap(), replaces: Some(Messages::ByUid(set)) }
        };
        let plain = Message(NewMessage::default());
        let replace = |lines: &[&str]| read(Grammar::replace(Numbering::Uid), lines);
        assert_eq!(
            replace(&[" 4 Drafts {312}", ""]),
            Ok(vec![steps(&[Begin(replaces("4")), plain.clone(), text(312)]), steps(&[End])])
        );
        assert_eq!(replace(&[" * Drafts {312}"]), Ok(vec![steps(&[Begin(replaces("*")), plain, text(312)])]));
        for lines in [&[" Drafts {3}"][..], &[" 1:2 Drafts {3}"], &[" 0 Drafts {3}"], &[" 1 Drafts {3}", " {3}"]] {
            assert!(matches!(replace(lines), Err(Refusal::Bad(_))), "{lines:?}");
        }
    }

    #[test]
    fn refused() {
        for lines in [
            &[""][..],
            &[" "],
            &[" a"],
            &[" a "],
            &[" a {}"],
            &[" a {x}"],
            &[" a (\\Seen {3}"],
            &[" a \"yesterday\" {3}"],
            &[" a () {3} "],
            &[" a ({3}"],
            &[" a {3}", " x"],
            &[" a {3}", "{3}"],
            &[" a UTF8 {3}"],
            &[" a UTF8 (~{3}", ""],
            &[" a CATENATE {3}"],
            &[" a CATENATE ()"],
            &[" a CATENATE (TEXT x)"],
            &[" a CATENATE (TEXT {3}", ""],
            &[" a CATENATE (TEXT {3}", " )"],
            &[" a CATENATE (URL x"],
            &[" a CATENATE (FILE x)"],
        ] {
            assert!(matches!(append(lines), Err(Refusal::Bad(_))), "{lines:?}");
        }
        assert!(matches!(append(&[" a//b {3}"]), Err(Refusal::Cannot(_))));
        let mut grammar = Grammar::append();
        assert!(grammar.line(&mut Cursor::new(b" a {1}")).is_ok());
        for _ in 1..MESSAGES {
            assert!(grammar.line(&mut Cursor::new(b" {1}")).is_ok());
        }
        assert_eq!(grammar.line(&mut Cursor::new(b" {1}")), Err(Refusal::Bad("Too many messages")));
    }
}
