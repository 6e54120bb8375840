//! Bodies named by their content: the BLAKE3 hash of the bytes, and a generation; in files, or in an object store behind
//! a cache.
//!
//! Invariants:
//! - a blob is complete and durable before it has its name;
//! - a name's content never changes. The same content written twice under one name is the same blob;
//! - whether a blob lives is decided by a database that names it, never by the existence of its file. What no
//!   database names is garbage, which its owner finds by [`Blobs::scan`].

mod cache;
mod cached;
mod files;
mod objects;
mod packing;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StorageError;
use cache::Cache;
use cached::Cached;
use files::FileShelf;
use objects::Objects;

pub use objects::ObjectsOptions;
pub use packing::Packing;

/// How many parts a scan has, by the first byte of the hash.
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
    /// How the content is kept. The hash is that of the bytes as they were before.
    pub packing: Packing,
}

impl BlobName {
    /// Of content that is kept as it is.
    pub fn plain(hash: BlobHash, generation: u32) -> Self {
        Self { hash, generation, packing: Packing::Plain }
    }

    fn file_name(&self) -> String {
        format!("{}.{}{}", self.hash, self.generation, self.packing.suffix())
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (hex, rest) = name.split_once('.')?;
        if hex.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        let (generation, packing) = match rest.strip_suffix(Packing::Zstd.suffix()) {
            Some(generation) => (generation, Packing::Zstd),
            None => (rest, Packing::Plain),
        };
        let found = Self { hash: BlobHash(hash), generation: generation.parse().ok()?, packing };
        // Only the spelling that this program writes.
        (found.file_name() == name).then_some(found)
    }
}

/// What keeps blobs: [`Blobs`] says what each does.
#[async_trait]
trait Shelf: Send + Sync {
    async fn put(&self, name: BlobName, kept: Bytes) -> Result<(), StorageError>;
    async fn get(&self, name: BlobName) -> Result<Bytes, StorageError>;
    async fn get_kept(&self, name: BlobName) -> Result<Bytes, StorageError>;
    async fn holds(&self, name: BlobName) -> Result<bool, StorageError>;
    async fn delete(&self, names: Vec<BlobName>) -> Result<(), StorageError>;
    async fn scan(&self, shard: usize, before: SystemTime) -> Result<Vec<BlobName>, StorageError>;
    async fn claim(&self, owner: &str) -> Result<(), StorageError>;
    fn reuses_names(&self) -> bool;
}

/// Where blobs are. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<dyn Shelf>);

impl Blobs {
    /// Takes the directory `root`, which must be for blobs alone, and removes what a crash left half-written.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        Ok(Self(Arc::new(FileShelf::open(root)?)))
    }

    /// Blobs in an object store, and copies of what was used lately, up to `cache_bytes` of them, in the directory
    /// `cache`, which must be for them alone. Several processes may share a store, but not a directory. Nothing is
    /// asked of the store yet.
    pub fn in_objects(options: &ObjectsOptions, cache: &Path, cache_bytes: u64) -> Result<Self, StorageError> {
        Ok(Self(Arc::new(Cached::new(Objects::open(options)?, Cache::open(cache, cache_bytes)?))))
    }

    /// Writes a blob. When this answers, it is durable.
    pub async fn put(&self, name: BlobName, kept: Bytes) -> Result<(), StorageError> {
        let started = Instant::now();
        self.0.put(name, kept).await?;
        metrics::histogram!("estafeta_blob_write_seconds").record(started.elapsed());
        Ok(())
    }

    /// A blob's content. An error that [`StorageError::is_missing`] when there is no such blob. One that is large and on
    /// the local disk is mapped, so that a part of it costs no more than the part.
    pub async fn get(&self, name: BlobName) -> Result<Bytes, StorageError> {
        self.0.get(name).await
    }

    /// The same past every cache: what is kept, and not a copy of it.
    pub async fn get_kept(&self, name: BlobName) -> Result<Bytes, StorageError> {
        self.0.get_kept(name).await
    }

    /// Whether there is such a blob, past every cache, without reading it.
    pub async fn holds(&self, name: BlobName) -> Result<bool, StorageError> {
        self.0.holds(name).await
    }

    /// Deletes blobs. Nothing happens where there is none. Whoever reads one meanwhile goes on reading. When this fails,
    /// some of them may be gone.
    pub async fn delete(&self, names: Vec<BlobName>) -> Result<(), StorageError> {
        self.0.delete(names).await
    }

    /// The blobs of one shard (0 to [`SHARDS`] - 1) that were written before `before`.
    pub async fn scan(&self, shard: usize, before: SystemTime) -> Result<Vec<BlobName>, StorageError> {
        self.0.scan(shard, before).await
    }

    /// Whether the blobs can be reached and are this owner's, up to 100 bytes that no other has. Nobody's become its.
    pub async fn claim(&self, owner: &str) -> Result<(), StorageError> {
        self.0.claim(owner).await
    }

    /// Whether a name that was deleted may be written again.
    pub fn reuses_names(&self) -> bool {
        self.0.reuses_names()
    }
}

