//! Join tokens: what each grants, to whom, until when, and who used it.

use estafeta_core::{NodeName, RoleName};
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, query};

use super::{parsed, signed, unsigned};

/// How long a token is remembered after it has expired, so that whoever comes late learns why, in seconds.
const REMEMBERED_SECONDS: u64 = 30 * 86_400;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The hash of its secret.
    pub hash: String,
    /// What it grants.
    pub roles: Vec<RoleName>,
    /// The only node that may use it; none for any.
    pub node: Option<NodeName>,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    /// Who used it, and when.
    pub used: Option<(NodeName, u64)>,
}

/// Adds one, and forgets the oldest.
pub async fn insert(connection: &mut Connection, token: &JoinToken, now: u64) -> Result<(), StorageError> {
    let forget = query("DELETE FROM join_tokens WHERE expires < ?");
    forget.bind(signed(now.saturating_sub(REMEMBERED_SECONDS))).execute(&mut *connection).await?;
    let roles: Vec<&str> = token.roles.iter().map(RoleName::as_str).collect();
    let insert = query("INSERT INTO join_tokens (hash, roles, node, created, expires) VALUES (?, ?, ?, ?, ?)")
        .bind(&token.hash)
        .bind(roles.join(" "))
        .bind(token.node.as_ref().map_or("", NodeName::as_str))
        .bind(signed(now))
        .bind(signed(token.expires));
    insert.execute(connection).await?;
    Ok(())
}

/// The token of this hash.
pub async fn find(connection: &mut Connection, hash: &str) -> Result<Option<JoinToken>, StorageError> {
    let query = query("SELECT hash, roles, node, expires, used_by, used_at FROM join_tokens WHERE hash = ?");
    let Some(row) = query.bind(hash).fetch_optional(connection).await? else { return Ok(None) };
    let roles: String = row.try_get("roles")?;
    let wrong = |error| estafeta_storage::sql::Error::ColumnDecode { index: "roles".into(), source: Box::new(error) };
    let roles = roles.split(' ').map(|role| role.parse().map_err(wrong)).collect::<Result<_, _>>()?;
    let node = if row.try_get::<&str>("node")?.is_empty() { None } else { Some(parsed(&row, "node")?) };
    let used = match row.try_get::<Option<&str>>("used_by")? {
        Some(_) => Some((parsed(&row, "used_by")?, unsigned(&row, "used_at")?)),
        None => None,
    };
    Ok(Some(JoinToken { hash: row.try_get("hash")?, roles, node, expires: unsigned(&row, "expires")?, used }))
}

/// Says that it is used.
pub async fn set_used(connection: &mut Connection, hash: &str, node: &NodeName, now: u64) -> Result<(), StorageError> {
    let update = query("UPDATE join_tokens SET used_by = ?, used_at = ? WHERE hash = ?");
    update.bind(node.as_str()).bind(signed(now)).bind(hash).execute(connection).await?;
    Ok(())
}
