//! Bodies in files, named by their content: the BLAKE3 hash of the bytes, and a generation.
//!
//! Invariants:
//! - a file is complete and durable before it has its name: written under another, fsynced, renamed, the directory
//!   fsynced;
//! - a name's content never changes. The same content written twice under one name is the same file;
//! - whether a blob lives is decided by a database that names it, never by the existence of its file. What no
//!   database names is garbage, which its owner finds by [`Blobs::scan`].

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use crate::data_directory;
use crate::error::StorageError;
use crate::mapped;

/// Up to this many bytes a blob is read; a larger one is mapped. Setting up and tearing down a mapping costs about as
/// much as copying this much.
const READ_BYTES: u64 = 128 * 1024;

/// How many directories the blobs are spread over, by the first byte of their hash.
pub const SHARDS: usize = 256;

/// The hash of a body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl BlobHash {
    /// Hashes a body.
    pub fn of(body: &[u8]) -> Self {
        Self(*blake3::hash(body).as_bytes())
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names a blob. A new generation tells new content from old content of the same hash that is about to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName {
    /// The content.
    pub hash: BlobHash,
    /// 0 at first.
    pub generation: u32,
}

impl BlobName {
    fn file_name(&self) -> String {
        format!("{}.{}", self.hash, self.generation)
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (hex, generation) = name.split_once('.')?;
        if hex.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        let name = Self { hash: BlobHash(hash), generation: generation.parse().ok()? };
        // Only the spelling that this program writes.
        (name.file_name() == format!("{hex}.{generation}")).then_some(name)
    }
}

/// A directory of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    root: PathBuf,
    shards: Vec<Shard>,
    number: AtomicU64,
}

/// One directory, whose fsyncs are shared: who renamed into it before an fsync began need not ask for another.
#[derive(Default)]
struct Shard {
    renamed: AtomicU64,
    synced: Mutex<u64>,
}

impl Blobs {
    /// Takes the directory `root`, which must be for blobs alone, and removes what a crash left half-written.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        data_directory::prepare(root)?;
        let incoming = root.join("incoming");
        data_directory::prepare(&incoming)?;
        let failed = |error| StorageError::file("clean", &incoming, error);
        for entry in fs::read_dir(&incoming).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        let inner = Inner {
            root: root.to_owned(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            number: AtomicU64::new(0),
        };
        let mut made = false;
        for shard in 0..SHARDS {
            let path = inner.shard_path(shard);
            match fs::create_dir(&path) {
                Ok(()) => made = true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StorageError::file("create the directory", &path, error)),
            }
        }
        if made {
            data_directory::sync(root)?;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Writes a blob. When this answers, it is durable.
    pub async fn put(&self, name: BlobName, body: Bytes) -> Result<(), StorageError> {
        let started = Instant::now();
        self.blocking(move |inner| inner.put(name, &body)).await?;
        metrics::histogram!("estafeta_blob_write_seconds").record(started.elapsed());
        Ok(())
    }

    /// A blob's content. An error that [`StorageError::is_missing`] when there is no such file.
    pub async fn get(&self, name: BlobName) -> Result<Bytes, StorageError> {
        self.blocking(move |inner| inner.get(name)).await
    }

    /// Deletes a blob. Nothing happens when there is none. Whoever reads it meanwhile goes on reading.
    pub async fn delete(&self, name: BlobName) -> Result<(), StorageError> {
        self.blocking(move |inner| match fs::remove_file(inner.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::file("delete", &inner.path(name), error))
            }
            _ => Ok(()),
        })
        .await
    }

    /// The blobs of one shard (0 to [`SHARDS`] - 1) whose files were written before `before`.
    pub async fn scan(&self, shard: usize, before: SystemTime) -> Result<Vec<BlobName>, StorageError> {
        self.blocking(move |inner| {
            let path = inner.shard_path(shard);
            let failed = |error| StorageError::file("list", &path, error);
            let mut found = Vec::new();
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Some(name) = entry.file_name().to_str().and_then(BlobName::from_file_name) else { continue };
                match entry.metadata().and_then(|metadata| metadata.modified()) {
                    Ok(modified) if modified < before => found.push(name),
                    Ok(_) => {}
                    // Deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(found)
        })
        .await
    }

    /// Disk work, off the threads that must not wait.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let inner = self.0.clone();
        let stopped = |_| StorageError::Closed;
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(stopped)?
    }
}

impl Inner {
    fn shard_path(&self, shard: usize) -> PathBuf {
        self.root.join(format!("{shard:02x}"))
    }

