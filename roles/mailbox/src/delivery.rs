//! The local implementation of the contract `Delivery`: a parcel into the mailboxes of this node.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use estafeta_core::delivery::{Answer, Delivery, ELSEWHERE, Outcome, Parcel, Recipient, SPAM_HEADER, SPAM_HEADER_YES};
use estafeta_core::{Address, DeliveryId, Failure, Message, Reason};
use futures_util::{FutureExt, StreamExt, stream};

use crate::accounts::Accounts;
use crate::config::WhenOverQuota;
use crate::receipt::Receipts;
use crate::store::{Consignment, Delivered, Folder, StoreError};

/// How many accounts of a parcel are written at the same moment. They share commits.
const AT_ONCE: usize = 100;

/// How often it is tried to write a letter, and the pause between.
const WRITTEN_AT_MOST: u32 = 3;
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// How far into a message its header is looked at, in bytes.
const HEADER_BYTES: usize = 256 * 1024;

/// Into the mailboxes of this node. Cheap to clone.
#[derive(Clone)]
pub struct LocalDelivery {
    accounts: Accounts,
    junk: bool,
    when_over_quota: WhenOverQuota,
}

impl LocalDelivery {
    /// Into the mailboxes of these accounts; with `junk`, what is judged to be spam into Junk.
    pub fn new(accounts: Accounts, junk: bool, when_over_quota: WhenOverQuota) -> Self {
        Self { accounts, junk, when_over_quota }
    }

    async fn deliver_one(
        &self,
        consignment: &Consignment,
        id: DeliveryId,
        recipient: &Recipient,
        sender: Option<&Address>,
        folder: Folder,
    ) -> Outcome {
        let started = Instant::now();
        let delivered = async {
            let mail = self.accounts.open_to_deliver(&recipient.account).await.map_err(Refusal::Elsewhere)?;
            let trace = trace(sender, recipient);
            mail.deliver(consignment, trace.as_bytes(), folder.clone()).await.map_err(Refusal::Store)
        };
        let address = &recipient.account.address;
        let (label, outcome) = match delivered.await {
            Ok(Delivered::Stored(uid)) => {
                let elapsed_ms = started.elapsed().as_millis() as u64;
                tracing::info!(id = %id, to = %address, ?folder, %uid, elapsed_ms, "delivered");
                ("stored", Outcome::Delivered)
            }
            Ok(Delivered::Before) => {
                tracing::info!(id = %id, to = %address, "delivered before, not stored again");
                ("repeated", Outcome::Delivered)
            }
            Err(refusal) => {
                let outcome = self.outcome(&refusal);
                tracing::warn!(id = %id, to = %address, cause = %refusal, ?outcome, "not delivered");
                (if matches!(outcome, Outcome::Later(_)) { "deferred" } else { "refused" }, outcome)
            }
        };
        metrics::counter!("estafeta_mailbox_deliveries_total", "outcome" => label).increment(1);
        metrics::histogram!("estafeta_mailbox_delivery_seconds").record(started.elapsed());
        outcome
    }

    fn outcome(&self, refusal: &Refusal) -> Outcome {
        match refusal {
            Refusal::Elsewhere(failure) => outcome_of(failure),
            Refusal::Store(StoreError::OverQuota) if self.when_over_quota == WhenOverQuota::Refuse => {
                // RFC 3463 §3.3
                Outcome::Refused(answer(552, "5.2.2", "the mailbox is full"))
            }
            Refusal::Store(StoreError::OverQuota) => Outcome::Later(answer(452, "4.2.2", "the mailbox is full")),
            Refusal::Store(StoreError::TooLarge) => Outcome::Refused(answer(552, "5.3.4", "the message is too large")),
            Refusal::Store(StoreError::Storage(error)) if error.is_full() => {
                Outcome::Later(answer(452, "4.3.1", "insufficient storage, try again later"))
            }
            Refusal::Store(StoreError::Moving | StoreError::Gone) => elsewhere(),
            Refusal::Store(_) => Outcome::Later(answer(451, "4.3.0", "temporarily not possible, try again later")),
        }
    }
}

/// Why a recipient got nothing. The text is for the operator.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Elsewhere(Failure),
    #[error(transparent)]
    Store(StoreError),
}

