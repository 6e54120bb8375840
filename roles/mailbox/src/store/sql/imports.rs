//! How far mail of elsewhere has come over: up to which UID of which mailbox there, and what of it was refused.

use estafeta_storage::sql::{Connection, query};

use super::AccountRow;
use crate::store::{Origin, Reached, StoreError};

/// Notes how far a mailbox has come over, if it is where it was. The account is locked.
pub async fn note(connection: &mut Connection, account: AccountRow, reached: &Reached) -> Result<(), StoreError> {
    let Origin { source, mailbox, uid_validity } = &reached.origin;
    let there = self::reached(connection, account, &reached.origin).await?;
    if there.unwrap_or(0) != reached.from {
        return Err(StoreError::NotAllowed("this mailbox comes over already: ask again when that has ended"));
    }
    let noted = query(
        "INSERT INTO imports (account, source, mailbox, uidvalidity, uid) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (account, source, mailbox) DO UPDATE SET uidvalidity = excluded.uidvalidity, uid = excluded.uid",
    );
    let noted = noted.bind(account).bind(source.as_str()).bind(mailbox.as_str());
    noted.bind(*uid_validity).bind(reached.uid).execute(connection).await?;
    Ok(())
}

/// Up to which UID a mailbox has come over in this life of its UIDs; none when nothing of it has.
pub async fn reached(
    connection: &mut Connection,
    account: AccountRow,
    Origin { source, mailbox, uid_validity }: &Origin,
) -> Result<Option<u32>, StoreError> {
    let found = query("SELECT uid FROM imports WHERE account = ? AND source = ? AND mailbox = ? AND uidvalidity = ?");
    let found = found.bind(account).bind(source.as_str()).bind(mailbox.as_str()).bind(*uid_validity);
    let row = found.fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The UIDs of a mailbox that were refused, ascending.
pub async fn refused(
    connection: &mut Connection,
    account: AccountRow,
    Origin { source, mailbox, uid_validity }: &Origin,
) -> Result<Vec<u32>, StoreError> {
    let found = query(
        "SELECT uid FROM refused_imports WHERE account = ? AND source = ? AND mailbox = ? AND uidvalidity = ? ORDER BY uid",
    );
    let found = found.bind(account).bind(source.as_str()).bind(mailbox.as_str()).bind(*uid_validity);
    found.fetch_all(connection).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Notes that a message was refused.
pub async fn refuse(
    connection: &mut Connection,
    account: AccountRow,
    Origin { source, mailbox, uid_validity }: &Origin,
    uid: u32,
) -> Result<(), StoreError> {
    let noted = query(
        "INSERT INTO refused_imports (account, source, mailbox, uidvalidity, uid) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    );
    let noted = noted.bind(account).bind(source.as_str()).bind(mailbox.as_str()).bind(*uid_validity).bind(uid);
    noted.execute(connection).await?;
    Ok(())
}

/// Forgets what was refused of a mailbox, whatever the life of its UIDs.
pub async fn forget_refused(
    connection: &mut Connection,
    account: AccountRow,
    Origin { source, mailbox, .. }: &Origin,
) -> Result<(), StoreError> {
    let deleted = query("DELETE FROM refused_imports WHERE account = ? AND source = ? AND mailbox = ?");
    deleted.bind(account).bind(source.as_str()).bind(mailbox.as_str()).execute(connection).await?;
    Ok(())
}
