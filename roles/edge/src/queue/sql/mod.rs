//! The queue's tables: every statement on them.

use estafeta_storage::sql::{Connection, Row, query};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use estafeta_core::{Address, DeliveryId};
use estafeta_protocols::date::DateTime;
use estafeta_storage::StorageError;
use estafeta_storage::sql::Migration;
use serde::Serialize;
use uuid::Uuid;

use super::job::{Found, JobRecipient};
use super::settlement::{Settled, Settlement};
use super::{Destination, Due, Letter, Waiting};

/// Every migration there ever was.
pub(super) const MIGRATIONS: &[Migration] =
    &[Migration::new(1, "letters and recipients", include_str!("0001_queue.sql"))];

/// One recipient that waits, as the command line shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The delivery id.
    pub id: String,
    /// Where bounces go; empty for nowhere.
    pub sender: String,
    /// Where to.
    pub recipient: String,
    /// In bytes.
    pub size_bytes: i64,
    /// When it came (RFC 3339).
    pub arrived: String,
    /// When it is tried again (RFC 3339).
    pub next_attempt: String,
    /// How often it was tried.
    pub attempts: i64,
    /// What the last attempt was answered.
    pub last_answer: String,
}

pub(super) fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn from_ms(ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn id_of(row: &Row, column: &str) -> Result<DeliveryId, StorageError> {
    let bytes: &[u8] = row.try_get(column)?;
    Ok(DeliveryId(Uuid::from_slice(bytes).map_err(|error| estafeta_storage::sql::Error::Decode(Box::new(error)))?))
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, StorageError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| estafeta_storage::sql::Error::Decode(Box::new(error)).into())
}

pub(super) async fn ids(connection: &mut Connection) -> Result<Vec<DeliveryId>, StorageError> {
    let rows = query("SELECT id FROM letters").fetch_all(connection).await?;
    rows.iter().map(|row| id_of(row, "id")).collect()
}

pub(super) async fn holds(connection: &mut Connection, id: DeliveryId) -> Result<bool, StorageError> {
    let row = query("SELECT 1 FROM letters WHERE id = ?").bind(&id.0.as_bytes()[..]).fetch_optional(connection).await?;
    Ok(row.is_some())
}

