//! Bodies on their way into the store and out of it: the file first, then the row that names it. A small body has no
//! file: it goes into the database with the row that names it, and one fsync makes both durable.
//!
//! A body's file is written under the generation that its hash has free at that moment. The transaction that stores a
//! message then links the living row of the hash, or makes one of the file. When in between the row was condemned, or
//! another message's file took the generation and was condemned, the transaction is undone and the body is placed
//! anew under the next generation: that is [`Linking::Stale`].

use estafeta_storage::sql::Connection;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use estafeta_core::Message;
use estafeta_protocols::imap::message::contents::Contents;
use estafeta_storage::StorageError;
use estafeta_storage::blobs::{BlobHash, BlobName, Packing};

use super::sql::blobs::{Kept, Known, Linked, Written};
use super::sql::{BlobRow, blobs, contents};
use super::{Store, StoreError};

/// A file that no row names is left alone for much longer than this; a body that was placed longer ago is placed anew.
const PLACED: Duration = Duration::from_secs(600);

/// A body up to this size is hashed, packed and unpacked where it is; a larger one, off the threads that must not wait.
const COMPUTED_AT_ONCE_BYTES: usize = 64 * 1024;

/// A body that takes up to this much, as it is kept, stands in the database.
const IN_ROW_BYTES: usize = 8 * 1024;

/// How often a body is placed anew before the store gives up.
const ATTEMPTS: usize = 5;

/// What stands before a body up to this size is kept in the message's row; a longer one becomes part of the body.
const PREFIX_BYTES: usize = 64 * 1024;

/// A body that is durable and waits for its rows: placed once, it is linked by every recipient's transaction.
#[derive(Debug, Clone)]
pub struct Body {
    bytes: Bytes,
    hash: BlobHash,
    placed: Option<Placed>,
    /// Whether a row of its hash stood in the way of one that was made without a look.
    met: bool,
    contents: Arc<Contents>,
}

#[derive(Debug, Clone)]
struct Placed {
    /// What to make its row of; none when the body lived already.
    written: Option<Written>,
    at: Instant,
}

/// Why a transaction that links bodies was undone.
#[derive(Debug)]
pub(super) enum Linking {
    /// A body must be placed anew.
    Stale,
    /// The transaction needs this body, too.
    Lacks(Box<Body>),
    /// Anything else.
    Failed(StoreError),
}

impl<E: Into<StoreError>> From<E> for Linking {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Body {
    /// A body that is not placed yet. What stands before it in the message comes back with it.
    pub(super) async fn of(message: &Message) -> Result<(Bytes, Self), StoreError> {
        let (prefix, bytes) = match message.prefix().len() {
            ..=PREFIX_BYTES => (message.prefix().clone(), message.body().clone()),
            _ => (Bytes::new(), message.contiguous()),
        };
        let hash = if bytes.len() <= COMPUTED_AT_ONCE_BYTES {
            BlobHash::of(&bytes)
        } else {
            let hashed = bytes.clone();
            computed(move || BlobHash::of(&hashed)).await?
        };
        let contents = Arc::new(super::contents::of(&bytes).await?);
        Ok((prefix, Self { bytes, hash, placed: None, met: false, contents }))
    }

    /// A short body of ours, not placed yet.
    pub(super) fn of_text(bytes: Bytes) -> Self {
        let contents = Arc::new(Contents::of(&bytes));
        Self { hash: BlobHash::of(&bytes), bytes, placed: None, met: false, contents }
    }

    /// Whether it holds these bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes
    }

    /// The hash of its bytes.
    pub(super) fn hash_bytes(&self) -> &[u8] {
        &self.hash.0
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the transaction may link it as it was placed.
    fn is_fresh(&self) -> bool {
        self.placed.as_ref().is_some_and(|placed| placed.at.elapsed() < PLACED)
    }

    /// Inside the transaction: the row to name, which counts one message more now. What is kept of the body is there with it.
    pub(super) async fn link(&self, connection: &mut Connection) -> Result<BlobRow, Linking> {
        let Some(placed) = self.placed.as_ref().filter(|_| self.is_fresh()) else { return Err(Linking::Stale) };
        let linked = blobs::link(connection, self.hash, placed.written.as_ref()).await?;
        let Linked { row, is_new } = linked.ok_or(Linking::Stale)?;
        if is_new {
            contents::keep(connection, row, &self.contents).await?;
        }
        Ok(row)
    }
}

impl Store {
    /// Makes a body durable, unless it is.
    pub(super) async fn place(&self, body: &mut Body) -> Result<(), StoreError> {
        if body.is_fresh() {
            return Ok(());
        }
        let at = Instant::now();
        if let Some(written) = self.place_at_once(body) {
            body.placed = Some(Placed { written: Some(written), at });
            return Ok(());
        }
        let mut reader = self.reader().await?;
        let known = blobs::look_up(&mut reader, body.hash).await?;
        drop(reader);
        let written = match known {
            Known::Living(file) => {
                self.heal(file, &body.bytes).await?;
                None
            }
            Known::Free(newest) => {
                let generation = newest.map_or_else(|| self.first_generation(), |newest| newest.saturating_add(1));
                let (packing, kept) = pack(&body.bytes).await?;
                let kept_bytes = kept.len() as u64;
                count(body.bytes.len() as u64, kept_bytes);
                let name = BlobName { hash: body.hash, generation, packing };
                let row = if kept.len() <= IN_ROW_BYTES {
                    Some(kept)
                } else {
                    self.inner.blobs.put(name, kept).await?;
                    None
                };
                Some(Written { name, kept_bytes, row })
            }
        };
        body.placed = Some(Placed { written, at });
        Ok(())
    }

