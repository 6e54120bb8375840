//! How far mail of elsewhere has come over: up to which UID of which mailbox there.

use estafeta_storage::sql::{Connection, query};

use super::AccountRow;
use crate::store::{Reached, StoreError};

/// Notes how far a mailbox has come over, if it is where it was. The account is locked.
pub async fn note(connection: &mut Connection, account: AccountRow, reached: &Reached) -> Result<(), StoreError> {
    let Reached { source, mailbox, uid_validity, .. } = reached;
    let there = self::reached(connection, account, source, mailbox, *uid_validity).await?;
    if there.unwrap_or(0) != reached.from {
        return Err(StoreError::NotAllowed("this mailbox comes over already: ask again when that has ended"));
    }
    let noted = query(
        "INSERT INTO imports (account, source, mailbox, uidvalidity, uid) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (account, source, mailbox) DO UPDATE SET uidvalidity = excluded.uidvalidity, uid = excluded.uid",
    );
    let noted = noted.bind(account).bind(reached.source.as_str()).bind(reached.mailbox.as_str());
    noted.bind(reached.uid_validity).bind(reached.uid).execute(connection).await?;
    Ok(())
}

/// Up to which UID a mailbox has come over in this life of its UIDs; none when nothing of it has.
pub async fn reached(
    connection: &mut Connection,
    account: AccountRow,
    source: &str,
    mailbox: &str,
    uid_validity: u32,
) -> Result<Option<u32>, StoreError> {
    let found = query("SELECT uid FROM imports WHERE account = ? AND source = ? AND mailbox = ? AND uidvalidity = ?");
    let found = found.bind(account).bind(source).bind(mailbox).bind(uid_validity);
    let row = found.fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
