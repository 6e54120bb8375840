//! A database: a SQLite file or a PostgreSQL, writers that commit in groups and a pool of readers.
//!
//! Invariants:
//! - what [`Database::run`] has answered is committed and fsynced (SQLite: WAL, `synchronous=FULL`; PostgreSQL:
//!   `synchronous_commit=on`, and on its synchronous standby where it has one);
//! - one process at a time has a SQLite database open: it holds an exclusive lock on the file `NAME.lock`;
//! - readers see whole commits only, and never wait for a writer.

mod connection;
mod error;
mod lock;
mod migrations;
mod postgres;
mod query;
mod sqlite;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use crate::data_directory;
use crate::error::StorageError;
use postgres::Postgres;
use writer::{Home, Writer};

pub(crate) use connection::Fault;
pub use connection::{Connection, Engine};
pub use error::Error;
pub use migrations::Migration;
pub use postgres::lease::Lease;
pub use postgres::{Servers, Synchronous};
pub use query::{Column, FromColumn, Query, Row, Value, query, query_built};

/// What a database's owner makes of its commits. All of it must return at once.
pub trait Observer: Send + Sync {
    /// On the writer's thread, at the end of a turn: what to tell the other processes that have the database open, in
    /// the turn's own transaction. Up to 7,000 bytes each. Asked on PostgreSQL alone.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// On the writer's thread, after each commit.
    fn committed(&self) {}

    /// Another process's notice.
    fn heard(&self, _notice: &str) {}

    /// Notices may have been missed.
    fn missed(&self) {}
}

/// Makes nothing of them.
struct Unobserved;

impl Observer for Unobserved {}

/// Where a database is.
#[derive(Clone)]
pub enum Place {
    /// A SQLite file. Beside it stand SQLite's `-wal` and `-shm`, and the lock file.
    File(PathBuf),
    /// A PostgreSQL.
    Servers(Servers),
}

/// How to open a database.
pub struct DatabaseOptions {
    /// Where it is.
    pub place: Place,
    /// Every migration there ever was, in order.
    pub migrations: &'static [Migration],
    /// How many connections read at most.
    pub readers: u32,
    /// With a PostgreSQL: a path whose lock this process holds, as it does that of a SQLite file.
    pub lock: Option<PathBuf>,
    /// Who is told of commits.
    pub observer: Arc<dyn Observer>,
    /// Statements of the first transaction after a promotion of a PostgreSQL that may have lost commits.
    pub after_loss: &'static [&'static str],
    /// With a file: whether its writer has the processor only while nothing else wants it. Nobody may wait for such a one.
    pub background: bool,
}

impl DatabaseOptions {
    /// Of this file, with four readers and nobody to tell.
    pub fn new(path: impl Into<PathBuf>, migrations: &'static [Migration]) -> Self {
        let place = Place::File(path.into());
        Self {
            place,
            migrations,
            readers: 4,
            lock: None,
            observer: Arc::new(Unobserved),
            after_loss: &[],
            background: false,
        }
    }
}

/// An open database. Cheap to clone; it closes when [`Database::close`] is called or the last clone is dropped.
#[derive(Clone)]
pub struct Database {
    writers: Arc<[Writer]>,
    readers: Readers,
    /// This process, among those that have it open.
    name: Arc<str>,
}

#[derive(Clone)]
enum Readers {
    Sqlite(sqlite::Readers),
    Postgres(Arc<Postgres>, Arc<Listening>),
}

