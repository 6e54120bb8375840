//! ACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3.6 to §3.8).

use super::Output;
use crate::imap::types::{MailboxName, Rights};

impl Output {
    /// `* ACL mailbox identifier rights …`
    pub fn acl<'i>(&mut self, mailbox: &MailboxName, entries: impl IntoIterator<Item = (&'i str, Rights)>) {
        self.put(b"* ACL ");
        self.mailbox(mailbox);
        for (identifier, rights) in entries {
            self.put_byte(b' ');
            self.astring(identifier.as_bytes());
            self.put_byte(b' ');
            self.astring(rights.to_string().as_bytes());
        }
        self.end_line();
    }

    /// `* LISTRIGHTS mailbox identifier always …`: what the identifier has in any case, then each right that may be given.
    pub fn list_rights(&mut self, mailbox: &MailboxName, identifier: &str, always: Rights) {
        self.put(b"* LISTRIGHTS ");
        self.mailbox(mailbox);
        self.put_byte(b' ');
        self.astring(identifier.as_bytes());
        self.put_byte(b' ');
        self.astring(always.to_string().as_bytes());
        if always != Rights::ALL {
            self.put_byte(b' ');
            self.put(Rights::EACH.as_bytes());
        }
        self.end_line();
    }

    /// `* MYRIGHTS mailbox rights`
    pub fn my_rights(&mut self, mailbox: &MailboxName, rights: Rights) {
        self.put(b"* MYRIGHTS ");
        self.mailbox(mailbox);
        self.put_byte(b' ');
        self.astring(rights.to_string().as_bytes());
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let mut output = Output::default();
        let (inbox, some) = (MailboxName::inbox(), Rights::LOOKUP.with(Rights::READ));
        output.acl(&inbox, [("ana@example.edu", Rights::ALL), ("-anyone", some), ("a b", Rights::NONE)]);
        output.acl(&inbox, []);
        output.list_rights(&inbox, "ana@example.edu", Rights::ALL);
        output.list_rights(&inbox, "anyone", Rights::NONE);
        output.my_rights(&inbox, some);
        let expected = [
            "* ACL INBOX ana@example.edu lrswipkxteacd -anyone lr \"a b\" \"\"",
            "* ACL INBOX",
            "* LISTRIGHTS INBOX ana@example.edu lrswipkxteacd",
            "* LISTRIGHTS INBOX anyone \"\" l r s w i p k x t e a c d",
            "* MYRIGHTS INBOX lr",
            "",
        ];
        assert_eq!(output.drain(), expected.join("\r\n"));
    }
}
