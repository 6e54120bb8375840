//! Reports to a sender about a message that was not delivered, or is late, as letters: their text is
//! [`estafeta_protocols::dsn`]'s.
//!
//! Invariant: a report has no sender of its own and is never written about a message that has none.

use std::time::SystemTime;

use estafeta_core::delivery::Answer;
use estafeta_core::{Address, DeliveryId, Message};
use estafeta_protocols::date::DateTime;
use estafeta_protocols::dsn::{Action, Notification, QUOTED_LIMIT_BYTES, Recipient};
use estafeta_protocols::header;
use estafeta_protocols::smtp::Enhanced;

use crate::queue::{Letter, Waiting};

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

impl Kind {
    fn action(self) -> Action {
        match self {
            Self::Failed => Action::Failed,
            Self::Delayed { until } => Action::Delayed { until: DateTime::of(until) },
        }
    }
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
        let name = kind.action().name();
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
        let texts: Vec<_> = reported.iter().map(|one| (one.recipient.to_string(), one.answer.to_string())).collect();
        let recipients: Vec<_> = reported
            .iter()
            .zip(&texts)
            .map(|(one, (address, said))| Recipient {
                address,
                original: None,
                status: status(&one.answer),
                said: Some(said),
            })
            .collect();
        Notification {
            action: kind.action(),
            hostname: &self.hostname,
            id: &id.to_string(),
            to: &sender.to_string(),
            now: DateTime::of(now),
            delivery: &about.id.to_string(),
            envelope_id: None,
            arrived: DateTime::of(about.arrived),
            header: &header::excerpt(about.message.parts().map(|part| &part[..]), QUOTED_LIMIT_BYTES),
            recipients: &recipients,
        }
        .write()
    }
}

fn first(reported: &[Reported]) -> String {
    reported.first().map(|one| one.answer.to_string()).unwrap_or_default()
}

/// The enhanced status code, or the one that follows from the code alone (RFC 3463 §2).
fn status(answer: &Answer) -> Enhanced {
    Enhanced::parse(&answer.status).unwrap_or(Enhanced(if answer.code < 500 { 4 } else { 5 }, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn report(sender: Option<&Address>) -> Option<Letter> {
        let message = Message::new("Subject: secr\u{e9}t\r\n\r\nbody\r\n".into()).with_prefix("Received: x\r\n");
        let about = About { id: DeliveryId::generate(), sender, message: &message, arrived: SystemTime::UNIX_EPOCH };
        let answer = Answer { code: 550, status: "5.1.1".to_owned(), text: "No such user".to_owned() };
        let reported = [
            Reported { recipient: address("nobody@example.org"), answer: answer.clone() },
            Reported { recipient: address("josé@example.org"), answer: Answer { status: "x".to_owned(), ..answer } },
        ];
        Reporter::new("mx.example.edu").report(Kind::Failed, about, &reported, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_report_goes_to_the_sender_and_says_what_was_said_of_each() {
        let letter = report(Some(&address("ana@example.edu"))).unwrap();
        assert_eq!((letter.sender.as_ref(), letter.smtputf8), (None, false));
        assert_eq!(letter.recipients, [Waiting::at(address("ana@example.edu"))]);
        let text = String::from_utf8(letter.message.contiguous().to_vec()).unwrap();
        assert!(text.contains("Final-Recipient: rfc822; nobody@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"));
        assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"));
        assert!(text.contains("@example.org\r\nAction: failed\r\nStatus: 5.0.0\r\n"));
        assert!(text.contains("Received: x\r\nSubject: secr??t\r\n") && !text.contains("\r\nbody\r\n"));
    }

    #[test]
    fn nobody_is_told_nothing() {
        assert!(report(None).is_none());
    }
}
