//! How many wrong passwords weigh on whom: a level at a time, for each subject. What a level means, `guesses` knows.
//!
//! Invariant: at most [`SUBJECTS`] rows; the oldest go first.

use estafeta_storage::StorageError;
use estafeta_storage::sql::{Connection, query};

use super::{signed, unsigned};

/// The most subjects that are kept.
pub const SUBJECTS: u32 = 100_000;

/// A level and when it was that, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// How many wrong passwords, after decay.
    pub level: f64,
    /// When.
    pub at: u64,
}

/// The level of a subject; none when nothing weighs on it.
pub async fn find(connection: &mut Connection, subject: &str) -> Result<Option<Level>, StorageError> {
    let row = query("SELECT level, at FROM failed_logins WHERE subject = ?").bind(subject);
    let Some(row) = row.fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(Level { level: row.try_get("level")?, at: unsigned(&row, "at")? }))
}

/// Sets the level of a subject.
pub async fn put(connection: &mut Connection, subject: &str, level: Level) -> Result<(), StorageError> {
    let put = query(
        "INSERT INTO failed_logins (subject, level, at) VALUES (?, ?, ?)
         ON CONFLICT (subject) DO UPDATE SET level = excluded.level, at = excluded.at",
    );
    put.bind(subject).bind(level.level).bind(signed(level.at)).execute(connection).await?;
    Ok(())
}

/// Forgets a subject.
pub async fn delete(connection: &mut Connection, subject: &str) -> Result<(), StorageError> {
    query("DELETE FROM failed_logins WHERE subject = ?").bind(subject).execute(connection).await?;
    Ok(())
}

/// Forgets what was last written before `before`, and the oldest beyond `keep`.
pub async fn prune(connection: &mut Connection, before: u64, keep: u32) -> Result<(), StorageError> {
    query("DELETE FROM failed_logins WHERE at < ?").bind(signed(before)).execute(&mut *connection).await?;
    let excess = query(
        "DELETE FROM failed_logins WHERE subject IN (SELECT subject FROM failed_logins ORDER BY at DESC LIMIT -1 OFFSET ?)",
    );
    excess.bind(keep).execute(connection).await?;
    Ok(())
}
