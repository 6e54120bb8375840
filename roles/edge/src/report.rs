//! Reports to a sender about a message that was not delivered, or is late (RFC 3464, RFC 6522).
//!
//! Invariants: a report has no sender of its own and is never written about a message that has none; it quotes the
//! header of the message and nothing of its body; it is ASCII, but for the address it goes to.

use std::time::SystemTime;

use estafeta_core::delivery::Answer;
use estafeta_core::{Address, DeliveryId, Message};

use crate::incoming::header;
use crate::passage::trace::date;
use crate::queue::{Letter, Waiting};

/// The most of the message's header that is quoted, in bytes.
const QUOTED_LIMIT_BYTES: usize = 32 * 1024;
/// The most recipients that one report names one by one.
const RECIPIENTS_LIMIT: usize = 1_000;

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It will not be delivered.
    Failed,
    /// It is late, and is tried until then.
    Delayed {
        /// When it is given up.
        until: SystemTime,
    },
}

/// The message that a report is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Its delivery id.
    pub id: DeliveryId,
    /// Whom the report goes to.
    pub sender: Option<&'a Address>,
    /// The message.
    pub message: &'a Message,
    /// When it came.
    pub arrived: SystemTime,
}

/// One recipient, and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// As the sender wrote it.
    pub recipient: Address,
    /// The answer that decided, or the last one.
    pub answer: Answer,
}

/// Writes reports in the name of this node.
#[derive(Debug, Clone)]
pub struct Reporter {
    hostname: String,
}

impl Reporter {
    /// `hostname` is what the node calls itself.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self { hostname: hostname.into() }
    }

    /// The report as a letter; none when the message has no sender.
    pub fn report(&self, kind: Kind, about: About<'_>, reported: &[Reported], now: SystemTime) -> Option<Letter> {
        let id = DeliveryId::generate();
        let Some(sender) = about.sender else {
            // RFC 5321 §4.5.5: a message from nobody is not answered.
            tracing::info!(id = %about.id, recipients = reported.len(), answer = %first(reported), "not delivered, and nobody to tell");
            metrics::counter!("estafeta_edge_undeliverable_reports_total").increment(1);
            return None;
        };
        let name = if kind == Kind::Failed { "failed" } else { "delayed" };
        tracing::info!(id = %about.id, report = %id, to = %sender, kind = name, answer = %first(reported), "reporting to the sender");
        metrics::counter!("estafeta_edge_bounced_total", "kind" => name).increment(reported.len() as u64);
        let text = self.write(kind, id, sender, about, reported, now);
        Some(Letter {
            id,
            sender: None,
            smtputf8: !text.is_ascii(),
            message: Message::new(text.into()),
            arrived: now,
            recipients: vec![Waiting::at(sender.clone())],
        })
    }

    fn write(
        &self,
        kind: Kind,
        id: DeliveryId,
        sender: &Address,
        about: About<'_>,
        reported: &[Reported],
        now: SystemTime,
    ) -> String {
        let hostname = &self.hostname;
        let boundary = format!("report-{}", id.0.simple());
        let (subject, introduction, action) = match kind {
            Kind::Failed => ("Undelivered mail: returned to sender", FAILED, "failed"),
            Kind::Delayed { .. } => ("Delayed mail: still being tried", DELAYED, "delayed"),
        };
        let mut text = format!(
            "From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\nTo: <{sender}>\r\nSubject: {subject}\r\n\
             Date: {}\r\nMessage-ID: <{id}@{hostname}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is the mail system of {hostname}.\r\n\r\n{introduction}\r\n",
            date(now)
        );
        for one in reported.iter().take(RECIPIENTS_LIMIT) {
            text.push_str(&fold(&format!(
                "    <{}>: {}",
                ascii_address(&one.recipient),
                plain(&one.answer.to_string())
            )));
        }
        if let Kind::Delayed { until } = kind {
            text.push_str(&format!("\r\nIt will be tried until {}.\r\nYou need not send it again.\r\n", date(until)));
        }
        // RFC 3464 §2.2.
        text.push_str(&format!(
            "\r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; {hostname}\r\n\
             X-Estafeta-Delivery-Id: {}\r\nArrival-Date: {}\r\n",
            about.id,
            date(about.arrived)
        ));
        for one in reported.iter().take(RECIPIENTS_LIMIT) {
            // RFC 3464 §2.3.
            let address = ascii_address(&one.recipient);
            let kind_of_address = if one.recipient.to_string().is_ascii() { "rfc822" } else { "utf-8" };
            text.push_str(&format!(
                "\r\nFinal-Recipient: {kind_of_address}; {address}\r\nAction: {action}\r\nStatus: {}\r\n",
                status(&one.answer)
            ));
            text.push_str(&fold(&format!("Diagnostic-Code: smtp; {}", plain(&one.answer.to_string()))));
            text.push_str(&format!("Last-Attempt-Date: {}\r\n", date(now)));
            if let Kind::Delayed { until } = kind {
                text.push_str(&format!("Will-Retry-Until: {}\r\n", date(until)));
            }
        }
        // RFC 6522 §4.
        text.push_str(&format!("\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n"));
        let quoted = header::excerpt(about.message, QUOTED_LIMIT_BYTES);
        text.extend(quoted.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }));
        text.push_str(&format!("\r\n--{boundary}--\r\n"));
        text
    }
}

