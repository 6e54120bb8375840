//! What roles keep with the settings.

use estafeta_core::RoleName;
use estafeta_core::settings::KeptSecret;
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, query};

use super::{signed, unsigned};

/// A secret; none when it was never written.
pub async fn find(
    connection: &mut Connection,
    role: &RoleName,
    name: &str,
) -> Result<Option<KeptSecret>, StorageError> {
    let query = query("SELECT version, content FROM secrets WHERE role = ? AND name = ?");
    let Some(row) = query.bind(role.as_str()).bind(name).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(KeptSecret { version: unsigned(&row, "version")?, content: row.try_get("content")? }))
}

/// Puts the next version in place of the version `known`, and says whether that was the one that stood there.
pub async fn replace(
    connection: &mut Connection,
    role: &RoleName,
    name: &str,
    known: u64,
    content: &str,
) -> Result<bool, StorageError> {
    let query = if known == 0 {
        query("INSERT INTO secrets (content, version, role, name) VALUES (?, ? + 1, ?, ?) ON CONFLICT DO NOTHING")
            .bind(content)
            .bind(0_i64)
            .bind(role.as_str())
            .bind(name)
    } else {
        query("UPDATE secrets SET content = ?, version = version + 1 WHERE version = ? AND role = ? AND name = ?")
            .bind(content)
            .bind(signed(known))
            .bind(role.as_str())
            .bind(name)
    };
    Ok(query.execute(connection).await? > 0)
}
