//! The outbox: mail that the store itself sends, until somebody has taken it over.
//!
//! Invariants: what was written is there until it was taken over or given up, and keeps its id until then, by which a repeat is
//! known; who has claimed a letter is the only one who tries it, of all nodes of the store group, for [`CLAIM_SECONDS`]; so many
//! letters wait at most.

use bytes::Bytes;
use estafeta_core::{Address, DeliveryId};
use estafeta_storage::sql::Connection;

use super::message::now_seconds;
use super::sql::outbox;
use super::{Store, StoreError};

/// A letter from nobody (RFC 5321 §4.5.5) to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Names it.
    pub id: DeliveryId,
    /// To whom, anywhere.
    pub recipient: Address,
    /// The message, from its header on.
    pub message: Bytes,
}

/// A letter that somebody tries to hand over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The letter.
    pub letter: Letter,
    /// When it was written, in seconds since 1970.
    pub written: i64,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

/// For how long nobody else tries what one does: several times as long as an attempt may take.
pub const CLAIM_SECONDS: i64 = 600;

/// How many letters wait at most.
const LETTERS_LIMIT: u32 = 10_000;

impl Store {
    /// How many letters wait, and in how many seconds one is due; none when none waits.
    pub async fn letters_waiting(&self) -> Result<(u32, Option<u64>), StoreError> {
        let (waiting, due) = outbox::waiting(&mut self.reader().await?).await?;
        Ok((waiting, due.map(|due| u64::try_from(due - now_seconds()).unwrap_or(0))))
    }

    /// Writes a letter down, durably. False, and nothing is written, when too many wait.
    pub async fn write_letter(&self, letter: Letter) -> Result<bool, StoreError> {
        let write = async move |transaction: &mut Connection| {
            outbox::insert(transaction, &letter, now_seconds(), LETTERS_LIMIT).await
        };
        let written = self.run(write).await?;
        self.inner.letters.notify_one();
        Ok(written)
    }

    /// Up to `limit` letters that are due, to be tried now: each must be told of by [`Store::letter_taken`] or
    /// [`Store::postpone_letter`]; of what is told nothing is due again after [`CLAIM_SECONDS`].
    pub async fn claim_letters(&self, limit: u32) -> Result<Vec<Waiting>, StoreError> {
        let claim = async move |transaction: &mut Connection| {
            let now = now_seconds();
            outbox::claim(transaction, (now, now + CLAIM_SECONDS), limit).await
        };
        self.run(claim).await
    }

    /// Somebody has taken it over, or it is given up.
    pub async fn letter_taken(&self, id: DeliveryId) -> Result<(), StoreError> {
        self.run(async move |transaction: &mut Connection| outbox::remove(transaction, id).await).await
    }

    /// What was claimed is due again in so many seconds, unless somebody else has claimed it since.
    pub async fn postpone_letter(&self, waiting: &Waiting, seconds: u32) -> Result<(), StoreError> {
        let (id, attempts, due) = (waiting.letter.id, waiting.attempts, now_seconds() + i64::from(seconds));
        self.run(async move |transaction: &mut Connection| outbox::postpone(transaction, id, attempts, due).await).await
    }

    /// Completes when a letter was written on this node.
    pub async fn letter_written(&self) {
        self.inner.letters.notified().await;
    }
}
