//! Accounts: which live here, and how much they hold.

use estafeta_core::AccountId;
use estafeta_storage::sql::{Connection, query};

use super::AccountRow;
use crate::store::{Holding, StoreError};

/// The row of an account that lives here; none when it never came.
pub async fn find(connection: &mut Connection, account: AccountId) -> Result<Option<AccountRow>, StoreError> {
    let found = query("SELECT id FROM accounts WHERE account = ?").bind(account.0.as_bytes().as_slice());
    let row = found.fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get("id")).transpose()?)
}

/// Makes the row.
pub async fn insert(connection: &mut Connection, account: AccountId) -> Result<AccountRow, StoreError> {
    let inserted =
        query("INSERT INTO accounts (account) VALUES (?) RETURNING id").bind(account.0.as_bytes().as_slice());
    Ok(inserted.fetch_one(connection).await?.try_get("id")?)
}

/// What it holds.
pub async fn holding(connection: &mut Connection, account: AccountRow) -> Result<Holding, StoreError> {
    let row =
        query("SELECT messages, used_bytes FROM accounts WHERE id = ?").bind(account).fetch_one(connection).await?;
    Ok(Holding { bytes: row.try_get::<i64>("used_bytes")? as u64, messages: row.try_get::<i64>("messages")? as u64 })
}
