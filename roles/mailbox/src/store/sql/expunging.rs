//! Messages that go: what they take from the counts, and what is left of them.
//!
//! Invariant: nothing else deletes from `messages`. What a mailbox, an account and a body count of them is mended here, for
//! all that go at once: row by row, a trigger would take most of the time of a large EXPUNGE.

use std::ops::RangeInclusive;

use estafeta_storage::sql::{Connection, query};

use super::{MailboxRow, deleted};
use crate::store::{ModSeq, StoreError, Uid, UidSet};

/// What is left of a message that goes, beside word of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// All of it, for as long as it can be had back.
    Kept,
    /// Nothing: it is elsewhere now, or nothing is kept here.
    None,
}

/// Deletes these messages and leaves word of them.
pub async fn expunge(
    connection: &mut Connection,
    mailbox: MailboxRow,
    chosen: &[Uid],
    (modseq, now): (i64, i64),
    remains: Remains,
) -> Result<(), StoreError> {
    let chosen = UidSet::from_uids(chosen.iter().copied());
    for range in chosen.ranges() {
        let left = query(
            "INSERT INTO expunged SELECT mailbox, ?4, uid, ?5 FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
        );
        let left = left.bind(mailbox).bind(*range.start()).bind(*range.end()).bind(modseq).bind(now);
        left.execute(&mut *connection).await?;
    }
    delete(connection, mailbox, chosen.ranges(), (now, remains)).await
}

/// Deletes the messages of these ranges of UIDs.
pub async fn delete(
    connection: &mut Connection,
    mailbox: MailboxRow,
    ranges: impl IntoIterator<Item = RangeInclusive<u32>>,
    (now, remains): (i64, Remains),
) -> Result<(), StoreError> {
    // Messages, bytes, unseen ones, deleted ones.
    let mut gone = [0_i64; 4];
    for range in ranges {
        let (first, last) = (*range.start(), *range.end());
        let counted = query(
            "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT),
                 CAST(coalesce(sum(1 - (flags & 1)), 0) AS BIGINT), CAST(coalesce(sum(flags & 8), 0) / 8 AS BIGINT)
             FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?",
        );
        let counted = counted.bind(mailbox).bind(first).bind(last).fetch_one(&mut *connection).await?;
        for (index, sum) in gone.iter_mut().enumerate() {
            *sum += counted.try_get::<i64>(index)?;
        }
        match remains {
            // The reference to the body goes along.
            Remains::Kept => deleted::keep(connection, mailbox, (first, last), now).await?,
            Remains::None => let_go_of_bodies(connection, mailbox, (first, last)).await?,
        }
        let deleted = query("DELETE FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?");
        deleted.bind(mailbox).bind(first).bind(last).execute(&mut *connection).await?;
    }
    let [messages, bytes, unseen, deleted] = gone;
    let account = query(
        "UPDATE accounts SET messages = messages - ?2, used_bytes = used_bytes - ?3
         WHERE id = (SELECT account FROM mailboxes WHERE id = ?1)",
    );
    account.bind(mailbox).bind(messages).bind(bytes).execute(&mut *connection).await?;
    let counts = query(
        "UPDATE mailboxes SET messages = messages - ?2, size_bytes = size_bytes - ?3, unseen = unseen - ?4,
             deleted = deleted - ?5 WHERE id = ?1",
    );
    counts.bind(mailbox).bind(messages).bind(bytes).bind(unseen).bind(deleted).execute(connection).await?;
    Ok(())
}

/// Gives up the references of messages to their bodies.
async fn let_go_of_bodies(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (first, last): (u32, u32),
) -> Result<(), StoreError> {
    if connection.must_lock() {
        // In the order of their numbers, so that two transactions do not wait for each other.
        let locked = connection.locking(
            "SELECT id FROM blobs WHERE id IN (SELECT blob FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?)
             ORDER BY id",
        );
        locked.bind(mailbox).bind(first).bind(last).fetch_all(&mut *connection).await?;
    }
    let fewer = query(
        "UPDATE blobs SET refs = refs - gone.count FROM (SELECT blob, count(*) AS count FROM messages
             WHERE mailbox = ? AND uid BETWEEN ? AND ? GROUP BY blob) AS gone WHERE blobs.id = gone.blob",
    );
    fewer.bind(mailbox).bind(first).bind(last).execute(connection).await?;
    Ok(())
}

/// Deletes up to `limit` messages of a mailbox, of which nothing is left. Gives whether there were any.
pub async fn delete_some(connection: &mut Connection, mailbox: MailboxRow, limit: u32) -> Result<bool, StoreError> {
    let first =
        query("SELECT max(uid) FROM (SELECT uid FROM messages WHERE mailbox = ? ORDER BY uid LIMIT ?) AS first");
    let last: Option<u32> = first.bind(mailbox).bind(limit).fetch_one(&mut *connection).await?.try_get(0)?;
    let Some(last) = last else { return Ok(false) };
    delete(connection, mailbox, [0..=last], (0, Remains::None)).await?;
    Ok(true)
}

/// The UIDs that were expunged after `since`, ascending.
pub async fn expunged(connection: &mut Connection, mailbox: MailboxRow, since: ModSeq) -> Result<Vec<Uid>, StoreError> {
    let rows = query("SELECT uid FROM expunged WHERE mailbox = ? AND modseq > ? ORDER BY uid")
        .bind(mailbox)
        .bind(since.0 as i64);
    rows.fetch_all(connection).await?.iter().map(|row| Ok(Uid(row.try_get(0)?))).collect()
}

/// Forgets up to `limit` expunged messages from before `before`, and says how many. Their mailboxes remember up to
/// where they forgot.
pub async fn forget_expunged(connection: &mut Connection, before: i64, limit: u32) -> Result<u64, StoreError> {
    let rows = query("SELECT mailbox, modseq, uid FROM expunged WHERE at < ? LIMIT ?").bind(before).bind(limit);
    let rows = rows.fetch_all(&mut *connection).await?;
    for row in &rows {
        let (mailbox, modseq, uid): (MailboxRow, i64, u32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let deleted = query("DELETE FROM expunged WHERE mailbox = ? AND modseq = ? AND uid = ?")
            .bind(mailbox)
            .bind(modseq)
            .bind(uid);
        deleted.execute(&mut *connection).await?;
        let noted = query("UPDATE mailboxes SET forgotten_modseq = ?1 WHERE id = ?2 AND forgotten_modseq < ?1")
            .bind(modseq)
            .bind(mailbox);
        noted.execute(&mut *connection).await?;
    }
    Ok(rows.len() as u64)
}
