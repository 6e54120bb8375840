//! One process alone has a database open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::StorageError;

/// An exclusive lock on `NAME.lock` (flock): it ends with the process, however that ends. The file holds the number of
/// the process that has it, for people to read, and stays when the lock is given up.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(database: &Path) -> Result<Self, StorageError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = Path::new(&path);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = file.map_err(|error| StorageError::file("open", path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(path).unwrap_or_default();
                let holder = if holder.is_empty() { "(unknown)".into() } else { holder.trim().to_owned() };
                return Err(StorageError::Locked { path: database.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(StorageError::file("lock", path, error)),
        }
        let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(|error| StorageError::file("write", path, error))?;
        Ok(Self { _file: file })
    }
}
