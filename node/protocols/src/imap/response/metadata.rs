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
            // RFC 3516 §4.2: a literal that holds NUL is a literal8.
            if value.is_some_and(|value| value.contains(&0)) {
                self.put_byte(b'~');
            }
            self.optional_string(value);
        }
        self.put(b")\r\n");
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
        let expected = [
            "* METADATA INBOX (/shared/comment \"My \\\"comment\\\"\" /private/comment NIL)",
            "* METADATA \"\" (\"/private/a b\" ~{3}",
            "a\0b /private/c {1}",
            "\u{fffd})",
            "",
        ];
        assert_eq!(output.drain(), expected.join("\r\n"));
    }
}
