//! LIST and LSUB responses (RFC 3501 §7.2.2, RFC 5258, RFC 5465, RFC 6154).

use super::Output;
use crate::imap::types::{HIERARCHY_SEPARATOR, MailboxName};

/// An attribute of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// There is no such mailbox, only names below it, or a subscription (RFC 5258 §3).
    NonExistent,
    /// The user may know of it, and not look into it (RFC 5465 §3.1).
    NoAccess,
    /// It cannot be selected.
    NoSelect,
    /// Nothing can lie below it.
    NoInferiors,
    /// There is something below it (RFC 3348 §3).
    HasChildren,
    /// There is nothing below it (RFC 3348 §3).
    HasNoChildren,
    /// The user subscribed to it (RFC 5258 §3).
    Subscribed,
    /// Where archived messages go (RFC 6154 §2).
    Archive,
    /// Where drafts go.
    Drafts,
    /// Where spam goes.
    Junk,
    /// Where what was sent goes.
    Sent,
    /// Where deleted messages go.
    Trash,
}

impl Attribute {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NonExistent => "\\NonExistent",
            Self::NoAccess => "\\NoAccess",
            Self::NoSelect => "\\Noselect",
            Self::NoInferiors => "\\Noinferiors",
            Self::HasChildren => "\\HasChildren",
            Self::HasNoChildren => "\\HasNoChildren",
            Self::Subscribed => "\\Subscribed",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }
}

/// One name that LIST or LSUB tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry<'a> {
    /// The name.
    pub name: &'a MailboxName,
    /// What is said of it.
    pub attributes: &'a [Attribute],
    /// CHILDINFO: the selection options that hold of a mailbox below it (RFC 5258 §3.5); empty for none.
    pub child_info: &'a [&'a str],
    /// OLDNAME: how it was called before it was renamed just now (RFC 5465 §5.4).
    pub old_name: Option<&'a MailboxName>,
}

impl<'a> ListEntry<'a> {
    /// A name of which only this is said.
    pub fn new(name: &'a MailboxName, attributes: &'a [Attribute]) -> Self {
        Self { name, attributes, child_info: &[], old_name: None }
    }
}

impl Output {
    /// `* LIST (…) "/" name`
    pub fn list(&mut self, entry: &ListEntry<'_>) {
        self.list_entry(b"* LIST (", entry);
    }

    /// `* LSUB (…) "/" name`
    pub fn lsub(&mut self, entry: &ListEntry<'_>) {
        self.list_entry(b"* LSUB (", entry);
    }

    /// The answer to an empty pattern: the separator, and the root of names, which is empty (RFC 3501 §6.3.8).
    pub fn list_separator(&mut self) {
        self.put_display(format_args!("* LIST (\\Noselect) \"{HIERARCHY_SEPARATOR}\" \"\"\r\n"));
    }

    fn list_entry(&mut self, start: &[u8], entry: &ListEntry<'_>) {
        self.put(start);
        for (index, attribute) in entry.attributes.iter().enumerate() {
            if index > 0 {
                self.put_byte(b' ');
            }
            self.put(attribute.as_str().as_bytes());
        }
        self.put_display(format_args!(") \"{HIERARCHY_SEPARATOR}\" "));
        self.mailbox(entry.name);
        for (index, option) in entry.child_info.iter().enumerate() {
            self.put(if index == 0 { b" (\"CHILDINFO\" (" } else { b" " });
            self.string(option.as_bytes());
        }
        if !entry.child_info.is_empty() {
            self.put(b"))");
        }
        if let Some(old_name) = entry.old_name {
            self.put(b" (\"OLDNAME\" (");
            self.mailbox(old_name);
            self.put(b"))");
        }
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let mut output = Output::default();
        let (sent, inbox) = (MailboxName::new("Enviados ñ").unwrap(), MailboxName::inbox());
        output.list(&ListEntry::new(&sent, &[Attribute::HasNoChildren, Attribute::Sent]));
        output.list(&ListEntry { child_info: &["SUBSCRIBED", "SPECIAL-USE"], ..ListEntry::new(&inbox, &[]) });
        output.lsub(&ListEntry::new(&inbox, &[Attribute::NoSelect]));
        output.list(&ListEntry { old_name: Some(&inbox), ..ListEntry::new(&sent, &[Attribute::NonExistent]) });
        output.list_separator();
        let expected = [
            "* LIST (\\HasNoChildren \\Sent) \"/\" \"Enviados &APE-\"",
            "* LIST () \"/\" INBOX (\"CHILDINFO\" (\"SUBSCRIBED\" \"SPECIAL-USE\"))",
            "* LSUB (\\Noselect) \"/\" INBOX",
            "* LIST (\\NonExistent) \"/\" \"Enviados &APE-\" (\"OLDNAME\" (INBOX))",
            "* LIST (\\Noselect) \"/\" \"\"",
            "",
        ];
        assert_eq!(output.drain(), expected.join("\r\n"));
    }
}
