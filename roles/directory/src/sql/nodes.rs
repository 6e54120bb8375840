//! The nodes that joined, and the names of those that were removed. Whoever changes them counts the settings' version.

use estafeta_core::NodeName;
use estafeta_core::members::Member;
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, Row, query};

use super::{parsed, signed, unsigned};

/// All that joined, in the order of their names.
pub async fn all(connection: &mut Connection) -> Result<Vec<Member>, StorageError> {
    let rows = query("SELECT member FROM nodes ORDER BY name").fetch_all(connection).await?;
    Ok(rows.iter().map(member).collect::<Result<_, _>>()?)
}

fn member(row: &Row) -> Result<Member, estafeta_storage::sql::Error> {
    let text: String = row.try_get("member")?;
    let wrong = |error| estafeta_storage::sql::Error::ColumnDecode { index: "member".into(), source: Box::new(error) };
    serde_json::from_str(&text).map_err(wrong)
}

/// Adds one.
pub async fn insert(connection: &mut Connection, member: &Member, now: u64) -> Result<(), StorageError> {
    let text = serde_json::to_string(member).map_err(|error| estafeta_storage::sql::Error::Encode(Box::new(error)))?;
    let insert = query("INSERT INTO nodes (name, member, joined) VALUES (?, ?, ?)")
        .bind(member.name.as_str())
        .bind(text)
        .bind(signed(now));
    insert.execute(connection).await?;
    Ok(())
}

/// Removes one, and says whether there was one.
pub async fn delete(connection: &mut Connection, name: &NodeName) -> Result<bool, StorageError> {
    let delete = query("DELETE FROM nodes WHERE name = ?").bind(name.as_str());
    Ok(delete.execute(connection).await? > 0)
}

/// The names of those that were removed and did not join again.
pub async fn removed(connection: &mut Connection) -> Result<Vec<NodeName>, StorageError> {
    let rows = query("SELECT name FROM removed_nodes ORDER BY name").fetch_all(connection).await?;
    Ok(rows.iter().map(|row| parsed(row, "name")).collect::<Result<_, _>>()?)
}

/// From when on the name of a removed node may be given anew, in seconds since 1970; none when it is not removed.
pub async fn free_from(connection: &mut Connection, name: &NodeName) -> Result<Option<u64>, StorageError> {
    let row = query("SELECT free_from FROM removed_nodes WHERE name = ?").bind(name.as_str());
    Ok(row.fetch_optional(connection).await?.map(|row| unsigned(&row, "free_from")).transpose()?)
}

/// Says that the node of this name is removed.
pub async fn shut_out(
    connection: &mut Connection,
    name: &NodeName,
    now: u64,
    free_from: u64,
) -> Result<(), StorageError> {
    let insert = query("INSERT INTO removed_nodes (name, removed, free_from) VALUES (?, ?, ?)")
        .bind(name.as_str())
        .bind(signed(now))
        .bind(signed(free_from));
    insert.execute(connection).await?;
    Ok(())
}

/// Says that the name is given anew.
pub async fn let_in(connection: &mut Connection, name: &NodeName) -> Result<(), StorageError> {
    query("DELETE FROM removed_nodes WHERE name = ?").bind(name.as_str()).execute(connection).await?;
    Ok(())
}
