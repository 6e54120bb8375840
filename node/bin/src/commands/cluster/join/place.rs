//! Where a node that joins puts what it is given: its configuration, and in its data directory its certificate, the
//! authority's and the settings.
//!
//! Invariant: certificate and key are one file, so that a renewal replaces both at once or neither.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use estafeta_cluster::files::replace;
use estafeta_core::joining::Joined;
use estafeta_net::role::Role;
use nix::unistd::{Uid, User};

use super::{Wanted, configuration};
use crate::exit::{Code, Exit};
use crate::settings;

/// The directories and files of the node, made as far as they can be before it is one.
pub struct Place {
    configuration: PathBuf,
    data: PathBuf,
    owner: Option<Uid>,
}

/// The directory of the node's own certificate, below its data directory.
const CERTIFICATES: &str = "cluster";

impl Place {
    /// Makes the directories, and finds out what would be in the way.
    pub fn prepare(wanted: &Wanted, configuration: &Path, force: bool) -> anyhow::Result<Self> {
        if configuration.exists() && !force {
            return Err(Exit::error(
                Code::CannotCreate,
                format_args!(
                    "{} exists already: this machine has a node; name another file with --config, or write over it with --force",
                    configuration.display()
                ),
            ));
        }
        let owner = owner(wanted.user.as_deref())?;
        let place = Self { configuration: configuration.to_owned(), data: wanted.data.clone(), owner };
        let failed = |path: &Path, error: io::Error| {
            Exit::error(Code::CannotCreate, format_args!("{}: cannot be made: {error}", path.display()))
        };
        if let Some(directory) = configuration.parent() {
            fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        }
        for directory in [place.data.clone(), place.certificates()] {
            place.make(&directory).map_err(|error| failed(&directory, error))?;
        }
        // A disk that takes nothing is found before the token is used.
        let probe = place.certificates().join("probe");
        replace(&probe, &[0; 4096], 0o600)
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|error| failed(&probe, error))?;
        Ok(place)
    }

    fn certificates(&self) -> PathBuf {
        self.data.join(CERTIFICATES)
    }

    fn make(&self, directory: &Path) -> io::Result<()> {
        if !directory.exists() {
            directory.parent().map_or(Ok(()), fs::create_dir_all)?;
            DirBuilder::new().mode(0o700).create(directory)?;
        }
        self.give(directory)
    }

    /// Gives a file to whom the node will run as.
    fn give(&self, path: &Path) -> io::Result<()> {
        match self.owner {
            Some(owner) => chown(path, Some(owner.as_raw()), None),
            None => Ok(()),
        }
    }

    /// Writes everything; the configuration comes last, so that a node that is half written does not start.
    pub fn write(&self, wanted: &Wanted, joined: &Joined, key: &str, roles: &[Role]) -> anyhow::Result<()> {
        let directory = self.certificates();
        let pair = directory.join("node.pem");
        let authority = directory.join("ca.pem");
        let kept = settings::file(&self.data);
        let snapshot = serde_json::to_vec_pretty(&joined.settings)?;
        let text = configuration::text(wanted, joined, &pair, &authority, roles);
        let files: [(&Path, Vec<u8>, u32); 3] = [
            (&pair, format!("{key}{}", joined.issued.certificate).into_bytes(), 0o600),
            (&authority, joined.authority.clone().into_bytes(), 0o644),
            (&kept, snapshot, 0o600),
        ];
        let failed = |path: &Path, error: io::Error| {
            Exit::error(
                Code::OsError,
                format_args!(
                    "{}: {error}: the token is used; mend this, then estafeta node remove {} and join with a new token",
                    path.display(),
                    wanted.name
                ),
            )
        };
        for (path, content, mode) in files {
            replace(path, &content, mode).and_then(|()| self.give(path)).map_err(|error| failed(path, error))?;
        }
        replace(&self.configuration, text.as_bytes(), 0o644).map_err(|error| failed(&self.configuration, error))
    }
}

/// Whom the files are given to; none for whoever runs this.
fn owner(user: Option<&str>) -> anyhow::Result<Option<Uid>> {
    let Some(name) = user.filter(|_| Uid::effective().is_root()) else { return Ok(None) };
    let unknown = || {
        Exit::error(
            Code::NoUser,
            format_args!("there is no user {name:?} on this machine: make it with: useradd --system {name}"),
        )
    };
    Ok(Some(User::from_name(name)?.ok_or_else(unknown)?.uid))
}