/// Inserts letters whose recipients are due at once.
pub(super) async fn insert(
    connection: &mut Connection,
    letters: &[Letter],
    now: SystemTime,
) -> Result<(), StorageError> {
    for letter in letters {
        let size_bytes = i64::try_from(letter.message.len()).unwrap_or(i64::MAX);
        query("INSERT INTO letters (id, sender, prefix, size_bytes, smtputf8, arrived_ms) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(&letter.id.0.as_bytes()[..])
            .bind(letter.sender.as_ref().map(Address::to_string))
            .bind(&letter.message.prefix()[..])
            .bind(size_bytes)
            .bind(letter.smtputf8)
            .bind(to_ms(letter.arrived))
            .execute(&mut *connection)
            .await?;
        insert_recipients(connection, letter.id, 0, &letter.recipients, now).await?;
    }
    Ok(())
}

async fn insert_recipients(
    connection: &mut Connection,
    letter: DeliveryId,
    first_number: i64,
    recipients: &[Waiting],
    now: SystemTime,
) -> Result<(), StorageError> {
    for (number, recipient) in (first_number..).zip(recipients) {
        let account = recipient.account.as_ref().map(serde_json::to_string).transpose();
        query(
            "INSERT INTO recipients (letter, number, destination, address, original, account, next_attempt_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&letter.0.as_bytes()[..])
        .bind(number)
        .bind(recipient.destination().to_text())
        .bind(recipient.address.to_string())
        .bind(recipient.original.to_string())
        .bind(account.map_err(|error| estafeta_storage::sql::Error::Encode(Box::new(error)))?)
        .bind(to_ms(now))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn due(connection: &mut Connection, now: SystemTime) -> Result<Vec<Due>, StorageError> {
    let rows = query(
        "SELECT destination, COUNT(DISTINCT letter) AS letters FROM recipients WHERE next_attempt_ms <= ?
         GROUP BY destination ORDER BY MIN(next_attempt_ms)",
    )
    .bind(to_ms(now))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let letters: i64 = row.try_get("letters")?;
            let destination = Destination::from_text(row.try_get("destination")?);
            Ok(Due { destination, letters: usize::try_from(letters).unwrap_or_default() })
        })
        .collect()
}

pub(super) async fn next_due(connection: &mut Connection, now: SystemTime) -> Result<Option<SystemTime>, StorageError> {
    let next: Option<i64> = query("SELECT MIN(next_attempt_ms) FROM recipients WHERE next_attempt_ms > ?")
        .bind(to_ms(now))
        .fetch_one(connection)
        .await?
        .try_get(0)?;
    Ok(next.map(from_ms))
}

/// The letter that is due longest for a destination, of those that nobody has claimed.
pub(super) async fn longest_due(
    connection: &mut Connection,
    destination: &Destination,
    claimed: &[DeliveryId],
    now: SystemTime,
) -> Result<Option<DeliveryId>, StorageError> {
    let claimed: Vec<String> = claimed.iter().map(|id| id.0.simple().to_string()).collect();
    let row = query(
        "SELECT letter FROM recipients WHERE destination = ? AND next_attempt_ms <= ?
         AND letter NOT IN (SELECT unhex(value) FROM json_each(?)) ORDER BY next_attempt_ms LIMIT 1",
    )
    .bind(destination.to_text())
    .bind(to_ms(now))
    .bind(serde_json::to_string(&claimed).unwrap_or_default())
    .fetch_optional(connection)
    .await?;
    row.map(|row| id_of(&row, "letter")).transpose()
}

/// A letter and its recipients that are due at a destination; none if there are no such recipients any more.
pub(super) async fn load(
    connection: &mut Connection,
    id: DeliveryId,
    destination: &Destination,
    now: SystemTime,
) -> Result<Option<Found>, StorageError> {
    let letter =
        query("SELECT * FROM letters WHERE id = ?").bind(&id.0.as_bytes()[..]).fetch_optional(&mut *connection).await?;
    let rows =
        query("SELECT * FROM recipients WHERE letter = ? AND destination = ? AND next_attempt_ms <= ? ORDER BY number")
            .bind(&id.0.as_bytes()[..])
            .bind(destination.to_text())
            .bind(to_ms(now))
            .fetch_all(&mut *connection)
            .await?;
    let Some(letter) = letter.filter(|_| !rows.is_empty()) else { return Ok(None) };
    let sender: Option<String> = letter.try_get("sender")?;
    let prefix: Vec<u8> = letter.try_get("prefix")?;
    Ok(Some(Found {
        id,
        destination: destination.clone(),
        sender: sender.as_deref().map(parsed).transpose()?,
        prefix: Bytes::from(prefix),
        smtputf8: letter.try_get("smtputf8")?,
        arrived: from_ms(letter.try_get("arrived_ms")?),
        warned: letter.try_get("warned")?,
        recipients: rows.iter().map(recipient).collect::<Result<_, _>>()?,
    }))
}

fn recipient(row: &Row) -> Result<JobRecipient, StorageError> {
    let account: Option<&str> = row.try_get("account")?;
    let account = account
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| estafeta_storage::sql::Error::Decode(Box::new(error)))?;
    let attempts: i64 = row.try_get("attempts")?;
    Ok(JobRecipient {
        number: row.try_get("number")?,
        waiting: Waiting {
            address: parsed(row.try_get("address")?)?,
            original: parsed(row.try_get("original")?)?,
            account,
        },
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    })
}

pub(super) async fn settle(connection: &mut Connection, settlement: &Settlement) -> Result<Settled, StorageError> {
    let id = settlement.letter.0.as_bytes();
    let now = SystemTime::now();
    for number in &settlement.decided {
        query("DELETE FROM recipients WHERE letter = ? AND number = ?")
            .bind(&id[..])
            .bind(*number)
            .execute(&mut *connection)
            .await?;
    }
    for postponed in &settlement.postponed {
        query(
            "UPDATE recipients SET attempts = attempts + 1, next_attempt_ms = ?, last_answer = ? WHERE letter = ? AND number = ?",
        )
        .bind(to_ms(postponed.next_attempt))
        .bind(postponed.answer.to_string())
        .bind(&id[..])
        .bind(postponed.number)
        .execute(&mut *connection)
        .await?;
    }
    if settlement.warned {
        query("UPDATE letters SET warned = 1 WHERE id = ?").bind(&id[..]).execute(&mut *connection).await?;
    }
    let is_there: bool = query("SELECT EXISTS (SELECT 1 FROM letters WHERE id = ?)")
        .bind(&id[..])
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    // Somebody may have removed the letter meanwhile; then there is nobody to add to it.
    if is_there && !settlement.added.is_empty() {
        let first: i64 = query("SELECT COALESCE(MAX(number), 0) + 1 FROM recipients WHERE letter = ?")
            .bind(&id[..])
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)?;
        insert_recipients(connection, settlement.letter, first, &settlement.added, now).await?;
    }
    let done = query("DELETE FROM letters WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM recipients WHERE letter = ?1)")
        .bind(&id[..])
        .execute(&mut *connection)
        .await?;
    insert(connection, &settlement.reports, now).await?;
    Ok(Settled { is_gone: done > 0 })
}

pub(super) async fn list(connection: &mut Connection, limit: usize) -> Result<Vec<Listed>, StorageError> {
    let rows = query(
        "SELECT letters.id, sender, address, size_bytes, arrived_ms, next_attempt_ms, attempts, last_answer
         FROM letters JOIN recipients ON recipients.letter = letters.id ORDER BY arrived_ms, letters.id, number LIMIT ?",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let moment =
                |column: &str| row.try_get(column).map(|ms: i64| DateTime::from_unix_seconds(ms / 1000).rfc3339());
            Ok(Listed {
                id: id_of(row, "id")?.to_string(),
                sender: row.try_get::<Option<String>>("sender")?.unwrap_or_default(),
                recipient: row.try_get("address")?,
                size_bytes: row.try_get("size_bytes")?,
                arrived: moment("arrived_ms")?,
                next_attempt: moment("next_attempt_ms")?,
                attempts: row.try_get("attempts")?,
                last_answer: row.try_get::<Option<String>>("last_answer")?.unwrap_or_default(),
            })
        })
        .collect()
}

/// Makes a letter's recipients due now, or everybody's.
pub(super) async fn hasten(
    connection: &mut Connection,
    id: Option<DeliveryId>,
    now: SystemTime,
) -> Result<u64, StorageError> {
    let done = match id {
        Some(id) => {
            query("UPDATE recipients SET next_attempt_ms = ? WHERE letter = ?")
                .bind(to_ms(now))
                .bind(&id.0.as_bytes()[..])
                .execute(connection)
                .await?
        }
        None => query("UPDATE recipients SET next_attempt_ms = ?").bind(to_ms(now)).execute(connection).await?,
    };
    Ok(done)
}

pub(super) async fn remove(connection: &mut Connection, id: DeliveryId) -> Result<bool, StorageError> {
    let done = query("DELETE FROM letters WHERE id = ?").bind(&id.0.as_bytes()[..]).execute(connection).await?;
    Ok(done > 0)
}
