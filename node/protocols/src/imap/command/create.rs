//! CREATE (RFC 3501 §6.3.3).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{HIERARCHY_SEPARATOR, MailboxName};

/// `create = "CREATE" SP mailbox`
///
/// A separator at the end says that the client means to create names below it; the name is made without it
/// (RFC 3501 §6.3.3).
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let wire = cursor.astring()?;
    let name = wire.strip_suffix(&[HIERARCHY_SEPARATOR as u8]).unwrap_or(&wire);
    MailboxName::from_wire(name).map(Command::Create).map(Request::Role).map_err(super::invalid_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::{command, request};

    #[test]
    fn with_and_without_separator() {
        let name = MailboxName::new("owatagusiam/blurdybloop").unwrap();
        assert_eq!(command("CREATE owatagusiam/blurdybloop"), Some(Command::Create(name.clone())));
        assert_eq!(command("CREATE owatagusiam/blurdybloop/"), Some(Command::Create(name)));
        for line in [&b"CREATE /"[..], b"CREATE \"\"", b"CREATE a//"] {
            assert!(matches!(request(line), Err(Refusal::Cannot(_))));
        }
    }
}
