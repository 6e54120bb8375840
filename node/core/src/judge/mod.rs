//! The contract `Judge`: a verdict on a message. Asked by edge; remote, rspamd's HTTP protocol.

mod router;
#[cfg(feature = "suite")]
pub mod suite;

use std::net::IpAddr;

use async_trait::async_trait;

use crate::address::Address;
use crate::failure::Failure;
use crate::message::{DeliveryId, Message};

pub use router::JudgeRouter;

/// What is known of a transaction beside the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The transaction.
    pub id: DeliveryId,
    /// The client's address.
    pub client: IpAddr,
    /// What the client called itself in EHLO or HELO.
    pub helo: String,
    /// The login of a client that authenticated: a submission, not mail from outside.
    pub authenticated: Option<String>,
    /// MAIL FROM; none for the null reverse-path.
    pub sender: Option<Address>,
    /// RCPT TO, as the client gave them.
    pub recipients: Vec<Address>,
}

/// What to do with the message. In the words of rspamd's actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `no action`: deliver.
    Accept,
    /// `greylist`: ask the sender to come again.
    Greylist,
    /// `add header`, `rewrite subject`: deliver into Junk.
    Junk,
    /// `soft reject`: temporary refusal.
    Defer,
    /// `reject`: permanent refusal.
    Reject,
}

/// One thing found, and its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Symbol {
    /// Its name, upper case by custom: `GTUBE`, `R_SPF_FAIL`.
    pub name: String,
    /// What it adds to the score; may be negative.
    pub score: f64,
    /// Details, each a short text.
    pub options: Vec<String>,
}

/// What the judge says.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// The sum of the symbols' weights.
    pub score: f64,
    /// The score from which the message is rejected.
    pub required_score: f64,
    /// What was found.
    pub symbols: Vec<Symbol>,
    /// Header fields to add before the message: name and value without line ends.
    pub headers: Vec<(String, String)>,
    /// What the client of a refusal reads.
    pub explanation: Option<String>,
}

/// The contract.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Judges one message. [`crate::Reason::Unavailable`] when no verdict can be had now: the asker decides then.
    async fn judge(&self, envelope: &Envelope, message: &Message) -> Result<Verdict, Failure>;
}
