//! QUOTA and QUOTAROOT (RFC 9208 §4.2).

use super::Output;
use crate::imap::types::MailboxName;

/// What is used and allowed of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaResource {
    /// `STORAGE` (in units of 1,024 bytes) or `MESSAGE`.
    pub name: &'static str,
    /// How much there is.
    pub used: u64,
    /// How much there may be.
    pub limit: u64,
}

impl Output {
    /// `* QUOTA root (resource used limit …)`
    pub fn quota(&mut self, root: &str, resources: &[QuotaResource]) {
        self.put(b"* QUOTA ");
        self.astring(root.as_bytes());
        self.put(b" (");
        for (index, QuotaResource { name, used, limit }) in resources.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            self.put_display(format_args!("{space}{name} {used} {limit}"));
        }
        self.put(b")\r\n");
    }

    /// `* QUOTAROOT mailbox root …`
    pub fn quota_root(&mut self, mailbox: &MailboxName, roots: &[&str]) {
        self.put(b"* QUOTAROOT ");
        self.mailbox(mailbox);
        for root in roots {
            self.put_byte(b' ');
            self.astring(root.as_bytes());
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
        let storage = QuotaResource { name: "STORAGE", used: 10, limit: 512 };
        let message = QuotaResource { name: "MESSAGE", used: 3, limit: 100 };
        output.quota("", &[storage, message]);
        output.quota("ana@example.edu", &[message]);
        output.quota_root(&MailboxName::inbox(), &[""]);
        output.quota_root(&MailboxName::new("a b").unwrap(), &[]);
        let expected = [
            "* QUOTA \"\" (STORAGE 10 512 MESSAGE 3 100)",
            "* QUOTA ana@example.edu (MESSAGE 3 100)",
            "* QUOTAROOT INBOX \"\"",
            "* QUOTAROOT \"a b\"",
            "",
        ];
        assert_eq!(output.drain(), expected.join("\r\n"));
    }
}
