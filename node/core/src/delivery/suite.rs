//! The suite of `Delivery`: what every implementation must do, whether it writes itself or asks another node.
// A suite is test code, built for the tests of others: a panic is how it speaks.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Answer, Delivery, Outcome, Parcel, Recipient, SPAM_HEADER, SPAM_HEADER_YES};
use crate::directory::Account;
use crate::message::{DeliveryId, Message};

/// A delivery to try.
pub struct Fixture {
    /// The delivery.
    pub delivery: Arc<dyn Delivery>,
    /// How the suite sees what arrived.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// Two accounts without a quota, whose mailboxes are empty. The second one's address needs quotes.
    pub accounts: [Account; 2],
    /// An account whose address is not ASCII.
    pub utf8: Account,
    /// An account whose quota is 2,000 bytes.
    pub small: Account,
    /// An account that is disabled.
    pub disabled: Account,
    /// An account that the directory does not know.
    pub unknown: Account,
    /// What lives as long as it.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// What is in the mailboxes.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// The messages of an account, in INBOX or in Junk, in the order in which they came.
    async fn read(&self, account: &Account, junk: bool) -> Vec<Bytes>;
}

/// Runs the suite; each part on a delivery of its own.
pub async fn run(make: impl AsyncFn() -> Fixture) {
    everyone_gets_it_once_with_a_trace_of_their_own(make().await).await;
    a_repeat_is_delivered_and_not_stored(make().await).await;
    each_recipient_has_an_outcome_of_its_own(make().await).await;
    what_does_not_fit_comes_again(make().await).await;
    spam_goes_to_junk(make().await).await;
    every_message_arrives_as_it_is(make().await).await;
    many_at_once(make().await).await;
}

fn message(text: impl Into<String>) -> Message {
    Message::new(text.into().into())
}

fn parcel(to: &[&Account], message: Message) -> Parcel {
    let recipient = |account: &&Account| Recipient { account: (*account).clone(), original: account.address.clone() };
    Parcel {
        id: DeliveryId::generate(),
        sender: Some("sender@elsewhere.example".parse().unwrap()),
        recipients: to.iter().map(recipient).collect(),
        message,
    }
}

/// The lines that delivery put before, and the rest, which must be the message.
fn trace<'a>(stored: &'a Bytes, message: &Message) -> &'a str {
    let whole = message.contiguous();
    let trace = stored.strip_suffix(&*whole).unwrap_or_else(|| panic!("{stored:?} is not {whole:?} behind a trace"));
    std::str::from_utf8(trace).unwrap()
}

async fn everyone_gets_it_once_with_a_trace_of_their_own(fixture: Fixture) {
    let [ana, ben] = &fixture.accounts;
    let message = message("Subject: hello\r\n\r\nbody\r\n").with_prefix("Received: by edge\r\n");
    let sent = parcel(&[ana, ben, &fixture.utf8], message.clone());
    assert_eq!(fixture.delivery.deliver(&sent).await, [Outcome::Delivered, Outcome::Delivered, Outcome::Delivered]);
    for account in [ana, ben, &fixture.utf8] {
        let stored = fixture.mailboxes.read(account, false).await;
        assert_eq!(stored.len(), 1, "{}", account.address);
        let expected = format!("Return-Path: <sender@elsewhere.example>\r\nDelivered-To: {}\r\n", account.address);
        assert_eq!(trace(&stored[0], &message), expected);
    }
    let bounce = Parcel { sender: None, ..parcel(&[ana], message.clone()) };
    assert_eq!(fixture.delivery.deliver(&bounce).await, [Outcome::Delivered]);
    let stored = fixture.mailboxes.read(ana, false).await;
    assert!(trace(&stored[1], &message).starts_with("Return-Path: <>\r\n"), "{:?}", stored[1]);
}

async fn a_repeat_is_delivered_and_not_stored(fixture: Fixture) {
    let [ana, ben] = &fixture.accounts;
    let first = parcel(&[ana], message("1\r\n"));
    for _ in 0..3 {
        assert_eq!(fixture.delivery.deliver(&first).await, [Outcome::Delivered]);
    }
    // The same id for one more recipient: a queue may try them apart.
    let wider = Parcel { id: first.id, ..parcel(&[ben, ana], message("1\r\n")) };
    assert_eq!(fixture.delivery.deliver(&wider).await, [Outcome::Delivered, Outcome::Delivered]);
    // The same content under another id is another message.
    assert_eq!(fixture.delivery.deliver(&parcel(&[ana], message("1\r\n"))).await, [Outcome::Delivered]);
    assert_eq!(fixture.mailboxes.read(ana, false).await.len(), 2);
    assert_eq!(fixture.mailboxes.read(ben, false).await.len(), 1);
}

