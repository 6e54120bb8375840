//! SELECT (RFC 3501 §6.3.1) and EXAMINE (§6.3.2), with parameters (RFC 4466 §2.1).

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
    /// The client wants to hear modification sequences from now on (RFC 7162 §3.1.8).
    pub condstore: bool,
}

/// `select = "SELECT" SP mailbox ["(" "CONDSTORE" ")"]`, `examine = "EXAMINE" SP mailbox [select-params]`
pub(super) fn parse(cursor: &mut Cursor<'_>, read_only: bool) -> Result<Request, Refusal> {
    cursor.space()?;
    let mailbox = cursor.mailbox()?;
    let mut condstore = false;
    if cursor.take(b' ') && !cursor.at_end() {
        cursor.expect(b'(')?;
        condstore = cursor.take_word(b"CONDSTORE");
        if !condstore {
            return Err(Refusal::Bad("Unknown parameter"));
        }
        cursor.expect(b')')?;
    }
    Ok(Request::Role(Command::Select(Select { mailbox, read_only, condstore })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn writable_or_not() {
        let expected = |read_only, condstore| {
            Some(Command::Select(Select { mailbox: MailboxName::inbox(), read_only, condstore }))
        };
        assert_eq!(command("SELECT inbox"), expected(false, false));
        assert_eq!(command("EXAMINE {5}\r\nINBOX"), expected(true, false));
        assert_eq!(command("SELECT INBOX (condstore)"), expected(false, true));
        for line in ["SELECT", "SELECT INBOX (", "SELECT INBOX ()", "SELECT INBOX (FOO)", "SELECT INBOX (CONDSTORE"] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
