//! Whether a directory's disk can be written: it has room, and a small file there is written, fsynced and removed.
//!
//! A disk that hangs blocks whoever waits for it, so the trial runs on a thread of its own, one at a time, and
//! [`Disk::check`] never waits for it longer than it is told to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::StorageError;

/// The file that is written, in the directory.
const FILE: &str = ".disk-trial";

/// How much is written, in bytes: a block, so that a disk without a free one refuses.
const TRIAL_BYTES: usize = 4096;

/// How long a trial's result stands.
const STANDS: Duration = Duration::from_secs(2);

/// A trial is not made more often than once in so many times what it took: a busy disk has other work.
const REST: u32 = 20;

/// A directory's disk under watch.
pub struct Disk {
    directory: PathBuf,
    free_bytes: u64,
    hangs_after: Duration,
    running: Option<(Instant, JoinHandle<Result<(), String>>)>,
    last: Option<Tried>,
}

/// How a trial came out.
struct Tried {
    at: Instant,
    took: Duration,
    result: Result<(), String>,
}

impl Disk {
    /// The disk of `directory`. It has room while `free_bytes` are left for us; a trial that takes longer than
    /// `hangs_after` says that the disk hangs.
    pub fn of(directory: PathBuf, free_bytes: u64, hangs_after: Duration) -> Self {
        Self { directory, free_bytes, hangs_after, running: None, last: None }
    }

    /// Whether it can be written, waiting at most `patience` for an answer. Until a trial has come back or hangs, the
    /// one before it counts. An error is for the operator.
    pub async fn check(&mut self, patience: Duration) -> Result<(), String> {
        if let Some(Tried { at, took, result }) = &self.last
            && self.running.is_none()
            && at.elapsed() < STANDS.max(*took * REST).min(self.hangs_after)
        {
            return result.clone();
        }
        let (directory, free_bytes) = (&self.directory, self.free_bytes);
        let (since, trial) = self.running.get_or_insert_with(|| {
            let directory = directory.clone();
            (Instant::now(), tokio::task::spawn_blocking(move || attempt(&directory, free_bytes)))
        });
        match tokio::time::timeout(patience, trial).await {
            Ok(ended) => {
                let result = ended.unwrap_or_else(|error| Err(format!("a bug: the trial of the disk broke: {error}")));
                self.last = Some(Tried { at: Instant::now(), took: since.elapsed(), result: result.clone() });
                self.running = None;
                result
            }
            Err(_) if since.elapsed() >= self.hangs_after => Err(format!(
                "{}: its disk hangs: a write has not come back for more than {} s; look at the disk, the controller or the storage network",
                self.directory.display(),
                self.hangs_after.as_secs()
            )),
            Err(_) => self.last.as_ref().map_or(Ok(()), |last| last.result.clone()),
        }
    }
}

/// One trial. It blocks.
fn attempt(directory: &Path, free_bytes: u64) -> Result<(), String> {
    let free = free(directory).map_err(|error| StorageError::file("read", directory, error).to_string())?;
    if free < free_bytes {
        return Err(format!(
            "{}: its disk has {} MB left, less than {} MB: free some, enlarge it, or lower [health] free_bytes",
            directory.display(),
            free / 1_000_000,
            free_bytes / 1_000_000
        ));
    }
    let path = directory.join(FILE);
    let write = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(&[0; TRIAL_BYTES])?;
        file.sync_all()
    };
    let written = write();
    // What was left behind is overwritten by the next trial.
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(|error| StorageError::file("write", &path, error).to_string())
}

/// How many bytes of the directory's disk are free for whom this process runs as.
fn free(directory: &Path) -> io::Result<u64> {
    let statistics = nix::sys::statvfs::statvfs(directory)?;
    Ok(statistics.blocks_available().saturating_mul(statistics.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const HANGS: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_disk_with_room_takes_a_write_and_keeps_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = Disk::of(directory.path().to_owned(), 0, HANGS);
        assert_eq!(disk.check(PATIENCE).await, Ok(()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn too_little_room_and_a_directory_that_is_gone_are_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let error = Disk::of(path.clone(), u64::MAX, HANGS).check(PATIENCE).await.unwrap_err();
        assert!(error.contains(" MB left, less than ") && error.contains("[health] free_bytes"), "{error}");
        let mut disk = Disk::of(path.clone(), 0, HANGS);
        drop(directory);
        let gone = disk.check(PATIENCE).await.unwrap_err();
        assert!(gone.starts_with(&path.display().to_string()), "{gone}");
        // The result stands for a while, then the disk is tried again.
        fs::create_dir(&path).unwrap();
        assert_eq!(disk.check(PATIENCE).await, Err(gone));
        tokio::time::sleep(STANDS).await;
        assert_eq!(disk.check(PATIENCE).await, Ok(()));
        fs::remove_dir(&path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_does_not_come_back_is_a_disk_that_hangs() {
        let mut disk = Disk::of("/".into(), 0, HANGS);
        disk.running = Some((Instant::now(), tokio::spawn(std::future::pending())));
        assert_eq!(disk.check(Duration::from_secs(1)).await, Ok(()), "not long yet, and nothing was wrong before");
        for _ in 0..3 {
            let _ = disk.check(Duration::from_secs(1)).await;
        }
        let error = disk.check(Duration::from_secs(1)).await.unwrap_err();
        assert!(error.starts_with("/: its disk hangs"), "{error}");
    }
}
