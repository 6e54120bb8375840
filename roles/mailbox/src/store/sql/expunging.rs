//! Messages that go: what they take from the counts, and what is left of them.
//!
//! Invariant: nothing else deletes from `messages`.

use estafeta_storage::sql::{Connection, query};

use super::choice::Choice;
use super::pages::Pages;
use super::{MailboxRow, accounts, blobs, deleted, mailboxes, pages};
use crate::store::{ModSeq, StoreError, Uid, UidSet};

/// What is left of a message that goes, beside word of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// All of it, for as long as it can be had back. The reference to the body goes along.
    Kept,
    /// All of it, in another mailbox. The reference to the body went along.
    Moved,
    /// Nothing.
    None,
}

/// Deletes these messages and leaves word of them.
pub async fn expunge(
    connection: &mut Connection,
    mailbox: MailboxRow,
    choice: &Choice,
    (now, remains): (i64, Remains),
) -> Result<(), StoreError> {
    let numbers = mailboxes::advance(connection, mailbox, 0, -choice.counts()).await?;
    for range in UidSet::from_uids(choice.marks.iter().map(|mark| mark.uid)).ranges() {
        let uids = (*range.start(), *range.end());
        note_expunged(connection, mailbox, (numbers.modseq.0 as i64, uids, now)).await?;
    }
    take_out(connection, mailbox, choice, (now, remains)).await
}

/// Leaves word of messages that are expunged.
pub async fn note_expunged(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (modseq, (first, last), at): (i64, (u32, u32), i64),
) -> Result<(), StoreError> {
    let noted = query(
        "INSERT INTO expunged (mailbox, modseq, first_uid, last_uid, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    noted.bind(mailbox).bind(modseq).bind(first).bind(last).bind(at).execute(connection).await?;
    Ok(())
}

/// Deletes these messages. Nobody is told.
pub async fn delete(
    connection: &mut Connection,
    mailbox: MailboxRow,
    choice: &Choice,
    (now, remains): (i64, Remains),
) -> Result<(), StoreError> {
    mailboxes::count(connection, mailbox, -choice.counts()).await?;
    take_out(connection, mailbox, choice, (now, remains)).await
}

async fn take_out(
    connection: &mut Connection,
    mailbox: MailboxRow,
    choice: &Choice,
    (now, remains): (i64, Remains),
) -> Result<(), StoreError> {
    accounts::count_of(connection, mailbox, -choice.counts()).await?;
    for page in &choice.rest {
        pages::write(connection, mailbox, page).await?;
    }
    if remains == Remains::Kept {
        deleted::keep_marks(connection, mailbox, &choice.marks, now).await?;
    }
    for (first, last) in &choice.ranges {
        match remains {
            Remains::Kept => deleted::keep(connection, mailbox, (*first, *last)).await?,
            Remains::Moved => {}
            Remains::None => blobs::let_go(connection, blobs::Names::Messages, mailbox, (*first, *last)).await?,
        }
        let deleted = query("DELETE FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?");
        deleted.bind(mailbox).bind(*first).bind(*last).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Deletes every message of a mailbox that is about to go itself.
pub async fn delete_all(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (now, remains): (i64, Remains),
) -> Result<(), StoreError> {
    let mut pages = Pages::of(mailbox, &UidSet::all());
    loop {
        let some = pages.next(connection).await?;
        if some.is_empty() {
            return Ok(());
        }
        let choice = Choice::among(connection, mailbox, some, |_| true).await?;
        delete(connection, mailbox, &choice, (now, remains)).await?;
    }
}

/// Deletes the messages on a mailbox's first page, of which nothing is left. Gives whether there were any.
pub async fn delete_some(connection: &mut Connection, mailbox: MailboxRow) -> Result<bool, StoreError> {
    let mut some = Pages::of(mailbox, &UidSet::all()).next(connection).await?;
    some.truncate(1);
    let choice = Choice::among(connection, mailbox, some, |_| true).await?;
    delete(connection, mailbox, &choice, (0, Remains::None)).await?;
    Ok(!choice.marks.is_empty())
}

/// The UIDs that were expunged after `since`, ascending.
pub async fn expunged(connection: &mut Connection, mailbox: MailboxRow, since: ModSeq) -> Result<Vec<Uid>, StoreError> {
    let rows = query("SELECT first_uid, last_uid FROM expunged WHERE mailbox = ? AND modseq > ? ORDER BY first_uid")
        .bind(mailbox)
        .bind(since.0 as i64);
    let mut uids = Vec::new();
    for row in rows.fetch_all(connection).await? {
        uids.extend((row.try_get::<u32>(0)?..=row.try_get(1)?).map(Uid));
    }
    Ok(uids)
}

/// Forgets messages that were expunged before `before`, up to `limit` runs of them, and says how many. Their mailboxes remember
/// up to where they forgot.
pub async fn forget_expunged(connection: &mut Connection, before: i64, limit: u32) -> Result<u64, StoreError> {
    let found = query("SELECT mailbox, modseq, first_uid, last_uid FROM expunged WHERE at < ? LIMIT ?");
    let mut forgotten = 0;
    for row in found.bind(before).bind(limit).fetch_all(&mut *connection).await? {
        let (mailbox, modseq): (MailboxRow, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (first, last): (u32, u32) = (row.try_get(2)?, row.try_get(3)?);
        let deleted = query("DELETE FROM expunged WHERE mailbox = ? AND modseq = ? AND first_uid = ?");
        deleted.bind(mailbox).bind(modseq).bind(first).execute(&mut *connection).await?;
        let noted = query("UPDATE mailboxes SET forgotten_modseq = ?1 WHERE id = ?2 AND forgotten_modseq < ?1");
        noted.bind(modseq).bind(mailbox).execute(&mut *connection).await?;
        forgotten += u64::from(last - first) + 1;
    }
    Ok(forgotten)
}
