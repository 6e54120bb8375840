//! A directory that belongs to this program: made if it is missing, of mode 0700, and checked.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use crate::error::StorageError;

/// Makes sure that `path` is a directory of this process's user. Parents that are missing are made too.
pub fn prepare(path: &Path) -> Result<(), StorageError> {
    if !path.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| StorageError::file("create the directory", path, error))?;
        if let Some(parent) = path.parent() {
            sync(parent)?;
        }
    }
    let owner = fs::metadata(path).map_err(|error| StorageError::file("read", path, error))?.uid();
    let user = nix::unistd::geteuid().as_raw();
    if owner != user {
        return Err(StorageError::Owner { path: path.to_owned(), owner, user });
    }
    Ok(())
}

/// Makes the entries of a directory durable: what was created in it, renamed into it or deleted from it.
pub fn sync(path: &Path) -> Result<(), StorageError> {
    // An empty path is the parent of a relative one.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StorageError::file("fsync", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_parents_and_takes_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/c");
        prepare(&path).unwrap();
        prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_its_place_or_a_foreign_directory_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(prepare(&path).unwrap_err().to_string().contains(path.to_str().unwrap()));
        if nix::unistd::geteuid().is_root() {
            let foreign = root.path().join("foreign");
            fs::create_dir(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
            assert!(matches!(prepare(&foreign), Err(StorageError::Owner { owner: 12345, .. })));
        }
    }
}
