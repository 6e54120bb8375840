//! A connection to one of the engines, whichever it is: statements are written once, for both.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{AssertSqlSafe, Connection as _, Transaction};

use super::error::Error;
use super::query::{Query, query, query_built};
use super::sqlite::{self, Answer, Reader, Wanted};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file on this node.
    Sqlite,
    /// A server, or several.
    Postgres,
}

/// A connection: the writer's, inside its transaction, or a reader's. [`super::query`] runs on it.
pub struct Connection {
    inner: Inner,
    /// The gravest of what went wrong on it and the caller cannot mend, since that was asked last.
    fault: Option<Fault>,
}

/// What a statement's failure means for the transaction around it, whatever the caller makes of it. The graver the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It stood in another one's way (a deadlock, a lock that was not given): run again it may succeed.
    Again,
    /// The server is gone, or is no primary any more.
    Lost,
}

impl Fault {
    /// Of an error, if it is one: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Postgres(error) => Self::of_postgres(error),
            Error::Busy => Some(Self::Again),
            _ => None,
        }
    }

    pub(super) fn of_postgres(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Database(cause) => match cause.code()?.as_ref() {
                // serialization_failure, deadlock_detected, lock_not_available.
                "40001" | "40P01" | "55P03" => Some(Self::Again),
                // read_only_sql_transaction: it became a standby. too_many_connections. cannot_connect_now and its like.
                "25006" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" => Some(Self::Lost),
                code if code.starts_with("08") => Some(Self::Lost),
                _ => None,
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed => Some(Self::Lost),
            _ => None,
        }
    }
}

enum Inner {
    Sqlite(Box<rusqlite::Connection>),
    /// None while a statement runs, and for good when one was given up.
    SqliteReader(Option<Box<Reader>>),
    Postgres(Box<PgConnection>),
    PostgresReader(PoolConnection<Postgres>),
    PostgresSnapshot(Transaction<'static, Postgres>),
}

/// The engine's own connection.
pub(super) enum Native<'a> {
    Sqlite(Sqlite<'a>),
    Postgres(&'a mut PgConnection),
}

/// A connection to SQLite.
pub(super) enum Sqlite<'a> {
    /// The writer's, on its thread.
    Writer(&'a mut rusqlite::Connection),
    Reader(&'a mut Option<Box<Reader>>),
}

impl Sqlite<'_> {
    pub(super) async fn run(self, query: Query, wanted: Wanted) -> Result<Answer, Error> {
        match self {
            Self::Writer(connection) => Ok(sqlite::run(connection, &query, wanted)?),
            Self::Reader(reader) => Reader::run(reader, query, wanted).await,
        }
    }
}

impl Connection {
    pub(super) fn native(&mut self) -> Native<'_> {
        match &mut self.inner {
            Inner::Sqlite(connection) => Native::Sqlite(Sqlite::Writer(connection)),
            Inner::SqliteReader(reader) => Native::Sqlite(Sqlite::Reader(reader)),
            Inner::Postgres(connection) => Native::Postgres(connection),
            Inner::PostgresReader(connection) => Native::Postgres(connection),
            Inner::PostgresSnapshot(connection) => Native::Postgres(connection),
        }
    }

    /// Runs several statements of ours, without parameters: a step of a schema. The writer's connection alone does.
    pub(super) async fn script(&mut self, statements: &str) -> Result<(), Error> {
        match self.native() {
            Native::Sqlite(Sqlite::Writer(connection)) => Ok(connection.execute_batch(statements)?),
            Native::Sqlite(Sqlite::Reader(_)) => Err(Error::Closed),
            Native::Postgres(connection) => {
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
                Ok(())
            }
        }
    }

    /// Which engine it leads to: for the few statements that cannot be written once for both.
    pub fn engine(&self) -> Engine {
        match &self.inner {
            Inner::Sqlite(_) | Inner::SqliteReader(_) => Engine::Sqlite,
            Inner::Postgres(_) | Inner::PostgresReader(_) | Inner::PostgresSnapshot(_) => Engine::Postgres,
        }
    }

    /// Whether others may write beside this connection's transaction, so that what it reads to change it must be locked:
    /// the writer's on PostgreSQL.
    pub fn must_lock(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// How many rows the writer's connection to SQLite has changed; none when no transaction is open.
    pub(super) fn changes(&self) -> Option<u64> {
        match &self.inner {
            Inner::Sqlite(connection) if !connection.is_autocommit() => Some(connection.total_changes()),
            _ => None,
        }
    }

    /// A statement that reads a table's rows, and locks them until the commit where it must.
    pub fn locking(&self, select: &'static str) -> Query {
        if self.must_lock() { query_built(format!("{select} FOR NO KEY UPDATE")) } else { query(select) }
    }

    /// Takes note of a statement's failure.
    pub(super) fn note<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let (Err(error), Engine::Postgres) = (&outcome, self.engine()) {
            self.fault = self.fault.max(Fault::of(error));
        }
        outcome
    }

    /// What was noted since this was asked last.
    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Says goodbye to the engine, where it is not a pool's connection.
    pub(super) async fn close(self) -> Result<(), Error> {
        match self.inner {
            Inner::Sqlite(connection) => connection.close().map_err(|(_, error)| error.into()),
            Inner::Postgres(connection) => Ok(connection.close().await?),
            _ => Ok(()),
        }
    }
}

impl From<Inner> for Connection {
    fn from(inner: Inner) -> Self {
        Self { inner, fault: None }
    }
}

impl From<rusqlite::Connection> for Connection {
    fn from(connection: rusqlite::Connection) -> Self {
        Inner::Sqlite(Box::new(connection)).into()
    }
}

impl From<PgConnection> for Connection {
    fn from(connection: PgConnection) -> Self {
        Inner::Postgres(Box::new(connection)).into()
    }
}

impl From<Reader> for Connection {
    fn from(reader: Reader) -> Self {
        Inner::SqliteReader(Some(Box::new(reader))).into()
    }
}

impl From<PoolConnection<Postgres>> for Connection {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Inner::PostgresReader(connection).into()
    }
}

impl From<Transaction<'static, Postgres>> for Connection {
    fn from(transaction: Transaction<'static, Postgres>) -> Self {
        Inner::PostgresSnapshot(transaction).into()
    }
}