    /// A small body is placed without a look at what is there: most are new, and the transaction that links it finds out.
    fn place_at_once(&self, body: &Body) -> Option<Written> {
        if body.met || body.bytes.len() > IN_ROW_BYTES {
            return None;
        }
        let (packing, kept) = Packing::pack(&body.bytes);
        let kept_bytes = kept.len() as u64;
        count(body.bytes.len() as u64, kept_bytes);
        let name = BlobName { hash: body.hash, generation: self.first_generation(), packing };
        Some(Written { name, kept_bytes, row: Some(kept) })
    }

    /// The generation of a body whose hash is new.
    fn first_generation(&self) -> u32 {
        // Half of them, so that generations to come have room above it.
        if self.inner.blobs.reuses_names() { 0 } else { fastrand::u32(..=u32::MAX / 2) }
    }

    /// Writes the file of a living body that was lost, now that its bytes are at hand: else every message that brings
    /// them would be acknowledged and could not be read.
    async fn heal(&self, file: Option<BlobName>, bytes: &Bytes) -> Result<(), StoreError> {
        let Some(name) = file else { return Ok(()) };
        if !self.inner.blobs.holds(name).await? {
            tracing::error!(body = ?name, "a body was lost, and is written anew: see `estafeta mailbox verify`");
            self.inner.blobs.put(name, name.packing.pack_as(bytes)?).await?;
        }
        Ok(())
    }

    /// A body as it was before it was kept.
    pub(super) async fn unkeep(&self, kept: Kept) -> Result<Bytes, StorageError> {
        let (packing, bytes) = match kept {
            Kept::Row(packing, bytes) => (packing, bytes),
            Kept::File(name) => (name.packing, self.inner.blobs.get(name).await?),
        };
        match packing {
            Packing::Zstd if bytes.len() > COMPUTED_AT_ONCE_BYTES => computed(move || packing.unpack(bytes)).await?,
            _ => packing.unpack(bytes),
        }
    }

    /// Places the bodies and runs a job that links them, again while a body turns out to be stale.
    pub(super) async fn with_bodies<T, J, F>(&self, mut bodies: Vec<Body>, job: J) -> Result<T, StoreError>
    where
        J: Fn(Store, Arc<[Body]>) -> F,
        F: Future<Output = Result<T, Linking>>,
    {
        for _ in 0..ATTEMPTS {
            for body in &mut bodies {
                self.place(body).await?;
            }
            match job(self.clone(), bodies.clone().into()).await {
                Ok(done) => return Ok(done),
                Err(Linking::Failed(error)) => return Err(error),
                Err(Linking::Lacks(body)) => bodies.push(*body),
                Err(Linking::Stale) => bodies.iter_mut().for_each(|body| (body.placed, body.met) = (None, true)),
            }
        }
        tracing::error!(hashes = ?bodies.iter().map(|body| body.hash).collect::<Vec<_>>(), "bodies stay condemned");
        Err(StorageError::Contended.into())
    }
}

/// What is computed off the threads that must not wait.
pub(super) async fn computed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StorageError::Closed)
}

async fn pack(body: &Bytes) -> Result<(Packing, Bytes), StorageError> {
    if body.len() <= COMPUTED_AT_ONCE_BYTES {
        return Ok(Packing::pack(body));
    }
    let body = body.clone();
    computed(move || Packing::pack(&body)).await
}

/// What a body was and what is kept of it.
fn count(body_bytes: u64, kept_bytes: u64) {
    metrics::counter!("estafeta_mailbox_body_bytes_total").increment(body_bytes);
    metrics::counter!("estafeta_mailbox_body_kept_bytes_total").increment(kept_bytes);
}
