//! What is noted of mailboxes and accounts (RFC 5464). Entries are in small letters, without the `/private` or `/shared`
//! that they begin with.

use estafeta_storage::sql::{Connection, query_built};

use super::{AccountRow, MailboxRow};
use crate::store::StoreError;

/// To whom entries belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A mailbox's, which everybody sees who may read it.
    Shared(MailboxRow),
    /// A mailbox's, for this account alone.
    Private(MailboxRow, AccountRow),
    /// An account's own, of no mailbox.
    Account(AccountRow),
}

impl Owner {
    /// The table, the columns that name the owner, and their values.
    fn place(self) -> (&'static str, &'static str, Vec<i64>) {
        match self {
            Self::Shared(mailbox) => ("mailbox_entries", "mailbox = ? AND account = ?", vec![mailbox.0, 0]),
            Self::Private(mailbox, account) => {
                ("mailbox_entries", "mailbox = ? AND account = ?", vec![mailbox.0, account.0])
            }
            Self::Account(account) => ("account_entries", "account = ?", vec![account.0]),
        }
    }
}

/// All entries, by name, with their values.
pub async fn list(connection: &mut Connection, owner: Owner) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let (table, which, values) = owner.place();
    let found = query_built(format!("SELECT entry, value FROM {table} WHERE {which} ORDER BY entry"));
    let found = values.into_iter().fold(found, |found, value| found.bind(value));
    let rows = found.fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get::<&str>("entry")?.to_owned(), row.try_get("value")?))).collect()
}

/// Sets an entry, or removes it.
pub async fn set(
    connection: &mut Connection,
    owner: Owner,
    entry: &str,
    value: Option<&[u8]>,
) -> Result<(), StoreError> {
    let (table, which, values) = owner.place();
    let removed = query_built(format!("DELETE FROM {table} WHERE {which} AND entry = ?"));
    let removed = values.iter().fold(removed, |removed, value| removed.bind(*value));
    removed.bind(entry).execute(&mut *connection).await?;
    let Some(value) = value else { return Ok(()) };
    let places = if values.len() == 2 { "(?, ?, ?, ?)" } else { "(?, ?, ?)" };
    let inserted = query_built(format!("INSERT INTO {table} VALUES {places}"));
    let inserted = values.iter().fold(inserted, |inserted, value| inserted.bind(*value));
    inserted.bind(entry).bind(value).execute(connection).await?;
    Ok(())
}
