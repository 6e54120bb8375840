//! A bounded directory of copies: what was read or written lately, so that it is not fetched again.
//!
//! Invariants:
//! - the files take no more than the limit, and of what has to go, the least recently used goes first;
//! - what is served is whole. A file has its name once it is written; but nothing here is fsynced, so what was found at
//!   the start may have been torn by a power cut, and is compared with its hash before it is first served.
//!
//! Nothing is lost with this directory: it may be deleted while the node is down.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{BlobName, SHARDS, files};
use crate::data_directory;
use crate::error::StorageError;

/// A file's time says when it was last used, to within this: so the order outlives the process.
const USED: Duration = Duration::from_secs(3600);

/// The directory.
pub(super) struct Cache {
    root: PathBuf,
    limit_bytes: u64,
    index: Mutex<Index>,
    number: AtomicU64,
}

/// A copy that was found.
pub(super) struct Found {
    pub(super) kept: Bytes,
    /// Whether it is known to be whole.
    pub(super) trusted: bool,
}

#[derive(Default)]
struct Index {
    entries: HashMap<BlobName, Entry>,
    /// By when they were used.
    order: BTreeMap<u64, BlobName>,
    turn: u64,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    turn: u64,
    bytes: u64,
    trusted: bool,
}

impl Index {
    /// Notes a file, in place of one of the same name.
    fn insert(&mut self, name: BlobName, bytes: u64, trusted: bool) {
        self.remove(name);
        self.turn += 1;
        self.entries.insert(name, Entry { turn: self.turn, bytes, trusted });
        self.order.insert(self.turn, name);
        self.bytes += bytes;
    }

    fn remove(&mut self, name: BlobName) {
        if let Some(entry) = self.entries.remove(&name) {
            self.order.remove(&entry.turn);
            self.bytes -= entry.bytes;
        }
    }

    /// Takes out what has to go, the least recently used first.
    fn shrink(&mut self, limit_bytes: u64) -> Vec<BlobName> {
        let mut gone = Vec::new();
        while self.bytes > limit_bytes
            && let Some((_, name)) = self.order.first_key_value()
        {
            let name = *name;
            self.remove(name);
            gone.push(name);
        }
        gone
    }

    /// Notes a use.
    fn used(&mut self, name: BlobName) -> Option<Entry> {
        let entry = *self.entries.get(&name)?;
        self.insert(name, entry.bytes, entry.trusted);
        Some(entry)
    }
}

impl Cache {
    /// Takes the directory `root`, which must be for copies alone.
    pub(super) fn open(root: &Path, limit_bytes: u64) -> Result<Self, StorageError> {
        data_directory::prepare(root)?;
        let incoming = root.join("incoming");
        if incoming.exists() {
            fs::remove_dir_all(&incoming).map_err(|error| StorageError::file("clean", &incoming, error))?;
        }
        data_directory::prepare(&incoming)?;
        let mut found: Vec<(SystemTime, BlobName, u64)> = Vec::new();
        for shard in 0..SHARDS {
            let path = root.join(format!("{shard:02x}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => list(&path, &mut found)?,
                done => done.map_err(|error| StorageError::file("create the directory", &path, error))?,
            }
        }
        found.sort_unstable();
        let mut index = Index::default();
        for (_, name, bytes) in found {
            index.insert(name, bytes, false);
        }
        let cache = Self { root: root.to_owned(), limit_bytes, index: Mutex::new(index), number: AtomicU64::new(0) };
        cache.shrink();
        Ok(cache)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: BlobName) -> PathBuf {
        self.root.join(format!("{:02x}/{}", name.hash.0[0], name.file_name()))
    }

    /// A file to write a copy into, which [`Cache::adopt`] takes.
    pub(super) fn incoming(&self) -> Result<(File, PathBuf), StorageError> {
        let path = self.root.join("incoming").join(self.number.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        Ok((file.map_err(|error| StorageError::file("create", &path, error))?, path))
    }

    /// Takes a file over that holds the whole blob; one that is larger than all may be is deleted.
    pub(super) fn adopt(&self, name: BlobName, incoming: &Path, bytes: u64) -> Result<(), StorageError> {
        if bytes > self.limit_bytes {
            return fs::remove_file(incoming).map_err(|error| StorageError::file("delete", incoming, error));
        }
        let path = self.path(name);
        fs::rename(incoming, &path).map_err(|error| StorageError::file("rename", &path, error))?;
        self.index().insert(name, bytes, true);
        self.shrink();
        Ok(())
    }

    /// Keeps a copy.
    pub(super) fn put(&self, name: BlobName, kept: &[u8]) -> Result<(), StorageError> {
        if kept.len() as u64 > self.limit_bytes {
            return Ok(());
        }
        let (mut file, path) = self.incoming()?;
        let written = file.write_all(kept).map_err(|error| StorageError::file("write", &path, error));
        let adopted = written.and_then(|()| self.adopt(name, &path, kept.len() as u64));
        if adopted.is_err() {
            // It takes room that may be what is missing.
            fs::remove_file(&path).ok();
        }
        adopted
    }

    /// The copy of a blob. One that cannot be read is none.
    pub(super) fn get(&self, name: BlobName) -> Option<Found> {
        let entry = self.index().used(name)?;
        let path = self.path(name);
        match read(&path) {
            Ok(kept) if kept.len() as u64 == entry.bytes => Some(Found { kept, trusted: entry.trusted }),
            _ => {
                self.forget(name);
                None
            }
        }
    }

    /// It was compared with its hash.
    pub(super) fn trust(&self, name: BlobName) {
        if let Some(entry) = self.index().entries.get_mut(&name) {
            entry.trusted = true;
        }
    }

    /// Deletes a copy, if there is one.
    pub(super) fn forget(&self, name: BlobName) {
        self.index().remove(name);
        self.remove_file(name);
    }

    fn shrink(&self) {
        let mut index = self.index();
        let gone = index.shrink(self.limit_bytes);
        metrics::gauge!("estafeta_blob_cache_bytes").set(index.bytes as f64);
        drop(index);
        for name in gone {
            self.remove_file(name);
        }
    }

    fn remove_file(&self, name: BlobName) {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a copy of a body cannot be deleted");
            }
            _ => {}
        }
    }
}

