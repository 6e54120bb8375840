//! Blobs in files: `ab/cd/HASH.GENERATION` below a root, by the first two bytes of the hash, so that a hundred million
//! files are some thousand a directory. Blobs of a former layout, one directory level less, are found where they are.
//!
//! A file is written under another name, fsynced, renamed, and its directory fsynced; a directory that is new, its own
//! directory too.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobHash, BlobName, SHARDS, Shelf, blocking};
use crate::data_directory;
use crate::error::StorageError;
use crate::mapped;

/// Up to this many bytes a blob is read; a larger one is mapped. Setting up and tearing down a mapping costs about as
/// much as copying this much.
const READ_BYTES: u64 = 128 * 1024;

/// How many directories there are at the second level, of all shards together.
const LEAVES: usize = SHARDS * SHARDS;

/// A directory of blobs.
struct Files {
    root: PathBuf,
    leaves: Vec<Leaf>,
    number: AtomicU64,
}

/// One directory of the second level, whose fsyncs are shared: who renamed into it before an fsync began need not ask for
/// another.
#[derive(Default)]
struct Leaf {
    /// Whether the directory exists, durably.
    stands: AtomicBool,
    renamed: AtomicU64,
    synced: Mutex<u64>,
}

impl Files {
    fn open(root: &Path) -> Result<Self, StorageError> {
        data_directory::prepare(root)?;
        let incoming = root.join("incoming");
        data_directory::prepare(&incoming)?;
        let failed = |error| StorageError::file("clean", &incoming, error);
        for entry in fs::read_dir(&incoming).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        let files = Self {
            root: root.to_owned(),
            leaves: (0..LEAVES).map(|_| Leaf::default()).collect(),
            number: AtomicU64::new(0),
        };
        let mut made = false;
        for shard in 0..SHARDS {
            let path = files.shard_path(shard);
            match fs::create_dir(&path) {
                Ok(()) => made = true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.find_leaves(shard)?,
                Err(error) => return Err(StorageError::file("create the directory", &path, error)),
            }
        }
        if made {
            data_directory::sync(root)?;
        }
        Ok(files)
    }

