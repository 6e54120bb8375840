//! The contract `Delivery`: a message into mailboxes. Asked by edge; remote, LMTP with the delivery id as ENVID.

mod router;
#[cfg(feature = "suite")]
pub mod suite;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::directory::Account;
use crate::message::{DeliveryId, Message};

pub use router::DeliveryRouter;

/// The header field that edge puts on a message judged to be spam, and by which the mailbox files it into Junk. Edge
/// removes it from whatever comes from outside, so that it can be believed.
pub const SPAM_HEADER: &str = "X-Spam";

/// The value of [`SPAM_HEADER`] that means Junk.
pub const SPAM_HEADER_YES: &str = "Yes";

/// One mailbox to deliver to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Whose it is.
    pub account: Account,
    /// The address that the sender wrote, before aliases were expanded.
    pub original: Address,
}

/// One accepted transaction, for the mailboxes of one or several store groups.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Names the transaction: a repeat under the same id is answered as delivered and stores nothing again.
    pub id: DeliveryId,
    /// MAIL FROM; none for the null reverse-path.
    pub sender: Option<Address>,
    /// To whom. No account twice.
    pub recipients: Vec<Recipient>,
    /// The message with its trace headers, `Return-Path` excepted: the mailbox adds that.
    pub message: Message,
}

/// A reply in SMTP's terms: what a mailbox, or a foreign server, answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// 2xx, 4xx or 5xx (RFC 5321 §4.2).
    pub code: u16,
    /// The enhanced status code (RFC 3463), `5.2.2`.
    pub status: String,
    /// The text behind it.
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.status, self.text)
    }
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable in the mailbox.
    Delivered,
    /// Not now: keep it and try again. Also when it is not known what became of it.
    Later(Answer),
    /// Never: the sender is told.
    Refused(Answer),
}

/// The contract.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Delivers to each recipient; one outcome a recipient, in their order. It does not fail as a whole: what could
    /// not be tried is `Later`.
    async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome>;
}

/// The status of an answer that says that the account's mail is kept elsewhere now, or on its way there: whoever asked shall
/// ask the directory anew. As RFC 3463 §3.2 has it of mailboxes that moved, but only for now.
pub const ELSEWHERE: &str = "4.1.6";

/// The outcome for recipients that could not be tried or whose fate is unknown.
pub fn later(text: impl fmt::Display) -> Outcome {
    Outcome::Later(Answer { code: 451, status: "4.4.1".into(), text: text.to_string() })
}
