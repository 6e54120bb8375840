//! ENVELOPE (RFC 3501 §7.4.2).

use bytes::Bytes;

use super::Message;
use super::address::{Entry, parse};
use super::field::Fields;
use crate::imap::response::Output;

/// The fields that an envelope is made of.
pub(super) const FIELDS: [&str; 10] =
    ["Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"];

/// `envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP env-bcc SP
/// env-in-reply-to SP env-message-id ")"`, ready to be sent.
pub fn envelope(message: &Message) -> Bytes {
    let mut output = Output::default();
    write(&mut output, &message.header());
    output.into_bytes()
}

pub(super) fn write(output: &mut Output, header: &Fields<'_>) {
    let text = |output: &mut Output, name: &str| output.optional_string(header.value(name).as_deref());
    // A field that stands there twice, against RFC 5322 §3.6, counts as one.
    let addresses = |name: &str| {
        let fields = header.clone().filter(|field| field.is(name));
        Some(fields.flat_map(|field| parse(field.value)).collect::<Vec<_>>()).filter(|list| !list.is_empty())
    };
    let from = addresses("From");
    output.put_byte(b'(');
    text(output, "Date");
    output.put_byte(b' ');
    text(output, "Subject");
    output.put_byte(b' ');
    write_addresses(output, from.as_deref());
    // RFC 3501 §7.4.2: without Sender or Reply-To, or with an empty one, From stands for it.
    for name in ["Sender", "Reply-To"] {
        output.put_byte(b' ');
        write_addresses(output, addresses(name).as_deref().or(from.as_deref()));
    }
    for name in ["To", "Cc", "Bcc"] {
        output.put_byte(b' ');
        write_addresses(output, addresses(name).as_deref());
    }
    output.put_byte(b' ');
    text(output, "In-Reply-To");
    output.put_byte(b' ');
    text(output, "Message-ID");
    output.put_byte(b')');
}

/// `"(" 1*address ")" / nil`, `address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"`
fn write_addresses(output: &mut Output, entries: Option<&[Entry]>) {
    let Some(entries) = entries else {
        return output.put(b"NIL");
    };
    output.put_byte(b'(');
    for entry in entries {
        match entry {
            Entry::Mailbox { name, route, local, domain } => {
                output.put_byte(b'(');
                output.optional_string(name.as_deref());
                output.put_byte(b' ');
                output.optional_string(route.as_deref());
                output.put_byte(b' ');
                output.string(local);
                output.put_byte(b' ');
                // Never NIL, which would begin a group.
                output.string(domain);
                output.put_byte(b')');
            }
            Entry::GroupStart(name) => {
                output.put(b"(NIL NIL ");
                output.string(name);
                output.put(b" NIL)");
            }
            Entry::GroupEnd => output.put(b"(NIL NIL NIL NIL)"),
        }
    }
    output.put_byte(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> String {
        String::from_utf8_lossy(&envelope(&Message::new(Bytes::new(), Bytes::copy_from_slice(header.as_bytes()))))
            .into_owned()
    }

    #[test]
    fn rfc_example() {
        // RFC 3501 §8.
        let header = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n";
        let gray = "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))";
        assert_eq!(
            of(header),
            format!(
                "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" {gray} {gray} {gray} \
                 ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")\
                 (\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")"
            )
        );
    }

    #[test]
    fn empty_folded_and_odd() {
        assert_eq!(of(""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(
            of("Subject: a\r\n\tb \"c\"\r\nFrom: a@b\r\nSender:\r\nReply-To: c@d\r\nTo: g:;\r\n\r\nDate: body\r\n"),
            "(NIL \"a b \\\"c\\\"\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) \
             ((NIL NIL \"g\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)"
        );
        assert_eq!(
            of("To: a@b\r\nTo: c@d\r\n\r\n"),
            "(NIL NIL NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)"
        );
        assert_eq!(of("Subject: ü\r\n\r\n"), "(NIL {2}\r\nü NIL NIL NIL NIL NIL NIL NIL NIL)");
    }
}
