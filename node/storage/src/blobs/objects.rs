//! Blobs in an object store: S3, or what speaks its language.
//!
//! `PREFIX/ab/HASH.GENERATION`, by the first byte of the hash, so that a scan asks for one part at a time. The store answers
//! a PUT when the whole object is durable, and shows it whole or not at all; so there is nothing to rename here.
//!
//! Who has a bucket's objects is written beside them, in `PREFIX/owner`: two databases that share a prefix would each take
//! the other's bodies for garbage.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};

use super::BlobName;
use crate::error::StorageError;

/// A body of more than two of these is uploaded in parts of this size, in bytes. S3 takes no smaller ones than 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// How many parts of one body travel at once.
const PARTS_AT_ONCE: usize = 4;

/// One request, its body included.
const REQUEST: Duration = Duration::from_secs(30);

/// A connection that says nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(10);

/// Reaching the store.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a request is repeated, and until when after it was first made.
const RETRIES: usize = 2;
const RETRY_UNTIL: Duration = Duration::from_secs(20);

/// How much of what a store says about an error is passed on, in characters.
const CAUSE: usize = 600;

/// An S3-compatible store, and who we are there.
#[derive(Clone)]
pub struct ObjectsOptions {
    /// `https://s3.example.edu`; none for Amazon's own.
    pub endpoint: Option<String>,
    /// The bucket, which exists.
    pub bucket: String,
    /// What stands before the name of every object; may be empty.
    pub prefix: String,
    /// The region.
    pub region: String,
    /// The name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Certificates in PEM that are believed beside the system's; none for the system's alone.
    pub authority: Option<PathBuf>,
}

impl std::fmt::Debug for ObjectsOptions {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

impl ObjectsOptions {
    /// How an operator is told of it.
    fn place(&self) -> String {
        let at = self.endpoint.as_deref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
        format!("s3://{}/{}{at}", self.bucket, self.prefix.trim_matches('/'))
    }
}

/// An object that is being read.
pub(super) struct Object {
    pub(super) len: u64,
    read: u64,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
}

/// A store's objects below a prefix.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
}

