//! A letter taken out to be tried for one destination.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use estafeta_core::delivery::Answer;
use estafeta_core::{Address, DeliveryId, Message};

use super::{Claims, Destination, Waiting};

/// One recipient of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecipient {
    /// Its number in the letter.
    pub number: i64,
    /// Who it is.
    pub waiting: Waiting,
    /// How often it was tried before.
    pub attempts: u32,
}

/// What became of one recipient in an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Somebody else has taken the responsibility.
    Done,
    /// Not now.
    Later(Answer),
    /// Never.
    Never(Answer),
    /// It stands for these, who are tried in its place.
    Replaced(Vec<Waiting>),
}

/// A letter and those of its recipients at one destination that are due. Claimed until it is dropped.
#[derive(Debug)]
pub struct Job {
    /// The letter's id.
    pub id: DeliveryId,
    /// Where the job goes.
    pub destination: Destination,
    /// Where bounces go.
    pub sender: Option<Address>,
    /// The message, with its trace.
    pub message: Message,
    /// Whether the header is UTF-8.
    pub smtputf8: bool,
    /// When the letter came.
    pub arrived: SystemTime,
    /// Whether the sender was told that it is late.
    pub warned: bool,
    /// Whether the body has gone from the disk: there is nothing to send.
    pub is_lost: bool,
    /// The recipients; at least one.
    pub recipients: Vec<JobRecipient>,
    /// Held, not read.
    pub(super) _claim: Claim,
}

impl Job {
    /// The same fate for every recipient.
    pub fn all(&self, fate: &Fate) -> Vec<Fate> {
        vec![fate.clone(); self.recipients.len()]
    }
}

/// A job that has no body yet.
pub(super) struct Found {
    pub(super) id: DeliveryId,
    pub(super) destination: Destination,
    pub(super) sender: Option<Address>,
    pub(super) prefix: Bytes,
    pub(super) smtputf8: bool,
    pub(super) arrived: SystemTime,
    pub(super) warned: bool,
    pub(super) recipients: Vec<JobRecipient>,
}

impl Found {
    pub(super) fn with_body(self, body: Option<Bytes>, claim: Claim) -> Job {
        let Self { id, destination, sender, prefix, smtputf8, arrived, warned, recipients } = self;
        let is_lost = body.is_none();
        let message = Message::new(body.unwrap_or_default()).with_prefix(prefix);
        Job { id, destination, sender, message, smtputf8, arrived, warned, is_lost, recipients, _claim: claim }
    }
}

/// Keeps other workers from trying the same letter for the same destination.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Claims,
    key: (DeliveryId, Destination),
}

impl Claim {
    /// None if another worker holds it.
    pub(super) fn take(claims: &Claims, id: DeliveryId, destination: &Destination) -> Option<Self> {
        let key = (id, destination.clone());
        let taken = claims.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        taken.then(|| Self { claims: Arc::clone(claims), key })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
