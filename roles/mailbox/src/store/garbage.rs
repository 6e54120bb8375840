//! What the store forgets: bodies that nobody names, and word of what happened long ago.
//!
//! A body goes in steps, so that a delivery of the same content, or a crash, may fall between any two of them: it is
//! condemned in a transaction (from then on a delivery writes a new generation), after a grace its file is deleted
//! (whoever was about to read it has read it), then its row. A file that no row names, left by a crash between file
//! and row, is condemned like the others.

use estafeta_storage::sql::Connection;
use std::time::{Duration, SystemTime};

use estafeta_storage::blobs::{BlobName, Packing, SHARDS};

use super::hub::Hub;
use super::message::now_seconds;
use super::sql::choice::Choice;
use super::sql::expunging::{self, Remains};
use super::sql::unfinished::Which;
use super::sql::{accounts, blobs, deleted, deliveries, messages};
use super::{SpecialUse, Store, StoreError, UidSet};

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarbageAges {
    /// From the condemnation of a body to its deletion.
    pub grace: Duration,
    /// How old a file must be to be suspected of being named by no row. Far longer than any delivery takes.
    pub stray: Duration,
    /// Delivery ids: longer than any queue keeps a message.
    pub deliveries: Duration,
    /// Word of expunged messages, by which sessions catch up.
    pub expunged: Duration,
    /// Expunged messages, and those of deleted mailboxes, that can be had back.
    pub undelete: Duration,
    /// Messages in Junk, counted from when they came there; none for ever.
    pub junk: Option<Duration>,
    /// The mail of an account that has moved to another store group.
    pub gone: Duration,
    /// Messages in Trash, counted from when they came there; none for ever.
    pub trash: Option<Duration>,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for GarbageAges {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(3600),
            stray: DAY,
            deliveries: 10 * DAY,
            expunged: 30 * DAY,
            undelete: 14 * DAY,
            gone: 7 * DAY,
            junk: None,
            trash: None,
        }
    }
}

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bodies condemned because no message names them.
    pub condemned: u64,
    /// Files condemned because no row names them.
    pub strays: u64,
    /// Bodies deleted.
    pub deleted: u64,
    /// Delivery ids forgotten.
    pub deliveries: u64,
    /// Expunged messages forgotten.
    pub expunged: u64,
    /// Messages of Junk and Trash that were expunged for their age.
    pub emptied: u64,
    /// Expunged messages, and names of deleted mailboxes, that cannot be had back any more.
    pub lapsed: u64,
    /// Accounts that moved away, whose mail was removed here.
    pub cleared: u64,
    /// Messages of copies that did not come to their end.
    pub undone: u64,
}

/// Expunges up to [`ROWS`] messages that came before `before` into a mailbox of this use, and says how many.
async fn empty(
    transaction: &mut Connection,
    special_use: SpecialUse,
    before: i64,
    (hub, remains): (&Hub, Remains),
) -> Result<u64, StoreError> {
    let old = messages::saved_before(transaction, special_use, before, ROWS).await?;
    let mut emptied = 0;
    // In the order of their numbers, in which they are locked: accounts before mailboxes, as everywhere.
    for of_one in old.chunk_by(|one, next| one.1 == next.1) {
        let (account, mailbox, _) = of_one[0];
        accounts::lock(transaction, account).await?;
        let uids = UidSet::from_uids(of_one.iter().map(|(.., uid)| *uid));
        let choice = Choice::of(transaction, mailbox, &uids).await?;
        expunging::expunge(transaction, mailbox, &choice, (now_seconds(), remains)).await?;
        hub.touch(mailbox);
        emptied += choice.marks.len() as u64;
    }
    Ok(emptied)
}

/// A copy of which nothing was heard for so long does not go on: its turns follow each other.
const UNFINISHED_SECONDS: i64 = 600;

/// For how long a node is the one that collects.
const LEASE_SECONDS: u32 = 2 * 3600;

/// How many rows one transaction takes: others wait meanwhile.
const ROWS: u32 = 500;

