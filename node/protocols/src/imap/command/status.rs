//! STATUS (RFC 3501 §6.3.10, RFC 7162 §3.1.7, RFC 8438, RFC 9051 §6.3.11, RFC 9208 §4.1.4).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::MailboxName;

/// What to say of a mailbox that need not be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// What of it, each once, in the order asked for.
    pub items: Vec<StatusItem>,
}

/// One thing that STATUS can say (`status-att`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusItem {
    /// `MESSAGES`: how many there are.
    Messages,
    /// `RECENT`: how many are recent.
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`: how many are not seen.
    Unseen,
    /// `DELETED`: how many have `\Deleted` (RFC 9051 §6.3.11).
    Deleted,
    /// `DELETED-STORAGE`: the sum of their sizes, in bytes (RFC 9208 §4.1.4 allows it for what an EXPUNGE would
    /// free).
    DeletedStorage,
    /// `SIZE`: the sum of their sizes, in bytes (RFC 8438 §3).
    Size,
    /// `HIGHESTMODSEQ` (RFC 7162 §3.1.7).
    HighestModSeq,
    /// `APPENDLIMIT`: the largest message that APPEND takes, in bytes (RFC 7889 §3).
    AppendLimit,
    /// `MAILBOXID`: a name that outlives renaming (RFC 8474 §4.3).
    MailboxId,
}

impl StatusItem {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::DeletedStorage,
        Self::Size,
        Self::HighestModSeq,
        Self::AppendLimit,
        Self::MailboxId,
    ];

    /// As it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Deleted => "DELETED",
            Self::DeletedStorage => "DELETED-STORAGE",
            Self::Size => "SIZE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::AppendLimit => "APPENDLIMIT",
            Self::MailboxId => "MAILBOXID",
        }
    }

    /// `"(" status-att *(SP status-att) ")"`
    pub(super) fn parse_list(cursor: &mut Cursor<'_>) -> Result<Vec<Self>, Refusal> {
        cursor.expect(b'(')?;
        let mut items = Vec::new();
        loop {
            let name = cursor.atom()?;
            let item = Self::ALL.into_iter().find(|item| item.name().as_bytes().eq_ignore_ascii_case(name));
            let item = item.ok_or(Refusal::Bad("Unknown status item"))?;
            if !items.contains(&item) {
                items.push(item);
            }
            if cursor.take(b')') {
                return Ok(items);
            }
            cursor.space()?;
        }
    }
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let mailbox = cursor.mailbox()?;
    cursor.space()?;
    let items = StatusItem::parse_list(cursor)?;
    Ok(Request::Role(Command::Status(Status { mailbox, items })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn items() {
        let mailbox = MailboxName::new("blurdybloop").unwrap();
        let items = vec![StatusItem::UidNext, StatusItem::Messages];
        let expected = Some(Command::Status(Status { mailbox, items }));
        assert_eq!(command("STATUS blurdybloop (UIDNEXT MESSAGES)"), expected);
        assert_eq!(command("status blurdybloop (uidnext messages UIDNEXT)"), expected);
        let mailbox = MailboxName::new("a").unwrap();
        let items = vec![StatusItem::Size, StatusItem::HighestModSeq, StatusItem::Deleted, StatusItem::DeletedStorage];
        assert_eq!(
            command("STATUS a (SIZE HIGHESTMODSEQ DELETED DELETED-STORAGE)"),
            Some(Command::Status(Status { mailbox, items }))
        );
        for line in ["STATUS", "STATUS a", "STATUS a ()", "STATUS a (FOO)", "STATUS a (MESSAGES", "STATUS a MESSAGES"] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
