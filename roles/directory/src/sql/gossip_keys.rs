//! The keys of the members' gossip. Whoever changes them counts the settings' version.

use estafeta_core::settings::GossipKey;
use estafeta_storage::StorageError;
use sqlx::{Row, SqliteConnection};

use super::{signed, unsigned};

/// All, the oldest first.
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<GossipKey>, StorageError> {
    let rows =
        sqlx::query("SELECT id, from_seconds, secret FROM gossip_keys ORDER BY id").fetch_all(connection).await?;
    let key = |row: &sqlx::sqlite::SqliteRow| -> Result<GossipKey, sqlx::Error> {
        Ok(GossipKey {
            id: row.try_get("id")?,
            from_seconds: unsigned(row, "from_seconds")?,
            secret: row.try_get("secret")?,
        })
    };
    Ok(rows.iter().map(key).collect::<Result<_, _>>()?)
}

/// Adds one.
pub async fn insert(connection: &mut SqliteConnection, key: &GossipKey) -> Result<(), StorageError> {
    let insert = sqlx::query("INSERT INTO gossip_keys (id, from_seconds, secret) VALUES (?, ?, ?)")
        .bind(key.id)
        .bind(signed(key.from_seconds))
        .bind(&key.secret);
    insert.execute(connection).await?;
    Ok(())
}

/// Removes those older than `id`, and says whether there were any.
pub async fn delete_before(connection: &mut SqliteConnection, id: u32) -> Result<bool, StorageError> {
    let delete = sqlx::query("DELETE FROM gossip_keys WHERE id < ?").bind(id);
    Ok(delete.execute(connection).await?.rows_affected() > 0)
}
