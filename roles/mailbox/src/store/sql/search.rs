//! The tables of the search index, and every statement on them.
//!
//! Each message has a row under its mailbox and UID, so that a search costs what its mailbox holds and not what the store
//! does: on SQLite by the range of rows that a mailbox has in the full-text table, on PostgreSQL by the mailbox in front of
//! the index. Both keep sequences of three letters, so that any text of three letters or more is found wherever in a word
//! it stands, as SEARCH asks for (RFC 9051 §6.4.4).

use estafeta_protocols::imap::message::Searchable;
use estafeta_protocols::imap::message::search::Place;
use estafeta_storage::sql::{Connection, Engine, Migration, Row, query};

use super::MailboxRow;
use crate::store::{ModSeq, StoreError, Uid, UidSet, UidValidity};

/// Every step there ever was of SQLite's database of its own.
pub const MIGRATIONS: &[Migration] = &[Migration::new(1, "search", PROGRESS).with(&[TEXTS_SQLITE], &[])];

const PROGRESS: &str = "
-- Up to which UID a mailbox is indexed, and up to which change the expunged were taken out.
CREATE TABLE search_progress (
    mailbox INTEGER NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (mailbox)
);
-- Messages of which only the beginning is indexed.
CREATE TABLE search_cut (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
";

// The texts themselves are not kept: they are where the messages are. What goes in is folded already.
const TEXTS_SQLITE: &str = "
CREATE VIRTUAL TABLE search_texts USING fts5(
    header, body, content = '', contentless_delete = 1, tokenize = 'trigram case_sensitive 1'
);
";

/// The same among the store's tables, on PostgreSQL alone. It looks at the text once more, so it is kept there, compressed as
/// PostgreSQL does. Both extensions are PostgreSQL's own and trusted: the owner of the database may make them.
pub const POSTGRES: &str = "
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE search_progress (
    mailbox BIGINT PRIMARY KEY,
    uidvalidity BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    modseq BIGINT NOT NULL
);
CREATE TABLE search_cut (
    mailbox BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    PRIMARY KEY (mailbox, uid)
);
CREATE TABLE search_texts (
    mailbox BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    header TEXT COLLATE \"C\" NOT NULL,
    body TEXT COLLATE \"C\" NOT NULL,
    PRIMARY KEY (mailbox, uid)
);
CREATE INDEX search_texts_letters ON search_texts USING gin (mailbox, header gin_trgm_ops, body gin_trgm_ops);
";

/// How far the index of a mailbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The life of its UIDs.
    pub uid_validity: UidValidity,
    /// All up to this one are indexed.
    pub uid: Uid,
    /// What was expunged up to this change was taken out.
    pub modseq: ModSeq,
}

/// The rows of a mailbox in SQLite's table: its number in the upper half.
fn first_row(mailbox: MailboxRow) -> i64 {
    mailbox.0 << 32
}

fn last_row(mailbox: MailboxRow) -> i64 {
    first_row(mailbox) | i64::from(u32::MAX)
}

fn read_progress(row: &Row) -> Result<Progress, StoreError> {
    Ok(Progress {
        uid_validity: UidValidity(row.try_get("uidvalidity")?),
        uid: Uid(row.try_get("uid")?),
        modseq: ModSeq(row.try_get::<i64>("modseq")? as u64),
    })
}

/// How far a mailbox is, if it is indexed at all; inside a transaction, for as long as that lasts.
pub async fn progress(connection: &mut Connection, mailbox: MailboxRow) -> Result<Option<Progress>, StoreError> {
    let found = connection.locking("SELECT uidvalidity, uid, modseq FROM search_progress WHERE mailbox = ?");
    found.bind(mailbox).fetch_optional(connection).await?.as_ref().map(read_progress).transpose()
}

/// How far up to `limit` mailboxes behind `after` are, by their numbers.
pub async fn progress_after(
    connection: &mut Connection,
    after: MailboxRow,
    limit: u32,
) -> Result<Vec<(MailboxRow, Progress)>, StoreError> {
    let found = query(
        "SELECT mailbox, uidvalidity, uid, modseq FROM search_progress WHERE mailbox > ? ORDER BY mailbox LIMIT ?",
    );
    let rows = found.bind(after).bind(limit).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get("mailbox")?, read_progress(row)?))).collect()
}

/// Remembers how far a mailbox is.
pub async fn set_progress(
    connection: &mut Connection,
    mailbox: MailboxRow,
    progress: Progress,
) -> Result<(), StoreError> {
    let set = query(
        "INSERT INTO search_progress (mailbox, uidvalidity, uid, modseq) VALUES (?, ?, ?, ?) ON CONFLICT (mailbox)
         DO UPDATE SET uidvalidity = excluded.uidvalidity, uid = excluded.uid, modseq = excluded.modseq",
    );
    let set = set.bind(mailbox).bind(progress.uid_validity.0).bind(progress.uid.0).bind(progress.modseq.0 as i64);
    set.execute(connection).await?;
    Ok(())
}

