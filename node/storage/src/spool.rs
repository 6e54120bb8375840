//! A message while it comes in: in memory up to 256 KB, then in a file that nobody else can name.
//!
//! Invariants: a spool holds at most [`MEMORY_BYTES`] on the heap; its file has no name, so that it vanishes with the
//! spool, the message made of it, or the process; a spool that grew beyond its limit refuses everything. Nothing of it
//! is durable: what must last is written elsewhere before it is acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use estafeta_core::Message;

use crate::data_directory;
use crate::error::StorageError;
use crate::mapped;

/// The most that a spool keeps in memory, in bytes.
pub const MEMORY_BYTES: usize = 256 * 1024;

/// The directory of the spool files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpoolDirectory(Arc<Path>);

impl SpoolDirectory {
    /// Takes `path`, which must be for spools alone, and removes what a crash left behind in it.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        data_directory::prepare(path)?;
        let failed = |error| StorageError::file("clean", path, error);
        for entry in fs::read_dir(path).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        Ok(Self(path.into()))
    }

    /// An empty spool that takes up to `limit_bytes`.
    pub fn spool(&self, limit_bytes: u64) -> Spool {
        Spool { directory: self.clone(), limit_bytes, len: 0, memory: Vec::new(), file: None, broken: false }
    }

    fn create_file(&self) -> Result<File, StorageError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = self.0.join(format!("{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| StorageError::file("create", &path, error))?;
        fs::remove_file(&path).map_err(|error| StorageError::file("unlink", &path, error))?;
        Ok(file)
    }
}

/// A message while it comes in.
#[derive(Debug)]
pub struct Spool {
    directory: SpoolDirectory,
    limit_bytes: u64,
    len: u64,
    /// What is not in the file yet.
    memory: Vec<u8>,
    file: Option<File>,
    /// A write to the file failed, or was given up half-way: what is there has a hole.
    broken: bool,
}

impl Spool {
    /// How much was written, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends. [`StorageError::TooLarge`] beyond the limit, and from then on.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        if let Err(refused) = self.check() {
            self.memory = Vec::new();
            self.file = None;
            return Err(refused);
        }
        while self.memory.len() + bytes.len() > MEMORY_BYTES {
            let (fitting, rest) = bytes.split_at(MEMORY_BYTES - self.memory.len());
            self.memory.extend_from_slice(fitting);
            self.spill().await?;
            bytes = rest;
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// The message of what was written. With nothing read back: a file is mapped.
    pub async fn finish(mut self) -> Result<Message, StorageError> {
        self.check()?;
        if self.file.is_none() {
            return Ok(Message::new(Bytes::from(self.memory)));
        }
        self.spill().await?;
        let body = match &self.file {
            Some(file) => {
                mapped::map(file).map_err(|error| StorageError::file("map a spool file", &self.directory.0, error))?
            }
            None => Bytes::new(),
        };
        Ok(Message::new(body))
    }

    fn check(&self) -> Result<(), StorageError> {
        match self.len > self.limit_bytes {
            true => Err(StorageError::TooLarge { limit_bytes: self.limit_bytes }),
            false if self.broken => Err(StorageError::BrokenSpool),
            false => Ok(()),
        }
    }

    /// Moves the memory to the file.
    async fn spill(&mut self) -> Result<(), StorageError> {
        let (directory, memory, file) = (self.directory.clone(), std::mem::take(&mut self.memory), self.file.take());
        self.broken = true;
        let write = move || -> Result<(File, Vec<u8>), StorageError> {
            let mut memory = memory;
            let mut file = match file {
                Some(file) => file,
                None => directory.create_file()?,
            };
            file.write_all(&memory).map_err(|error| StorageError::file("write a spool file", &directory.0, error))?;
            memory.clear();
            Ok((file, memory))
        };
        let (file, memory) = tokio::task::spawn_blocking(write).await.map_err(|_| StorageError::BrokenSpool)??;
        (self.file, self.memory, self.broken) = (Some(file), memory, false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn directory() -> (tempfile::TempDir, SpoolDirectory) {
        let root = tempfile::tempdir().unwrap();
        let directory = SpoolDirectory::open(root.path()).unwrap();
        (root, directory)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn gives_back_what_was_written(pieces in proptest::collection::vec((any::<u8>(), 0usize..400_000), 0..5)) {
            let (root, directory) = directory();
            let written: Vec<u8> = pieces.iter().flat_map(|&(byte, len)| std::iter::repeat_n(byte, len)).collect();
            let message = block_on(async {
                let mut spool = directory.spool(u64::MAX);
                for &(byte, len) in &pieces {
                    spool.write(&vec![byte; len]).await.unwrap();
                    assert!(spool.memory.len() <= MEMORY_BYTES);
                }
                spool.finish().await.unwrap()
            });
            prop_assert_eq!(message.body(), &written);
            prop_assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn refuses_beyond_its_limit_and_from_then_on() {
        let (_root, directory) = directory();
        block_on(async {
            let mut spool = directory.spool(10);
            spool.write(&[0; 10]).await.unwrap();
            assert!(matches!(spool.write(&[0]).await, Err(StorageError::TooLarge { limit_bytes: 10 })));
            assert!(spool.write(&[]).await.is_err());
            assert!(spool.finish().await.is_err());
        });
    }

    #[test]
    fn what_a_crash_left_behind_is_removed() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("1.2"), "x").unwrap();
        SpoolDirectory::open(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