/// Disk work, off the threads that must not wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StorageError::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn name(body: &[u8], generation: u32) -> BlobName {
        BlobName::plain(BlobHash::of(body), generation)
    }

    #[tokio::test]
    async fn a_disk_that_is_not_mounted_has_lost_nothing() {
        let root = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        let lost = blobs.get(name(b"x", 0)).await.unwrap_err();
        assert!(lost.is_lost() && !lost.is_away(), "{lost}");
        for entry in fs::read_dir(root.path()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        let away = blobs.get(name(b"x", 0)).await.unwrap_err();
        assert!(away.is_away() && !away.is_lost() && !away.is_missing(), "{away}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_are_a_shelf() {
        let root = tempfile::tempdir().unwrap();
        suite::holds(&Blobs::open(root.path()).unwrap()).await;
        assert_eq!(fs::read_dir(root.path().join("incoming")).unwrap().count(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_in_memory_are_a_shelf() {
        let cache = tempfile::tempdir().unwrap();
        let cached = Cached::new(Objects::in_memory(), Cache::open(cache.path(), 1 << 20).unwrap());
        suite::holds(&Blobs(Arc::new(cached))).await;
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

    #[tokio::test]
    async fn a_blob_of_the_one_level_layout_is_found_and_deleted() {
        let root = tempfile::tempdir().unwrap();
        let body = Bytes::from_static(b"from before");
        let name = name(&body, 0);
        let shard = name.hash.0[0];
        let blobs = Blobs::open(root.path()).unwrap();
        let old = root.path().join(format!("{shard:02x}")).join(name.file_name());
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(&old, &body).unwrap();
        assert_eq!(blobs.get(name).await.unwrap(), body);
        let all = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(blobs.scan(shard.into(), all).await.unwrap(), [name]);
        // Written again, it stands in both layouts, and is still one.
        blobs.put(name, body.clone()).await.unwrap();
        assert_eq!(blobs.scan(shard.into(), all).await.unwrap(), [name]);
        blobs.delete(vec![name]).await.unwrap();
        assert!(blobs.get(name).await.unwrap_err().is_missing() && !old.exists());
    }

    #[tokio::test]
    async fn directories_made_before_a_restart_are_known_after_it() {
        let root = tempfile::tempdir().unwrap();
        let body = Bytes::from_static(b"body");
        for generation in 0..3 {
            let blobs = Blobs::open(root.path()).unwrap();
            for packing in Packing::ALL {
                blobs.put(BlobName { packing, ..name(&body, generation) }, body.clone()).await.unwrap();
            }
            let shard = name(&body, 0).hash.0[0].into();
            let found = blobs.scan(shard, SystemTime::now() + Duration::from_secs(60)).await.unwrap();
            assert_eq!(found.len(), 2 * (generation as usize + 1));
        }
    }
}