/// Puts a message in.
pub async fn put(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uid: Uid,
    text: &Searchable,
) -> Result<(), StoreError> {
    let put = match connection.engine() {
        Engine::Sqlite => query("INSERT OR REPLACE INTO search_texts (rowid, header, body) VALUES (?, ?, ?)")
            .bind(first_row(mailbox) | i64::from(uid.0)),
        Engine::Postgres => query(
            "INSERT INTO search_texts (mailbox, uid, header, body) VALUES (?, ?, ?, ?) ON CONFLICT (mailbox, uid)
             DO UPDATE SET header = excluded.header, body = excluded.body",
        )
        .bind(mailbox)
        .bind(uid.0),
    };
    put.bind(text.header.as_str()).bind(text.body.as_str()).execute(&mut *connection).await?;
    if !text.is_whole {
        let cut = query("INSERT INTO search_cut (mailbox, uid) VALUES (?, ?) ON CONFLICT DO NOTHING");
        cut.bind(mailbox).bind(uid.0).execute(connection).await?;
    }
    Ok(())
}

/// Takes messages out, if they are in.
pub async fn take_out(connection: &mut Connection, mailbox: MailboxRow, uids: &[Uid]) -> Result<(), StoreError> {
    for uid in uids {
        let taken = match connection.engine() {
            Engine::Sqlite => {
                query("DELETE FROM search_texts WHERE rowid = ?").bind(first_row(mailbox) | i64::from(uid.0))
            }
            Engine::Postgres => {
                query("DELETE FROM search_texts WHERE mailbox = ? AND uid = ?").bind(mailbox).bind(uid.0)
            }
        };
        taken.execute(&mut *connection).await?;
        let cut = query("DELETE FROM search_cut WHERE mailbox = ? AND uid = ?");
        cut.bind(mailbox).bind(uid.0).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Up to `limit` messages of a mailbox that are in, behind `after`.
pub async fn uids_after(
    connection: &mut Connection,
    mailbox: MailboxRow,
    after: Uid,
    limit: u32,
) -> Result<Vec<Uid>, StoreError> {
    let found = match connection.engine() {
        Engine::Sqlite => query("SELECT rowid FROM search_texts WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?")
            .bind(first_row(mailbox) | i64::from(after.0))
            .bind(last_row(mailbox)),
        Engine::Postgres => query("SELECT uid FROM search_texts WHERE mailbox = ? AND uid > ? ORDER BY uid LIMIT ?")
            .bind(mailbox)
            .bind(after.0),
    };
    let rows = found.bind(limit).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(Uid((row.try_get::<i64>(0)? & i64::from(u32::MAX)) as u32))).collect()
}

/// Forgets a mailbox that has no rows any more.
pub async fn forget(connection: &mut Connection, mailbox: MailboxRow) -> Result<(), StoreError> {
    query("DELETE FROM search_cut WHERE mailbox = ?").bind(mailbox).execute(&mut *connection).await?;
    query("DELETE FROM search_progress WHERE mailbox = ?").bind(mailbox).execute(connection).await?;
    Ok(())
}

/// The messages of a mailbox that hold the text, which is folded and of three letters at least.
pub async fn holding(
    connection: &mut Connection,
    mailbox: MailboxRow,
    place: Place,
    text: &str,
) -> Result<UidSet, StoreError> {
    // One row, whatever there is to find: a row for each takes many times as much.
    let found = match connection.engine() {
        Engine::Sqlite => {
            let column = match place {
                Place::Header => "header",
                Place::Body => "body",
            };
            query(
                "SELECT group_concat(rowid & 4294967295, ',') FROM search_texts
                 WHERE search_texts MATCH ? AND rowid BETWEEN ? AND ?",
            )
            .bind(format!("{{{column}}} : \"{}\"", text.replace('"', "\"\"")))
            .bind(first_row(mailbox))
            .bind(last_row(mailbox))
        }
        Engine::Postgres => {
            let statement = match place {
                Place::Header => {
                    "SELECT string_agg(CAST(uid AS TEXT), ',') FROM search_texts WHERE mailbox = ? AND header LIKE ?"
                }
                Place::Body => {
                    "SELECT string_agg(CAST(uid AS TEXT), ',') FROM search_texts WHERE mailbox = ? AND body LIKE ?"
                }
            };
            let pattern = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            // Planned for this text: how it is found best depends on it.
            query(statement).once().bind(mailbox).bind(format!("%{pattern}%"))
        }
    };
    Ok(uids(found.fetch_one(connection).await?.try_get::<Option<&str>>(0)?.unwrap_or_default()))
}

/// The messages of a mailbox of which only the beginning is in.
pub async fn cut(connection: &mut Connection, mailbox: MailboxRow) -> Result<UidSet, StoreError> {
    let rows = query("SELECT uid FROM search_cut WHERE mailbox = ?").bind(mailbox).fetch_all(connection).await?;
    let uids = rows.iter().map(|row| Ok(Uid(row.try_get(0)?))).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(UidSet::from_uids(uids))
}

fn uids(list: &str) -> UidSet {
    UidSet::from_uids(list.split(',').filter_map(|uid| uid.parse().ok()).map(Uid))
}
