//! Accounts: which live here, and how much they hold.

use estafeta_core::AccountId;
use estafeta_storage::sql::{Connection, Error, query};

use super::AccountRow;
use crate::store::{Holding, StoreError};

/// The row of an account that lives here; none when it never came.
pub async fn find(connection: &mut Connection, account: AccountId) -> Result<Option<AccountRow>, StoreError> {
    let found = query("SELECT id FROM accounts WHERE account = ?").bind(account.0.as_bytes().as_slice());
    let row = found.fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get("id")).transpose()?)
}

/// Makes the row; none when it is there.
pub async fn insert(connection: &mut Connection, account: AccountId) -> Result<Option<AccountRow>, StoreError> {
    let inserted = query("INSERT INTO accounts (account) VALUES (?) ON CONFLICT DO NOTHING RETURNING id");
    let row = inserted.bind(account.0.as_bytes().as_slice()).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get("id")).transpose()?)
}

/// Locks an account's row until the commit, where others may write at the same time.
pub async fn lock(connection: &mut Connection, account: AccountRow) -> Result<(), Error> {
    if connection.must_lock() {
        query("SELECT id FROM accounts WHERE id = ? FOR NO KEY UPDATE")
            .bind(account)
            .fetch_optional(connection)
            .await?;
    }
    Ok(())
}

/// What it holds.
pub async fn holding(connection: &mut Connection, account: AccountRow) -> Result<Holding, StoreError> {
    let row =
        query("SELECT messages, used_bytes FROM accounts WHERE id = ?").bind(account).fetch_one(connection).await?;
    Ok(Holding { bytes: row.try_get::<i64>("used_bytes")? as u64, messages: row.try_get::<i64>("messages")? as u64 })
}
