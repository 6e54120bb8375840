//! What fails in storage: each text tells the operator what to mend.

use std::io;
use std::path::{Path, PathBuf};

use estafeta_core::{Failure, Reason};

use crate::sql::{self, Fault};

/// An error of the disk or the database. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory belongs to another user.
    #[error(
        "{path} belongs to user {owner} and this program runs as user {user}: change its owner (chown) or run as that user"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is, as a user id.
        owner: u32,
        /// Who we are, as a user id.
        user: u32,
    },
    /// Another process has the database open.
    #[error(
        "{path} is in use by process {holder}: one process alone may serve it; stop the other or give this node its own data directory"
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// The other process, as it wrote itself down.
        holder: String,
    },
    /// The disk, or the user's share of it, is full.
    #[error("{path}: the disk is full: make room or enlarge it")]
    Full {
        /// What was to be written.
        path: PathBuf,
    },
    /// A file or a directory could not be read or written.
    #[error("{path}: cannot {doing}: {source}")]
    File {
        /// What was tried: `write`, `rename`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The database refused a statement, or its file is damaged.
    #[error("database: {0}")]
    Database(#[source] sql::Error),
    /// A newer version of this program has made something of the database that this one does not know.
    #[error(
        "the database was brought up to step {step} by a newer version of estafeta: run that version, or restore a backup of before"
    )]
    Newer {
        /// The first step that is not known.
        step: i64,
    },
    /// The database was made by steps of other words than ours.
    #[error(
        "the database was made by another version of estafeta: step {step} of its schema ({about}) is not the one that this version knows. Run the version that made it, back up with that, and restore into an empty database with this one"
    )]
    Changed {
        /// Which step.
        step: i64,
        /// What it makes.
        about: &'static str,
    },
    /// A compressed body cannot be read.
    #[error("a compressed body is damaged ({0}): run estafeta mailbox verify, and restore it from a backup")]
    Packed(#[source] io::Error),
    /// The directory of the blobs is not what it was when it was opened.
    #[error("{path}: the directory is not there, or is another one: is its disk mounted?")]
    NoDirectory {
        /// Which.
        path: PathBuf,
    },
    /// There is no such object.
    #[error("{place}: there is no such object")]
    NoObject {
        /// Where it should be.
        place: String,
    },
    /// An object does not hold the body of its name.
    #[error("{0}: the object is damaged: run estafeta mailbox verify, and restore it from a backup")]
    Damaged(String),
    /// The object store cannot be reached, or does not do what it is asked.
    #[error("object store: {0}")]
    Objects(String),
    /// No PostgreSQL of those that were named is a primary that answers.
    #[error("no PostgreSQL primary answers: {0}")]
    Away(String),
    /// A synchronous standby is required, and none is there.
    #[error(
        "no synchronous standby is connected and one is required: nothing is acknowledged until it is back; see pg_stat_replication and synchronous_standby_names"
    )]
    NoStandby,
    /// The server that was found is not what was asked for, and whoever runs it can make it so while this program runs.
    #[error("{0}")]
    Unfit(&'static str),
    /// The connection was lost in a commit, or the commit waited too long for a standby.
    #[error("a commit was not answered: whether it was done is not known")]
    Unknown,
    /// The database refused a commit.
    #[error("{0}")]
    Refused(String),
    /// What leads to a PostgreSQL or an object store is written wrongly.
    #[error("{0}")]
    Address(String),
    /// The database was closed, because the role stops.
    #[error("the database is closed")]
    Closed,
    /// The same rows changed under every attempt.
    #[error("others changed the same rows again and again")]
    Contended,
    /// A write panicked: a bug. It changed nothing.
    #[error("a write to the database panicked")]
    Panicked,
    /// An earlier write to this spool failed, or was given up half-way.
    #[error("an earlier write of this message failed")]
    BrokenSpool,
    /// A message grew beyond its limit.
    #[error("larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
}

impl StorageError {
    /// Makes the error of a file operation.
    pub(crate) fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::File { doing, path: path.to_owned(), source },
        }
    }

    /// Whether there is no room on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether the database or the object store is not to be had for now: it comes back, or another takes its place.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Away(_) | Self::Objects(_) | Self::NoDirectory { .. } => true,
            Self::NoStandby | Self::Unfit(_) | Self::Unknown | Self::Contended => true,
            Self::Database(error) => Fault::of(error).is_some(),
            _ => false,
        }
    }

    /// Whether there is nothing more to try in this turn.
    pub(crate) fn ends_a_turn(&self) -> bool {
        matches!(self, Self::Away(_) | Self::NoStandby | Self::Unknown | Self::Closed)
    }

    /// The same for another job of a turn.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::NoStandby => Self::NoStandby,
            Self::Unknown => Self::Unknown,
            Self::Closed => Self::Closed,
            Self::Contended => Self::Contended,
            Self::Full { path } => Self::Full { path: path.clone() },
            Self::Away(text) => Self::Away(text.clone()),
            other => Self::Refused(other.to_string()),
        }
    }

    /// Whether a file, or an object, does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NoObject { .. })
            || matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether something that was kept is missing or damaged: it does not come back by itself.
    pub fn is_lost(&self) -> bool {
        self.is_missing() || matches!(self, Self::Packed(_) | Self::Damaged(_))
    }

    /// Whether the database's file cannot be used as it is: it is damaged, or none of ours.
    pub fn is_unusable(&self) -> bool {
        match self {
            Self::Database(error) => error.is_damage(),
            Self::Newer { .. } | Self::Changed { .. } => true,
            _ => false,
        }
    }

    /// As it crosses a contract: the client learns that it may try again, the operator why.
    pub fn to_failure(&self) -> Failure {
        match self {
            Self::Full { .. } => {
                Failure::new(Reason::Unavailable, "insufficient storage, try again later").because(self)
            }
            Self::Closed => Failure::unavailable(self),
            _ if self.is_away() => Failure::unavailable(self),
            Self::TooLarge { limit_bytes } => {
                Failure::new(Reason::TooLarge, format!("larger than {limit_bytes} bytes"))
            }
            _ => Failure::internal(self),
        }
    }
}

impl From<sql::Error> for StorageError {
    fn from(error: sql::Error) -> Self {
        match error {
            _ if error.is_full() => Self::Full { path: "the database".into() },
            sql::Error::Closed | sql::Error::Postgres(sqlx::Error::PoolClosed) => Self::Closed,
            _ => Self::Database(error),
        }
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        sql::Error::from(error).into()
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        error.to_failure()
    }
}
