//! Accounts.

use estafeta_core::directory::{Account, AccountChange};
use estafeta_core::{AccountId, Address, Domain, StoreGroup};
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, Row, query};

use super::{now, parsed, signed, unsigned};

/// The account of this address.
pub async fn find(connection: &mut Connection, address: &Address) -> Result<Option<Account>, StorageError> {
    let row = query("SELECT * FROM accounts WHERE address_key = ?").bind(address.key());
    row.fetch_optional(connection).await?.as_ref().map(account).transpose()
}

/// The account of this id.
pub async fn find_id(connection: &mut Connection, id: AccountId) -> Result<Option<Account>, StorageError> {
    let row = query("SELECT * FROM accounts WHERE id = ?").bind(id.to_string());
    row.fetch_optional(connection).await?.as_ref().map(account).transpose()
}

/// At most `count` accounts, of all domains or one, in the order of their keys, from the first behind `after` on.
pub async fn page(
    connection: &mut Connection,
    domain: Option<&Domain>,
    after: &str,
    count: u32,
) -> Result<Vec<Account>, StorageError> {
    let rows = match domain {
        None => query("SELECT * FROM accounts WHERE address_key > ? ORDER BY address_key LIMIT ?"),
        Some(domain) => query(
            "SELECT accounts.* FROM addresses JOIN accounts ON address_key = key
             WHERE domain = ? AND addresses.kind = 'account' AND key > ? ORDER BY key LIMIT ?",
        )
        .bind(domain.as_str().to_owned()),
    };
    rows.bind(after).bind(count).fetch_all(connection).await?.iter().map(account).collect()
}

/// How many accounts live in a store group.
pub async fn count_in(connection: &mut Connection, group: &StoreGroup) -> Result<u64, StorageError> {
    let row = query("SELECT count(*) AS count FROM accounts WHERE store_group = ?").bind(group.as_str());
    Ok(unsigned(&row.fetch_one(connection).await?, "count")?)
}

/// Adds an account. A unique violation when the address is taken.
pub async fn insert(connection: &mut Connection, account: &Account) -> Result<(), StorageError> {
    let key = account.address.key();
    let add = query("INSERT INTO addresses (key, domain, kind) VALUES (?, ?, 'account')");
    add.bind(&key).bind(account.address.domain().as_str()).execute(&mut *connection).await?;
    let add = query(
        "INSERT INTO accounts (id, address_key, address, name, store_group, quota_bytes, quota_messages, enabled, created)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    add.bind(account.id.to_string())
        .bind(key)
        .bind(account.address.to_string())
        .bind(&account.name)
        .bind(account.store_group.as_str())
        .bind(account.quota_bytes.map(signed))
        .bind(account.quota_messages.map(signed))
        .bind(account.enabled)
        .bind(signed(account.created))
        .execute(connection)
        .await?;
    Ok(())
}

/// Changes an account and gives it as it is then; none when there is none.
pub async fn update(
    connection: &mut Connection,
    address: &Address,
    change: &AccountChange,
) -> Result<Option<Account>, StorageError> {
    let row = query(
        "UPDATE accounts SET name = coalesce(?2, name), enabled = coalesce(?3, enabled),
             quota_bytes = CASE WHEN ?4 THEN ?5 ELSE quota_bytes END,
             quota_messages = CASE WHEN ?6 THEN ?7 ELSE quota_messages END,
             store_group = coalesce(?8, store_group)
         WHERE address_key = ?1 RETURNING *",
    );
    let row = row
        .bind(address.key())
        .bind(change.name.as_deref())
        .bind(change.enabled)
        .bind(change.quota_bytes.is_some())
        .bind(change.quota_bytes.flatten().map(signed))
        .bind(change.quota_messages.is_some())
        .bind(change.quota_messages.flatten().map(signed))
        .bind(change.store_group.as_ref().map(StoreGroup::as_str));
    row.fetch_optional(connection).await?.as_ref().map(account).transpose()
}

/// Removes an account and notes its id for ever. Says whether there was one.
pub async fn delete(connection: &mut Connection, address: &Address) -> Result<bool, StorageError> {
    let key = address.key();
    let note = query(
        "INSERT INTO removed_accounts (id, address_key, removed) SELECT id, address_key, ?2 FROM accounts WHERE address_key = ?1",
    );
    if note.bind(&key).bind(signed(now())).execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    query("DELETE FROM accounts WHERE address_key = ?").bind(&key).execute(&mut *connection).await?;
    query("DELETE FROM addresses WHERE key = ?").bind(&key).execute(connection).await?;
    Ok(true)
}

fn account(row: &Row) -> Result<Account, StorageError> {
    let quota = |column: &str| match row.try_get::<Option<i64>>(column)? {
        Some(_) => unsigned(row, column).map(Some),
        None => Ok(None),
    };
    Ok(Account {
        id: parsed(row, "id")?,
        address: parsed(row, "address")?,
        name: row.try_get("name")?,
        store_group: parsed(row, "store_group")?,
        quota_bytes: quota("quota_bytes")?,
        quota_messages: quota("quota_messages")?,
        enabled: row.try_get("enabled")?,
        created: unsigned(row, "created")?,
    })
}
