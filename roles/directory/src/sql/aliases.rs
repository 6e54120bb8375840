//! Aliases and their targets.

use estafeta_core::directory::Alias;
use estafeta_core::{Address, Domain};
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, query};

use super::{now, parsed, signed};

/// The alias of this address.
pub async fn find(connection: &mut Connection, address: &Address) -> Result<Option<Alias>, StorageError> {
    let row = query("SELECT address FROM aliases WHERE address_key = ?").bind(address.key());
    match row.fetch_optional(&mut *connection).await? {
        Some(row) => Ok(Some(with_targets(connection, parsed(&row, "address")?).await?)),
        None => Ok(None),
    }
}

/// At most `count` aliases, of all domains or one, in the order of their keys, from the first behind `after` on.
pub async fn page(
    connection: &mut Connection,
    domain: Option<&Domain>,
    after: &str,
    count: u32,
) -> Result<Vec<Alias>, StorageError> {
    let rows = match domain {
        None => query("SELECT address FROM aliases WHERE address_key > ? ORDER BY address_key LIMIT ?"),
        Some(domain) => query(
            "SELECT aliases.address FROM addresses JOIN aliases ON address_key = key
             WHERE domain = ? AND addresses.kind = 'alias' AND key > ? ORDER BY key LIMIT ?",
        )
        .bind(domain.as_str().to_owned()),
    };
    let mut aliases = Vec::new();
    for row in rows.bind(after).bind(count).fetch_all(&mut *connection).await? {
        aliases.push(with_targets(connection, parsed(&row, "address")?).await?);
    }
    Ok(aliases)
}

/// Adds an alias. A unique violation when the address is taken.
pub async fn insert(connection: &mut Connection, alias: &Alias) -> Result<(), StorageError> {
    let key = alias.address.key();
    let add = query("INSERT INTO addresses (key, domain, kind) VALUES (?, ?, 'alias')");
    add.bind(&key).bind(alias.address.domain().as_str()).execute(&mut *connection).await?;
    let add = query("INSERT INTO aliases (address_key, address, created) VALUES (?, ?, ?)");
    add.bind(&key).bind(alias.address.to_string()).bind(signed(now())).execute(&mut *connection).await?;
    insert_targets(connection, &key, &alias.targets).await
}

/// Gives an alias that is there other targets.
pub async fn replace_targets(connection: &mut Connection, alias: &Alias) -> Result<(), StorageError> {
    let key = alias.address.key();
    query("DELETE FROM alias_targets WHERE alias = ?").bind(&key).execute(&mut *connection).await?;
    insert_targets(connection, &key, &alias.targets).await
}

/// Removes an alias. Says whether there was one.
pub async fn delete(connection: &mut Connection, address: &Address) -> Result<bool, StorageError> {
    let key = address.key();
    let delete = query("DELETE FROM aliases WHERE address_key = ?").bind(&key);
    if delete.execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    query("DELETE FROM addresses WHERE key = ?").bind(&key).execute(connection).await?;
    Ok(true)
}

async fn with_targets(connection: &mut Connection, address: Address) -> Result<Alias, StorageError> {
    let rows = query("SELECT target FROM alias_targets WHERE alias = ? ORDER BY position").bind(address.key());
    let targets =
        rows.fetch_all(connection).await?.iter().map(|row| parsed(row, "target")).collect::<Result<_, _>>()?;
    Ok(Alias { address, targets })
}

async fn insert_targets(connection: &mut Connection, key: &str, targets: &[Address]) -> Result<(), StorageError> {
    for (position, target) in (0_i64..).zip(targets) {
        let add = query("INSERT INTO alias_targets (alias, position, target) VALUES (?, ?, ?)");
        add.bind(key).bind(position).bind(target.to_string()).execute(&mut *connection).await?;
    }
    Ok(())
}
