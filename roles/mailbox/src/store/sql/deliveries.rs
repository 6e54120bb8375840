//! What was delivered under which id.

use estafeta_core::DeliveryId;
use estafeta_storage::sql::{Connection, query};

use super::AccountRow;
use crate::store::StoreError;

/// Notes a delivery. False when it was noted before: then it must not be stored again.
pub async fn note(
    connection: &mut Connection,
    delivery: DeliveryId,
    account: AccountRow,
    now: i64,
) -> Result<bool, StoreError> {
    let inserted = query("INSERT INTO deliveries (delivery, account, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING");
    let inserted = inserted.bind(delivery.0.as_bytes().as_slice()).bind(account).bind(now).execute(connection).await?;
    Ok(inserted > 0)
}

/// Forgets up to `limit` deliveries from before `before`, and says how many.
pub async fn forget(connection: &mut Connection, before: i64, limit: u32) -> Result<u64, StoreError> {
    let deleted = query(
        "DELETE FROM deliveries WHERE (delivery, account) IN (SELECT delivery, account FROM deliveries WHERE at < ? LIMIT ?)",
    );
    Ok(deleted.bind(before).bind(limit).execute(connection).await?)
}
