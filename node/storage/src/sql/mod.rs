//! A SQLite database: one writer that commits in groups, and a pool of readers.
//!
//! Invariants:
//! - what [`Database::run`] has answered is committed and fsynced (WAL, `synchronous=FULL`);
//! - one process at a time has the database open: it holds an exclusive lock on the file `NAME.lock`;
//! - readers see whole commits only, and never wait for the writer.

mod connection;
mod lock;
mod migrations;
mod query;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::data_directory;
use crate::error::StorageError;
use writer::Writer;

pub use connection::{Connection, Engine};
pub use migrations::Migration;
pub use query::{Column, FromColumn, Query, Row, Value, query, query_built};
pub use sqlx::Error;

/// What is called after each commit, on the writer's thread: it must return at once.
pub type AfterCommit = Box<dyn Fn() + Send>;

/// How to open a database.
pub struct DatabaseOptions {
    /// The file. Beside it stand SQLite's `-wal` and `-shm`, and the lock file.
    pub path: PathBuf,
    /// Every migration there ever was, in order.
    pub migrations: &'static [Migration],
    /// How many connections read at most.
    pub readers: u32,
    /// Called after each commit.
    pub after_commit: AfterCommit,
}

impl DatabaseOptions {
    /// Of this file, with four readers and nothing to call.
    pub fn new(path: impl Into<PathBuf>, migrations: &'static [Migration]) -> Self {
        Self { path: path.into(), migrations, readers: 4, after_commit: Box::new(|| {}) }
    }
}

/// An open database. Cheap to clone; it closes when [`Database::close`] is called or the last clone is dropped.
#[derive(Clone)]
pub struct Database {
    path: Arc<Path>,
    writer: Writer,
    readers: SqlitePool,
}

impl Database {
    /// Opens the database, makes it if it is missing, and brings its schema up to date.
    pub async fn open(options: DatabaseOptions) -> Result<Self, StorageError> {
        let path: Arc<Path> = options.path.into();
        if let Some(directory) = path.parent() {
            data_directory::prepare(directory)?;
        }
        let lock = lock::Lock::take(&path)?;
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            // In KiB: the writer touches the same inner pages over and over.
            .pragma("cache_size", "-32768")
            // A WAL that grew under one large transaction shrinks again. In bytes.
            .pragma("journal_size_limit", "67108864");
        let mut connection = SqliteConnection::connect_with(&connect).await?;
        migrations::run(&mut connection, options.migrations).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(connect.create_if_missing(false).read_only(true).pragma("cache_size", "-8192"));
        let writer = Writer::start(connection.into(), lock, options.after_commit, &path)?;
        Ok(Self { path, writer, readers })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A connection to read with.
    pub async fn reader(&self) -> Result<Connection, Error> {
        Ok(self.readers.acquire().await?.into())
    }

    /// A connection that sees the database at one moment.
    pub async fn snapshot(&self) -> Result<Connection, Error> {
        Ok(self.readers.begin().await?.into())
    }

    /// Runs a job in the writer's next transaction, and answers once that is durable. What the job answers with `Err`
    /// undoes the job alone, and is answered too.
    ///
    /// Many jobs share one commit. When that commit fails, each job is run again in a transaction of its own: a job
    /// may run twice, so it must start from what it was given and not from what it made of it. It must not wait for
    /// anything but the database, for all others wait behind it. Once handed over it runs, even when the answer is no
    /// longer waited for.
    ///
    /// ```ignore
    /// database.run(async move |transaction| {
    ///     query("DELETE FROM queue WHERE id = ?").bind(id).execute(transaction).await?;
    ///     Ok::<_, StorageError>(())
    /// })
    /// .await
    /// ```
    pub async fn run<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        self.writer.run(job).await
    }

    /// Whether the writer takes its turns: it begins a transaction, as for any write, and changes nothing in it, so that
    /// it costs no fsync.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.run(async |transaction| {
            query("SELECT 1").execute(transaction).await?;
            Ok(())
        })
        .await
    }

    /// Commits what waits, closes all connections and gives the lock up. Later calls fail.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

#[cfg(test)]
mod tests;
