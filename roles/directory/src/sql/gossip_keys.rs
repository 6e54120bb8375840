//! The keys of the members' gossip. Whoever changes them counts the settings' version.

use estafeta_core::settings::GossipKey;
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, Row, query};

use super::{signed, unsigned};

/// All, the oldest first.
pub async fn all(connection: &mut Connection) -> Result<Vec<GossipKey>, StorageError> {
    let rows = query("SELECT id, from_seconds, secret FROM gossip_keys ORDER BY id").fetch_all(connection).await?;
    let key = |row: &Row| -> Result<GossipKey, estafeta_storage::sql::Error> {
        Ok(GossipKey {
            id: row.try_get("id")?,
            from_seconds: unsigned(row, "from_seconds")?,
            secret: row.try_get("secret")?,
        })
    };
    Ok(rows.iter().map(key).collect::<Result<_, _>>()?)
}

/// Adds one.
pub async fn insert(connection: &mut Connection, key: &GossipKey) -> Result<(), StorageError> {
    let insert = query("INSERT INTO gossip_keys (id, from_seconds, secret) VALUES (?, ?, ?)")
        .bind(key.id)
        .bind(signed(key.from_seconds))
        .bind(&key.secret);
    insert.execute(connection).await?;
    Ok(())
}

/// Removes those older than `id`, and says whether there were any.
pub async fn delete_before(connection: &mut Connection, id: u32) -> Result<bool, StorageError> {
    let delete = query("DELETE FROM gossip_keys WHERE id < ?").bind(id);
    Ok(delete.execute(connection).await? > 0)
}
