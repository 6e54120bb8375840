//! SELECT (RFC 3501 §6.3.1) and EXAMINE (§6.3.2), with parameters (RFC 4466 §2.1, RFC 7162 §3.2.5).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{MailboxName, SequenceSet, UidValidity};

/// Which mailbox is to be open from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// EXAMINE: nothing may be changed.
    pub read_only: bool,
    /// The client wants to hear modification sequences from now on (RFC 7162 §3.1.8).
    pub condstore: bool,
    /// The client remembers the mailbox, and wants to hear what happened since.
    pub resync: Option<Resync>,
}

/// What a client remembers of a mailbox (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    /// Its UIDs' validity: of another one it remembers nothing.
    pub validity: UidValidity,
    /// Up to where it knows all changes.
    pub since: u64,
    /// The UIDs that it knows; all when none are named.
    pub known: Option<SequenceSet>,
}

/// `select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]`, `examine = "EXAMINE" …`
/// `select-param = "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"`
pub(super) fn parse(cursor: &mut Cursor<'_>, read_only: bool) -> Result<Request, Refusal> {
    cursor.space()?;
    let mailbox = cursor.mailbox()?;
    let (mut condstore, mut resync) = (false, None);
    if cursor.take(b' ') && !cursor.at_end() {
        cursor.expect(b'(')?;
        loop {
            if cursor.take_word(b"CONDSTORE") {
                condstore = true;
            } else if cursor.take_word(b"QRESYNC") {
                resync = Some(parse_resync(cursor)?);
            } else {
                return Err(Refusal::Bad("Unknown parameter"));
            }
            if cursor.take(b')') {
                break;
            }
            cursor.space()?;
        }
    }
    Ok(Request::Role(Command::Select(Select { mailbox, read_only, condstore, resync })))
}

fn parse_resync(cursor: &mut Cursor<'_>) -> Result<Resync, Refusal> {
    cursor.space()?;
    cursor.expect(b'(')?;
    let validity = UidValidity::new(cursor.number()?).ok_or(Refusal::Bad("Not a UIDVALIDITY"))?;
    cursor.space()?;
    let since = cursor.number64()?;
    let mut known = None;
    while cursor.take(b' ') {
        if cursor.take(b'(') {
            // RFC 9586 §3.3: it names sequence numbers.
            if cursor.dialect().uid_only {
                return Err(Refusal::UidRequired);
            }
            // seq-match-data helps a server that has forgotten what was expunged: this one then compares all UIDs.
            SequenceSet::parse(cursor)?;
            cursor.space()?;
            SequenceSet::parse(cursor)?;
            cursor.expect(b')')?;
        } else {
            known = Some(SequenceSet::parse(cursor)?);
        }
    }
    cursor.expect(b')')?;
    Ok(Resync { validity, since, known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn writable_or_not() {
        let expected = |read_only, condstore| {
            Some(Command::Select(Select { mailbox: MailboxName::inbox(), read_only, condstore, resync: None }))
        };
        assert_eq!(command("SELECT inbox"), expected(false, false));
        assert_eq!(command("EXAMINE {5}\r\nINBOX"), expected(true, false));
        assert_eq!(command("SELECT INBOX (condstore)"), expected(false, true));
        let resync = |line: &str| match command(line) {
            Some(Command::Select(select)) => select.resync,
            _ => None,
        };
        let set = SequenceSet::parse(&mut Cursor::new(b"41,43:211")).unwrap();
        let mut expected =
            Resync { validity: UidValidity::new(67_890_007).unwrap(), since: 20_050_715_194_045_000, known: Some(set) };
        let line = "SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211))";
        assert_eq!(resync(line), Some(expected.clone()));
        let line = "SELECT INBOX (CONDSTORE QRESYNC (67890007 20050715194045000 41,43:211 (1,30 41,211)))";
        assert_eq!(resync(line), Some(expected.clone()));
        expected.known = None;
        assert_eq!(resync("EXAMINE INBOX (QRESYNC (67890007 20050715194045000))"), Some(expected));
        for line in
            ["SELECT a (QRESYNC)", "SELECT a (QRESYNC (0 1))", "SELECT a (QRESYNC (1))", "SELECT a (QRESYNC (1 1 (1)))"]
        {
            assert_eq!(command(line), None, "{line}");
        }
        for line in ["SELECT", "SELECT INBOX (", "SELECT INBOX ()", "SELECT INBOX (FOO)", "SELECT INBOX (CONDSTORE"] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
