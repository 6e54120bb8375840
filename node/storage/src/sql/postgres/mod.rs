//! A PostgreSQL: its primary is found among several hosts and followed after a failover.
//!
//! Invariants:
//! - what was answered is committed, and on the synchronous standby where the server is configured so;
//! - a commit whose outcome is not known is an error, never an answer;
//! - what was acknowledged and is gone after a promotion is noticed, and the owner of the tables told in the first
//!   transaction on the new primary ([`DatabaseOptions::after_loss`](super::DatabaseOptions::after_loss)).

pub(super) mod lane;
pub(super) mod lease;
pub(super) mod listener;
mod servers;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};

use super::connection::{Connection, Fault};
use super::migrations::{self, Migration};
use crate::error::StorageError;

use servers::Primary;
pub use servers::{Servers, Synchronous};

/// How long a reader waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Ours, beside those of the owner: how far each writer came (its witness, by which a loss is noticed), on which timeline
/// the database was seen last, and who holds which lease.
pub(super) const OWN: Migration = Migration::new(
    0,
    "storage",
    "CREATE TABLE storage_writers (writer TEXT PRIMARY KEY, turns INTEGER NOT NULL, at INTEGER NOT NULL);
     CREATE TABLE storage_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
     CREATE TABLE storage_leases (
         name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence INTEGER NOT NULL, until INTEGER NOT NULL
     );",
)
// So that a statement may say `CAST(… AS BLOB)`, as SQLite has it.
.with(&[], &["CREATE DOMAIN blob AS bytea;"]);

/// What the lanes, the readers and the listener of one database share.
pub(super) struct Postgres {
    pub(super) servers: Servers,
    pub(super) after_loss: &'static [&'static str],
    /// This process, among all that have the database open.
    pub(super) name: String,
    readers_limit: u32,
    current: RwLock<Current>,
    searching: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Current {
    host: usize,
    timeline: i64,
    readers: PgPool,
}

impl Postgres {
    pub(super) async fn open(
        servers: Servers,
        migrations: &[Migration],
        after_loss: &'static [&'static str],
        readers_limit: u32,
        name: String,
    ) -> Result<Arc<Self>, StorageError> {
        let Primary { mut connection, host, timeline } = servers.primary().await?;
        require(&servers, &mut connection).await?;
        let mut all = vec![OWN];
        all.extend_from_slice(migrations);
        migrations::run(&mut connection.into(), &all).await?;
        // One more than asked for: the listener keeps one.
        let readers_limit = readers_limit.saturating_add(1);
        let current = Current { host, timeline, readers: readers(&servers, host, readers_limit) };
        let postgres = Self {
            servers,
            after_loss,
            name,
            readers_limit,
            current: RwLock::new(current),
            searching: tokio::sync::Mutex::new(()),
        };
        Ok(Arc::new(postgres))
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pool of the primary that is known.
    pub(super) fn pool(&self) -> PgPool {
        self.current().readers
    }

    /// The primary was found: readers go there from now on.
    fn found(&self, primary: &Primary) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if (current.host, current.timeline) != (primary.host, primary.timeline) && primary.timeline >= current.timeline
        {
            tracing::warn!(timeline = primary.timeline, host = primary.host, "another PostgreSQL is the primary");
            let readers = readers(&self.servers, primary.host, self.readers_limit);
            *current = Current { host: primary.host, timeline: primary.timeline, readers };
        }
    }

    /// Finds the primary.
    async fn primary(&self) -> Result<Primary, StorageError> {
        let primary = self.servers.primary().await?;
        if primary.timeline < self.current().timeline {
            return Err(StorageError::Away(format!("only an old primary answers among {}", self.servers.names())));
        }
        self.found(&primary);
        Ok(primary)
    }

    /// After a reader could not connect: looks where the primary is, once for all who wait.
    async fn search(&self, timeline: i64) -> Result<(), StorageError> {
        let _one = self.searching.lock().await;
        if self.current().timeline == timeline {
            self.primary().await?.connection_closed().await;
        }
        Ok(())
    }

    /// A connection to read with.
    pub(super) async fn reader(&self) -> Result<Connection, sqlx::Error> {
        let current = self.current();
        match current.readers.acquire().await {
            Ok(connection) => Ok(connection.into()),
            Err(error) if Fault::of_postgres(&error).is_some() => {
                tracing::debug!(%error, "a reader does not connect");
                self.search(current.timeline).await.map_err(|_| error)?;
                Ok(self.pool().acquire().await?.into())
            }
            Err(error) => Err(error),
        }
    }

    /// A connection that sees the database at one moment.
    pub(super) async fn snapshot(&self) -> Result<Connection, sqlx::Error> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let current = self.current();
        match current.readers.begin_with(BEGIN).await {
            Ok(transaction) => Ok(transaction.into()),
            Err(error) if Fault::of_postgres(&error).is_some() => {
                self.search(current.timeline).await.map_err(|_| error)?;
                Ok(self.pool().begin_with(BEGIN).await?.into())
            }
            Err(error) => Err(error),
        }
    }
}

impl Primary {
    async fn connection_closed(self) {
        use sqlx::Connection as _;
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
    }
}

/// A pool that connects to this host while that is a primary.
fn readers(servers: &Servers, host: usize, limit: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(limit)
        .acquire_timeout(ACQUIRE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let standby: bool =
                    sqlx::query("SELECT pg_is_in_recovery()").fetch_one(connection).await?.try_get(0)?;
                if standby { Err(sqlx::Error::Protocol("a standby".into())) } else { Ok(()) }
            })
        })
        .connect_lazy_with(servers.host(host))
}

/// Where a standby is required, we must be able to see whether it is there.
async fn require(servers: &Servers, connection: &mut PgConnection) -> Result<(), StorageError> {
    if servers.synchronous != Synchronous::Required {
        return Ok(());
    }
    let row = sqlx::query(
        "SELECT current_setting('synchronous_standby_names') <> '', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')",
    );
    let row = row.fetch_one(connection).await?;
    let (named, may_see): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !named {
        return Err(StorageError::Unfit(
            "a synchronous standby is required and the PostgreSQL server has none configured: set its synchronous_standby_names",
        ));
    }
    if !may_see {
        return Err(StorageError::Unfit(
            "a synchronous standby is required and this database user may not see whether one is there: GRANT pg_read_all_stats to it",
        ));
    }
    Ok(())
}
