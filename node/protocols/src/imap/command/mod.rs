//! What a client asks. One command, one file, its grammar above its parser; [`TABLE`] lists them all.
//!
//! A command comes here whole, in one piece, its literals included (the machine has seen to that), except APPEND,
//! whose message is streamed: only what stands before it is read here.

pub mod acl;
pub mod append;
pub(crate) mod authenticate;
mod compress;
pub mod copy;
pub mod create;
pub mod enable;
pub mod expunge;
pub mod fetch;
pub mod id;
pub mod list;
pub(crate) mod login;
pub mod metadata;
pub mod notify;
pub mod quota;
pub mod rename;
pub mod search;
pub mod select;
pub mod sort;
pub mod status;
pub mod store;
pub mod thread;
mod uid;

use super::cursor::{Cursor, Refusal};
use super::types::{MailboxName, NameError};
use crate::sasl::{Credentials, Mechanism};

/// A command for the role to carry out. The machine sees to CAPABILITY, LOGOUT, STARTTLS, LOGIN, AUTHENTICATE, IDLE
/// and APPEND itself, or gives them as other events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// NOOP: say what has changed (RFC 3501 §6.1.2).
    Noop,
    /// ID: what the client calls itself (RFC 2971 §3.1).
    Id(id::Id),
    /// ENABLE: extensions that the client asks to have switched on (RFC 5161 §3.1).
    Enable(enable::Enable),
    /// SELECT, EXAMINE (RFC 3501 §6.3.1, §6.3.2).
    Select(select::Select),
    /// CREATE (RFC 3501 §6.3.3).
    Create(create::Create),
    /// DELETE (RFC 3501 §6.3.4).
    Delete(MailboxName),
    /// RENAME (RFC 3501 §6.3.5).
    Rename(rename::Rename),
    /// SUBSCRIBE (RFC 3501 §6.3.6).
    Subscribe(MailboxName),
    /// UNSUBSCRIBE (RFC 3501 §6.3.7).
    Unsubscribe(MailboxName),
    /// LIST (RFC 3501 §6.3.8, RFC 5258).
    List(list::List),
    /// LSUB (RFC 3501 §6.3.9).
    Lsub(list::Lsub),
    /// STATUS (RFC 3501 §6.3.10).
    Status(status::Status),
    /// NAMESPACE (RFC 2342 §5).
    Namespace,
    /// UNAUTHENTICATE: nobody is logged in any more (RFC 8437). Answered by
    /// [`Server::forget`](crate::imap::server::Server::forget).
    Unauthenticate,
    /// CHECK (RFC 3501 §6.4.1).
    Check,
    /// CLOSE: expunge without a word, and unselect (RFC 3501 §6.4.2).
    Close,
    /// UNSELECT: only unselect (RFC 3691 §2).
    Unselect,
    /// EXPUNGE, UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1).
    Expunge(expunge::Expunge),
    /// SEARCH, UID SEARCH (RFC 3501 §6.4.4).
    Search(search::Search),
    /// SORT, UID SORT (RFC 5256 §3).
    Sort(sort::Sort),
    /// THREAD, UID THREAD (RFC 5256 §3).
    Thread(thread::Thread),
    /// FETCH, UID FETCH (RFC 3501 §6.4.5).
    Fetch(fetch::Fetch),
    /// STORE, UID STORE (RFC 3501 §6.4.6).
    Store(store::Store),
    /// COPY, UID COPY (RFC 3501 §6.4.7).
    Copy(copy::Copy),
    /// MOVE, UID MOVE (RFC 6851 §3.1).
    Move(copy::Copy),
    /// SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3).
    Acl(acl::Acl),
    /// GETMETADATA, SETMETADATA (RFC 5464 §4.2, §4.3).
    Metadata(metadata::Metadata),
    /// NOTIFY (RFC 5465 §3.1).
    Notify(notify::Notify),
    /// GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208 §4.1).
    Quota(quota::Quota),
}

/// A whole command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Capability,
    Logout,
    StartTls,
    Login(Credentials),
    Authenticate {
        mechanism: Mechanism,
        initial: Option<Vec<u8>>,
    },
    Idle,
    /// COMPRESS DEFLATE.
    Compress,
    /// An APPEND or REPLACE without a literal.
    Append(Vec<append::AppendStep>),
    Role(Command),
}

/// In which states a command is allowed (RFC 3501 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    Always,
    NotAuthenticated,
    Authenticated,
    Selected,
}

