//! A connection to one of the engines, whichever it is: statements are written once, for both.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Connection as _, Transaction};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file on this node.
    Sqlite,
    /// A server, or several.
    Postgres,
}

/// A connection: the writer's, inside its transaction, or a reader's. [`super::query`] runs on it.
pub struct Connection(Inner);

enum Inner {
    Sqlite(Box<SqliteConnection>),
    SqliteReader(PoolConnection<Sqlite>),
    SqliteSnapshot(Transaction<'static, Sqlite>),
    Postgres(Box<PgConnection>),
    PostgresReader(PoolConnection<Postgres>),
    PostgresSnapshot(Transaction<'static, Postgres>),
}

/// The engine's own connection.
pub(super) enum Native<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl Connection {
    pub(super) fn native(&mut self) -> Native<'_> {
        match &mut self.0 {
            Inner::Sqlite(connection) => Native::Sqlite(connection),
            Inner::SqliteReader(connection) => Native::Sqlite(connection),
            Inner::SqliteSnapshot(connection) => Native::Sqlite(connection),
            Inner::Postgres(connection) => Native::Postgres(connection),
            Inner::PostgresReader(connection) => Native::Postgres(connection),
            Inner::PostgresSnapshot(connection) => Native::Postgres(connection),
        }
    }

    /// Which engine it leads to: for the few statements that cannot be written once for both.
    pub fn engine(&self) -> Engine {
        match &self.0 {
            Inner::Sqlite(_) | Inner::SqliteReader(_) | Inner::SqliteSnapshot(_) => Engine::Sqlite,
            Inner::Postgres(_) | Inner::PostgresReader(_) | Inner::PostgresSnapshot(_) => Engine::Postgres,
        }
    }

    /// Says goodbye to the engine, where it is not a pool's connection.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self.0 {
            Inner::Sqlite(connection) => connection.close().await,
            Inner::Postgres(connection) => connection.close().await,
            _ => Ok(()),
        }
    }
}

impl From<SqliteConnection> for Connection {
    fn from(connection: SqliteConnection) -> Self {
        Self(Inner::Sqlite(Box::new(connection)))
    }
}

impl From<PgConnection> for Connection {
    fn from(connection: PgConnection) -> Self {
        Self(Inner::Postgres(Box::new(connection)))
    }
}

impl From<PoolConnection<Sqlite>> for Connection {
    fn from(connection: PoolConnection<Sqlite>) -> Self {
        Self(Inner::SqliteReader(connection))
    }
}

impl From<PoolConnection<Postgres>> for Connection {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self(Inner::PostgresReader(connection))
    }
}

impl From<Transaction<'static, Sqlite>> for Connection {
    fn from(transaction: Transaction<'static, Sqlite>) -> Self {
        Self(Inner::SqliteSnapshot(transaction))
    }
}

impl From<Transaction<'static, Postgres>> for Connection {
    fn from(transaction: Transaction<'static, Postgres>) -> Self {
        Self(Inner::PostgresSnapshot(transaction))
    }
}
