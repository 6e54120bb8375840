//! APPEND (RFC 3501 §6.3.11): all but the message.

use super::Request;
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{DateTime, Flags, MailboxName};

/// Where a message is to go, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// Its first flags.
    pub flags: Flags,
    /// Its INTERNALDATE; now, when there is none.
    pub date: Option<DateTime>,
    /// Its size in bytes.
    pub size: u64,
}

/// `append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal`
///
/// The cursor stands behind the name; the literal's announcement is the last thing in it. Gives nothing when the
/// announcement is of something else than the message: a mailbox name that travels as a literal.
pub(crate) fn parse_announced(cursor: &mut Cursor<'_>) -> Result<Option<Append>, Refusal> {
    cursor.space()?;
    if announced(cursor).is_some() {
        return Ok(None);
    }
    let mailbox = cursor.mailbox()?;
    cursor.space()?;
    let mut flags = Flags::new();
    if cursor.peek() == Some(b'(') {
        flags = Flags::parse_list(cursor)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(DateTime::parse(&cursor.string()?).ok_or(Refusal::Bad("Not a date and time"))?);
        cursor.space()?;
    }
    let size = announced(cursor).ok_or(Refusal::Bad("Expected the message as a literal"))?;
    Ok(Some(Append { mailbox, flags, date, size }))
}

/// The size in a literal's announcement, if that is all that is left.
fn announced(cursor: &Cursor<'_>) -> Option<u64> {
    let mut cursor = cursor.clone();
    let size = cursor.take(b'{').then(|| cursor.number64().ok())??;
    cursor.take(b'+');
    (cursor.take(b'}') && cursor.at_end()).then_some(size)
}

/// A line that ends without having announced a message.
pub(crate) fn parse_without_message(_: &mut Cursor<'_>) -> Result<Request, Refusal> {
    Err(Refusal::Bad("Expected the message as a literal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::types::Flag;

    fn parse(line: &str) -> Result<Option<Append>, Refusal> {
        parse_announced(&mut Cursor::new(line.as_bytes()))
    }

    #[test]
    fn announcements() {
        let mailbox = MailboxName::new("saved-messages").unwrap();
        let plain = Append { mailbox, flags: Flags::new(), date: None, size: 310 };
        assert_eq!(parse(" saved-messages {310}"), Ok(Some(plain.clone())));
        let seen = Append { flags: Flags::from_iter([Flag::Seen]), ..plain.clone() };
        assert_eq!(parse(" saved-messages (\\Seen) {310+}"), Ok(Some(seen.clone())));
        let dated = Append { date: DateTime::parse(b" 7-Feb-1994 21:52:25 -0800"), ..seen };
        assert_eq!(parse(" \"saved-messages\" (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {310}"), Ok(Some(dated)));
        assert_eq!(parse(" {14}\r\nsaved-messages {310}"), Ok(Some(plain)));
        // The announcement of the mailbox's name, not of the message.
        assert_eq!(parse(" {14}"), Ok(None));
    }

    #[test]
    fn refused() {
        for line in
            ["", " ", " a", " a ", " a {}", " a {x}", " a (\\Seen {3}", " a \"yesterday\" {3}", " a () {3} ", " a ({3}"]
        {
            assert!(matches!(parse(line), Err(Refusal::Bad(_))), "{line:?}");
        }
        assert!(matches!(parse(" a//b {3}"), Err(Refusal::Cannot(_))));
    }
}
