//! Mail that the store itself sends.

use estafeta_core::DeliveryId;
use estafeta_core::name::NameError;
use estafeta_storage::sql::{Connection, Error, query};

use crate::store::{Letter, StoreError, Waiting};

/// Writes one down, due at once, unless `limit` wait already: then it says no. One that is there already is not written again.
pub async fn insert(connection: &mut Connection, letter: &Letter, now: i64, limit: u32) -> Result<bool, StoreError> {
    if waiting(&mut *connection).await?.0 >= limit {
        return Ok(false);
    }
    query(
        "INSERT INTO outbox (delivery, recipient, message, written, due) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(letter.id.0.as_bytes().as_slice())
    .bind(letter.recipient.to_string())
    .bind(&letter.message[..])
    .bind(now)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(true)
}

/// How many wait, and when the next one is due; none when none waits.
pub async fn waiting(connection: &mut Connection) -> Result<(u32, Option<i64>), StoreError> {
    let row = query("SELECT count(*), min(due) FROM outbox").fetch_one(connection).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Up to `limit` that are due at `now`; they are due again at `until`. None that another node has taken meanwhile.
pub async fn claim(
    connection: &mut Connection,
    (now, until): (i64, i64),
    limit: u32,
) -> Result<Vec<Waiting>, StoreError> {
    let due = query(
        "SELECT delivery, recipient, message, written, attempts FROM outbox WHERE due <= ? ORDER BY due, delivery LIMIT ?",
    );
    let due = due.bind(now).bind(limit).fetch_all(&mut *connection).await?;
    let mut claimed = Vec::with_capacity(due.len());
    for row in &due {
        let (id, attempts): (&[u8], u32) = (row.try_get("delivery")?, row.try_get("attempts")?);
        let taken = query("UPDATE outbox SET due = ?, attempts = attempts + 1 WHERE delivery = ? AND attempts = ?");
        let taken = taken.bind(until).bind(id).bind(attempts).execute(&mut *connection).await?;
        if taken == 0 {
            continue;
        }
        let undecodable = |error: Box<dyn std::error::Error + Send + Sync>| Error::Decode(error);
        let recipient: &str = row.try_get("recipient")?;
        claimed.push(Waiting {
            letter: Letter {
                id: DeliveryId(uuid::Uuid::from_slice(id).map_err(|error| undecodable(error.into()))?),
                recipient: recipient.parse().map_err(|error: NameError| undecodable(error.into()))?,
                message: row.try_get("message")?,
            },
            written: row.try_get("written")?,
            attempts: attempts + 1,
        });
    }
    Ok(claimed)
}

/// Has one tried again at `due`, unless somebody has taken it meanwhile to try it once more.
pub async fn postpone(connection: &mut Connection, id: DeliveryId, attempts: u32, due: i64) -> Result<(), StoreError> {
    let postponed = query("UPDATE outbox SET due = ? WHERE delivery = ? AND attempts = ?");
    postponed.bind(due).bind(id.0.as_bytes().as_slice()).bind(attempts).execute(connection).await?;
    Ok(())
}

/// Forgets one.
pub async fn remove(connection: &mut Connection, id: DeliveryId) -> Result<(), StoreError> {
    query("DELETE FROM outbox WHERE delivery = ?").bind(id.0.as_bytes().as_slice()).execute(connection).await?;
    Ok(())
}
