//! What a statement or a connection fails with, whichever the engine.

use rusqlite::ffi;

/// Why a statement gave nothing. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused it, or its file is damaged.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL refused it, or is not there.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// There is no such row.
    #[error("no row where there must be one")]
    RowNotFound,
    /// A row holds what this program does not write.
    #[error("a row cannot be read: {0}")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The same, of a column that is known by name.
    #[error("the column {index} cannot be read: {source}")]
    ColumnDecode {
        /// Which column.
        index: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value has no form in which it can be kept.
    #[error("a value cannot be written: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Every reader has been busy for a long time.
    #[error("every connection to the database has been busy for ten seconds: the disk is too slow for what is asked")]
    Busy,
    /// The database was closed, or the program ends.
    #[error("the database is closed")]
    Closed,
}

/// disk_full: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const POSTGRES_FULL: &str = "53100";

impl Error {
    /// Whether there is no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Postgres(sqlx::Error::Database(cause)) => cause.code().is_some_and(|code| code == POSTGRES_FULL),
            _ => false,
        }
    }

    /// Whether a SQLite file is damaged, or none.
    pub(crate) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let Self::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
    }

    /// Whether a row was refused because its key is there already.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(error.extended_code, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
            }
            Self::Postgres(sqlx::Error::Database(cause)) => cause.is_unique_violation(),
            _ => false,
        }
    }
}
