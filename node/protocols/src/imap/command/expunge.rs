//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1).

use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::SequenceSet;

/// Which of the messages flagged `\Deleted` are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expunge {
    /// All of them.
    All,
    /// Those of them with these UIDs.
    ByUid(SequenceSet),
}

/// `uid-expunge = "UID" SP "EXPUNGE" SP sequence-set`
pub(super) fn parse_by_uid(cursor: &mut Cursor<'_>) -> Result<Expunge, Refusal> {
    cursor.space()?;
    SequenceSet::parse(cursor).map(Expunge::ByUid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::Command;
    use crate::imap::command::tests::command;

    #[test]
    fn all_or_some() {
        assert_eq!(command("EXPUNGE"), Some(Command::Expunge(Expunge::All)));
        let set = SequenceSet::parse(&mut Cursor::new(b"3000:3002")).unwrap();
        assert_eq!(command("UID EXPUNGE 3000:3002"), Some(Command::Expunge(Expunge::ByUid(set))));
        assert_eq!((command("EXPUNGE 1"), command("UID EXPUNGE")), (None, None));
    }
}
