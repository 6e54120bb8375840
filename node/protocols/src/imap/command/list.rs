//! LIST (RFC 3501 §6.3.8) with the options of RFC 5258, RFC 5819 (STATUS), RFC 6154 (SPECIAL-USE), RFC 8440 (MYRIGHTS) and
//! RFC 9590 (METADATA), and LSUB
//! (RFC 3501 §6.3.9).

use super::metadata::Entries;
use super::status::StatusItem;
use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::types::{Dialect, ListPattern};

/// The most patterns in one command.
const PATTERNS: usize = 32;

/// Which mailboxes, and what of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Any of these; one empty pattern asks for the separator alone.
    pub patterns: Vec<ListPattern>,
    /// Which of those that match.
    pub select: ListSelect,
    /// What to say beside the name.
    pub give: ListGive,
}

/// `list-select-opts`: only mailboxes of which all of these hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListSelect {
    /// Subscribed, existing or not.
    pub subscribed: bool,
    /// With a special use.
    pub special_use: bool,
    /// Also those that have such a mailbox below them, told as CHILDINFO.
    pub recursive_match: bool,
}

/// `list-return-opts`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListGive {
    /// `\Subscribed`
    pub subscribed: bool,
    /// `\HasChildren`, `\HasNoChildren`. Given to all, as RFC 3348 allows.
    pub children: bool,
    /// `\Sent`, `\Trash`, … Given to all, as RFC 6154 §2 allows.
    pub special_use: bool,
    /// A STATUS response for each that can be opened.
    pub status: Vec<StatusItem>,
    /// A METADATA response for each that can be opened (RFC 9590).
    pub metadata: Option<Entries>,
    /// A MYRIGHTS response for each that can be opened (RFC 8440).
    pub my_rights: bool,
}

/// Which subscribed names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lsub {
    /// Those that match.
    pub pattern: ListPattern,
}

/// `list          = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP "RETURN" SP list-return-opts]`
/// `mbox-or-pat   = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let mut list = List::default();
    if cursor.peek() == Some(b'(') {
        list.select = ListSelect::parse(cursor)?;
        cursor.space()?;
    }
    let reference = cursor.astring()?;
    cursor.space()?;
    let mut add = |cursor: &mut Cursor<'_>| {
        let wire = cursor.list_mailbox()?;
        if list.patterns.len() == PATTERNS {
            return Err(Refusal::Bad("Too many patterns"));
        }
        list.patterns.push(pattern(&reference, &wire, cursor.dialect())?);
        Ok(())
    };
    if cursor.take(b'(') {
        loop {
            add(cursor)?;
            if cursor.take(b')') {
                break;
            }
            cursor.space()?;
        }
    } else {
        add(cursor)?;
    }
    if cursor.take(b' ') && !cursor.at_end() {
        if !cursor.take_word(b"RETURN") {
            return Err(Refusal::Bad("Expected RETURN"));
        }
        cursor.space()?;
        list.give = ListGive::parse(cursor)?;
    }
    Ok(Request::Role(Command::List(list)))
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox`
pub(super) fn parse_lsub(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let reference = cursor.astring()?;
    cursor.space()?;
    let wire = cursor.list_mailbox()?;
    Ok(Request::Role(Command::Lsub(Lsub { pattern: pattern(&reference, &wire, cursor.dialect())? })))
}

/// RFC 3501 §6.3.8: an empty pattern asks for the separator, whatever the reference.
fn pattern(reference: &[u8], wire: &[u8], dialect: Dialect) -> Result<ListPattern, Refusal> {
    let reference = if wire.is_empty() { b"" } else { reference };
    ListPattern::from_wire(reference, wire, dialect).ok_or(Refusal::Cannot("Not a pattern of mailbox names"))
}

impl ListSelect {
    /// `list-select-opts = "(" [list-select-opt *(SP list-select-opt)] ")"`
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        let mut select = Self::default();
        words(cursor, |cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_slice() {
                b"SUBSCRIBED" => select.subscribed = true,
                b"SPECIAL-USE" => select.special_use = true,
                b"RECURSIVEMATCH" => select.recursive_match = true,
                // There are no mailboxes but our own, so that this changes nothing (RFC 5258 §3.1).
                b"REMOTE" => {}
                _ => return Err(Refusal::Bad("Unknown selection option")),
            }
            Ok(())
        })?;
        // RFC 5258 §3.1: RECURSIVEMATCH alone is an error.
        if select.recursive_match && !select.subscribed && !select.special_use {
            return Err(Refusal::Bad("RECURSIVEMATCH needs another selection option"));
        }
        Ok(select)
    }
}

impl ListGive {
    /// `list-return-opts = "(" [return-option *(SP return-option)] ")"`
    /// `return-option    = "SUBSCRIBED" / "CHILDREN" / "SPECIAL-USE" / "STATUS" SP "(" status-att *(SP status-att) ")" /
    /// "METADATA" SP entries / "MYRIGHTS"`
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        let mut give = Self::default();
        words(cursor, |cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_slice() {
                b"SUBSCRIBED" => give.subscribed = true,
                b"CHILDREN" => give.children = true,
                b"SPECIAL-USE" => give.special_use = true,
                b"STATUS" => {
                    cursor.space()?;
                    give.status = StatusItem::parse_list(cursor)?;
                }
                b"MYRIGHTS" => give.my_rights = true,
                b"METADATA" => {
                    cursor.space()?;
                    let mut entries = Entries::default();
                    entries.parse(cursor)?;
                    give.metadata = Some(entries);
                }
                _ => return Err(Refusal::Bad("Unknown return option")),
            }
            Ok(())
        })?;
        Ok(give)
    }
}