/// One row of the table: the command's name, where it is allowed, and how the rest of its line is read.
pub(crate) struct Row {
    pub(crate) name: &'static [u8],
    pub(crate) allowed: Allowed,
    pub(crate) parse: fn(&mut Cursor<'_>) -> Result<Request, Refusal>,
}

impl Row {
    /// Whether it names messages by sequence numbers, or answers with them (RFC 9586 §3).
    pub(crate) fn names_sequence_numbers(&self) -> bool {
        const NAMES: [&[u8]; 8] = [b"FETCH", b"STORE", b"SEARCH", b"COPY", b"MOVE", b"REPLACE", b"SORT", b"THREAD"];
        NAMES.contains(&self.name)
    }
}

const fn row(name: &'static str, allowed: Allowed, parse: fn(&mut Cursor<'_>) -> Result<Request, Refusal>) -> Row {
    Row { name: name.as_bytes(), allowed, parse }
}

/// All commands. The frequent ones stand first.
pub(crate) static TABLE: &[Row] = &[
    row("UID", Allowed::Selected, uid::parse),
    row("FETCH", Allowed::Selected, |cursor| fetch::parse(cursor, Numbering::Sequence)),
    row("NOOP", Allowed::Always, |_| Ok(Request::Role(Command::Noop))),
    row("IDLE", Allowed::Authenticated, |_| Ok(Request::Idle)),
    row("SELECT", Allowed::Authenticated, |cursor| select::parse(cursor, false)),
    row("EXAMINE", Allowed::Authenticated, |cursor| select::parse(cursor, true)),
    row("STATUS", Allowed::Authenticated, status::parse),
    row("STORE", Allowed::Selected, |cursor| store::parse(cursor, Numbering::Sequence)),
    row("SEARCH", Allowed::Selected, |cursor| search::parse(cursor, Numbering::Sequence)),
    row("SORT", Allowed::Selected, |cursor| sort::parse(cursor, Numbering::Sequence)),
    row("THREAD", Allowed::Selected, |cursor| thread::parse(cursor, Numbering::Sequence)),
    row("COPY", Allowed::Selected, |cursor| {
        copy::parse(cursor, Numbering::Sequence).map(Command::Copy).map(Request::Role)
    }),
    row("MOVE", Allowed::Selected, |cursor| {
        copy::parse(cursor, Numbering::Sequence).map(Command::Move).map(Request::Role)
    }),
    row("EXPUNGE", Allowed::Selected, |_| Ok(Request::Role(Command::Expunge(expunge::Expunge::All)))),
    row("CHECK", Allowed::Selected, |_| Ok(Request::Role(Command::Check))),
    row("CLOSE", Allowed::Selected, |_| Ok(Request::Role(Command::Close))),
    row("UNSELECT", Allowed::Selected, |_| Ok(Request::Role(Command::Unselect))),
    row("APPEND", Allowed::Authenticated, |cursor| append::parse_whole(cursor, append::Grammar::append())),
    row("REPLACE", Allowed::Selected, |cursor| {
        append::parse_whole(cursor, append::Grammar::replace(Numbering::Sequence))
    }),
    row("LIST", Allowed::Authenticated, list::parse),
    row("LSUB", Allowed::Authenticated, list::parse_lsub),
    row("CREATE", Allowed::Authenticated, create::parse),
    row("DELETE", Allowed::Authenticated, |cursor| mailbox(cursor, Command::Delete)),
    row("RENAME", Allowed::Authenticated, rename::parse),
    row("SUBSCRIBE", Allowed::Authenticated, |cursor| mailbox(cursor, Command::Subscribe)),
    row("UNSUBSCRIBE", Allowed::Authenticated, |cursor| mailbox(cursor, Command::Unsubscribe)),
    row("NAMESPACE", Allowed::Authenticated, |_| Ok(Request::Role(Command::Namespace))),
    row("SETACL", Allowed::Authenticated, acl::parse_set),
    row("DELETEACL", Allowed::Authenticated, acl::parse_delete),
    row("GETACL", Allowed::Authenticated, acl::parse_get),
    row("LISTRIGHTS", Allowed::Authenticated, acl::parse_list),
    row("MYRIGHTS", Allowed::Authenticated, acl::parse_mine),
    row("GETMETADATA", Allowed::Authenticated, metadata::parse_get),
    row("SETMETADATA", Allowed::Authenticated, metadata::parse_set),
    row("NOTIFY", Allowed::Authenticated, notify::parse),
    row("GETQUOTA", Allowed::Authenticated, quota::parse_get),
    row("GETQUOTAROOT", Allowed::Authenticated, quota::parse_get_root),
    row("SETQUOTA", Allowed::Authenticated, quota::parse_set),
    row("ENABLE", Allowed::Authenticated, enable::parse),
    row("COMPRESS", Allowed::Authenticated, compress::parse),
    row("UNAUTHENTICATE", Allowed::Authenticated, |_| Ok(Request::Role(Command::Unauthenticate))),
    row("ID", Allowed::Always, id::parse),
    row("CAPABILITY", Allowed::Always, |_| Ok(Request::Capability)),
    row("LOGOUT", Allowed::Always, |_| Ok(Request::Logout)),
    row("STARTTLS", Allowed::NotAuthenticated, |_| Ok(Request::StartTls)),
    row("LOGIN", Allowed::NotAuthenticated, login::parse),
    row("AUTHENTICATE", Allowed::NotAuthenticated, authenticate::parse),
];

