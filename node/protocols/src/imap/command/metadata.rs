//! GETMETADATA and SETMETADATA (RFC 5464 §4.2, §4.3), and what LIST gives of them (RFC 9590).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::MailboxName;

/// The most entries in one command.
const ENTRIES: usize = 100;

/// How far below the entries that are named (RFC 5464 §4.2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Those alone.
    #[default]
    Zero,
    /// Those and what stands right below.
    One,
    /// All that lies below, too.
    Infinity,
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Their names, in small letters, as they begin: `/private/…` or `/shared/…`; `/private` and `/shared` alone name nothing
    /// but what lies below them.
    pub names: Vec<String>,
    /// Values longer than this, in bytes, are left out (§4.2.1).
    pub max_size: Option<u64>,
    /// How far below.
    pub depth: Depth,
}

/// What is asked of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// GETMETADATA
    Get {
        /// None for the server's.
        mailbox: Option<MailboxName>,
        /// Which.
        entries: Entries,
    },
    /// SETMETADATA: all or none.
    Set {
        /// None for the server's.
        mailbox: Option<MailboxName>,
        /// Each with its value; none to remove it.
        entries: Vec<(String, Option<Vec<u8>>)>,
    },
}

/// `getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries`
///
/// quirk_options_behind: the examples of RFC 5464 §4.2.1 have the options behind the mailbox, and clients do as they say.
pub(super) fn parse_get(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let mut entries = Entries::default();
    if cursor.peek() == Some(b'(') {
        entries.options(cursor)?;
        cursor.space()?;
    }
    let mailbox = mailbox(cursor)?;
    cursor.space()?;
    entries.parse(cursor)?;
    Ok(Request::Role(Command::Metadata(Metadata::Get { mailbox, entries })))
}

/// `setmetadata  = "SETMETADATA" SP mailbox SP entry-values`
/// `entry-values = "(" entry-value *(SP entry-value) ")"`, `entry-value = entry SP value`
pub(super) fn parse_set(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let mailbox = mailbox(cursor)?;
    cursor.space()?;
    cursor.expect(b'(')?;
    let mut entries = Vec::new();
    loop {
        let name = entry(cursor, Named::WithValue)?;
        cursor.space()?;
        let value = cursor.binary_value()?.map(std::borrow::Cow::into_owned);
        if entries.len() == ENTRIES {
            return Err(Refusal::Bad("Too many entries"));
        }
        entries.push((name, value));
        if cursor.take(b')') {
            return Ok(Request::Role(Command::Metadata(Metadata::Set { mailbox, entries })));
        }
        cursor.space()?;
    }
}

/// RFC 5464 §4.2: the empty name stands for the server.
fn mailbox(cursor: &mut Cursor<'_>) -> Result<Option<MailboxName>, Refusal> {
    let wire = cursor.astring()?;
    if wire.is_empty() {
        return Ok(None);
    }
    cursor.mailbox_name(&wire).map(Some).map_err(super::invalid_name)
}

impl Entries {
    /// `[getmetadata-options SP] entries`, where `entries = entry / "(" entry *(SP entry) ")"`
    pub(super) fn parse(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
        if cursor.rest().starts_with(b"(") && cursor.rest().get(1).is_some_and(u8::is_ascii_alphabetic) {
            self.options(cursor)?;
            cursor.space()?;
        }
        if !cursor.take(b'(') {
            self.names.push(entry(cursor, Named::Any)?);
            return Ok(());
        }
        loop {
            if self.names.len() == ENTRIES {
                return Err(Refusal::Bad("Too many entries"));
            }
            let name = entry(cursor, Named::Any)?;
            if !self.names.contains(&name) {
                self.names.push(name);
            }
            if cursor.take(b')') {
                return Ok(());
            }
            cursor.space()?;
        }
    }

    /// `getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")"`, of which there are `"MAXSIZE" SP number`
    /// and `"DEPTH" SP ("0" / "1" / "infinity")`
    fn options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
        cursor.expect(b'(')?;
        loop {
            let option = cursor.atom()?.to_ascii_uppercase();
            cursor.space()?;
            match option.as_slice() {
                b"MAXSIZE" => self.max_size = Some(cursor.number64()?),
                b"DEPTH" => {
                    self.depth = match cursor.atom()?.to_ascii_lowercase().as_slice() {
                        b"0" => Depth::Zero,
                        b"1" => Depth::One,
                        b"infinity" => Depth::Infinity,
                        _ => return Err(Refusal::Bad("DEPTH is 0, 1 or infinity")),
                    }
                }
                _ => return Err(Refusal::Bad("Unknown option")),
            }
            if cursor.take(b')') {
                return Ok(());
            }
            cursor.space()?;
        }
    }
}

/// What is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// An entry that has a value.
    WithValue,
    /// What there may be entries below, too.
    Any,
}