fn read(path: &Path) -> Result<Bytes, StorageError> {
    let failed = |doing| move |error| StorageError::file(doing, path, error);
    let file = File::open(path).map_err(failed("open"))?;
    let used = file.metadata().and_then(|metadata| metadata.modified()).map_err(failed("read"))?;
    let now = SystemTime::now();
    if now.duration_since(used).is_ok_and(|since| since > USED) {
        file.set_modified(now).map_err(failed("touch"))?;
    }
    files::read(&file, path)
}

fn list(path: &Path, found: &mut Vec<(SystemTime, BlobName, u64)>) -> Result<(), StorageError> {
    let failed = |error| StorageError::file("list", path, error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(name) = entry.file_name().to_str().and_then(BlobName::from_file_name) else { continue };
        let metadata = entry.metadata().map_err(failed)?;
        found.push((metadata.modified().map_err(failed)?, name, metadata.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::BlobHash;
    use super::*;

    fn name(body: &[u8]) -> BlobName {
        BlobName::plain(BlobHash::of(body), 0)
    }

    fn has(cache: &Cache, body: &[u8]) -> bool {
        cache.index().entries.contains_key(&name(body))
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_limit_holds() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path(), 10).unwrap();
        for body in [b"aaaa", b"bbbb"] {
            cache.put(name(body), body).unwrap();
        }
        assert_eq!(cache.get(name(b"aaaa")).unwrap().kept, &b"aaaa"[..]);
        cache.put(name(b"cccc"), b"cccc").unwrap();
        assert!(has(&cache, b"aaaa") && !has(&cache, b"bbbb") && has(&cache, b"cccc"));
        assert!(cache.get(name(b"bbbb")).is_none() && !cache.path(name(b"bbbb")).exists());
        cache.put(name(b"too large for it"), b"too large for it").unwrap();
        assert!(!has(&cache, b"too large for it") && cache.index().bytes == 8);
        cache.put(name(b"cccc"), b"cccc").unwrap();
        assert_eq!(cache.index().bytes, 8, "once");
        cache.forget(name(b"cccc"));
        let index = cache.index();
        assert_eq!((index.bytes, index.order.len()), (4, 1));
        assert_eq!(fs::read_dir(root.path().join("incoming")).unwrap().count(), 0);
    }

    #[test]
    fn after_a_restart_it_is_known_in_its_order_and_not_trusted() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path(), 100).unwrap();
        for body in [b"aaaa", b"bbbb"] {
            cache.put(name(body), body).unwrap();
        }
        let long_ago = SystemTime::now() - 3 * USED;
        let file = File::open(cache.path(name(b"bbbb"))).unwrap();
        file.set_modified(long_ago).unwrap();
        fs::write(root.path().join("incoming/0"), "half").unwrap();
        let cache = Cache::open(root.path(), 4).unwrap();
        assert!(has(&cache, b"aaaa") && !has(&cache, b"bbbb"));
        assert!(!cache.get(name(b"aaaa")).unwrap().trusted);
        cache.trust(name(b"aaaa"));
        assert!(cache.get(name(b"aaaa")).unwrap().trusted);
        assert_eq!(fs::read_dir(root.path().join("incoming")).unwrap().count(), 0);
        // Someone cleared the directory away.
        fs::remove_file(cache.path(name(b"aaaa"))).unwrap();
        assert!(cache.get(name(b"aaaa")).is_none() && !has(&cache, b"aaaa"));
    }
}
