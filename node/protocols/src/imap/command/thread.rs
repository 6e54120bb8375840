//! THREAD and UID THREAD (RFC 5256 §3).

use super::search::{SearchKey, charset, keys};
use super::{Command, Numbering, Request};
use crate::imap::cursor::{Cursor, Refusal};

/// Which messages, put together how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// UID THREAD: answer with UIDs.
    pub by_uid: bool,
    /// How.
    pub algorithm: Algorithm,
    /// What must hold of a message.
    pub key: SearchKey,
}

/// `thread-alg`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// By subject alone.
    OrderedSubject,
    /// By references.
    References,
}

/// `thread = ["UID" SP] "THREAD" SP thread-alg SP search-criteria`
pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Result<Request, Refusal> {
    cursor.space()?;
    let algorithm = match cursor.atom()?.to_ascii_uppercase().as_slice() {
        b"ORDEREDSUBJECT" => Algorithm::OrderedSubject,
        b"REFERENCES" => Algorithm::References,
        _ => return Err(Refusal::Bad("Unknown threading algorithm")),
    };
    cursor.space()?;
    charset(cursor)?;
    cursor.space()?;
    let key = keys(cursor)?;
    Ok(Request::Role(Command::Thread(Thread { by_uid: numbering == Numbering::Uid, algorithm, key })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::{command, request};

    #[test]
    fn known_answers() {
        let thread = Thread { by_uid: false, algorithm: Algorithm::References, key: SearchKey::All };
        assert_eq!(command("THREAD REFERENCES UTF-8 ALL"), Some(Command::Thread(thread.clone())));
        let thread = Thread { by_uid: true, algorithm: Algorithm::OrderedSubject, ..thread };
        assert_eq!(command("uid thread orderedsubject us-ascii all"), Some(Command::Thread(thread)));
        for line in ["THREAD", "THREAD REFS UTF-8 ALL", "THREAD REFERENCES ALL", "THREAD REFERENCES UTF-8"] {
            assert_eq!(command(line), None, "{line}");
        }
        assert_eq!(request(b"THREAD REFERENCES X ALL"), Err(Refusal::BadCharset));
    }
}
