//! The certificates that were issued from here and have not expired.

use std::collections::BTreeMap;

use estafeta_core::NodeName;
use estafeta_core::certificate::Issued;
use estafeta_storage::StorageError;
use sqlx::{Row, SqliteConnection};

use super::{parsed, signed, unsigned};

/// Writes down what was issued.
pub async fn insert(connection: &mut SqliteConnection, node: &NodeName, issued: &Issued) -> Result<(), StorageError> {
    let insert = sqlx::query("INSERT INTO certificates (serial, node, not_after) VALUES (?, ?, ?)")
        .bind(&issued.serial)
        .bind(node.as_str())
        .bind(signed(issued.not_after_seconds));
    insert.execute(connection).await?;
    Ok(())
}

/// How many of a node are good.
pub async fn count(connection: &mut SqliteConnection, node: &NodeName, now: u64) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT count(*) AS good FROM certificates WHERE node = ? AND not_after > ? AND revoked = 0")
        .bind(node.as_str())
        .bind(signed(now));
    Ok(unsigned(&row.fetch_one(connection).await?, "good")?)
}

/// Until when the newest of each node is good, in seconds since 1970.
pub async fn expiries(connection: &mut SqliteConnection) -> Result<BTreeMap<NodeName, u64>, StorageError> {
    let query =
        sqlx::query("SELECT node, max(not_after) AS not_after FROM certificates WHERE revoked = 0 GROUP BY node");
    let rows = query.fetch_all(connection).await?;
    let expiry = |row: &_| -> Result<_, sqlx::Error> { Ok((parsed(row, "node")?, unsigned(row, "not_after")?)) };
    Ok(rows.iter().map(expiry).collect::<Result<_, _>>()?)
}

/// Nobody takes the node's certificates any more.
pub async fn revoke(connection: &mut SqliteConnection, node: &NodeName) -> Result<(), StorageError> {
    sqlx::query("UPDATE certificates SET revoked = 1 WHERE node = ?").bind(node.as_str()).execute(connection).await?;
    Ok(())
}

/// The serial numbers that nobody takes any more, in order.
pub async fn revoked(connection: &mut SqliteConnection) -> Result<Vec<String>, StorageError> {
    let query = sqlx::query("SELECT serial FROM certificates WHERE revoked = 1 ORDER BY serial");
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row.try_get("serial")).collect::<Result<_, _>>()?)
}

/// Forgets what has expired. Says whether the settings have changed by it: whether one of them was revoked.
pub async fn prune(connection: &mut SqliteConnection, now: u64) -> Result<bool, StorageError> {
    let mut gone = Vec::new();
    for revoked in [true, false] {
        let delete = sqlx::query("DELETE FROM certificates WHERE not_after <= ? AND revoked = ?");
        gone.push(delete.bind(signed(now)).bind(revoked).execute(&mut *connection).await?.rows_affected());
    }
    Ok(gone[0] > 0)
}
