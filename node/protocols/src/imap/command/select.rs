//! SELECT (RFC 3501 §6.3.1) and EXAMINE (§6.3.2).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::MailboxName;

/// Which mailbox is to be open from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// EXAMINE: nothing may be changed.
    pub read_only: bool,
}

/// `select = "SELECT" SP mailbox`, `examine = "EXAMINE" SP mailbox`
pub(super) fn parse(cursor: &mut Cursor<'_>, read_only: bool) -> Result<Request, Refusal> {
    cursor.space()?;
    let mailbox = cursor.mailbox()?;
    Ok(Request::Role(Command::Select(Select { mailbox, read_only })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn writable_or_not() {
        let expected = |read_only| Some(Command::Select(Select { mailbox: MailboxName::inbox(), read_only }));
        assert_eq!(command("SELECT inbox"), expected(false));
        assert_eq!(command("EXAMINE {5}\r\nINBOX"), expected(true));
        assert_eq!((command("SELECT"), command("SELECT INBOX (CONDSTORE)")), (None, None));
    }
}
