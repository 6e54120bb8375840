//! SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{MailboxName, Rights};

/// How SETACL changes the rights that an identifier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsChange {
    /// Exactly these from now on.
    Replace(Rights),
    /// `+`: these too.
    Add(Rights),
    /// `-`: these no more.
    Remove(Rights),
}

/// What is asked of rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acl {
    /// SETACL
    Set {
        /// Of this mailbox.
        mailbox: MailboxName,
        /// Whose; as it was given.
        identifier: String,
        /// To what.
        change: RightsChange,
    },
    /// DELETEACL: the identifier is no longer named.
    Delete {
        /// Of this mailbox.
        mailbox: MailboxName,
        /// Whose.
        identifier: String,
    },
    /// GETACL: who has which.
    Get(MailboxName),
    /// LISTRIGHTS: which could be given.
    List {
        /// Of this mailbox.
        mailbox: MailboxName,
        /// To whom.
        identifier: String,
    },
    /// MYRIGHTS: which the user has.
    Mine(MailboxName),
}

fn request(acl: Acl) -> Result<Request, Refusal> {
    Ok(Request::Role(Command::Acl(acl)))
}

/// `SP mailbox`
fn mailbox(cursor: &mut Cursor<'_>) -> Result<MailboxName, Refusal> {
    cursor.space()?;
    cursor.mailbox()
}

/// `SP identifier`, `identifier = astring`
fn identifier(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    cursor.space()?;
    cursor.text()
}

/// `setacl = "SETACL" SP mailbox SP identifier SP mod-rights`, `mod-rights = astring`, of which the first may be `+` or `-`
pub(super) fn parse_set(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    let (mailbox, identifier) = (mailbox(cursor)?, identifier(cursor)?);
    cursor.space()?;
    let text = cursor.astring()?;
    // RFC 4314 §3.1: an unknown right is an error of the grammar.
    let rights = |letters: &[u8]| Rights::parse(letters).ok_or(Refusal::Bad("Unknown right"));
    let change = match &*text {
        [b'+', letters @ ..] => RightsChange::Add(rights(letters)?),
        [b'-', letters @ ..] => RightsChange::Remove(rights(letters)?),
        letters => RightsChange::Replace(rights(letters)?),
    };
    request(Acl::Set { mailbox, identifier, change })
}

/// `deleteacl = "DELETEACL" SP mailbox SP identifier`
pub(super) fn parse_delete(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    request(Acl::Delete { mailbox: mailbox(cursor)?, identifier: identifier(cursor)? })
}

/// `getacl = "GETACL" SP mailbox`
pub(super) fn parse_get(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    request(Acl::Get(mailbox(cursor)?))
}

/// `listrights = "LISTRIGHTS" SP mailbox SP identifier`
pub(super) fn parse_list(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    request(Acl::List { mailbox: mailbox(cursor)?, identifier: identifier(cursor)? })
}

/// `myrights = "MYRIGHTS" SP mailbox`
pub(super) fn parse_mine(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    request(Acl::Mine(mailbox(cursor)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::{command, request};

    #[test]
    fn known_answers() {
        let acl = |line: &str| match command(line) {
            Some(Command::Acl(acl)) => Some(acl),
            _ => None,
        };
        let (inbox, who) = (MailboxName::inbox, || "Fred".to_owned());
        let rights = Rights::LOOKUP.with(Rights::READ);
        for (text, change) in [
            ("lr", RightsChange::Replace(rights)),
            ("+rl", RightsChange::Add(rights)),
            ("\"-lr\"", RightsChange::Remove(rights)),
            ("\"\"", RightsChange::Replace(Rights::NONE)),
        ] {
            let expected = Acl::Set { mailbox: inbox(), identifier: who(), change };
            assert_eq!(acl(&format!("SETACL INBOX Fred {text}")), Some(expected));
        }
        assert_eq!(acl("deleteacl inbox \"Fred\""), Some(Acl::Delete { mailbox: inbox(), identifier: who() }));
        assert_eq!(acl("GETACL INBOX"), Some(Acl::Get(inbox())));
        assert_eq!(acl("LISTRIGHTS INBOX Fred"), Some(Acl::List { mailbox: inbox(), identifier: who() }));
        assert_eq!(acl("MYRIGHTS INBOX"), Some(Acl::Mine(inbox())));
        for line in [
            "SETACL INBOX Fred",
            "SETACL INBOX Fred lr x",
            "SETACL INBOX",
            "DELETEACL INBOX",
            "GETACL",
            "GETACL INBOX Fred",
            "LISTRIGHTS INBOX",
            "MYRIGHTS",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
        assert_eq!(request(b"SETACL INBOX Fred lR"), Err(Refusal::Bad("Unknown right")));
        assert!(request(b"SETACL INBOX Fred lrz").is_err());
    }
}
