//! STORE and UID STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3).

use super::{Command, Numbering, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{Flags, Messages};

/// Which messages, and what is to become of their flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The messages.
    pub messages: Messages,
    /// What to do with the flags.
    pub change: FlagChange,
    /// The flags.
    pub flags: Flags,
    /// `.SILENT`: the client does not want to hear what it asked for.
    pub silent: bool,
    /// `UNCHANGEDSINCE`: messages whose modification sequence is higher are left alone.
    pub unchanged_since: Option<u64>,
}

/// What is done with flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlagChange {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`: these too.
    Add,
    /// `-FLAGS`: these no more.
    Remove,
}

/// `store           = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags`
/// `store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))`
pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Result<Request, Refusal> {
    let messages = numbering.messages(cursor)?;
    cursor.space()?;
    let mut unchanged_since = None;
    if cursor.take(b'(') {
        if !cursor.take_word(b"UNCHANGEDSINCE") {
            return Err(Refusal::Bad("Unknown modifier"));
        }
        cursor.space()?;
        unchanged_since = Some(cursor.number64()?);
        cursor.expect(b')')?;
        cursor.space()?;
    }
    let change = if cursor.take(b'+') {
        FlagChange::Add
    } else if cursor.take(b'-') {
        FlagChange::Remove
    } else {
        FlagChange::Replace
    };
    let silent = cursor.take_word(b"FLAGS.SILENT");
    if !silent && !cursor.take_word(b"FLAGS") {
        return Err(Refusal::Bad("Expected FLAGS"));
    }
    cursor.space()?;
    let flags = if cursor.peek() == Some(b'(') { Flags::parse_list(cursor)? } else { Flags::parse_bare(cursor)? };
    Ok(Request::Role(Command::Store(Store { messages, change, flags, silent, unchanged_since })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;
    use crate::imap::types::{Flag, SequenceSet};

    #[test]
    fn changes() {
        let set = SequenceSet::parse(&mut Cursor::new(b"2:4")).unwrap();
        let flags = Flags::from_iter([Flag::Deleted]);
        let store = Store {
            messages: Messages::BySequence(set.clone()),
            change: FlagChange::Add,
            flags,
            silent: false,
            unchanged_since: None,
        };
        let unchanged = Store { unchanged_since: Some(320_162_338), ..store.clone() };
        assert_eq!(command("STORE 2:4 (UNCHANGEDSINCE 320162338) +FLAGS (\\Deleted)"), Some(Command::Store(unchanged)));
        assert_eq!(command("STORE 2:4 +FLAGS (\\Deleted)"), Some(Command::Store(store.clone())));
        assert_eq!(command("STORE 2:4 +flags \\Deleted"), Some(Command::Store(store.clone())));
        let removed = Store { change: FlagChange::Remove, silent: true, ..store.clone() };
        assert_eq!(command("STORE 2:4 -FLAGS.SILENT (\\Deleted)"), Some(Command::Store(removed)));
        let flags = Flags::from_iter([Flag::Seen, Flag::new(b"work").unwrap()]);
        let replaced = Store { messages: Messages::ByUid(set), change: FlagChange::Replace, flags, ..store.clone() };
        assert_eq!(command("UID STORE 2:4 FLAGS work \\Seen"), Some(Command::Store(replaced)));
        let none = Store { change: FlagChange::Replace, flags: Flags::new(), ..store };
        assert_eq!(command("STORE 2:4 FLAGS ()"), Some(Command::Store(none)));
        for line in [
            "STORE 1",
            "STORE 1 FLAGS",
            "STORE 1 +FLAGS.LOUD (a)",
            "STORE 1 +-FLAGS (a)",
            "STORE 1 FOO (a)",
            "STORE 1 FLAGS (a) b",
            "STORE 1 (UNCHANGEDSINCE) FLAGS (a)",
            "STORE 1 (SINCE 1) FLAGS (a)",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