/// `"(" [one *(SP one)] ")"`
fn words(cursor: &mut Cursor<'_>, mut one: impl FnMut(&mut Cursor<'_>) -> Result<(), Refusal>) -> Result<(), Refusal> {
    cursor.expect(b'(')?;
    if cursor.take(b')') {
        return Ok(());
    }
    loop {
        one(cursor)?;
        if cursor.take(b')') {
            return Ok(());
        }
        cursor.space()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    fn list(line: &str) -> Option<List> {
        match command(line) {
            Some(Command::List(list)) => Some(list),
            _ => None,
        }
    }

    #[test]
    fn plain() {
        let plain = |pattern: &str| Some(List { patterns: vec![ListPattern::new(pattern)], ..List::default() });
        assert_eq!(list("LIST \"\" *"), plain("*"));
        assert_eq!(list("LIST \"\" \"\""), plain(""));
        assert_eq!(list("LIST a/ \"\""), plain(""));
        assert_eq!(list("LIST \"a/\" %"), plain("a/%"));
        assert_eq!(list("list {0}\r\n \"Entw&APw-rfe\""), plain("Entwürfe"));
        assert_eq!(command("LSUB \"\" \"a/*\""), Some(Command::Lsub(Lsub { pattern: ListPattern::new("a/*") })));
        for line in
            ["LIST", "LIST a", "LIST \"\" ()", "LIST \"\" (a", "LIST \"\" * FOO", "LIST \"\" * RETURN", "LSUB a"]
        {
            assert_eq!(command(line), None, "{line}");
        }
    }

    #[test]
    fn extended() {
        let list = |line| list(line).unwrap();
        let found =
            list("LIST (SUBSCRIBED RECURSIVEMATCH remote) \"\" (a %) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))");
        assert_eq!(found.patterns, [ListPattern::new("a"), ListPattern::new("%")]);
        assert_eq!(found.select, ListSelect { subscribed: true, recursive_match: true, special_use: false });
        assert!(found.give.children && !found.give.special_use);
        assert_eq!(found.give.status, [StatusItem::Messages, StatusItem::Unseen]);
        let found = list("LIST (SPECIAL-USE) \"\" * RETURN (SPECIAL-USE SUBSCRIBED)");
        assert!(found.select.special_use && found.give.special_use && found.give.subscribed);
        assert!(list("LIST \"\" % RETURN (MYRIGHTS SUBSCRIBED)").give.my_rights);
        let found = list("LIST \"\" % RETURN (METADATA (\"/shared/color\" /private/x) CHILDREN)");
        assert_eq!(found.give.metadata.unwrap().names, ["/shared/color", "/private/x"]);
        assert!(found.give.children);
        assert_eq!(command("LIST \"\" % RETURN (METADATA)"), None);
        assert_eq!(list("LIST () \"\" * RETURN ()"), list("LIST \"\" *"));
        assert_eq!(command("LIST (RECURSIVEMATCH) \"\" *"), None);
        assert_eq!(command("LIST (FOO) \"\" *"), None);
        assert_eq!(command("LIST \"\" * RETURN (FOO)"), None);
        assert_eq!(command(&format!("LIST \"\" ({})", ["a"; PATTERNS + 1].join(" "))), None);
    }
}
