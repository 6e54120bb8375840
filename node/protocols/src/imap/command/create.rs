//! CREATE (RFC 3501 §6.3.3), with a special use (RFC 6154 §3).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{HIERARCHY_SEPARATOR, MailboxName};

/// A mailbox that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Its name.
    pub mailbox: MailboxName,
    /// What it is to be for, as the client wrote it: `\Sent`.
    pub uses: Vec<String>,
}

/// `create       = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"]`
/// `create-param = "USE" SP "(" [use-attr *(SP use-attr)] ")"`
///
/// A separator at the end says that the client means to create names below it; the name is made without it
/// (RFC 3501 §6.3.3).
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let wire = cursor.astring()?;
    let name = wire.strip_suffix(&[HIERARCHY_SEPARATOR as u8]).unwrap_or(&wire);
    let mailbox = cursor.mailbox_name(name).map_err(super::invalid_name)?;
    let mut uses = Vec::new();
    if cursor.take(b' ') && !cursor.at_end() {
        cursor.expect(b'(')?;
        if !cursor.take_word(b"USE") {
            return Err(Refusal::Bad("Unknown parameter"));
        }
        cursor.space()?;
        cursor.expect(b'(')?;
        while !cursor.take(b')') {
            if !uses.is_empty() {
                cursor.space()?;
            }
            cursor.expect(b'\\')?;
            uses.push(format!("\\{}", String::from_utf8_lossy(cursor.atom()?)));
        }
        cursor.expect(b')')?;
    }
    Ok(Request::Role(Command::Create(Create { mailbox, uses })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::{command, request};

    #[test]
    fn with_and_without_separator() {
        let create = Create { mailbox: MailboxName::new("owatagusiam/blurdybloop").unwrap(), uses: Vec::new() };
        assert_eq!(command("CREATE owatagusiam/blurdybloop"), Some(Command::Create(create.clone())));
        assert_eq!(command("CREATE owatagusiam/blurdybloop/"), Some(Command::Create(create)));
        for line in [&b"CREATE /"[..], b"CREATE \"\"", b"CREATE a//"] {
            assert!(matches!(request(line), Err(Refusal::Cannot(_))));
        }
    }

    #[test]
    fn with_a_use() {
        let create = |uses: &[&str]| {
            let uses = uses.iter().map(|one| (*one).to_owned()).collect();
            Some(Command::Create(Create { mailbox: MailboxName::new("Old").unwrap(), uses }))
        };
        // RFC 6154 §5.2, §5.3.
        assert_eq!(command("CREATE Old (USE (\\Drafts))"), create(&["\\Drafts"]));
        assert_eq!(command("CREATE Old (use (\\Drafts \\Sent))"), create(&["\\Drafts", "\\Sent"]));
        assert_eq!(command("CREATE Old (USE ())"), create(&[]));
        for line in
            ["CREATE Old (", "CREATE Old ()", "CREATE Old (FOO)", "CREATE Old (USE)", "CREATE Old (USE (Drafts))"]
        {
            assert_eq!(command(line), None, "{line}");
        }
        assert_eq!(command("CREATE Old (USE (\\Drafts) x)"), None);
    }
}
