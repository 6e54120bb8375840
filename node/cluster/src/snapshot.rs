//! The members as last known, in a file: a node that starts again, a name server above all, serves from it at once.
//!
//! A convenience, never a truth: what cannot be read is left out, and what cannot be written is said once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use estafeta_core::members::{Member, Members};

use crate::files::replace;

/// How often it is written at most.
const PERIOD: Duration = Duration::from_secs(3);

/// The largest file that is read, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The file, and what is to be written there.
pub struct Snapshot {
    file: PathBuf,
    changed: Option<Members>,
    written: Option<Instant>,
    failed: Arc<AtomicBool>,
}

impl Snapshot {
    /// Opens the file, and gives what it holds: nobody when it is not there.
    pub fn open(file: &Path) -> (Self, Members) {
        let kept = match read(file) {
            Ok(members) => Members::new(members),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Members::default(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the members as last known cannot be read: all that are enrolled count as ready until they are heard");
                Members::default()
            }
        };
        (Self { file: file.to_owned(), changed: None, written: None, failed: Arc::default() }, kept)
    }

    /// Notes that the members have changed.
    pub fn change(&mut self, members: &Members) {
        self.changed = Some(members.clone());
    }

    /// What is to be written now: nothing when nothing has changed, or when it has only just been written.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        let recent = self.written.is_some_and(|written| now.saturating_duration_since(written) < PERIOD);
        let members = self.changed.take_if(|_| !recent)?;
        self.written = Some(now);
        Some(Due { file: self.file.clone(), members, failed: self.failed.clone() })
    }
}

/// A snapshot that is to be written.
pub struct Due {
    file: PathBuf,
    members: Members,
    failed: Arc<AtomicBool>,
}

impl Due {
    /// Writes it: waits for the disk.
    pub fn write(self) {
        let content = serde_json::to_vec(&self.members.iter().collect::<Vec<_>>());
        let written = content.map_err(io::Error::other).and_then(|content| replace(&self.file, &content, 0o600));
        let failed = self.failed.swap(written.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (written, failed) {
            tracing::error!(file = %self.file.display(), %error, "the members cannot be kept: a restart would know older ones");
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<Member>> {
    if fs::metadata(file)?.len() > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    serde_json::from_slice(&fs::read(file)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("members.json");
        let (mut snapshot, kept) = Snapshot::open(&file);
        assert_eq!(kept, Members::default());
        let start = Instant::now();
        let members = |name: &str| Members::new(vec![Member::named(name.parse().unwrap())]);
        snapshot.change(&members("a"));
        snapshot.due(start).unwrap().write();
        snapshot.change(&members("b"));
        assert!(snapshot.due(start + Duration::from_secs(1)).is_none());
        assert_eq!(Snapshot::open(&file).1, members("a"));
        snapshot.due(start + Duration::from_secs(4)).unwrap().write();
        assert!(snapshot.due(start + Duration::from_secs(9)).is_none());
        assert_eq!(Snapshot::open(&file).1, members("b"));
        fs::write(&file, "nonsense").unwrap();
        assert_eq!(Snapshot::open(&file).1, Members::default());
    }
}
