//! METADATA (RFC 5464 §4.4).

use super::Output;
use crate::imap::types::MailboxName;

impl Output {
    /// `* METADATA mailbox (entry value …)`, none for the server's and for what is not there.
    pub fn metadata<'e>(
        &mut self,
        mailbox: Option<&MailboxName>,
        entries: impl IntoIterator<Item = (&'e str, Option<&'e [u8]>)>,
    ) {
        self.put(b"* METADATA ");
        match mailbox {
            Some(mailbox) => self.mailbox(mailbox),
            None => self.put(b"\"\""),
        }
        for (index, (entry, value)) in entries.into_iter().enumerate() {
            self.put(if index == 0 { b" (" } else { b" " });
            self.astring(entry.as_bytes());
            self.put_byte(b' ');
            match value {
                Some(value) if value.contains(&0) => self.literal_of_octets(value),
                value => self.optional_string(value),
            }
        }
        self.put(b")\r\n");
    }

    /// `* METADATA mailbox entry …`: these have changed, or are gone (RFC 5464 §4.4.2); none for the server's.
    pub fn metadata_changed<'e>(&mut self, mailbox: Option<&MailboxName>, entries: impl IntoIterator<Item = &'e str>) {
        self.put(b"* METADATA ");
        match mailbox {
            Some(mailbox) => self.mailbox(mailbox),
            None => self.put(b"\"\""),
        }
        for entry in entries {
            self.put_byte(b' ');
            self.astring(entry.as_bytes());
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
        let entries = [("/shared/comment", Some(&b"My \"comment\""[..])), ("/private/comment", None)];
        output.metadata(Some(&MailboxName::inbox()), entries);
        output.metadata(None, [("/private/a b", Some(&b"a\0b"[..])), ("/private/c", Some(&b"\xff"[..]))]);
        output.metadata_changed(Some(&MailboxName::inbox()), ["/shared/comment", "/private/a b"]);
        output.metadata_changed(None, ["/private/c"]);
        let expected = [
            "* METADATA INBOX (/shared/comment \"My \\\"comment\\\"\" /private/comment NIL)",
            "* METADATA \"\" (\"/private/a b\" ~{3}",
            "a\0b /private/c {1}",
            "\u{fffd})",
            "* METADATA INBOX /shared/comment \"/private/a b\"",
            "* METADATA \"\" /private/c",
            "",
        ];
        assert_eq!(output.drain(), expected.join("\r\n"));
    }
}
