//! One of the writers of a PostgreSQL: its connection to the primary, and the witness of what it has acknowledged.
//!
//! Each turn counts itself in the writer's own row, in its own transaction. Found below what was acknowledged, commits
//! were lost: a standby that lagged was promoted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::connection::Connection;
use super::super::query::query;
use super::{Postgres, Synchronous};
use crate::error::StorageError;

/// How long finding the primary and greeting it may take.
const CONNECT: Duration = Duration::from_secs(15);

/// A writer's row that was not touched for this long belongs to a process that is gone.
const FORGOTTEN_SECONDS: i64 = 30 * 24 * 3600;

/// One writer.
pub(in crate::sql) struct Lane {
    postgres: Arc<Postgres>,
    writer: String,
    /// Turns that were acknowledged.
    acknowledged: i64,
}

impl Lane {
    pub(in crate::sql) fn new(postgres: Arc<Postgres>, number: u32) -> Self {
        let writer = format!("{}/{number}", postgres.name);
        Self { postgres, writer, acknowledged: 0 }
    }

    /// A connection to the primary, after it was looked whether what was acknowledged is there.
    pub(in crate::sql) async fn connect(&mut self) -> Result<Connection, StorageError> {
        let connected = tokio::time::timeout(CONNECT, self.greet()).await;
        connected.map_err(|_| StorageError::Away("a PostgreSQL primary does not answer in time".into()))?
    }

    async fn greet(&mut self) -> Result<Connection, StorageError> {
        let primary = self.postgres.primary().await?;
        let timeline = primary.timeline;
        let mut connection = Connection::from(primary.connection);
        query("BEGIN").execute(&mut connection).await?;
        let found = query("SELECT turns FROM storage_writers WHERE writer = ?").bind(&self.writer);
        let found = found.fetch_optional(&mut connection).await?.map(|row| row.try_get(0)).transpose()?;
        let found: i64 = found.unwrap_or(0);
        let known =
            query("INSERT INTO storage_state VALUES ('timeline', ?1), ('renewed', ?1) ON CONFLICT (name) DO NOTHING");
        known.bind(timeline).execute(&mut connection).await?;
        let known = query(
            "SELECT name, value FROM storage_state WHERE name IN ('timeline', 'renewed') ORDER BY name FOR UPDATE",
        );
        let rows = known.fetch_all(&mut connection).await?;
        let (renewed, seen): (i64, i64) = match rows.as_slice() {
            [renewed, seen] => (renewed.try_get(1)?, seen.try_get(1)?),
            _ => return Err(StorageError::Away("the table storage_state is damaged".into())),
        };
        let lost = found < self.acknowledged;
        // Without a standby that is required, nobody can say that a promotion lost nothing.
        let doubtful = seen != timeline && self.postgres.servers.synchronous != Synchronous::Required;
        if (lost || doubtful) && renewed < timeline {
            tracing::error!(
                lost,
                acknowledged = self.acknowledged,
                found,
                timeline,
                "a promotion may have lost commits"
            );
            for statement in self.postgres.after_loss {
                query(statement).execute(&mut connection).await?;
            }
            let renewed = query("UPDATE storage_state SET value = ? WHERE name = 'renewed'").bind(timeline);
            renewed.execute(&mut connection).await?;
        }
        let seen = query("UPDATE storage_state SET value = ? WHERE name = 'timeline'").bind(timeline);
        seen.execute(&mut connection).await?;
        let own = query(
            "INSERT INTO storage_writers VALUES (?1, ?2, ?3) ON CONFLICT (writer) DO UPDATE SET at = excluded.at",
        );
        let now = now_seconds();
        own.bind(&self.writer).bind(found).bind(now).execute(&mut connection).await?;
        let forgotten = query("DELETE FROM storage_writers WHERE at < ?").bind(now - FORGOTTEN_SECONDS);
        forgotten.execute(&mut connection).await?;
        query("COMMIT").execute(&mut connection).await?;
        self.acknowledged = found;
        Ok(connection)
    }

    /// At the beginning of a turn: whether it may be acknowledged at all.
    pub(in crate::sql) async fn permit(&self, connection: &mut Connection) -> Result<(), StorageError> {
        if self.postgres.servers.synchronous == Synchronous::Required {
            let there =
                query("SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))");
            if !there.fetch_one(connection).await?.try_get::<bool>(0)? {
                return Err(StorageError::NoStandby);
            }
        }
        Ok(())
    }

    /// At the end of a turn, in its transaction. It fails when the transaction has failed, which COMMIT would not.
    pub(in crate::sql) async fn witness(
        &self,
        connection: &mut Connection,
        notices: Vec<String>,
    ) -> Result<(), StorageError> {
        for notice in notices {
            let told = query("SELECT pg_notify('estafeta', ?)").bind(format!("{} {notice}", self.postgres.name));
            told.fetch_one(connection).await?;
        }
        let counted = query("UPDATE storage_writers SET turns = turns + 1, at = ? WHERE writer = ?");
        counted.bind(now_seconds()).bind(&self.writer).execute(connection).await?;
        Ok(())
    }

    /// The turn is committed.
    pub(in crate::sql) fn acknowledge(&mut self) {
        self.acknowledged += 1;
    }
}

fn now_seconds() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