    fn path(&self, name: BlobName) -> PathBuf {
        self.shard_path(name.hash.0[0].into()).join(name.file_name())
    }

    fn put(&self, name: BlobName, body: &[u8]) -> Result<(), StorageError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let incoming = self.root.join("incoming").join(format!("{}.{number}", std::process::id()));
        let written = self.write_and_rename(&incoming, name, body);
        if written.is_err() {
            // Half a file takes room that may be what is missing. That it cannot be removed either changes nothing.
            fs::remove_file(&incoming).ok();
        }
        written?;
        self.sync_shard(name.hash.0[0].into())
    }

    fn write_and_rename(&self, incoming: &Path, name: BlobName, body: &[u8]) -> Result<(), StorageError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(incoming);
        let mut file = file.map_err(|error| StorageError::file("create", incoming, error))?;
        file.write_all(body).map_err(|error| StorageError::file("write", incoming, error))?;
        file.sync_data().map_err(|error| StorageError::file("fsync", incoming, error))?;
        let path = self.path(name);
        fs::rename(incoming, &path).map_err(|error| StorageError::file("rename", &path, error))
    }

    fn sync_shard(&self, index: usize) -> Result<(), StorageError> {
        let shard = &self.shards[index];
        let ticket = shard.renamed.fetch_add(1, Ordering::SeqCst) + 1;
        let mut synced = shard.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= ticket {
            return Ok(());
        }
        let covered = shard.renamed.load(Ordering::SeqCst);
        data_directory::sync(&self.shard_path(index))?;
        *synced = covered;
        Ok(())
    }

    fn get(&self, name: BlobName) -> Result<Bytes, StorageError> {
        let path = self.path(name);
        let failed = |doing| {
            let path = path.clone();
            move |error| StorageError::file(doing, &path, error)
        };
        let file = File::open(&path).map_err(failed("open"))?;
        let len = file.metadata().map_err(failed("read"))?.len();
        if len > READ_BYTES {
            return mapped::map(&file).map_err(failed("map"));
        }
        let mut body = Vec::with_capacity(len as usize);
        io::Read::read_to_end(&mut &file, &mut body).map_err(failed("read"))?;
        Ok(body.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name(body: &[u8], generation: u32) -> BlobName {
        BlobName { hash: BlobHash::of(body), generation }
    }

    #[tokio::test]
    async fn what_is_put_is_got_until_it_is_deleted() {
        let root = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        for len in [0, 1, READ_BYTES as usize, READ_BYTES as usize + 1, 1_000_000] {
            let body = Bytes::from(vec![b'x'; len]);
            let name = name(&body, 7);
            assert!(blobs.get(name).await.unwrap_err().is_missing());
            blobs.put(name, body.clone()).await.unwrap();
            blobs.put(name, body.clone()).await.unwrap();
            let got = blobs.get(name).await.unwrap();
            assert_eq!(got, body);
            blobs.delete(name).await.unwrap();
            blobs.delete(name).await.unwrap();
            assert!(blobs.get(name).await.unwrap_err().is_missing());
            assert_eq!(got, body, "who reads goes on reading");
        }
        assert_eq!(fs::read_dir(root.path().join("incoming")).unwrap().count(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_at_once_in_one_shard() {
        let root = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        let body = Bytes::from_static(b"the same");
        let puts: Vec<_> = (0..32)
            .map(|generation| {
                let (blobs, body) = (blobs.clone(), body.clone());
                tokio::spawn(async move { blobs.put(name(&body, generation), body.clone()).await })
            })
            .collect();
        for put in puts {
            put.await.unwrap().unwrap();
        }
        let shard = BlobHash::of(&body).0[0].into();
        assert_eq!(blobs.scan(shard, SystemTime::now() + Duration::from_secs(60)).await.unwrap().len(), 32);
        assert_eq!(blobs.scan(shard, SystemTime::now() - Duration::from_secs(60)).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_removed_and_strange_files_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        Blobs::open(root.path()).unwrap();
        fs::write(root.path().join("incoming/1.1"), "half").unwrap();
        fs::write(root.path().join("00/README"), "strange").unwrap();
        fs::write(root.path().join("00").join(format!("{}.01", BlobHash([0; 32]))), "strange").unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        assert!(!root.path().join("incoming/1.1").exists());
        assert_eq!(blobs.scan(0, SystemTime::now() + Duration::from_secs(60)).await.unwrap(), []);
    }
}
