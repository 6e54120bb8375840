//! The authority and what it issued, as PEM files in one directory: `ca.pem`, `ca.key`, `NODE.pem`, `NODE.key`.
//!
//! Keys are made with mode 0600 from the start, and nothing is ever written over but a node's own pair.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use estafeta_core::{NodeName, RoleName};

use crate::authority::{Authority, AuthorityError, Pair};

/// Why the files cannot be read or written. Each names the file and the mend.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// An authority is there already, and a new one would shut every node out.
    #[error("{0} exists already: this directory holds a cluster's authority; choose another with --directory")]
    Exists(PathBuf),
    /// There is no authority.
    #[error("{0} does not exist: make the cluster's authority with: estafeta cluster init")]
    Missing(PathBuf),
    /// The name stands for another file here.
    #[error("a node cannot be named {0:?}: that name is taken by the authority's own files; choose another")]
    Reserved(String),
    /// The file system says no.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The certificates say no.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The name of the authority's own files.
const AUTHORITY: &str = "ca";

/// The name of the files that [`AuthorityFiles::issue_service`] writes.
const SERVICE: &str = "service";

/// Where a pair was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A directory that holds an authority.
pub struct AuthorityFiles {
    directory: PathBuf,
    authority: Authority,
}

impl AuthorityFiles {
    /// Makes a new authority in `directory`, which is made when it is not there.
    pub fn init(directory: &Path, now: SystemTime) -> Result<Self, FilesError> {
        fs::create_dir_all(directory).map_err(|error| FilesError::Io { path: directory.into(), error })?;
        let files = pair_files(directory, AUTHORITY);
        if files.key.exists() || files.certificate.exists() {
            return Err(FilesError::Exists(files.key));
        }
        let pair = Authority::create(now)?;
        write(&pair, &files)?;
        Ok(Self { directory: directory.into(), authority: Authority::load(&pair)? })
    }

    /// The authority that stands in `directory`.
    pub fn open(directory: &Path) -> Result<Self, FilesError> {
        let files = pair_files(directory, AUTHORITY);
        let pair = Pair { certificate: read(&files.certificate)?, key: read(&files.key)? };
        Ok(Self { directory: directory.into(), authority: Authority::load(&pair)? })
    }

    /// The authority of a certificate and a key that stand where a configuration says.
    pub fn load(certificate: &Path, key: &Path) -> Result<Authority, FilesError> {
        Ok(Authority::load(&Pair { certificate: read(certificate)?, key: read(key)? })?)
    }

    /// The authority's certificate: what every node is given beside its own pair.
    pub fn certificate(&self) -> PathBuf {
        pair_files(&self.directory, AUTHORITY).certificate
    }

    /// The authority's key.
    pub fn key(&self) -> PathBuf {
        pair_files(&self.directory, AUTHORITY).key
    }

    /// Issues a node's pair into the directory, in place of its last one.
    pub fn issue_node(&self, node: &NodeName, roles: &[RoleName], now: SystemTime) -> Result<PairFiles, FilesError> {
        // Their own files would be overwritten.
        if [AUTHORITY, SERVICE].contains(&node.as_str()) {
            return Err(FilesError::Reserved(node.to_string()));
        }
        let files = pair_files(&self.directory, node.as_str());
        write(&self.authority.issue_node(node, roles, now)?, &files)?;
        Ok(files)
    }

    /// Issues a pair for what clients see, for demonstrations and tests, as `service.pem` and `service.key`.
    pub fn issue_service(&self, names: &[String], now: SystemTime) -> Result<PairFiles, FilesError> {
        let files = pair_files(&self.directory, SERVICE);
        write(&self.authority.issue_service(names, now)?, &files)?;
        Ok(files)
    }
}

fn pair_files(directory: &Path, name: &str) -> PairFiles {
    PairFiles { certificate: directory.join(format!("{name}.pem")), key: directory.join(format!("{name}.key")) }
}

fn read(path: &Path) -> Result<String, FilesError> {
    fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FilesError::Missing(path.into()),
        _ => FilesError::Io { path: path.into(), error },
    })
}

fn write(pair: &Pair, files: &PairFiles) -> Result<(), FilesError> {
    let replace = |path: &Path, content: &str, mode| {
        replace(path, content.as_bytes(), mode).map_err(|error| FilesError::Io { path: path.into(), error })
    };
    replace(&files.key, &pair.key, 0o600)?;
    replace(&files.certificate, &pair.certificate, 0o644)
}

/// A new file under the name at once, whole and durable: a crash leaves the old one or the new one.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // Without this the name may still lead to the old file after a crash.
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => fs::File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn init_once_then_issue_and_keys_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        assert!(matches!(AuthorityFiles::open(directory.path()), Err(FilesError::Missing(_))));
        AuthorityFiles::init(directory.path(), now).unwrap();
        assert!(matches!(AuthorityFiles::init(directory.path(), now), Err(FilesError::Exists(_))));
        let authority = AuthorityFiles::open(directory.path()).unwrap();
        let node = "edge1".parse().unwrap();
        let files = authority.issue_node(&node, &[RoleName::EDGE], now).unwrap();
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::read(&files.certificate).unwrap();
        authority.issue_node(&node, &[RoleName::EDGE], now).unwrap();
        assert_ne!(first, fs::read(&files.certificate).unwrap());
        for taken in ["ca", "service"] {
            let refused = authority.issue_node(&taken.parse().unwrap(), &[RoleName::EDGE], now);
            assert!(matches!(refused, Err(FilesError::Reserved(_))));
        }
        AuthorityFiles::open(directory.path()).unwrap().issue_node(&node, &[], now).unwrap();
    }
}
