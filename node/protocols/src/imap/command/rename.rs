//! RENAME (RFC 3501 §6.3.5).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::MailboxName;

/// From one name to another, and all that lies below. From INBOX: its messages move, INBOX stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The name that is.
    pub from: MailboxName,
    /// The name that is to be.
    pub to: MailboxName,
}

/// `rename = "RENAME" SP mailbox SP mailbox`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let from = cursor.mailbox()?;
    cursor.space()?;
    let to = cursor.mailbox()?;
    Ok(Request::Role(Command::Rename(Rename { from, to })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn two_names() {
        let (from, to) = (MailboxName::new("blurdybloop").unwrap(), MailboxName::new("sarasoop").unwrap());
        assert_eq!(command("RENAME blurdybloop sarasoop"), Some(Command::Rename(Rename { from, to })));
        assert_eq!((command("RENAME a"), command("RENAME a b c")), (None, None));
    }
}