/// What a sender hears of a failure that concerns a recipient.
pub(crate) fn outcome_of(failure: &Failure) -> Outcome {
    match failure.reason {
        Reason::NotFound => Outcome::Refused(answer(550, "5.1.1", "there is no such account")),
        Reason::Denied => Outcome::Refused(answer(550, "5.2.1", &failure.client)),
        Reason::TooLarge => Outcome::Refused(answer(552, "5.3.4", "the message is too large")),
        Reason::Elsewhere => elsewhere(),
        _ => Outcome::Later(answer(451, "4.3.0", &failure.client)),
    }
}

/// The sender shall ask the directory anew where the account lives, or come again.
fn elsewhere() -> Outcome {
    Outcome::Later(answer(451, ELSEWHERE, "the mailbox is being moved, try again later"))
}

fn answer(code: u16, status: &str, text: &str) -> Answer {
    Answer { code, status: status.to_owned(), text: text.to_owned() }
}

#[async_trait]
impl Delivery for LocalDelivery {
    async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
        let consignment = match self.accounts.store().consign(parcel.id, &parcel.message).await {
            Ok(consignment) => consignment,
            Err(error) => {
                tracing::warn!(id = %parcel.id, %error, "the message could not be stored");
                let outcome = self.outcome(&Refusal::Store(error));
                return vec![outcome; parcel.recipients.len()];
            }
        };
        let spam = self.junk && is_spam(&parcel.message);
        let deliver = async |same: Vec<usize>| {
            let recipient = &parcel.recipients[same[0]];
            let folder = if spam { Folder::Junk } else { detailed(recipient) };
            let one = self.deliver_one(&consignment, parcel.id, recipient, parcel.sender.as_ref(), folder);
            let outcome = AssertUnwindSafe(one).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(id = %parcel.id, to = %recipient.account.address, "a delivery broke off: a bug");
                estafeta_core::delivery::later("internal error")
            });
            (same, outcome)
        };
        let mut outcomes = vec![estafeta_core::delivery::later("internal error"); parcel.recipients.len()];
        let mut delivered = stream::iter(by_account(&parcel.recipients)).map(deliver).buffer_unordered(AT_ONCE);
        while let Some((same, outcome)) = delivered.next().await {
            same.into_iter().for_each(|index| outcomes[index] = outcome.clone());
        }
        outcomes
    }
}

