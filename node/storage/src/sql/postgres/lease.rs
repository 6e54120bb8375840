//! What only one of the processes that have a database open may do at a time (DESIGN.md, invariant 6).

use super::super::connection::{Connection, Engine};
use super::super::query::query;
use crate::error::StorageError;

/// Held until it expires. Its number grows with each holder: a transaction that checks it is not one of a holder that
/// was asleep while another took over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    name: &'static str,
    holder: String,
    fence: i64,
}

impl Lease {
    /// In a transaction: whether it is still held. On SQLite, where a database has one process, it always is.
    pub async fn check(&self, connection: &mut Connection) -> Result<bool, StorageError> {
        if connection.engine() == Engine::Sqlite {
            return Ok(true);
        }
        let held = query("SELECT 1 FROM storage_leases WHERE name = ? AND holder = ? AND fence = ? FOR SHARE");
        let held = held.bind(self.name).bind(&self.holder).bind(self.fence).fetch_optional(connection).await?;
        Ok(held.is_some())
    }
}

/// In a transaction: takes a lease, or takes it for longer. None while another holds it.
pub(in crate::sql) async fn take(
    connection: &mut Connection,
    name: &'static str,
    holder: &str,
    seconds: u32,
) -> Result<Option<Lease>, StorageError> {
    if connection.engine() == Engine::Sqlite {
        return Ok(Some(Lease { name, holder: holder.to_owned(), fence: 0 }));
    }
    // The server's clock is the one clock of all.
    let taken = query(
        "INSERT INTO storage_leases AS held VALUES (?1, ?2, 1, extract(epoch FROM now())::BIGINT + ?3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until,
             fence = held.fence + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END
         WHERE held.holder = excluded.holder OR held.until < extract(epoch FROM now())::BIGINT
         RETURNING fence",
    );
    let row = taken.bind(name).bind(holder).bind(seconds).fetch_optional(connection).await?;
    row.map(|row| Ok(Lease { name, holder: holder.to_owned(), fence: row.try_get(0)? })).transpose()
}
