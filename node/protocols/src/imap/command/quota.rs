//! GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208 §4.1).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::MailboxName;

/// The most resources in one SETQUOTA.
const RESOURCES: usize = 16;

/// What is asked of quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quota {
    /// GETQUOTA: what is used and allowed under this root.
    Get(String),
    /// GETQUOTAROOT: the roots of a mailbox, and each one's figures.
    GetRoot(MailboxName),
    /// SETQUOTA: so much of each resource is to be allowed under this root.
    Set {
        /// The root.
        root: String,
        /// Resource and limit, in the resource's unit.
        limits: Vec<(String, u64)>,
    },
}

fn request(quota: Quota) -> Result<Request, Refusal> {
    Ok(Request::Role(Command::Quota(quota)))
}

/// `getquota = "GETQUOTA" SP quota-root-name`, `quota-root-name = astring`
pub(super) fn parse_get(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    request(Quota::Get(cursor.text()?))
}

/// `getquotaroot = "GETQUOTAROOT" SP mailbox`
pub(super) fn parse_get_root(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    request(Quota::GetRoot(cursor.mailbox()?))
}

/// `setquota          = "SETQUOTA" SP quota-root-name SP setquota-list`
/// `setquota-list     = "(" [setquota-resource *(SP setquota-resource)] ")"`
/// `setquota-resource = resource-name SP resource-limit`
pub(super) fn parse_set(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let root = cursor.text()?;
    cursor.space()?;
    cursor.expect(b'(')?;
    let mut limits = Vec::new();
    while !cursor.take(b')') {
        if !limits.is_empty() {
            cursor.space()?;
        }
        if limits.len() == RESOURCES {
            return Err(Refusal::Bad("Too many resources"));
        }
        let resource = String::from_utf8_lossy(cursor.atom()?).to_ascii_uppercase();
        cursor.space()?;
        limits.push((resource, cursor.number64()?));
    }
    request(Quota::Set { root, limits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn known_answers() {
        let quota = |line: &str| match command(line) {
            Some(Command::Quota(quota)) => Some(quota),
            _ => None,
        };
        assert_eq!(quota("GETQUOTA \"!partition/sda4\""), Some(Quota::Get("!partition/sda4".into())));
        assert_eq!(quota("getquota \"\""), Some(Quota::Get(String::new())));
        assert_eq!(quota("GETQUOTAROOT inbox"), Some(Quota::GetRoot(MailboxName::inbox())));
        let limits = vec![("STORAGE".into(), 510), ("MESSAGE".into(), 9)];
        assert_eq!(quota("SETQUOTA \"\" (STORAGE 510 message 9)"), Some(Quota::Set { root: String::new(), limits }));
        assert_eq!(quota("SETQUOTA a ()"), Some(Quota::Set { root: "a".into(), limits: Vec::new() }));
        for line in [
            "GETQUOTA",
            "GETQUOTA ",
            "GETQUOTA a b",
            "GETQUOTAROOT",
            "SETQUOTA a",
            "SETQUOTA a STORAGE 5",
            "SETQUOTA a (STORAGE)",
            "SETQUOTA a (STORAGE x)",
            "SETQUOTA a (STORAGE 5 MESSAGE)",
            "SETQUOTA a (STORAGE 5",
            "SETQUOTA a (STORAGE 18446744073709551616)",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
        assert_eq!(command(&format!("SETQUOTA a ({})", ["x 1"; RESOURCES + 1].join(" "))), None);
    }
}
