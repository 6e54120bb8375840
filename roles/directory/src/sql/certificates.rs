//! The certificates that were issued from here and have not expired.

use estafeta_storage::sql::{Connection, query};
use std::collections::BTreeMap;

use estafeta_core::NodeName;
use estafeta_core::certificate::Issued;
use estafeta_storage::StorageError;

use super::{parsed, signed, unsigned};

/// Writes down what was issued.
pub async fn insert(connection: &mut Connection, node: &NodeName, issued: &Issued) -> Result<(), StorageError> {
    let insert = query("INSERT INTO certificates (serial, node, not_after) VALUES (?, ?, ?)")
        .bind(&issued.serial)
        .bind(node.as_str())
        .bind(signed(issued.not_after_seconds));
    insert.execute(connection).await?;
    Ok(())
}

/// How many of a node are good.
pub async fn count(connection: &mut Connection, node: &NodeName, now: u64) -> Result<u64, StorageError> {
    let row = query("SELECT count(*) AS good FROM certificates WHERE node = ? AND not_after > ? AND revoked = 0")
        .bind(node.as_str())
        .bind(signed(now));
    Ok(unsigned(&row.fetch_one(connection).await?, "good")?)
}

/// Until when the newest of each node is good, in seconds since 1970.
pub async fn expiries(connection: &mut Connection) -> Result<BTreeMap<NodeName, u64>, StorageError> {
    let query = query("SELECT node, max(not_after) AS not_after FROM certificates WHERE revoked = 0 GROUP BY node");
    let rows = query.fetch_all(connection).await?;
    let expiry = |row: &_| -> Result<_, estafeta_storage::sql::Error> {
        Ok((parsed(row, "node")?, unsigned(row, "not_after")?))
    };
    Ok(rows.iter().map(expiry).collect::<Result<_, _>>()?)
}

/// Nobody takes the node's certificates any more.
pub async fn revoke(connection: &mut Connection, node: &NodeName) -> Result<(), StorageError> {
    query("UPDATE certificates SET revoked = 1 WHERE node = ?").bind(node.as_str()).execute(connection).await?;
    Ok(())
}

/// The serial numbers that nobody takes any more, in order.
pub async fn revoked(connection: &mut Connection) -> Result<Vec<String>, StorageError> {
    let query = query("SELECT serial FROM certificates WHERE revoked = 1 ORDER BY serial");
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row.try_get("serial")).collect::<Result<_, _>>()?)
}

/// Forgets what has expired. Says whether the settings have changed by it: whether one of them was revoked.
pub async fn prune(connection: &mut Connection, now: u64) -> Result<bool, StorageError> {
    let mut gone = Vec::new();
    for revoked in [true, false] {
        let delete = query("DELETE FROM certificates WHERE not_after <= ? AND revoked = ?");
        gone.push(delete.bind(signed(now)).bind(revoked).execute(&mut *connection).await?);
    }
    Ok(gone[0] > 0)
}
