//! UID (RFC 3501 §6.4.8): the same commands, with UIDs for numbers.

use super::{Command, Numbering, Request, append, copy, expunge, fetch, search, sort, store, thread};
use crate::imap::cursor::{Cursor, Refusal};

/// `uid = "UID" SP (copy / fetch / search / sort / store / thread / move / uid-expunge / replace)`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let name = cursor.word();
    let is = |command: &str| name.eq_ignore_ascii_case(command.as_bytes());
    if is("FETCH") {
        fetch::parse(cursor, Numbering::Uid)
    } else if is("STORE") {
        store::parse(cursor, Numbering::Uid)
    } else if is("SEARCH") {
        search::parse(cursor, Numbering::Uid)
    } else if is("SORT") {
        sort::parse(cursor, Numbering::Uid)
    } else if is("THREAD") {
        thread::parse(cursor, Numbering::Uid)
    } else if is("COPY") {
        copy::parse(cursor, Numbering::Uid).map(Command::Copy).map(Request::Role)
    } else if is("MOVE") {
        copy::parse(cursor, Numbering::Uid).map(Command::Move).map(Request::Role)
    } else if is("EXPUNGE") {
        expunge::parse_by_uid(cursor).map(Command::Expunge).map(Request::Role)
    } else if is("REPLACE") {
        append::parse_whole(cursor, append::Grammar::replace(Numbering::Uid))
    } else {
        Err(Refusal::Bad("Unknown UID command"))
    }
}