/// Ends with the last clone of its database.
struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Database {
    /// Opens the database, makes it if it is missing, and brings its schema up to date.
    pub async fn open(options: DatabaseOptions) -> Result<Self, StorageError> {
        match options.place.clone() {
            Place::File(path) => Self::open_file(path, options).await,
            Place::Servers(servers) => Self::open_servers(servers, options).await,
        }
    }

    async fn open_file(path: PathBuf, options: DatabaseOptions) -> Result<Self, StorageError> {
        if let Some(directory) = path.parent() {
            data_directory::prepare(directory)?;
        }
        let lock = lock::Lock::take(&path)?;
        let mut connection = Connection::from(sqlite::open_writer(&path).map_err(Error::from)?);
        migrations::run(&mut connection, options.migrations).await?;
        let readers = sqlite::Readers::new(path.clone(), options.readers);
        let label = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let writer = Writer::start(Home::File(connection, lock), options.observer, &label, options.background)?;
        Ok(Self { writers: Arc::new([writer]), readers: Readers::Sqlite(readers), name: "this".into() })
    }

    async fn open_servers(servers: Servers, options: DatabaseOptions) -> Result<Self, StorageError> {
        // A process that starts anew is another one.
        let name =
            format!("{:016x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id()));
        let mut lock = match &options.lock {
            Some(path) => {
                if let Some(directory) = path.parent() {
                    data_directory::prepare(directory)?;
                }
                Some(lock::Lock::take(path)?)
            }
            None => None,
        };
        let count = servers.writers.max(1);
        let (migrations, after_loss) = (options.migrations, options.after_loss);
        let postgres = Postgres::open(servers, migrations, after_loss, options.readers, name.clone()).await?;
        let writers = (0..count).map(|number| {
            let lane = postgres::lane::Lane::new(postgres.clone(), number);
            Writer::start(Home::Away(lane, lock.take()), options.observer.clone(), "postgresql", false)
        });
        let writers: Arc<[Writer]> = writers.collect::<Result<_, _>>()?;
        let listening = tokio::spawn(postgres::listener::listen(postgres.clone(), options.observer));
        let readers = Readers::Postgres(postgres, Arc::new(Listening(listening)));
        Ok(Self { writers, readers, name: name.into() })
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        match &self.readers {
            Readers::Sqlite(_) => Engine::Sqlite,
            Readers::Postgres(..) => Engine::Postgres,
        }
    }

    /// A connection to read with.
    pub async fn reader(&self) -> Result<Connection, Error> {
        match &self.readers {
            Readers::Sqlite(pool) => Ok(pool.acquire(false).await?.into()),
            Readers::Postgres(postgres, _) => Ok(postgres.reader().await?),
        }
    }

    /// A connection that sees the database at one moment.
    pub async fn snapshot(&self) -> Result<Connection, Error> {
        match &self.readers {
            Readers::Sqlite(pool) => Ok(pool.acquire(true).await?.into()),
            Readers::Postgres(postgres, _) => Ok(postgres.snapshot().await?),
        }
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
        self.run_for(0, job).await
    }

    /// The same, for jobs about one owner: on PostgreSQL all of an owner's go to the same one of several writers, and a
    /// turn runs its jobs in the order of their owners, so that one which locks its owner first locks in that order.
    pub async fn run_for<T, E, F>(&self, owner: i64, job: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let writer = owner.unsigned_abs() as usize % self.writers.len().max(1);
        self.writers[writer].run(owner, job).await
    }

    /// Takes a lease for so many seconds, or for longer when it is held already; none while another process holds it.
    pub async fn lease(&self, name: &'static str, seconds: u32) -> Result<Option<Lease>, StorageError> {
        let holder = self.name.clone();
        self.run(async move |transaction| postgres::lease::take(transaction, name, &holder, seconds).await).await
    }

    /// Whether every writer takes its turns: it begins a transaction, as for any write, and changes nothing in it. On
    /// SQLite that costs no fsync; on PostgreSQL it is committed like any other.
    pub async fn check(&self) -> Result<(), StorageError> {
        for writer in &*self.writers {
            let ask = async |transaction: &mut Connection| {
                query("SELECT 1").execute(transaction).await?;
                Ok::<_, StorageError>(())
            };
            writer.run(0, ask).await?;
        }
        Ok(())
    }

    /// Commits what waits, closes all connections and gives the lock up. Later calls fail.
    pub async fn close(&self) {
        for writer in &*self.writers {
            writer.close().await;
        }
        match &self.readers {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(postgres, listening) => {
                listening.0.abort();
                postgres.pool().close().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
