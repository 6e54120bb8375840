//! Which bodies live.
//!
//! At most one generation of a hash is not condemned. A condemned one stays so until its file and then its row are
//! deleted. A small body has no file: its bytes are in a row, which comes and goes with the row that names it.

use bytes::Bytes;
use estafeta_storage::blobs::{BlobHash, BlobName, Packing};
use estafeta_storage::sql::{Connection, Row, query, query_built};

use super::{BlobRow, MailboxRow};
use crate::store::StoreError;

/// What is known of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It lives: in a row, or in the file of this name.
    Living(Option<BlobName>),
    /// It does not; a file may be written under any generation above this one, the newest that is known.
    Free(Option<u32>),
}

/// By which the bodies of this database are told from others': a number that was drawn once.
pub async fn identity(connection: &mut Connection) -> Result<String, StoreError> {
    let drawn = fastrand::i64(1..);
    query("INSERT INTO counters VALUES ('identity', ?) ON CONFLICT DO NOTHING")
        .bind(drawn)
        .execute(&mut *connection)
        .await?;
    let row = query("SELECT value FROM counters WHERE name = 'identity'").fetch_one(connection).await?;
    Ok(format!("estafeta {:016x}", row.try_get::<i64>(0)?))
}

/// What is known of a hash.
pub async fn look_up(connection: &mut Connection, hash: BlobHash) -> Result<Known, StoreError> {
    let found = query(
        "SELECT hash, generation, packing, condemned IS NULL AS living, bodies.blob IS NOT NULL AS in_row
         FROM blobs LEFT JOIN bodies ON bodies.blob = blobs.id
         WHERE hash = ? ORDER BY condemned IS NOT NULL, generation DESC LIMIT 1",
    );
    let Some(row) = found.bind(hash.0.as_slice()).fetch_optional(connection).await? else {
        return Ok(Known::Free(None));
    };
    match (row.try_get("living")?, row.try_get("in_row")?) {
        (true, true) => Ok(Known::Living(None)),
        (true, false) => Ok(Known::Living(Some(name(&row)?))),
        (false, _) => Ok(Known::Free(Some(row.try_get("generation")?))),
    }
}

/// A body as it is to be kept when its hash does not live yet, under a name that was free.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its name.
    pub name: BlobName,
    /// How many bytes it takes.
    pub kept_bytes: u64,
    /// These, when it stands in a row, which is still to be written; none when it stands in its file already.
    pub row: Option<Bytes>,
}

/// Where a body is.
#[derive(Debug, Clone)]
pub enum Kept {
    /// In a file.
    File(BlobName),
    /// In a row: here it is.
    Row(Packing, Bytes),
}

impl Kept {
    /// Reads the columns `hash`, `generation`, `packing` and `bytes`.
    pub fn read(row: &Row) -> Result<Self, StoreError> {
        let name = name(row)?;
        let bytes: Option<Bytes> = row.try_get("bytes")?;
        Ok(bytes.map_or(Self::File(name), |bytes| Self::Row(name.packing, bytes)))
    }
}

/// Where a body is, the living one first; none when there is none of this hash.
pub async fn kept(connection: &mut Connection, hash: BlobHash) -> Result<Option<Kept>, StoreError> {
    let found = query(
        "SELECT hash, generation, packing, bytes FROM blobs LEFT JOIN bodies ON bodies.blob = blobs.id
         WHERE hash = ? ORDER BY condemned IS NOT NULL, generation DESC LIMIT 1",
    );
    let row = found.bind(hash.0.as_slice()).fetch_optional(connection).await?;
    row.as_ref().map(Kept::read).transpose()
}

/// The living body of a hash, and where it is.
pub async fn living(
    connection: &mut Connection,
    hash: BlobHash,
) -> Result<Option<(BlobRow, BlobName, Kept)>, StoreError> {
    let found = query(
        "SELECT id, hash, generation, packing, bytes FROM blobs LEFT JOIN bodies ON bodies.blob = blobs.id
         WHERE hash = ? AND condemned IS NULL",
    );
    let row = found.bind(hash.0.as_slice()).fetch_optional(connection).await?;
    row.map(|row| Ok((row.try_get("id")?, name(&row)?, Kept::read(&row)?))).transpose()
}

/// Writes the bytes of a body that stands in a row anew.
pub async fn rewrite(connection: &mut Connection, blob: BlobRow, kept: &[u8]) -> Result<(), StoreError> {
    query("UPDATE bodies SET bytes = ? WHERE blob = ?").bind(kept).bind(blob).execute(connection).await?;
    Ok(())
}

/// The row that a message names.
#[derive(Debug, Clone, Copy)]
pub struct Linked {
    /// Its number.
    pub row: BlobRow,
    /// Whether it was made.
    pub is_new: bool,
}

/// Names the living row of a hash once more. When there is none, it is made of `written`. None when neither is possible: the
/// body must be written anew.
pub async fn link(
    connection: &mut Connection,
    hash: BlobHash,
    written: Option<&Written>,
) -> Result<Option<Linked>, StoreError> {
    if let Some(Written { name, kept_bytes, row: bytes }) = written {
        let inserted = query(
            "INSERT INTO blobs (hash, generation, packing, kept_bytes, refs) SELECT ?1, ?2, ?3, ?4, 1
             WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE hash = ?1 AND condemned IS NULL) ON CONFLICT DO NOTHING RETURNING id",
        );
        let inserted = inserted.bind(hash.0.as_slice()).bind(name.generation).bind(name.packing.number());
        if let Some(row) = inserted.bind(*kept_bytes as i64).fetch_optional(&mut *connection).await? {
            let row: BlobRow = row.try_get("id")?;
            if let Some(bytes) = bytes {
                let body = query("INSERT INTO bodies (blob, bytes) VALUES (?, ?)").bind(row).bind(bytes.as_ref());
                body.execute(connection).await?;
            }
            return Ok(Some(Linked { row, is_new: true }));
        }
    }
    let named = query(
        "UPDATE blobs SET refs = refs + 1 WHERE hash = ? AND condemned IS NULL
         RETURNING id, EXISTS (SELECT 1 FROM bodies WHERE bodies.blob = blobs.id) AS in_row",
    );
    let Some(row) = named.bind(hash.0.as_slice()).fetch_optional(connection).await? else { return Ok(None) };
    // Nobody has looked whether its file is there.
    if written.is_some_and(|written| written.row.is_some()) && !row.try_get::<bool>("in_row")? {
        return Ok(None);
    }
    Ok(Some(Linked { row: row.try_get("id")?, is_new: false }))
}

