//! Accounts: which live here, and how much they hold.

use estafeta_core::AccountId;
use estafeta_storage::sql::{Connection, query, query_built};

use super::mailboxes::Counts;
use super::relocation::State;
use super::{AccountRow, MailboxRow};
use crate::store::{Holding, StoreError};

/// The row of an account that lives here; none when it never came. [`StoreError::Moving`] and [`StoreError::Gone`] when it
/// lives elsewhere, or is on its way.
pub async fn find(connection: &mut Connection, account: AccountId) -> Result<Option<AccountRow>, StoreError> {
    let found = query("SELECT id, state FROM accounts WHERE account = ?").bind(account.0.as_bytes().as_slice());
    let Some(row) = found.fetch_optional(connection).await? else { return Ok(None) };
    check_present(row.try_get("state")?)?;
    Ok(Some(row.try_get("id")?))
}

/// Lets those pass whose mail lives here.
pub fn check_present(state: &str) -> Result<(), StoreError> {
    match State::of(state) {
        State::Present => Ok(()),
        State::Moving => Err(StoreError::Moving),
        State::Gone => Err(StoreError::Gone),
    }
}

/// Makes the row; none when it is there.
pub async fn insert(connection: &mut Connection, account: AccountId) -> Result<Option<AccountRow>, StoreError> {
    let inserted = query("INSERT INTO accounts (account) VALUES (?) ON CONFLICT DO NOTHING RETURNING id");
    let row = inserted.bind(account.0.as_bytes().as_slice()).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get("id")).transpose()?)
}

/// Locks an account's row until the commit, where others may write at the same time. Its mail must live here: a stale word
/// of where it lives must write nothing.
pub async fn lock(connection: &mut Connection, account: AccountRow) -> Result<(), StoreError> {
    let found = connection.locking("SELECT state FROM accounts WHERE id = ?").bind(account);
    let row = found.fetch_optional(connection).await?.ok_or(StoreError::Gone)?;
    check_present(row.try_get("state")?)
}

/// The same of a row that was remembered: it must still be this account's. [`StoreError::Gone`] when it is not.
pub async fn lock_own(connection: &mut Connection, (row, account): (AccountRow, AccountId)) -> Result<(), StoreError> {
    let found = connection.locking("SELECT state FROM accounts WHERE id = ? AND account = ?").bind(row);
    let found = found.bind(account.0.as_bytes().as_slice()).fetch_optional(connection).await?;
    check_present(found.ok_or(StoreError::Gone)?.try_get("state")?)
}

/// The account's mail must live here; nothing is locked.
pub async fn check_home(connection: &mut Connection, account: AccountRow) -> Result<(), StoreError> {
    let found = query("SELECT state FROM accounts WHERE id = ?").bind(account);
    let row = found.fetch_optional(connection).await?.ok_or(StoreError::Gone)?;
    check_present(row.try_get("state")?)
}

/// How many accounts one statement asks about.
const ASKED_AT_ONCE: usize = 500;

/// Those of these that do not live here any more, or are on their way.
pub async fn left(connection: &mut Connection, accounts: &[AccountRow]) -> Result<Vec<AccountRow>, StoreError> {
    let mut left = Vec::new();
    for some in accounts.chunks(ASKED_AT_ONCE) {
        // Only numbers of ours are put into the text.
        let rows = some.iter().map(|row| row.0.to_string()).collect::<Vec<_>>().join(",");
        let asked = query_built(format!("SELECT id FROM accounts WHERE id IN ({rows}) AND state <> 'present'"));
        for row in asked.once().fetch_all(&mut *connection).await? {
            left.push(row.try_get(0)?);
        }
    }
    Ok(left)
}

/// What it holds.
pub async fn holding(connection: &mut Connection, account: AccountRow) -> Result<Holding, StoreError> {
    let row =
        query("SELECT messages, used_bytes FROM accounts WHERE id = ?").bind(account).fetch_one(connection).await?;
    Ok(Holding { bytes: row.try_get::<i64>("used_bytes")? as u64, messages: row.try_get::<i64>("messages")? as u64 })
}

/// Counts messages that come, and gives what it holds then.
pub async fn count(connection: &mut Connection, account: AccountRow, more: Holding) -> Result<Holding, StoreError> {
    let counted = query(
        "UPDATE accounts SET messages = messages + ?2, used_bytes = used_bytes + ?3 WHERE id = ?1
         RETURNING messages, used_bytes",
    );
    let counted = counted.bind(account).bind(more.messages as i64).bind(more.bytes as i64);
    let row = counted.fetch_one(connection).await?;
    Ok(Holding { bytes: row.try_get::<i64>("used_bytes")? as u64, messages: row.try_get::<i64>("messages")? as u64 })
}

/// Counts what is counted of a mailbox for its account.
pub async fn count_of(connection: &mut Connection, mailbox: MailboxRow, counts: Counts) -> Result<(), StoreError> {
    let counted = query(
        "UPDATE accounts SET messages = messages + ?2, used_bytes = used_bytes + ?3
         WHERE id = (SELECT account FROM mailboxes WHERE id = ?1)",
    );
    counted.bind(mailbox).bind(counts.messages).bind(counts.bytes).execute(connection).await?;
    Ok(())
}