async fn each_recipient_has_an_outcome_of_its_own(fixture: Fixture) {
    let [ana, ben] = &fixture.accounts;
    let sent = parcel(&[ana, &fixture.unknown, ben, &fixture.disabled], message("x\r\n"));
    let outcomes = fixture.delivery.deliver(&sent).await;
    let [Outcome::Delivered, Outcome::Refused(unknown), Outcome::Delivered, Outcome::Refused(disabled)] = &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!((unknown.code, unknown.status.as_str()), (550, "5.1.1"));
    assert_eq!((disabled.code, disabled.status.as_str()), (550, "5.2.1"));
    assert_eq!(fixture.mailboxes.read(ben, false).await.len(), 1);
    let nobody = fixture.delivery.deliver(&parcel(&[&fixture.unknown], message("x\r\n"))).await;
    assert!(matches!(&nobody[..], [Outcome::Refused(Answer { code: 550, .. })]), "{nobody:?}");
}

async fn what_does_not_fit_comes_again(fixture: Fixture) {
    let [ana, _] = &fixture.accounts;
    let large = parcel(&[&fixture.small, ana], message("x".repeat(3000)));
    for _ in 0..2 {
        let outcomes = fixture.delivery.deliver(&large).await;
        let [Outcome::Later(full), Outcome::Delivered] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!((full.code, full.status.as_str()), (452, "4.2.2"));
    }
    assert_eq!(fixture.delivery.deliver(&parcel(&[&fixture.small], message("x\r\n"))).await, [Outcome::Delivered]);
    assert_eq!(fixture.mailboxes.read(&fixture.small, false).await.len(), 1);
    assert_eq!(fixture.mailboxes.read(ana, false).await.len(), 1);
}

async fn spam_goes_to_junk(fixture: Fixture) {
    let [ana, ben] = &fixture.accounts;
    let marked = message("Subject: buy\r\n\r\nnow\r\n").with_prefix(format!("{SPAM_HEADER}: {SPAM_HEADER_YES}\r\n"));
    let outcomes = fixture.delivery.deliver(&parcel(&[ana, ben], marked)).await;
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
    for account in [ana, ben] {
        assert_eq!(fixture.mailboxes.read(account, true).await.len(), 1);
        assert!(fixture.mailboxes.read(account, false).await.is_empty());
    }
}

async fn every_message_arrives_as_it_is(fixture: Fixture) {
    let [ana, _] = &fixture.accounts;
    let long = format!("{}\r\n", "0123456789".repeat(3000));
    let texts = [
        "Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n",
        "Subject: ñandú\r\n\r\n\u{1F426}\r\n",
        "no header\r\n",
        "\r\n",
        &long,
        &"Subject: large\r\n\r\n"
            .chars()
            .chain("line of a large message\r\n".repeat(60_000).chars())
            .collect::<String>(),
    ];
    for text in texts {
        assert_eq!(fixture.delivery.deliver(&parcel(&[ana], message(text))).await, [Outcome::Delivered]);
    }
    let stored = fixture.mailboxes.read(ana, false).await;
    assert_eq!(stored.len(), texts.len());
    for (stored, text) in stored.iter().zip(texts) {
        assert!(trace(stored, &message(text)).starts_with("Return-Path:"));
    }
}

async fn many_at_once(fixture: Fixture) {
    const PARCELS: usize = 40;
    let [ana, ben] = &fixture.accounts;
    let parcels: Vec<Parcel> =
        (0..PARCELS).map(|number| parcel(&[ana, ben], message(format!("{number}\r\n")))).collect();
    let deliveries = parcels.iter().map(|parcel| fixture.delivery.deliver(parcel)).collect();
    for outcomes in all(deliveries).await {
        assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
    }
    for account in [ana, ben] {
        let stored = fixture.mailboxes.read(account, false).await;
        let mut bodies: Vec<_> = stored.iter().map(|message| message.rsplit(|&byte| byte == b'\n').nth(1)).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!((stored.len(), bodies.len()), (PARCELS, PARCELS));
    }
}

/// Waits for all of them, which run side by side.
async fn all<'a, T>(mut futures: Vec<Pin<Box<dyn Future<Output = T> + Send + 'a>>>) -> Vec<T> {
    let mut outcomes: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, outcome) in futures.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let Poll::Ready(done) = future.as_mut().poll(context)
            {
                *outcome = Some(done);
            }
        }
        if outcomes.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}