impl LocalDelivery {
    /// Delivers, and has the sender told of those of whom that was asked. Of what is marked as spam nobody is told: its sender may
    /// be anybody. A letter that cannot be written changes nothing: who came again for its sake would bring the message twice.
    pub(crate) async fn deliver_and_tell(&self, parcel: &Parcel, receipts: &Receipts) -> Vec<Outcome> {
        let outcomes = self.deliver(parcel).await;
        let letter = receipts.letter(parcel, &outcomes).filter(|_| !is_spam(&parcel.message));
        let Some(letter) = letter else { return outcomes };
        let (report, mut attempts) = (letter.id, 1);
        let written = loop {
            match self.accounts.store().write_letter(letter.clone()).await {
                Err(error) if attempts < WRITTEN_AT_MOST => {
                    tracing::debug!(id = %parcel.id, %error, "a letter is written again")
                }
                written => break written,
            }
            tokio::time::sleep(WRITE_AGAIN).await;
            attempts += 1;
        };
        let lost = match written {
            Ok(true) => {
                tracing::info!(id = %parcel.id, %report, "the sender is told of the delivery");
                return outcomes;
            }
            Ok(false) => "too many letters wait for edge".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::error!(id = %parcel.id, why = lost, "the sender asked, and is not told of the delivery");
        metrics::counter!("estafeta_mailbox_letters_total", "outcome" => "not-written").increment(1);
        outcomes
    }
}

/// The recipients by account, as numbers in their order: an account gets one copy, into the folder that its first recipient
/// names, and the others share its outcome.
fn by_account(recipients: &[Recipient]) -> Vec<Vec<usize>> {
    let mut numbers = HashMap::new();
    let mut accounts: Vec<Vec<usize>> = Vec::new();
    for (index, recipient) in recipients.iter().enumerate() {
        let number = *numbers.entry(recipient.account.id).or_insert(accounts.len());
        match accounts.get_mut(number) {
            Some(same) => same.push(index),
            None => accounts.push(vec![index]),
        }
    }
    accounts
}

/// The folder that the sender named behind a `+` (RFC 5233), which the store takes if there is one.
fn detailed(recipient: &Recipient) -> Folder {
    let own = recipient.original.key() == recipient.account.address.key();
    let detail = recipient.original.split_detail().filter(|_| !own);
    detail.map_or(Folder::Inbox, |(_, detail)| Folder::Named(detail.to_owned()))
}

/// The lines that final delivery puts before a message (RFC 5321 §4.4): whom the sender named, too, where that is not the
/// account's own address (RFC 8098 §2.3).
fn trace(sender: Option<&Address>, Recipient { account, original }: &Recipient) -> String {
    let mut lines = String::new();
    let path = sender.map(ToString::to_string).unwrap_or_default();
    // Writing to a string does not fail.
    let recipient = &account.address;
    let _ = write!(lines, "Return-Path: <{path}>\r\nDelivered-To: {recipient}\r\n");
    if original.key() != recipient.key() {
        // RFC 6533 §3: the type of an address that is not ASCII.
        let kind = if original.to_string().is_ascii() { "rfc822" } else { "utf-8" };
        let _ = write!(lines, "Original-Recipient: {kind};{original}\r\n");
    }
    lines
}

/// Whether edge has marked the message as spam, in its header.
fn is_spam(message: &Message) -> bool {
    let (prefix, body) = (message.prefix(), message.body());
    // What edge adds stands first, so a header longer than this is not looked at to its end.
    let lines = prefix
        .split_inclusive(|&byte| byte == b'\n')
        .chain(body[..body.len().min(HEADER_BYTES)].split_inclusive(|&byte| byte == b'\n'));
    let header = lines.map(<[u8]>::trim_ascii_end).take_while(|line| !line.is_empty());
    let fields = header.filter_map(|line| {
        line.iter().position(|&byte| byte == b':').map(|colon| (&line[..colon], &line[colon + 1..]))
    });
    let mut marks = fields.filter(|(name, _)| name.eq_ignore_ascii_case(SPAM_HEADER.as_bytes()));
    marks.next().is_some_and(|(_, value)| value.trim_ascii().eq_ignore_ascii_case(SPAM_HEADER_YES.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_core::directory::Account;

    #[test]
    fn spam_is_what_the_header_says_and_nothing_else() {
        let message = |prefix: &str, body: &str| Message::new(body.to_owned().into()).with_prefix(prefix.to_owned());
        for (prefix, body, spam) in [
            ("X-Spam: Yes\r\n", "Subject: x\r\n\r\n", true),
            ("", "Received: x\r\n\ty\r\nx-spam:  yes \r\nSubject: x\r\n\r\n", true),
            ("", "X-Spam: No\r\n\r\n", false),
            ("", "Subject: x\r\n\r\nX-Spam: Yes\r\n", false),
            ("X-Spam: No\r\n", "X-Spam: Yes\r\n\r\n", false),
            ("", " X-Spam: Yes\r\n\r\n", false),
            ("", "", false),
        ] {
            assert_eq!(is_spam(&message(prefix, body)), spam, "{prefix:?} {body:?}");
        }
    }

    fn account(address: &str) -> Account {
        Account {
            id: estafeta_core::AccountId::random(),
            address: address.parse().unwrap(),
            name: String::new(),
            store_group: "g".parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            enabled: true,
            created: 0,
        }
    }

    #[test]
    fn recipients_of_one_account_are_one() {
        let (ana, luis) = (account("ana@example.edu"), account("luis@example.edu"));
        let to = |account: &Account, original: &str| Recipient {
            account: account.clone(),
            original: format!("{original}@example.edu").parse().unwrap(),
        };
        let recipients = [to(&luis, "luis"), to(&ana, "ana+t"), to(&ana, "ana"), to(&luis, "all"), to(&ana, "ana+x")];
        assert_eq!(by_account(&recipients), [vec![0, 3], vec![1, 2, 4]]);
        assert!(by_account(&[]).is_empty());
    }

    #[test]
    fn the_trace_says_from_whom_and_to_whom() {
        let account = account("ana@example.edu");
        let to = |original: &str| Recipient { account: account.clone(), original: original.parse().unwrap() };
        let plain = "Return-Path: <>\r\nDelivered-To: ana@example.edu\r\n";
        assert_eq!(trace(None, &to("ANA@example.edu")), plain);
        let original = |text: &str| format!("{plain}Original-Recipient: {text}\r\n");
        assert_eq!(trace(None, &to("staff@example.edu")), original("rfc822;staff@example.edu"));
        assert_eq!(trace(None, &to("ana+ñ@example.edu")), original("utf-8;ana+ñ@example.edu"));
    }
}