/// The row of that name, in any case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}

/// By which numbers a command names messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbering {
    Sequence,
    Uid,
}

impl Numbering {
    /// `SP (sequence-set / "$")`
    fn messages(self, cursor: &mut Cursor<'_>) -> Result<super::types::Messages, Refusal> {
        cursor.space()?;
        if cursor.take(b'$') {
            return Ok(super::types::Messages::Saved { by_uid: self == Self::Uid });
        }
        let set = super::types::SequenceSet::parse(cursor)?;
        Ok(match self {
            Self::Sequence => super::types::Messages::BySequence(set),
            Self::Uid => super::types::Messages::ByUid(set),
        })
    }
}

/// `SP mailbox`, and nothing else.
fn mailbox(cursor: &mut Cursor<'_>, command: fn(MailboxName) -> Command) -> Result<Request, Refusal> {
    cursor.space()?;
    cursor.mailbox().map(command).map(Request::Role)
}

/// A mailbox's name that is none is refused for good, not taken for a fault of the grammar.
pub(crate) fn invalid_name(error: NameError) -> Refusal {
    Refusal::Cannot(match error {
        NameError::Empty => "Mailbox name is empty",
        NameError::TooLong => "Mailbox name is too long",
        NameError::Encoding => "Mailbox name is not modified UTF-7",
        NameError::Control => "Mailbox name has a control character",
        NameError::EmptyLevel => "Mailbox name has an empty level",
    })
}

/// Reads the arguments of the command of that name; `cursor` stands behind the name.
pub(crate) fn parse(row: &Row, cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    let request = (row.parse)(cursor)?;
    // quirk_trailing_space: a space before the line's end is common, and harmless.
    while cursor.take(b' ') {}
    cursor.end()?;
    Ok(request)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Reads a command without its tag.
    pub(crate) fn request(line: &[u8]) -> Result<Request, Refusal> {
        let mut cursor = Cursor::new(line);
        let row = find(cursor.word()).ok_or(Refusal::Bad("Unknown command"))?;
        parse(row, &mut cursor)
    }

    /// Reads a command that the role is to carry out.
    pub(crate) fn command(line: &str) -> Option<Command> {
        match request(line.as_bytes()) {
            Ok(Request::Role(command)) => Some(command),
            _ => None,
        }
    }

    #[test]
    fn bare_commands() {
        for (line, expected) in [
            ("NOOP", Command::Noop),
            ("noop ", Command::Noop),
            ("CHECK", Command::Check),
            ("CLOSE", Command::Close),
            ("UNSELECT", Command::Unselect),
            ("NAMESPACE", Command::Namespace),
            ("UNAUTHENTICATE", Command::Unauthenticate),
        ] {
            assert_eq!(command(line), Some(expected));
            assert_eq!(command(&format!("{} x", line.trim())), None);
        }
        assert_eq!(request(b"capability"), Ok(Request::Capability));
        assert_eq!(request(b"LOGOUT"), Ok(Request::Logout));
        assert_eq!(request(b"STARTTLS"), Ok(Request::StartTls));
        assert_eq!(request(b"IDLE"), Ok(Request::Idle));
        assert_eq!(request(b"FOO"), Err(Refusal::Bad("Unknown command")));
    }

    #[test]
    fn commands_on_one_mailbox() {
        let name = MailboxName::new("Entwürfe/a b").unwrap();
        let wire = "\"Entw&APw-rfe/a b\"";
        assert_eq!(command(&format!("DELETE {wire}")), Some(Command::Delete(name.clone())));
        assert_eq!(command(&format!("SUBSCRIBE {wire}")), Some(Command::Subscribe(name.clone())));
        assert_eq!(command(&format!("UNSUBSCRIBE {wire}")), Some(Command::Unsubscribe(name)));
        assert_eq!(command("DELETE inbox"), Some(Command::Delete(MailboxName::inbox())));
        assert_eq!(request(b"DELETE a//b"), Err(Refusal::Cannot("Mailbox name has an empty level")));
        assert_eq!(command("DELETE"), None);
        assert_eq!(command("DELETE a b"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(row in 0..TABLE.len(), line in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&TABLE[row], &mut Cursor::new(&line));
        }

        #[test]
        fn near_misses_are_safe(row in 0..TABLE.len(), line in "( |\\(|\\)|\\[|\\]|\"|\\*|:|,|<|>|\\.|\\{1\\}\r\n|[0-9]|[a-zA-Z]|BODY|UID|NOT|OR|FLAGS|ü|\\\\){0,40}") {
            let _ = parse(&TABLE[row], &mut Cursor::new(line.as_bytes()));
        }
    }
}
