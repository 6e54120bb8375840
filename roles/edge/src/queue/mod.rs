//! The queue: what was accepted and is not yet delivered, kept on this node's disk.
//!
//! Invariants:
//! - what [`Queue::keep`] has answered survives a crash at any instruction: the body is fsynced under its name before
//!   the rows that name it are committed;
//! - a recipient's row goes only after its fate is decided, in the transaction that keeps the report about it, if one
//!   is due; a body goes only after its letter's rows;
//! - a letter is tried for one destination by one worker at a time: [`Job`] holds the claim. A claim does not outlive
//!   the process, so a crash in the middle of an attempt leads to a repeat under the same delivery id;
//! - the queue holds at most its configured number of letters.

mod job;
mod pace;
mod settlement;
mod sql;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use estafeta_core::directory::Account;
use estafeta_core::{Address, DeliveryId, Message};
use estafeta_storage::StorageError;
use estafeta_storage::blobs::{BlobHash, BlobName, Blobs, SHARDS};
use estafeta_storage::sql::{Database, DatabaseOptions};
use tokio::sync::Notify;

pub use job::{Fate, Job};
pub use pace::{Pace, Paces};
pub use settlement::{Settled, Settlement};
pub use sql::Listed;

/// What kinds of destinations there are: what a letter's recipients are grouped by, and what concurrency is counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// The mailboxes of a store group of ours.
    Group(String),
    /// A mail domain; ours too, as long as the address is not resolved.
    Domain(String),
}

impl Destination {
    /// As it stands in a row. A domain has no space in it.
    fn to_text(&self) -> String {
        match self {
            Self::Group(group) => format!("group {group}"),
            Self::Domain(domain) => domain.clone(),
        }
    }

    fn from_text(text: &str) -> Self {
        match text.strip_prefix("group ") {
            Some(group) => Self::Group(group.to_owned()),
            None => Self::Domain(text.to_owned()),
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// A recipient that has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Where to.
    pub address: Address,
    /// As the sender wrote it, before aliases were expanded: what a report names.
    pub original: Address,
    /// The mailbox of ours, when that is decided. Otherwise each attempt decides by the address.
    pub account: Option<Account>,
}

impl Waiting {
    /// An address whose way is decided at each attempt.
    pub fn at(address: Address) -> Self {
        Self { original: address.clone(), address, account: None }
    }

    fn destination(&self) -> Destination {
        match &self.account {
            Some(account) => Destination::Group(account.store_group.to_string()),
            None => Destination::Domain(self.address.domain().to_string()),
        }
    }
}

/// A message to keep.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Names its transaction.
    pub id: DeliveryId,
    /// Where bounces go; none for nowhere.
    pub sender: Option<Address>,
    /// The message, with its trace.
    pub message: Message,
    /// Whether the header is UTF-8.
    pub smtputf8: bool,
    /// When it came.
    pub arrived: SystemTime,
    /// Who waits for it.
    pub recipients: Vec<Waiting>,
}

/// Why a letter is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// As many wait as may.
    #[error("the queue is full: {0} messages wait")]
    Full(usize),
    /// The disk or the database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What is due for a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The destination.
    pub destination: Destination,
    /// How many letters are due, those that are being tried included.
    pub letters: usize,
}

/// The letters and destinations that are being tried.
type Claims = Arc<Mutex<HashSet<(DeliveryId, Destination)>>>;

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    database: Database,
    blobs: Blobs,
    claims: Claims,
    letters: Arc<AtomicUsize>,
    limit: usize,
    wake: Arc<Notify>,
}

impl Queue {
    /// Opens the queue in `directory`, and removes the bodies that a crash left without a letter.
    pub async fn open(directory: &Path, limit: usize) -> Result<Self, StorageError> {
        let database = Database::open(DatabaseOptions::new(directory.join("queue.db"), sql::MIGRATIONS)).await?;
        let blobs = Blobs::open(&directory.join("bodies"))?;
        let ids = sql::ids(&mut database.reader().await?).await?;
        remove_orphans(&blobs, &ids).await?;
        let queue = Self {
            database,
            blobs,
            claims: Claims::default(),
            letters: Arc::new(AtomicUsize::new(ids.len())),
            limit,
            wake: Arc::default(),
        };
        queue.count();
        Ok(queue)
    }

    /// Keeps letters, all or none, durably, and has them tried at once.
    pub async fn keep(&self, letters: Vec<Letter>) -> Result<(), KeepError> {
        let waiting = self.letters.load(Ordering::Relaxed);
        if waiting + letters.len() > self.limit {
            return Err(KeepError::Full(waiting));
        }
        self.write_bodies(&letters).await?;
        let added = letters.len();
        let now = SystemTime::now();
        self.database.run(async move |transaction| sql::insert(transaction, &letters, now).await).await?;
        self.letters.fetch_add(added, Ordering::Relaxed);
        self.count();
        self.wake.notify_one();
        Ok(())
    }

    /// Whether a letter is kept under this id, for whomever.
    pub async fn holds(&self, id: DeliveryId) -> Result<bool, StorageError> {
        sql::holds(&mut self.database.reader().await?, id).await
    }

    /// The destinations that something is due for.
    pub async fn due(&self, now: SystemTime) -> Result<Vec<Due>, StorageError> {
        sql::due(&mut self.database.reader().await?, now).await
    }