impl Store {
    /// Collects once. Others may read and write meanwhile. Of several nodes one collects: whoever has the lease. That a
    /// second one comes in between would do no harm: each step looks at the rows that it locks, and where nodes share
    /// bodies, a name that was deleted is never written again, so that what deletes it late deletes nothing.
    pub async fn collect_garbage(&self, ages: GarbageAges) -> Result<Collected, StoreError> {
        if self.inner.database.lease("garbage", LEASE_SECONDS).await?.is_none() {
            return Ok(Collected::default());
        }
        // What no row names is garbage only where the rows are those of the bodies.
        self.check_bodies().await?;
        let undone = self.undo_copies(Which::Before(now_seconds() - UNFINISHED_SECONDS)).await?;
        let before = |age: Duration| now_seconds().saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let mut emptied = 0;
        for (special_use, age) in [(SpecialUse::Junk, ages.junk), (SpecialUse::Trash, ages.trash)] {
            let Some(age) = age else { continue };
            let (limit, hub, remains) = (before(age), self.inner.hub.clone(), self.inner.remains);
            let empty =
                async move |transaction: &mut Connection| empty(transaction, special_use, limit, (&hub, remains)).await;
            emptied += self.repeat(empty).await?;
        }
        let limit = before(ages.undelete);
        let lapsed = self.repeat(async move |transaction| deleted::forget(transaction, limit, ROWS).await).await?;
        let cleared = self.clear_gone(before(ages.gone)).await?;
        let deleted = self.delete_condemned(before(ages.grace)).await?;
        let condemned =
            self.repeat(async |transaction| blobs::condemn_unused(transaction, now_seconds(), ROWS).await).await?;
        let strays = self.condemn_strays(ages.stray).await?;
        let limit = before(ages.deliveries);
        let deliveries =
            self.repeat(async move |transaction| deliveries::forget(transaction, limit, ROWS).await).await?;
        let limit = before(ages.expunged);
        let expunged =
            self.repeat(async move |transaction| expunging::forget_expunged(transaction, limit, ROWS).await).await?;
        let collected =
            Collected { condemned, strays, deleted, deliveries, expunged, emptied, lapsed, cleared, undone };
        metrics::counter!("estafeta_mailbox_bodies_deleted_total").increment(collected.deleted);
        tracing::info!(
            condemned,
            strays,
            deleted,
            deliveries,
            expunged,
            emptied,
            lapsed,
            cleared,
            undone,
            "garbage collected"
        );
        Ok(collected)
    }

    /// Runs a transaction that takes up to [`ROWS`] rows until it finds fewer.
    async fn repeat(
        &self,
        transaction: impl AsyncFn(&mut Connection) -> Result<u64, StoreError> + Clone + Send + 'static,
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let transaction = transaction.clone();
            let rows = self.run(async move |connection| transaction(connection).await).await?;
            total += rows;
            if rows < ROWS.into() {
                return Ok(total);
            }
        }
    }

    async fn delete_condemned(&self, before: i64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let condemned = blobs::condemned(&mut self.reader().await?, before, ROWS).await?;
            // The file first: while the row stands, nobody writes a file of this name, however packed.
            let names =
                condemned.iter().flat_map(|(_, name)| Packing::ALL.map(|packing| BlobName { packing, ..*name }));
            self.inner.blobs.delete(names.collect()).await?;
            let count = condemned.len() as u64;
            let remove = async move |transaction: &mut Connection| {
                for (row, _) in &condemned {
                    blobs::remove(transaction, *row).await?;
                }
                Ok(())
            };
            self.run(remove).await?;
            deleted += count;
            if count < ROWS.into() {
                return Ok(deleted);
            }
        }
    }

    async fn condemn_strays(&self, age: Duration) -> Result<u64, StoreError> {
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut strays = 0;
        for shard in 0..SHARDS {
            for name in self.inner.blobs.scan(shard, before).await? {
                if blobs::is_named(&mut self.reader().await?, name).await? {
                    continue;
                }
                let condemn = async move |transaction: &mut Connection| {
                    blobs::condemn_stray(transaction, name, now_seconds()).await
                };
                if self.run(condemn).await? {
                    tracing::warn!(body = ?name, "a file that no message names is condemned");
                    strays += 1;
                }
            }
        }
        Ok(strays)
    }
}