/// What names bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Messages.
    Messages,
    /// Those that can be had back.
    Deleted,
}

impl Names {
    fn table(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Deleted => "deleted_messages",
        }
    }
}

/// Gives up the references of these messages to their bodies.
pub async fn let_go(
    connection: &mut Connection,
    names: Names,
    mailbox: MailboxRow,
    uids: (u32, u32),
) -> Result<(), StoreError> {
    count(connection, names, mailbox, uids, -1).await
}

/// Names the bodies of these messages once more.
pub async fn name_again(connection: &mut Connection, mailbox: MailboxRow, uids: (u32, u32)) -> Result<(), StoreError> {
    count(connection, Names::Messages, mailbox, uids, 1).await
}

async fn count(
    connection: &mut Connection,
    names: Names,
    mailbox: MailboxRow,
    (first, last): (u32, u32),
    times: i64,
) -> Result<(), StoreError> {
    let table = names.table();
    if connection.must_lock() {
        // In the order of their numbers, so that two transactions do not wait for each other.
        let locked = query_built(format!(
            "SELECT id FROM blobs WHERE id IN (SELECT blob FROM {table} WHERE mailbox = ? AND uid BETWEEN ? AND ?)
             ORDER BY id FOR NO KEY UPDATE"
        ));
        locked.bind(mailbox).bind(first).bind(last).execute(&mut *connection).await?;
    }
    let counted = query_built(format!(
        "UPDATE blobs SET refs = refs + named.times * ?4 FROM (SELECT blob, count(*) AS times FROM {table}
             WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 GROUP BY blob) AS named WHERE blobs.id = named.blob"
    ));
    counted.bind(mailbox).bind(first).bind(last).bind(times).execute(connection).await?;
    Ok(())
}

/// Condemns up to `limit` bodies that no message names, and says how many.
pub async fn condemn_unused(connection: &mut Connection, now: i64, limit: u32) -> Result<u64, StoreError> {
    let condemned = query(
        // What was linked while this waited for its lock is looked at again: so the conditions stand outside too.
        "UPDATE blobs SET condemned = ? WHERE refs = 0 AND condemned IS NULL
             AND id IN (SELECT id FROM blobs WHERE refs = 0 AND condemned IS NULL LIMIT ?)",
    );
    Ok(condemned.bind(now).bind(limit).execute(connection).await?)
}

/// Condemns a file that no row names; one that some row names is left alone.
pub async fn condemn_stray(connection: &mut Connection, name: BlobName, now: i64) -> Result<bool, StoreError> {
    let inserted =
        query("INSERT INTO blobs (hash, generation, packing, condemned) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
    let inserted = inserted.bind(name.hash.0.as_slice()).bind(name.generation).bind(name.packing.number()).bind(now);
    let inserted = inserted.execute(connection).await?;
    Ok(inserted > 0)
}

/// Whether some row names this blob.
pub async fn is_named(connection: &mut Connection, name: BlobName) -> Result<bool, StoreError> {
    let found = query("SELECT EXISTS (SELECT 1 FROM blobs WHERE hash = ? AND generation = ?)");
    Ok(found.bind(name.hash.0.as_slice()).bind(name.generation).fetch_one(connection).await?.try_get(0)?)
}

/// Up to `limit` bodies that were condemned before `before`.
pub async fn condemned(
    connection: &mut Connection,
    before: i64,
    limit: u32,
) -> Result<Vec<(BlobRow, BlobName)>, StoreError> {
    let found = query("SELECT id, hash, generation, packing FROM blobs WHERE condemned < ? LIMIT ?");
    let rows = found.bind(before).bind(limit).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, name(row)?))).collect()
}

/// Forgets a condemned body, whose file is deleted.
pub async fn remove(connection: &mut Connection, blob: BlobRow) -> Result<(), StoreError> {
    let body = query("DELETE FROM bodies WHERE blob IN (SELECT id FROM blobs WHERE id = ? AND condemned IS NOT NULL)");
    body.bind(blob).execute(&mut *connection).await?;
    query("DELETE FROM blobs WHERE id = ? AND condemned IS NOT NULL").bind(blob).execute(connection).await?;
    Ok(())
}

/// The name of a body, of the columns `hash`, `generation` and `packing`.
pub fn name(row: &Row) -> Result<BlobName, StoreError> {
    let damaged = |text: &str| StoreError::from(estafeta_storage::sql::Error::Decode(text.into()));
    let hash: &[u8] = row.try_get("hash")?;
    let hash = hash.try_into().map_err(|_| damaged("a hash of another length"))?;
    let packing = Packing::from_number(row.try_get("packing")?).ok_or_else(|| damaged("an unknown packing"))?;
    Ok(BlobName { hash: BlobHash(hash), generation: row.try_get("generation")?, packing })
}