    /// When the next recipient is due that is not yet due at `now`.
    pub async fn next_due(&self, now: SystemTime) -> Result<Option<SystemTime>, StorageError> {
        sql::next_due(&mut self.database.reader().await?, now).await
    }

    /// Claims the letter that is due longest for a destination, with its recipients there.
    pub async fn take(&self, destination: &Destination, now: SystemTime) -> Result<Option<Job>, StorageError> {
        loop {
            let claimed = self.claimed(destination);
            let Some(id) = sql::longest_due(&mut self.database.reader().await?, destination, &claimed, now).await?
            else {
                return Ok(None);
            };
            // Another worker may have been faster.
            let Some(claim) = job::Claim::take(&self.claims, id, destination) else { continue };
            let Some(found) = sql::load(&mut self.database.snapshot().await?, id, destination, now).await? else {
                continue;
            };
            let body = match self.blobs.get(blob_name(id)).await {
                Ok(body) => Some(body),
                Err(error) if error.is_missing() => None,
                Err(error) => return Err(error),
            };
            return Ok(Some(found.with_body(body, claim)));
        }
    }

    /// Writes down what became of a job, and keeps the letters that follow from it. Durable when it answers.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, StorageError> {
        self.write_bodies(&settlement.reports).await?;
        let (id, added) = (settlement.letter, settlement.reports.len());
        let settled = self.database.run(async move |transaction| sql::settle(transaction, &settlement).await).await?;
        self.letters.fetch_add(added, Ordering::Relaxed);
        if settled.is_gone {
            self.forget(id).await;
        }
        self.count();
        self.wake.notify_one();
        Ok(settled)
    }

    /// Completes when something may have become due: a letter came, an attempt ended, somebody asked for a retry.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Has whoever waits for [`Queue::changed`] look again.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What waits, in the order of arrival, at most `limit` recipients.
    pub async fn list(&self, limit: usize) -> Result<Vec<Listed>, StorageError> {
        sql::list(&mut self.database.reader().await?, limit).await
    }

    /// Has a letter's recipients, or everybody, tried at once. Says how many.
    pub async fn retry(&self, id: Option<DeliveryId>) -> Result<u64, StorageError> {
        let now = SystemTime::now();
        let count = self.database.run(async move |transaction| sql::hasten(transaction, id, now).await).await?;
        self.wake.notify_one();
        Ok(count)
    }

    /// Removes a letter without a word to its sender. Says whether there was one.
    pub async fn remove(&self, id: DeliveryId) -> Result<bool, StorageError> {
        let removed = self.database.run(async move |transaction| sql::remove(transaction, id).await).await?;
        if removed {
            self.forget(id).await;
            self.count();
        }
        Ok(removed)
    }

    /// How many letters may wait.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the database can be written.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.database.check().await
    }

    /// How many letters wait.
    pub fn len(&self) -> usize {
        self.letters.load(Ordering::Relaxed)
    }

    /// Has settlements fail as on a full disk, or succeed again.
    #[cfg(test)]
    pub async fn fail_settlements(&self, fail: bool) {
        let statement = if fail {
            "CREATE TRIGGER full BEFORE DELETE ON recipients BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        } else {
            "DROP TRIGGER full"
        };
        let done: Result<(), StorageError> = self
            .database
            .run(async move |transaction| {
                estafeta_storage::sql::query(statement).execute(&mut *transaction).await?;
                Ok(())
            })
            .await;
        assert!(done.is_ok(), "{done:?}");
    }

    /// Closes the database, as the end of the process does.
    #[cfg(test)]
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Deletes the body of a letter whose rows are gone. What cannot be deleted is an orphan, removed at the next start.
    async fn forget(&self, id: DeliveryId) {
        self.letters.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = self.blobs.delete(vec![blob_name(id)]).await {
            tracing::warn!(%id, %error, "cannot delete the body of a message that left the queue");
        }
    }

    async fn write_bodies(&self, letters: &[Letter]) -> Result<(), StorageError> {
        for letter in letters {
            self.blobs.put(blob_name(letter.id), letter.message.body().clone()).await?;
        }
        Ok(())
    }

    fn claimed(&self, destination: &Destination) -> Vec<DeliveryId> {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.iter().filter(|(_, claimed)| claimed == destination).map(|(id, _)| *id).collect()
    }

    fn count(&self) {
        metrics::gauge!("estafeta_edge_queue_messages").set(self.len() as f64);
    }
}

/// A queue's body belongs to one letter alone, so it is named after that letter's id and not after its content: a letter
/// that goes may delete its body without asking who else uses it.
fn blob_name(id: DeliveryId) -> BlobName {
    BlobName::plain(BlobHash::of(id.0.as_bytes()), 0)
}

async fn remove_orphans(blobs: &Blobs, ids: &[DeliveryId]) -> Result<(), StorageError> {
    let named: HashSet<BlobName> = ids.iter().map(|id| blob_name(*id)).collect();
    for shard in 0..SHARDS {
        // The database is ours alone and nothing runs yet, so a body of any age without a letter is an orphan.
        let end_of_time = SystemTime::now() + std::time::Duration::from_secs(3600);
        for name in blobs.scan(shard, end_of_time).await? {
            if !named.contains(&name) {
                blobs.delete(vec![name]).await?;
            }
        }
    }
    Ok(())
}