const FAILED: &str = "Your message could not be delivered to these recipients, and will not be\r\n\
                      tried again. What their mail system said stands behind each.\r\n";
const DELAYED: &str = "Your message could not be delivered yet to these recipients. What their\r\n\
                       mail system said last stands behind each.\r\n";

fn first(reported: &[Reported]) -> String {
    reported.first().map(|one| one.answer.to_string()).unwrap_or_default()
}

/// The enhanced status code, or the one that follows from the code alone (RFC 3463 §2).
fn status(answer: &Answer) -> String {
    let valid = estafeta_protocols::smtp::Enhanced::parse(&answer.status);
    valid.map_or_else(|| format!("{}.0.0", answer.code / 100), |status| status.to_string())
}

/// An address in ASCII: RFC 6533 §3 `utf-8-addr-xtext`.
fn ascii_address(address: &Address) -> String {
    let mut text = String::new();
    for character in address.to_string().chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            text.push_str(&format!("\\x{{{:X}}}", u32::from(character)));
        }
    }
    text
}

/// Somebody else's words, made harmless.
fn plain(text: &str) -> String {
    text.chars().map(|character| if matches!(character, ' '..='~') { character } else { '?' }).take(2_000).collect()
}

/// A line, with a line end; a long one goes on in lines that begin with white space (RFC 5322 §2.2.3).
fn fold(line: &str) -> String {
    let mut folded = String::new();
    let mut width = 0;
    for (index, word) in line.split(' ').enumerate() {
        if width > 0 && width + word.len() > 76 {
            folded.push_str("\r\n\t");
            width = 8;
        }
        if index > 0 {
            folded.push(' ');
        }
        // No line may be longer than 998 bytes (RFC 5322 §2.1.1), a word neither.
        folded.push_str(&word[..word.len().min(900)]);
        width += word.len() + 1;
    }
    folded.push_str("\r\n");
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MimeHeaders;
    use std::time::Duration;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn report(kind: Kind, sender: Option<&Address>, text: &str) -> Option<Letter> {
        let message = Message::new("Subject: secr\u{e9}t\r\n\r\nbody\r\n".into()).with_prefix("Received: x\r\n");
        let about = About { id: DeliveryId::generate(), sender, message: &message, arrived: SystemTime::UNIX_EPOCH };
        let answer = Answer { code: 550, status: "5.1.1".to_owned(), text: text.to_owned() };
        let reported = [
            Reported { recipient: address("nobody@example.org"), answer: answer.clone() },
            Reported { recipient: address("josé@example.org"), answer: Answer { status: "x".to_owned(), ..answer } },
        ];
        Reporter::new("mx.example.edu").report(kind, about, &reported, SystemTime::UNIX_EPOCH)
    }

    fn text(letter: &Letter) -> String {
        String::from_utf8(letter.message.contiguous().to_vec()).unwrap()
    }

    #[test]
    fn a_failure_is_a_report_that_a_parser_understands() {
        let letter = report(Kind::Failed, Some(&address("ana@example.edu")), "No such user").unwrap();
        assert_eq!((letter.sender.as_ref(), letter.smtputf8), (None, false));
        assert_eq!(letter.recipients, [Waiting::at(address("ana@example.edu"))]);
        let text = text(&letter);
        assert!(text.contains("Final-Recipient: rfc822; nobody@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"));
        assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"));
        assert!(text.contains("Final-Recipient: utf-8; jos\\x{E9}@example.org\r\nAction: failed\r\nStatus: 5.0.0\r\n"));
        assert!(text.contains("Subject: secr??t\r\n") && !text.contains("\r\nbody\r\n"));
        let parsed = mail_parser::MessageParser::default().parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.parts.len(), 4);
        assert!(parsed.content_type().is_some_and(|kind| kind.attribute("report-type") == Some("delivery-status")));
    }

    #[test]
    fn a_delay_says_until_when() {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        let letter = report(Kind::Delayed { until }, Some(&address("ana@example.edu")), "Later").unwrap();
        let text = text(&letter);
        assert!(
            text.contains("Action: delayed\r\n")
                && text.contains("Will-Retry-Until: Fri, 2 Jan 1970 00:00:00 +0000\r\n")
        );
    }

    #[test]
    fn nobody_is_told_nothing() {
        assert!(report(Kind::Failed, None, "x").is_none());
    }

    #[test]
    fn a_foreign_answer_cannot_forge() {
        let evil = format!("no\r\n\r\n--report-\u{e9} {}", "x".repeat(5_000));
        let letter = report(Kind::Failed, Some(&address("ana@example.edu")), &evil).unwrap();
        let text = text(&letter);
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 998));
        assert!(text.contains("550 5.1.1 no????--report-?"));
        assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    }
}