impl Objects {
    /// Connects to nothing yet.
    pub(super) fn open(options: &ObjectsOptions) -> Result<Self, StorageError> {
        let wrong = |what: String| StorageError::Address(format!("{}: {what}", options.place()));
        let in_the_clear = options.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut client = ClientOptions::new()
            .with_timeout(REQUEST)
            .with_read_timeout(SILENCE)
            .with_connect_timeout(CONNECT)
            .with_allow_http(in_the_clear);
        if let Some(path) = &options.authority {
            let pem = std::fs::read(path).map_err(|error| StorageError::file("read", path, error))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|error| wrong(format!("the certificates in {}: {error}", path.display())))?;
            client = certificates.into_iter().fold(client, ClientOptions::with_root_certificate);
        }
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
            max_retries: RETRIES,
            retry_timeout: RETRY_UNTIL,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&options.bucket)
            .with_region(&options.region)
            .with_access_key_id(&options.access_key_id)
            .with_secret_access_key(&options.secret_access_key)
            // TLS keeps a body whole; where there is none, its signature does.
            .with_unsigned_payload(!in_the_clear)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let store = builder.build().map_err(|error| wrong(error.to_string()))?;
        let prefix = Path::parse(options.prefix.trim_matches('/')).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { store: Arc::new(store), prefix, place: options.place() })
    }

    /// In memory.
    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { store, prefix: Path::from("bodies"), place: "memory".into() }
    }

    fn shard(&self, shard: usize) -> Path {
        self.prefix.clone().join(format!("{shard:02x}"))
    }

    fn path(&self, name: BlobName) -> Path {
        self.shard(name.hash.0[0].into()).join(name.file_name())
    }

    pub(super) async fn put(&self, name: BlobName, body: Bytes) -> Result<(), StorageError> {
        let started = Instant::now();
        let path = self.path(name);
        let done = if body.len() <= 2 * PART_BYTES {
            self.store.put(&path, body.into()).await.map(drop)
        } else {
            self.put_in_parts(&path, body).await
        };
        self.answered("write", &path, started, done)
    }

    async fn put_in_parts(&self, path: &Path, body: Bytes) -> object_store::Result<()> {
        let mut upload = self.store.put_multipart(path).await?;
        let starts = (0..body.len()).step_by(PART_BYTES);
        let parts: Vec<_> =
            starts.map(|start| upload.put_part(body.slice(start..body.len().min(start + PART_BYTES)).into())).collect();
        let sent = stream::iter(parts).buffer_unordered(PARTS_AT_ONCE).try_for_each(|()| async { Ok(()) }).await;
        let done = match sent {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        if done.is_err()
            && let Err(error) = upload.abort().await
        {
            // The bucket's own rule takes it away: docs/operations.md asks for one.
            tracing::debug!(%error, %path, "an upload that was begun is left behind");
        }
        done
    }

    /// Begins to read an object. An error that [`StorageError::is_missing`] when there is none.
    pub(super) async fn get(&self, name: BlobName) -> Result<Object, StorageError> {
        let started = Instant::now();
        let path = self.path(name);
        let got = self.store.get(&path).await;
        let got = self.answered("read", &path, started, got)?;
        Ok(Object { len: got.meta.size, read: 0, stream: got.into_stream() })
    }

    /// Whether there is such an object.
    pub(super) async fn holds(&self, name: BlobName) -> Result<bool, StorageError> {
        let started = Instant::now();
        let path = self.path(name);
        let head = self.store.head(&path).await;
        match self.answered("look for", &path, started, head) {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next piece of an object; none at its end.
    pub(super) async fn next(&self, name: BlobName, object: &mut Object) -> Result<Option<Bytes>, StorageError> {
        let path = self.path(name);
        let piece = object.stream.try_next().await.map_err(|error| self.failed("read", &path, &error))?;
        object.read += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if piece.is_none() && object.read != object.len {
            return Err(StorageError::Objects(format!("{}: {path} ended before its end", self.place)));
        }
        Ok(piece)
    }

    pub(super) async fn delete(&self, names: &[BlobName]) -> Result<(), StorageError> {
        let started = Instant::now();
        let paths: Vec<object_store::Result<Path>> = names.iter().map(|name| Ok(self.path(*name))).collect();
        let mut deleted = self.store.delete_stream(stream::iter(paths).boxed());
        let done = loop {
            match deleted.next().await {
                None => break Ok(()),
                Some(Ok(_) | Err(object_store::Error::NotFound { .. })) => {}
                Some(Err(error)) => break Err(error),
            }
        };
        self.answered("delete", &self.prefix, started, done)
    }

    pub(super) async fn scan(&self, shard: usize, before: SystemTime) -> Result<Vec<BlobName>, StorageError> {
        let prefix = self.shard(shard);
        let mut found = Vec::new();
        let mut listed = self.store.list(Some(&prefix));
        while let Some(object) = listed.try_next().await.map_err(|error| self.failed("list", &prefix, &error))? {
            if SystemTime::from(object.last_modified) < before {
                found.extend(object.location.filename().and_then(BlobName::from_file_name));
            }
        }
        Ok(found)
    }

    /// Whether the objects are this owner's, which they become when they are nobody's.
    pub(super) async fn claim(&self, owner: &str) -> Result<(), StorageError> {
        let path = self.prefix.clone().join("owner");
        let mut found = self.owner(&path).await?;
        if found.is_none() {
            let started = Instant::now();
            let written = self.store.put(&path, Bytes::copy_from_slice(owner.as_bytes()).into()).await.map(drop);
            self.answered("write", &path, started, written)?;
            found = self.owner(&path).await?;
        }
        match found {
            Some(found) if found == owner.as_bytes() => Ok(()),
            _ => Err(StorageError::Address(format!(
                "{}: the bodies there belong to another database ({path} says whose): give this store group a prefix or a bucket of its own, or its database back",
                self.place
            ))),
        }
    }

    async fn owner(&self, path: &Path) -> Result<Option<Bytes>, StorageError> {
        let started = Instant::now();
        let read = match self.store.get(path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        match self.answered("read", path, started, read) {
            Ok(owner) => Ok(Some(owner)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Counts an answer, and says for the operator what is wrong with it.
    fn answered<T>(
        &self,
        doing: &'static str,
        path: &Path,
        started: Instant,
        answer: object_store::Result<T>,
    ) -> Result<T, StorageError> {
        metrics::histogram!("estafeta_object_store_seconds", "operation" => doing).record(started.elapsed());
        answer.map_err(|error| self.failed(doing, path, &error))
    }

    fn failed(&self, doing: &'static str, path: &Path, error: &object_store::Error) -> StorageError {
        let text = error.to_string();
        // A bucket that is not there is no body that is not there.
        if matches!(error, object_store::Error::NotFound { .. }) && !text.contains("NoSuchBucket") {
            return StorageError::NoObject { place: format!("{}: {path}", self.place) };
        }
        metrics::counter!("estafeta_object_store_errors_total", "operation" => doing).increment(1);
        let mend = match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                ": see what its credentials may do there"
            }
            _ => "",
        };
        let cause = text.char_indices().nth(CAUSE).map_or(text.as_str(), |(end, _)| &text[..end]);
        StorageError::Objects(format!("{}: cannot {doing}{mend}: {cause}", self.place))
    }
}
