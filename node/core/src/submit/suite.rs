//! The suite of `Submit`: what every implementation must do, whether it keeps the message itself or asks another node.
// A suite is test code, built for the tests of others: a panic is how it speaks.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Submission, Submit};
use crate::address::Address;
use crate::message::{DeliveryId, Message};

/// A way to submit, to try.
pub struct Fixture {
    /// The way.
    pub submit: Arc<dyn Submit>,
    /// How the suite sees what was taken. Nothing leaves while it looks.
    pub taken: Arc<dyn Taken>,
    /// What lives as long as it.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// What was taken of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where bounces go.
    pub sender: Option<Address>,
    /// To whom.
    pub recipients: Vec<Address>,
    /// The message. Trace fields may have been put before it.
    pub message: Bytes,
}

/// What was taken, and waits to be sent.
#[async_trait]
pub trait Taken: Send + Sync {
    /// What was taken under this id.
    async fn read(&self, id: DeliveryId) -> Vec<Envelope>;
}

/// Runs the suite; each part on a way of its own.
pub async fn run(make: impl AsyncFn() -> Fixture) {
    it_is_taken_as_it_is(make().await).await;
    a_repeat_is_taken_once(make().await).await;
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn submission(sender: Option<&str>, recipients: &[&str], text: &str) -> Submission {
    Submission {
        id: DeliveryId::generate(),
        sender: sender.map(address),
        recipients: recipients.iter().map(|recipient| address(recipient)).collect(),
        message: Message::new(text.to_owned().into()),
    }
}

async fn it_is_taken_as_it_is(fixture: Fixture) {
    let large = format!("Subject: large\r\n\r\n{}", "a line of a large message\r\n".repeat(60_000));
    for (sender, recipients, text) in [
        (None, &["ana@example.edu"][..], "Subject: report\r\n\r\n.\r\n..\r\n.x\r\n"),
        (Some("ana@elsewhere.example"), &["a@example.org", "b@example.net"], "Subject: redirect\r\n\r\nx\r\n"),
        (Some("josé@example.edu"), &["ñ@example.org"], "Subject: ñandú\r\n\r\n\u{1F426}\r\n"),
        (None, &["ana@example.edu"], "\r\n"),
        (None, &["ana@example.edu"], &large),
    ] {
        let submission = submission(sender, recipients, text);
        fixture.submit.submit(&submission).await.unwrap();
        let taken = fixture.taken.read(submission.id).await;
        let [one] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((&one.sender, &one.recipients), (&submission.sender, &submission.recipients));
        assert!(one.message.ends_with(text.as_bytes()), "{:?}", one.message);
    }
}

async fn a_repeat_is_taken_once(fixture: Fixture) {
    let once = submission(None, &["ana@example.edu"], "Subject: x\r\n\r\nx\r\n");
    for _ in 0..3 {
        fixture.submit.submit(&once).await.unwrap();
    }
    assert_eq!(fixture.taken.read(once.id).await.len(), 1);
    // The same text under another id is another message.
    let other = Submission { id: DeliveryId::generate(), ..once };
    fixture.submit.submit(&other).await.unwrap();
    assert_eq!(fixture.taken.read(other.id).await.len(), 1);
}
