//! Bodies on their way into the store: the file first, then the row that names it.
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
use estafeta_storage::blobs::{BlobHash, BlobName};

use super::sql::blobs::Known;
use super::sql::{BlobRow, blobs, contents};
use super::{Store, StoreError};

/// A file that no row names is left alone for much longer than this; a body that was placed longer ago is placed anew.
const PLACED: Duration = Duration::from_secs(600);

/// A body up to this size is hashed where it is; a larger one, off the threads that must not wait.
const HASHED_AT_ONCE_BYTES: usize = 256 * 1024;

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
    contents: Arc<Contents>,
}

#[derive(Debug, Clone, Copy)]
struct Placed {
    /// The generation that was written; none when the body lived already.
    written: Option<u32>,
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
        let hash = if bytes.len() <= HASHED_AT_ONCE_BYTES {
            BlobHash::of(&bytes)
        } else {
            let hashed = bytes.clone();
            let hashing = tokio::task::spawn_blocking(move || BlobHash::of(&hashed));
            hashing.await.map_err(|_| StorageError::Closed)?
        };
        let contents = Arc::new(super::contents::of(&bytes).await?);
        Ok((prefix, Self { bytes, hash, placed: None, contents }))
    }

    /// A short body of ours, not placed yet.
    pub(super) fn of_text(bytes: Bytes) -> Self {
        let contents = Arc::new(Contents::of(&bytes));
        Self { hash: BlobHash::of(&bytes), bytes, placed: None, contents }
    }

    /// Whether it holds these bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the transaction may link it as it was placed.
    fn is_fresh(&self) -> bool {
        self.placed.is_some_and(|placed| placed.at.elapsed() < PLACED)
    }

    /// Inside the transaction: the row to name. What is kept of the body is there with it.
    pub(super) async fn link(&self, connection: &mut Connection) -> Result<BlobRow, Linking> {
        let Some(placed) = self.placed.filter(|_| self.is_fresh()) else { return Err(Linking::Stale) };
        let row = blobs::link(connection, self.hash, placed.written).await?.ok_or(Linking::Stale)?;
        contents::keep(connection, row, &self.contents).await?;
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
        let mut reader = self.reader().await?;
        let known = blobs::look_up(&mut reader, body.hash).await?;
        drop(reader);
        let written = match known {
            Known::Living => None,
            Known::Free(generation) => {
                self.inner.blobs.put(BlobName { hash: body.hash, generation }, body.bytes.clone()).await?;
                Some(generation)
            }
        };
        body.placed = Some(Placed { written, at });
        Ok(())
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
                Err(Linking::Stale) => bodies.iter_mut().for_each(|body| body.placed = None),
            }
        }
        tracing::error!(hashes = ?bodies.iter().map(|body| body.hash).collect::<Vec<_>>(), "bodies stay condemned");
        Err(StorageError::Contended.into())
    }
}