/// `entry = astring`: a path of printable ASCII in any case, without `*`, `%`, an empty component or a slash at its end
/// (RFC 5464 §3.1, §5).
///
/// quirk_bare_scope: all of a mailbox is read by `(DEPTH infinity) (/private /shared)`. RFC 5464 does not forbid it.
fn entry(cursor: &mut Cursor<'_>, named: Named) -> Result<String, Refusal> {
    const NO_NAME: Refusal = Refusal::Bad("Not the name of an entry");
    let text = cursor.astring()?;
    let name = String::from_utf8(text.to_ascii_lowercase()).map_err(|_| NO_NAME)?;
    let legal = name.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'*' | b'%'));
    let path = name.strip_prefix('/').ok_or(NO_NAME)?;
    let mut components = path.split('/');
    let scope = components.next().is_some_and(|scope| matches!(scope, "private" | "shared"));
    let whole = legal
        && scope
        && (named == Named::Any || components.clone().next().is_some())
        && components.all(|one| !one.is_empty());
    if whole { Ok(name) } else { Err(NO_NAME) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    fn metadata(line: &str) -> Option<Metadata> {
        match command(line) {
            Some(Command::Metadata(metadata)) => Some(metadata),
            _ => None,
        }
    }

    fn get(mailbox: Option<MailboxName>, names: &[&str], max_size: Option<u64>, depth: Depth) -> Option<Metadata> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Some(Metadata::Get { mailbox, entries: Entries { names, max_size, depth } })
    }

    #[test]
    fn reading() {
        let inbox = || Some(MailboxName::inbox());
        let both = &["/shared/comment", "/private/comment"];
        assert_eq!(metadata("GETMETADATA \"\" /shared/comment"), get(None, &both[..1], None, Depth::Zero));
        for line in [
            "GETMETADATA (MAXSIZE 1024) INBOX (/shared/comment /private/comment)",
            "GETMETADATA inbox (maxsize 1024) (/Shared/Comment \"/private/comment\" /shared/comment)",
        ] {
            assert_eq!(metadata(line), get(inbox(), both, Some(1024), Depth::Zero), "{line}");
        }
        assert_eq!(
            metadata("GETMETADATA (DEPTH 1 MAXSIZE 0) INBOX (/private/filters/values)"),
            get(inbox(), &["/private/filters/values"], Some(0), Depth::One)
        );
        assert_eq!(
            metadata("GETMETADATA (DEPTH infinity) INBOX /shared/vendor"),
            get(inbox(), &["/shared/vendor"], None, Depth::Infinity)
        );
        assert_eq!(
            metadata("GETMETADATA (DEPTH infinity) INBOX (/private /Shared)"),
            get(inbox(), &["/private", "/shared"], None, Depth::Infinity)
        );
        for line in [
            "GETMETADATA",
            "GETMETADATA INBOX",
            "GETMETADATA INBOX ()",
            "GETMETADATA INBOX (/shared/a",
            "GETMETADATA INBOX /other/a",
            "GETMETADATA INBOX /sharedx",
            "GETMETADATA INBOX /",
            "GETMETADATA INBOX /shared/",
            "GETMETADATA INBOX /shared/a//b",
            "GETMETADATA INBOX /shared/a/",
            "GETMETADATA INBOX \"/shared/a*\"",
            "GETMETADATA INBOX \"/shared/%\"",
            "GETMETADATA INBOX \"/shared/ñ\"",
            "GETMETADATA (DEPTH 2) INBOX /shared/a",
            "GETMETADATA (FOO 1) INBOX /shared/a",
            "GETMETADATA () INBOX /shared/a",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
    }

    #[test]
    fn writing() {
        let entries = vec![
            ("/private/comment".to_owned(), Some(b"My comment\r\n".to_vec())),
            ("/shared/comment".to_owned(), None),
            ("/shared/x".to_owned(), Some(b"a\0b".to_vec())),
            ("/shared/y".to_owned(), Some(b"q".to_vec())),
        ];
        let line = "SETMETADATA INBOX (/PRIVATE/comment {12}\r\nMy comment\r\n /shared/comment NIL \
                    /shared/x ~{3}\r\na\0b /shared/y \"q\")";
        assert_eq!(metadata(line), Some(Metadata::Set { mailbox: Some(MailboxName::inbox()), entries }));
        assert!(matches!(metadata("SETMETADATA \"\" (/private/a NIL)"), Some(Metadata::Set { mailbox: None, .. })));
        for line in [
            "SETMETADATA INBOX ()",
            "SETMETADATA INBOX /private/a \"x\"",
            "SETMETADATA INBOX (/private/a)",
            "SETMETADATA INBOX (/private \"x\")",
            "SETMETADATA INBOX (/private/a x)",
            "SETMETADATA INBOX (/private/a \"x\"",
            "SETMETADATA INBOX (/private/a ~\"x\")",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
