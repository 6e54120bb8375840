//! Delivery status notifications: what a sender is told of a message (RFC 3464), in the form of RFC 6522.
//!
//! Invariants: a notification is ASCII, but for the address it goes to; it quotes the header of the message and nothing of
//! its body; nothing that others have said in it ends a line, or begins a part of its own.

use std::fmt::Write as _;

use crate::date::DateTime;
use crate::smtp::Enhanced;

/// The most of the message's header that is quoted, in bytes.
pub const QUOTED_LIMIT_BYTES: usize = 32 * 1024;
/// The most recipients that one notification names.
const RECIPIENTS_LIMIT: usize = 1_000;

/// What became of the message, for the recipients that are named (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It will not be delivered.
    Failed,
    /// It is late, and is tried until then.
    Delayed {
        /// When it is given up.
        until: DateTime,
    },
    /// It is in their mailboxes.
    Delivered,
}

impl Action {
    /// As it stands in the notification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed { .. } => "delayed",
            Self::Delivered => "delivered",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Failed => "Undelivered mail: returned to sender",
            Self::Delayed { .. } => "Delayed mail: still being tried",
            Self::Delivered => "Delivered mail: as you asked to be told",
        }
    }

    fn introduction(self) -> &'static str {
        match self {
            Self::Failed => {
                "Your message could not be delivered to these recipients, and will not be\r\n\
                 tried again. What their mail system said stands behind each.\r\n"
            }
            Self::Delayed { .. } => {
                "Your message could not be delivered yet to these recipients. What their\r\n\
                 mail system said last stands behind each.\r\n"
            }
            Self::Delivered => "Your message is in the mailboxes of these recipients.\r\n",
        }
    }
}

/// What is told.
#[derive(Debug, Clone, Copy)]
pub struct Notification<'a> {
    /// What became of it.
    pub action: Action,
    /// The host that tells.
    pub hostname: &'a str,
    /// Names the notification: letters, digits and hyphens. No two have the same.
    pub id: &'a str,
    /// Whom it goes to: the sender of the message.
    pub to: &'a str,
    /// When it is written.
    pub now: DateTime,
    /// The delivery id of the message that it is about.
    pub delivery: &'a str,
    /// How the sender calls that message (ENVID, RFC 3461 §4.4), decoded.
    pub envelope_id: Option<&'a str>,
    /// When that message came.
    pub arrived: DateTime,
    /// Its header, as far as it is quoted.
    pub header: &'a [u8],
    /// Its recipients.
    pub recipients: &'a [Recipient<'a>],
}

/// One recipient.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// Its address.
    pub address: &'a str,
    /// Whom the sender named, and of which type that is (ORCPT, RFC 3461 §4.2), decoded.
    pub original: Option<(&'a str, &'a str)>,
    /// What became of it, as a code.
    pub status: Enhanced,
    /// The reply of SMTP that decided, or the last one.
    pub said: Option<&'a str>,
}

impl Notification<'_> {
    /// The notification as a message.
    pub fn write(&self) -> String {
        let Self { action, hostname, id, to, .. } = self;
        let recipients = || self.recipients.iter().take(RECIPIENTS_LIMIT);
        let (subject, now, boundary) = (action.subject(), self.now.rfc5322(), format!("report-{id}"));
        let mut text = format!(
            "From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\
             Date: {now}\r\nMessage-ID: <{id}@{hostname}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is the mail system of {hostname}.\r\n\r\n{}\r\n",
            action.introduction(),
        );
        for recipient in recipients() {
            let said = recipient.said.map(|said| format!(": {}", plain(said))).unwrap_or_default();
            fold(&mut text, &format!("    <{}>{said}", ascii(recipient.address)));
        }
        if let Action::Delayed { until } = action {
            let until = until.rfc5322();
            let _ = write!(text, "\r\nIt will be tried until {until}.\r\nYou need not send it again.\r\n");
        }
        // RFC 3464 §2.2.
        let _ = write!(text, "\r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n");
        if let Some(id) = self.envelope_id {
            fold(&mut text, &format!("Original-Envelope-Id: {}", plain(id)));
        }
        let _ = write!(
            text,
            "Reporting-MTA: dns; {hostname}\r\nX-Estafeta-Delivery-Id: {}\r\nArrival-Date: {}\r\n",
            self.delivery,
            self.arrived.rfc5322()
        );
        for recipient in recipients() {
            // RFC 3464 §2.3.
            text.push_str("\r\n");
            if let Some((kind, address)) = recipient.original {
                fold(&mut text, &format!("Original-Recipient: {}; {}", plain(kind), plain(address)));
            }
            let kind = if recipient.address.is_ascii() { "rfc822" } else { "utf-8" };
            fold(&mut text, &format!("Final-Recipient: {kind}; {}", ascii(recipient.address)));
            let _ = write!(text, "Action: {}\r\nStatus: {}\r\n", action.name(), recipient.status);
            if let Some(said) = recipient.said {
                fold(&mut text, &format!("Diagnostic-Code: smtp; {}", plain(said)));
            }
            let _ = write!(text, "Last-Attempt-Date: {now}\r\n");
            if let Action::Delayed { until } = action {
                let _ = write!(text, "Will-Retry-Until: {}\r\n", until.rfc5322());
            }
        }
        // RFC 6522 §4.
        let _ = write!(text, "\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n");
        text.extend(self.header.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }));
        let _ = write!(text, "\r\n--{boundary}--\r\n");
        text
    }
}