    /// Notes which directories a shard has. A process that was killed may have left one that is not durable yet.
    fn find_leaves(&self, shard: usize) -> Result<(), StorageError> {
        let path = self.shard_path(shard);
        let failed = |error| StorageError::file("list", &path, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // What is longer is a blob of the former layout.
            let second = name.to_str().filter(|name| name.len() == 2);
            found.extend(second.and_then(|name| u8::from_str_radix(name, 16).ok()));
        }
        if !found.is_empty() {
            data_directory::sync(&path)?;
        }
        for second in found {
            self.leaves[shard * SHARDS + usize::from(second)].stands.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn shard_path(&self, shard: usize) -> PathBuf {
        self.root.join(format!("{shard:02x}"))
    }

    fn leaf_path(&self, leaf: usize) -> PathBuf {
        self.root.join(format!("{:02x}/{:02x}", leaf / SHARDS, leaf % SHARDS))
    }

    fn path(&self, name: BlobName) -> PathBuf {
        self.leaf_path(leaf_of(&name.hash)).join(name.file_name())
    }

    /// Where the former layout had it.
    fn former_path(&self, name: BlobName) -> PathBuf {
        self.shard_path(name.hash.0[0].into()).join(name.file_name())
    }

    fn put(&self, name: BlobName, body: &[u8]) -> Result<(), StorageError> {
        let leaf = leaf_of(&name.hash);
        let stands = self.leaves[leaf].stands.load(Ordering::Acquire);
        if !stands {
            let path = self.leaf_path(leaf);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StorageError::file("create the directory", &path, error));
                }
                _ => {}
            }
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let incoming = self.root.join("incoming").join(format!("{}.{number}", std::process::id()));
        let written = self.write_and_rename(&incoming, name, body);
        if written.is_err() {
            // Half a file takes room that may be what is missing. That it cannot be removed either changes nothing.
            fs::remove_file(&incoming).ok();
        }
        written?;
        self.sync_leaf(leaf)?;
        if !stands {
            // Last, for by then most file systems have committed it with the rest.
            data_directory::sync(&self.shard_path(leaf / SHARDS))?;
            self.leaves[leaf].stands.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn write_and_rename(&self, incoming: &Path, name: BlobName, body: &[u8]) -> Result<(), StorageError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(incoming);
        let mut file = file.map_err(|error| StorageError::file("create", incoming, error))?;
        file.write_all(body).map_err(|error| StorageError::file("write", incoming, error))?;
        file.sync_data().map_err(|error| StorageError::file("fsync", incoming, error))?;
        let path = self.path(name);
        fs::rename(incoming, &path).map_err(|error| StorageError::file("rename", &path, error))
    }

    fn sync_leaf(&self, index: usize) -> Result<(), StorageError> {
        let leaf = &self.leaves[index];
        let ticket = leaf.renamed.fetch_add(1, Ordering::SeqCst) + 1;
        let mut synced = leaf.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= ticket {
            return Ok(());
        }
        let covered = leaf.renamed.load(Ordering::SeqCst);
        data_directory::sync(&self.leaf_path(index))?;
        *synced = covered;
        Ok(())
    }

    fn get(&self, name: BlobName) -> Result<Bytes, StorageError> {
        match open(&self.path(name)) {
            Err(error) if error.is_missing() => match open(&self.former_path(name)) {
                // The path where it should be is the one to name.
                Err(former) if former.is_missing() => self.check_mounted(name).and(Err(error)),
                other => other,
            },
            other => other,
        }
    }

    fn holds(&self, name: BlobName) -> Result<bool, StorageError> {
        let there = |path: PathBuf| path.try_exists().map_err(|error| StorageError::file("look for", &path, error));
        if there(self.path(name))? || there(self.former_path(name))? {
            return Ok(true);
        }
        self.check_mounted(name).map(|()| false)
    }

    /// Each shard was there when it was opened: without it, not one blob is missing, but the disk.
    fn check_mounted(&self, name: BlobName) -> Result<(), StorageError> {
        if self.shard_path(name.hash.0[0].into()).exists() {
            Ok(())
        } else {
            Err(StorageError::NoDirectory { path: self.root.clone() })
        }
    }

    fn delete(&self, name: BlobName) -> Result<(), StorageError> {
        for path in [self.path(name), self.former_path(name)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::file("delete", &path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn scan(&self, shard: usize, before: SystemTime) -> Result<Vec<BlobName>, StorageError> {
        let mut found = BTreeSet::new();
        list(&self.shard_path(shard), before, &mut found)?;
        for second in 0..SHARDS {
            let leaf = shard * SHARDS + second;
            if self.leaves[leaf].stands.load(Ordering::Acquire) {
                list(&self.leaf_path(leaf), before, &mut found)?;
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// The directory as a shelf.
pub(super) struct FileShelf(Arc<Files>);

impl FileShelf {
    pub(super) fn open(root: &Path) -> Result<Self, StorageError> {
        Ok(Self(Arc::new(Files::open(root)?)))
    }
}

#[async_trait]
impl Shelf for FileShelf {
    async fn put(&self, name: BlobName, kept: Bytes) -> Result<(), StorageError> {
        let files = self.0.clone();
        blocking(move || files.put(name, &kept)).await?
    }

    async fn get(&self, name: BlobName) -> Result<Bytes, StorageError> {
        let files = self.0.clone();
        blocking(move || files.get(name)).await?
    }

    async fn get_kept(&self, name: BlobName) -> Result<Bytes, StorageError> {
        self.get(name).await
    }

    async fn holds(&self, name: BlobName) -> Result<bool, StorageError> {
        let files = self.0.clone();
        blocking(move || files.holds(name)).await?
    }

    async fn delete(&self, names: Vec<BlobName>) -> Result<(), StorageError> {
        let files = self.0.clone();
        blocking(move || names.into_iter().try_for_each(|name| files.delete(name))).await?
    }

    async fn scan(&self, shard: usize, before: SystemTime) -> Result<Vec<BlobName>, StorageError> {
        let files = self.0.clone();
        blocking(move || files.scan(shard, before)).await?
    }

    /// A directory is locked by its one process, and belongs to the database beside it.
    async fn claim(&self, _owner: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn reuses_names(&self) -> bool {
        true
    }
}

/// The directory of a hash.
fn leaf_of(hash: &BlobHash) -> usize {
    usize::from(hash.0[0]) * SHARDS + usize::from(hash.0[1])
}

/// Adds the blobs of one directory that were written before `before`.
fn list(path: &Path, before: SystemTime, found: &mut BTreeSet<BlobName>) -> Result<(), StorageError> {
    let failed = |error| StorageError::file("list", path, error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(name) = entry.file_name().to_str().and_then(BlobName::from_file_name) else { continue };
        match entry.metadata().and_then(|metadata| metadata.modified()) {
            Ok(modified) if modified < before => {
                found.insert(name);
            }
            Ok(_) => {}
            // Deleted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Bytes, StorageError> {
    let file = File::open(path).map_err(|error| StorageError::file("open", path, error))?;
    read(&file, path)
}

/// What is in the file of a blob, which nobody writes any more.
pub(super) fn read(file: &File, path: &Path) -> Result<Bytes, StorageError> {
    let failed = |doing| move |error| StorageError::file(doing, path, error);
    let len = file.metadata().map_err(failed("read"))?.len();
    if len > READ_BYTES {
        return mapped::map(file).map_err(failed("map"));
    }
    let mut body = Vec::with_capacity(len as usize);
    io::Read::read_to_end(&mut &*file, &mut body).map_err(failed("read"))?;
    Ok(body.into())
}
