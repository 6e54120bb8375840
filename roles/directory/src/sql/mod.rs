//! The directory's database: its tables, and one file of queries for each thing that it keeps.
//!
//! Invariants: accounts and aliases share one namespace of addresses, which the database itself enforces; the id of a
//! removed account cannot come back; a change is on disk before it is answered. Queries take a connection, so that
//! whoever asks decides what is one transaction.

pub mod accounts;
pub mod aliases;
pub mod certificates;
pub mod credentials;
pub mod domains;
pub mod failed_logins;
pub mod gossip_keys;
pub mod join_tokens;
pub mod nodes;
pub mod secrets;
pub mod settings;

use estafeta_storage::sql::Row;
use std::time::{SystemTime, UNIX_EPOCH};

use estafeta_core::name::NameError;
use estafeta_storage::StorageError;
use estafeta_storage::sql::Migration;

/// The tables, as migrations that only ever add: a node of the version before must still work on them.
pub const MIGRATIONS: &[Migration] = &[
    Migration::new(1, "people and domains", include_str!("0001_people.sql")),
    Migration::new(2, "the cluster's nodes and keys", include_str!("0002_cluster.sql")),
    Migration::new(3, "quotas of messages", include_str!("0003_quota_messages.sql")),
];

/// Whether the database refused a row because its key is there already.
pub fn is_taken(error: &StorageError) -> bool {
    matches!(error, StorageError::Database(error) if error.is_taken())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A column whose text has a type of ours. What the database holds was checked when it was written.
fn parsed<T: std::str::FromStr<Err = NameError>>(row: &Row, column: &str) -> Result<T, estafeta_storage::sql::Error> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error: NameError| estafeta_storage::sql::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(error),
    })
}

/// A count or a time, which SQLite keeps with a sign.
fn unsigned(row: &Row, column: &str) -> Result<u64, estafeta_storage::sql::Error> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|error| estafeta_storage::sql::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(error),
    })
}

/// The way back. What SQLite cannot hold becomes the most that it can: 8 EiB, or the year 292 billion.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
