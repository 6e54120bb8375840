//! COPY (RFC 3501 §6.4.7), MOVE (RFC 6851 §3.1), and their UID forms.

use super::Numbering;
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{MailboxName, Messages};

/// Which messages, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The messages.
    pub messages: Messages,
    /// The mailbox that gets them.
    pub mailbox: MailboxName,
}

/// `copy = "COPY" SP sequence-set SP mailbox`, `move = "MOVE" SP sequence-set SP mailbox`
pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Result<Copy, Refusal> {
    let messages = numbering.messages(cursor)?;
    cursor.space()?;
    Ok(Copy { messages, mailbox: cursor.mailbox()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::Command;
    use crate::imap::command::tests::command;
    use crate::imap::types::SequenceSet;

    #[test]
    fn copies_and_moves() {
        let set = SequenceSet::parse(&mut Cursor::new(b"2:4")).unwrap();
        let mailbox = MailboxName::new("MEETING").unwrap();
        let by_sequence = Copy { messages: Messages::BySequence(set.clone()), mailbox: mailbox.clone() };
        let by_uid = Copy { messages: Messages::ByUid(set), mailbox };
        assert_eq!(command("COPY 2:4 MEETING"), Some(Command::Copy(by_sequence.clone())));
        assert_eq!(command("MOVE 2:4 \"MEETING\""), Some(Command::Move(by_sequence)));
        assert_eq!(command("UID COPY 2:4 MEETING"), Some(Command::Copy(by_uid.clone())));
        assert_eq!(command("uid move 2:4 MEETING"), Some(Command::Move(by_uid)));
        for line in ["COPY", "COPY 1", "COPY 1 ", "COPY x a", "COPY 1 a b", "UID", "UID COPY"] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
