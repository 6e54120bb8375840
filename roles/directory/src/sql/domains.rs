//! The domains. What changes them counts the settings' version.

use estafeta_core::Domain;
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, query};

use super::settings::count_version;
use super::{now, parsed, signed, unsigned};

/// How many addresses a domain has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// Accounts.
    pub accounts: u64,
    /// Aliases.
    pub aliases: u64,
}

/// All, in order.
pub async fn all(connection: &mut Connection) -> Result<Vec<Domain>, StorageError> {
    let rows = query("SELECT name FROM domains ORDER BY name").fetch_all(connection).await?;
    Ok(rows.iter().map(|row| parsed(row, "name")).collect::<Result<_, _>>()?)
}

/// Whether mail for the domain is ours.
pub async fn exists(connection: &mut Connection, domain: &Domain) -> Result<bool, StorageError> {
    let row = query("SELECT 1 FROM domains WHERE name = ?").bind(domain.as_str()).fetch_optional(connection).await?;
    Ok(row.is_some())
}

/// Adds a domain, and counts the version.
pub async fn insert(connection: &mut Connection, domain: &Domain) -> Result<(), StorageError> {
    let add = query("INSERT INTO domains (name, created) VALUES (?, ?)").bind(domain.as_str()).bind(signed(now()));
    add.execute(&mut *connection).await?;
    count_version(connection).await
}

/// Removes a domain, and counts the version. Says whether there was one.
pub async fn delete(connection: &mut Connection, domain: &Domain) -> Result<bool, StorageError> {
    let delete = query("DELETE FROM domains WHERE name = ?").bind(domain.as_str());
    if delete.execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    count_version(connection).await?;
    Ok(true)
}

/// What of a domain is in use.
pub async fn uses(connection: &mut Connection, domain: &Domain) -> Result<Uses, StorageError> {
    let row = query(
        "SELECT count(*) FILTER (WHERE kind = 'account') AS accounts, count(*) FILTER (WHERE kind = 'alias') AS aliases
         FROM addresses WHERE domain = ?",
    );
    let row = row.bind(domain.as_str()).fetch_one(connection).await?;
    Ok(Uses { accounts: unsigned(&row, "accounts")?, aliases: unsigned(&row, "aliases")? })
}