/// An address in ASCII: one that is not has the form `utf-8-addr-xtext` (RFC 6533 §3).
fn ascii(address: &str) -> String {
    if address.is_ascii() {
        return address.to_owned();
    }
    let mut text = String::new();
    for character in address.chars() {
        if matches!(character, '!'..='~') && !matches!(character, '+' | '=' | '\\') {
            text.push(character);
        } else {
            let _ = write!(text, "\\x{{{:X}}}", u32::from(character));
        }
    }
    text
}

/// Somebody else's words, made harmless.
fn plain(text: &str) -> String {
    text.chars().map(|character| if matches!(character, ' '..='~') { character } else { '?' }).take(2_000).collect()
}

/// Writes a line, with a line end; a long one goes on in lines that begin with white space (RFC 5322 §2.2.3).
fn fold(text: &mut String, line: &str) {
    let mut width = 0;
    for (index, word) in line.split(' ').enumerate() {
        if width > 0 && width + word.len() > 76 {
            text.push_str("\r\n\t");
            width = 8;
        }
        if index > 0 {
            text.push(' ');
        }
        // No line may be longer than 998 bytes (RFC 5322 §2.1.1), a word neither.
        text.push_str(&word[..word.len().min(900)]);
        width += word.len() + 1;
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MimeHeaders;

    fn write(action: Action, said: Option<&str>) -> String {
        let of = |address, said| Recipient { address, original: None, status: Enhanced(5, 1, 1), said };
        let named = Recipient { original: Some(("rfc822", "jose+x@example.org")), ..of("josé+x@example.org", None) };
        let now = DateTime::from_unix_seconds(0);
        Notification {
            action,
            hostname: "mx.example.edu",
            id: "0190",
            to: "ana@example.edu",
            now,
            delivery: "0180",
            envelope_id: Some("QQ314159"),
            arrived: now,
            header: "Received: x\r\nSubject: secr\u{e9}t\r\n".as_bytes(),
            recipients: &[of("nobody@example.org", said), named],
        }
        .write()
    }

    #[test]
    fn a_failure_is_a_report_that_a_parser_understands() {
        let text = write(Action::Failed, Some("550 5.1.1 No such user"));
        assert!(text.contains("Final-Recipient: rfc822; nobody@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"));
        assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"));
        assert!(text.contains(
            "Original-Recipient: rfc822; jose+x@example.org\r\nFinal-Recipient: utf-8; jos\\x{E9}\\x{2B}x@example.org\r\nAction"
        ));
        assert!(text.contains("Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; mx.example.edu\r\n"));
        assert!(text.contains("Subject: secr??t\r\n"));
        let parsed = mail_parser::MessageParser::default().parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.parts.len(), 4);
        assert!(parsed.content_type().is_some_and(|kind| kind.attribute("report-type") == Some("delivery-status")));
    }

    #[test]
    fn a_delay_says_until_when() {
        let text = write(Action::Delayed { until: DateTime::from_unix_seconds(86_400) }, None);
        assert!(text.contains("Action: delayed\r\n"));
        assert!(text.contains("Will-Retry-Until: Fri, 02 Jan 1970 00:00:00 +0000\r\n"));
    }

    #[test]
    fn a_foreign_answer_cannot_forge() {
        let evil = format!("no\r\n\r\n--report-\u{e9} {}", "x".repeat(5_000));
        let text = write(Action::Failed, Some(&evil));
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 998));
        assert!(text.contains(": no????--report-?"));
        assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    }
}
