//! What is kept of bodies, so that a list of messages is read from here alone.

use bytes::Bytes;
use estafeta_protocols::imap::message::contents::Contents;
use estafeta_storage::blobs::BlobHash;
use estafeta_storage::sql::{Connection, query};

use super::messages::Chosen;
use super::{BlobRow, MailboxRow};
use crate::store::{StoreError, Uid, UidSet};

/// Keeps the contents of a body, unless they are.
pub async fn keep(connection: &mut Connection, blob: BlobRow, contents: &Contents) -> Result<(), StoreError> {
    let inserted =
        query("INSERT INTO contents (blob, version, summary, header) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
    let inserted = inserted.bind(blob).bind(Contents::VERSION).bind(&*contents.summary);
    inserted.bind(contents.header.as_deref()).execute(connection).await?;
    Ok(())
}

/// Keeps the contents of a body in place of what another version kept; nothing happens when the body is gone.
pub async fn renew(connection: &mut Connection, blob: BlobRow, contents: &Contents) -> Result<(), StoreError> {
    let renewed = query(
        "INSERT INTO contents (blob, version, summary, header) SELECT id, ?2, ?3, ?4 FROM blobs WHERE id = ?1
         ON CONFLICT (blob) DO UPDATE SET version = excluded.version, summary = excluded.summary, header = excluded.header",
    );
    let renewed = renewed.bind(blob).bind(Contents::VERSION).bind(&*contents.summary);
    renewed.bind(contents.header.as_deref()).execute(connection).await?;
    Ok(())
}

/// What of the contents is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Columns {
    /// What FETCH says of the message, but for its header.
    pub summary: bool,
    /// The header.
    pub header: bool,
    /// The body's hash.
    pub hash: bool,
}

/// A message with what was kept of it.
pub struct Row {
    /// Its number.
    pub uid: Uid,
    /// Its body.
    pub blob: BlobRow,
    /// What stands before the body.
    pub prefix: Bytes,
    /// Whether its contents are kept as this version keeps them; if not, the next three are empty.
    pub kept: bool,
    /// [`Columns::summary`].
    pub summary: Bytes,
    /// [`Columns::header`]; also absent when it is too long to be kept.
    pub header: Option<Bytes>,
    /// [`Columns::hash`].
    pub hash: Option<BlobHash>,
}

/// Those of `uids` that are there, by UID, in one statement: `uids` is for as many as can be held at once.
pub async fn find(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: &UidSet,
    columns: Columns,
) -> Result<Vec<Row>, StoreError> {
    let Some(chosen) = Chosen::of(uids) else { return Ok(Vec::new()) };
    let column = |wanted: bool, name: &'static str| if wanted { name } else { "NULL" };
    let (hash, join) = if columns.hash { ("hash", "JOIN blobs ON blobs.id = m.blob") } else { ("NULL", "") };
    let select = format!(
        "SELECT uid, m.blob, prefix, version, {}, {}, {hash}
         FROM messages m {join} LEFT JOIN contents c ON c.blob = m.blob",
        column(columns.summary, "summary"),
        column(columns.header, "header"),
    );
    let rows = chosen.query(&select, mailbox).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let kept = row.try_get::<Option<i64>>(3)? == Some(i64::from(Contents::VERSION));
            let bytes = |column| Ok::<_, StoreError>(row.try_get::<Option<Bytes>>(column)?.filter(|_| kept));
            let hash = if columns.hash { row.try_get::<&[u8]>(6)?.try_into().ok().map(BlobHash) } else { None };
            Ok(Row {
                uid: Uid(row.try_get(0)?),
                blob: row.try_get(1)?,
                prefix: row.try_get(2)?,
                kept,
                summary: bytes(4)?.unwrap_or_default(),
                header: bytes(5)?,
                hash,
            })
        })
        .collect()
}
