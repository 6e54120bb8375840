//! What servers have on the disk, and whether they still write.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use crate::report::say;

/// For how long a search index has to be silent between two systems, and how long is waited for that.
pub const SILENCE: Duration = Duration::from_secs(3);
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until nothing has been written for as long as `silence` to the search indexes under a directory: they are filled in the
/// background, and would take from whoever is asked next. Says how long that took; none when it takes longer than `limit`.
pub fn rest(directory: &Path, silence: Duration, limit: Duration) -> anyhow::Result<Option<Duration>> {
    let (begun, mut said) = (Instant::now(), Instant::now());
    loop {
        let (_, written) = under(directory, "search.db")?;
        // It begins a moment after what it has to do.
        let since = written.elapsed().unwrap_or_default();
        if begun.elapsed().min(since) >= silence {
            return Ok(Some(begun.elapsed().saturating_sub(since)));
        }
        if begun.elapsed() > limit {
            say(&format!("the search index is not done after {limit:?}"));
            return Ok(None);
        }
        if said.elapsed() > Duration::from_secs(30) {
            say("the search index is being filled");
            said = Instant::now();
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// What the files under a directory whose names begin so take on the disk, and when one was last written to.
pub fn under(directory: &Path, beginning: &str) -> anyhow::Result<(u64, SystemTime)> {
    let (mut bytes, mut written) = (0, SystemTime::UNIX_EPOCH);
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        // A file may go meanwhile.
        let Ok(about) = entry.metadata() else { continue };
        let (more, last) = match about.is_dir() {
            true => under(&entry.path(), beginning)?,
            // In blocks of 512 bytes, whatever the file system's are.
            false if entry.file_name().to_string_lossy().starts_with(beginning) => {
                (about.blocks() * 512, about.modified()?)
            }
            false => continue,
        };
        (bytes, written) = (bytes + more, written.max(last));
    }
    Ok((bytes, written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(directory.path().join("below").join("search.db-wal"), vec![1; 10_000]).unwrap();
        fs::write(directory.path().join("mailbox.db"), vec![1; 10_000]).unwrap();
        let (all, written) = under(directory.path(), "").unwrap();
        let (index, _) = under(directory.path(), "search.db").unwrap();
        assert!(index >= 10_000 && all >= index + 10_000, "{index} {all}");
        assert!(written.elapsed().unwrap() < Duration::from_secs(60));
        assert_eq!(under(directory.path(), "nothing").unwrap().0, 0);
    }
}
