//! Messages, while they are there. What changes of them stands in `pages`.

use bytes::Bytes;
use estafeta_storage::sql::{Connection, Query, Row, query, query_built};

use super::choice::Choice;
use super::expunging::Remains;
use super::mailboxes::{Counts, Numbers};
use super::pages::Pages;
use super::{AccountRow, BlobRow, MailboxRow, blobs, expunging, keywords, mailboxes, pages};
use crate::store::flags::KeywordBits;
use crate::store::{
    FlagScope, Flags, Holding, Mark, MessageEntry, ModSeq, SpecialUse, StoreError, SystemFlags, Uid, UidSet,
};

/// All of a mailbox, by UID.
pub async fn list(connection: &mut Connection, mailbox: MailboxRow) -> Result<Vec<MessageEntry>, StoreError> {
    find(connection, mailbox, &UidSet::all()).await
}

/// Those of `uids` that are there, by UID.
pub async fn find(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: &UidSet,
) -> Result<Vec<MessageEntry>, StoreError> {
    let (mut pages, mut found) = (Pages::of(mailbox, uids), Vec::new());
    loop {
        let some = pages.next(connection).await?;
        if some.is_empty() {
            return Ok(found);
        }
        let marks = some.into_iter().flat_map(|page| page.marks).filter(|mark| uids.contains(mark.uid)).collect();
        complete(connection, mailbox, marks, &mut found).await?;
    }
}

/// Those that changed after `since`, by UID.
pub async fn changed(
    connection: &mut Connection,
    mailbox: MailboxRow,
    since: ModSeq,
) -> Result<Vec<MessageEntry>, StoreError> {
    let (mut pages, mut found) = (Pages::since(connection, mailbox, since).await?, Vec::new());
    loop {
        let some = pages.next(connection).await?;
        if some.is_empty() {
            return Ok(found);
        }
        // Of what lies between them nothing has changed.
        for run in some.chunk_by(|one, next| one.number + 1 == next.number) {
            let marks = run.iter().flat_map(|page| &page.marks).filter(|mark| mark.modseq > since).copied().collect();
            complete(connection, mailbox, marks, &mut found).await?;
        }
    }
}

/// Adds these messages, with what never changes of them. They are read together, with what lies between.
async fn complete(
    connection: &mut Connection,
    mailbox: MailboxRow,
    marks: Vec<Mark>,
    found: &mut Vec<MessageEntry>,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return Ok(()) };
    let rows = query(
        "SELECT uid, size, internal_date, saved FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid",
    );
    let rows = rows.bind(mailbox).bind(first.uid.0).bind(last.uid.0).fetch_all(connection).await?;
    let mut marks = marks.into_iter().peekable();
    for row in &rows {
        let uid = Uid(row.try_get(0)?);
        while marks.next_if(|mark| mark.uid < uid).is_some() {}
        if let Some(Mark { uid, modseq, flags }) = marks.next_if(|mark| mark.uid == uid) {
            let (size, internal_date, saved) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            found.push(MessageEntry { uid, modseq, flags, size, internal_date, saved });
        }
    }
    Ok(())
}

/// How many have a UID from `from` on.
pub async fn count_from(connection: &mut Connection, mailbox: MailboxRow, from: Uid) -> Result<u32, StoreError> {
    let counted = query("SELECT count(*) FROM messages WHERE mailbox = ? AND uid >= ?").bind(mailbox).bind(from.0);
    Ok(counted.fetch_one(connection).await?.try_get(0)?)
}

/// The sum of the sizes of those with `\\Deleted`.
pub async fn deleted_bytes(connection: &mut Connection, mailbox: MailboxRow) -> Result<u64, StoreError> {
    let pages = Pages::of(mailbox, &UidSet::all()).all(connection).await?;
    let deleted = |mark: &Mark| mark.flags.system.contains(SystemFlags::DELETED);
    Ok(Choice::among(connection, mailbox, pages, deleted).await?.bytes as u64)
}

/// Where a message's text is.
pub struct TextRow {
    /// Its number.
    pub uid: Uid,
    /// What stands before the body.
    pub prefix: Bytes,
    /// The body, or where it is.
    pub body: blobs::Kept,
}

impl TextRow {
    /// Reads the columns `uid` and `prefix`, and those of the body.
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { uid: Uid(row.try_get("uid")?), prefix: row.try_get("prefix")?, body: blobs::Kept::read(row)? })
    }
}

/// The texts of those of `uids` that are there, by UID, in one statement: `uids` is for as many as can be held at once.
pub async fn texts(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: &UidSet,
) -> Result<Vec<TextRow>, StoreError> {
    let Some(chosen) = Chosen::of(uids) else { return Ok(Vec::new()) };
    let found = chosen.query(
        "SELECT uid, prefix, hash, generation, packing, bytes FROM messages m
         JOIN blobs ON blobs.id = m.blob LEFT JOIN bodies ON bodies.blob = m.blob",
        mailbox,
    );
    let rows = found.fetch_all(connection).await?;
    rows.iter().map(TextRow::read).collect()
}

/// A few messages of a mailbox, as a condition.
pub(super) struct Chosen {
    first: u32,
    last: u32,
    /// What else holds, when they do not stand in a row.
    ranges: String,
}

impl Chosen {
    /// None when there are none.
    pub(super) fn of(uids: &UidSet) -> Option<Self> {
        let ranges: Vec<_> = uids.ranges().collect();
        let (first, last) = (ranges.first()?, ranges.last()?);
        // Only numbers of ours are put into the text.
        let written = match ranges.len() {
            1 => String::new(),
            _ => {
                let ranges = ranges.iter().map(|range| format!("uid BETWEEN {} AND {}", range.start(), range.end()));
                format!("AND ({})", ranges.collect::<Vec<_>>().join(" OR "))
            }
        };
        Some(Self { first: *first.start(), last: *last.end(), ranges: written })
    }

    /// What the statement gives of those that are there, by UID.
    pub(super) fn query(&self, select: &str, mailbox: MailboxRow) -> Query {
        let ranges = &self.ranges;
        let sql = format!("{select} WHERE mailbox = ? AND uid BETWEEN ? AND ? {ranges} ORDER BY uid");
        let query = if ranges.is_empty() { query_built(sql) } else { query_built(sql).once() };
        query.bind(mailbox).bind(self.first).bind(self.last)
    }
}

/// The texts of up to `limit` messages with higher UIDs than `after`, by UID.
pub async fn texts_after(
    connection: &mut Connection,
    mailbox: MailboxRow,
    after: Uid,
    limit: u32,
) -> Result<Vec<TextRow>, StoreError> {
    let found = query(
        "SELECT uid, prefix, hash, generation, packing, bytes FROM messages m
         JOIN blobs ON blobs.id = m.blob LEFT JOIN bodies ON bodies.blob = m.blob
         WHERE mailbox = ? AND uid > ? ORDER BY uid LIMIT ?",
    );
    let rows = found.bind(mailbox).bind(after.0).bind(limit).fetch_all(connection).await?;
    rows.iter().map(TextRow::read).collect()
}

/// What those of `uids` that are there hold.
pub async fn holding(connection: &mut Connection, mailbox: MailboxRow, uids: &UidSet) -> Result<Holding, StoreError> {
    let mut holding = Holding::default();
    for range in uids.ranges() {
        let summed = query(
            "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?",
        );
        let row = summed.bind(mailbox).bind(*range.start()).bind(*range.end()).fetch_one(&mut *connection).await?;
        holding.messages += u64::from(row.try_get::<u32>(0)?);
        holding.bytes += row.try_get::<i64>(1)? as u64;
    }
    Ok(holding)
}

/// The UIDs behind `after`, up to `last`.
pub async fn uids_between(
    connection: &mut Connection,
    mailbox: MailboxRow,
    after: Uid,
    last: Uid,
) -> Result<Vec<Uid>, StoreError> {
    let found = query("SELECT uid FROM messages WHERE mailbox = ? AND uid > ? AND uid <= ? ORDER BY uid");
    let rows = found.bind(mailbox).bind(after.0).bind(last.0).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(Uid(row.try_get(0)?))).collect()
}

/// A message to add.
pub struct NewRow<'a> {
    /// Its flags.
    pub flags: Flags,
    /// The size of prefix and body together.
    pub size: u32,
    /// In seconds since 1970.
    pub internal_date: i64,
    /// In seconds since 1970.
    pub saved: i64,
    /// Its body, which counts it already.
    pub blob: BlobRow,
    /// What stands before the body.
    pub prefix: &'a [u8],
}

/// Adds messages to a mailbox, which counts them. Whoever asks for it counts them for the account.
pub async fn add(connection: &mut Connection, mailbox: MailboxRow, new: &[NewRow<'_>]) -> Result<Numbers, StoreError> {
    let bytes = new.iter().map(|new| i64::from(new.size)).sum();
    let numbers = take_in(connection, mailbox, (new.iter().map(|new| new.flags).collect(), bytes)).await?;
    for (new, uid) in new.iter().zip(numbers.first_uid..) {
        insert(connection, mailbox, Uid(uid), new).await?;
    }
    Ok(numbers)
}

/// Inserts the row of a message that is counted, or is counted and has its mark in the same transaction.
pub async fn insert(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uid: Uid,
    new: &NewRow<'_>,
) -> Result<(), StoreError> {
    let inserted = query(
        "INSERT INTO messages (mailbox, uid, size, internal_date, saved, blob, prefix) VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    let inserted = inserted.bind(mailbox).bind(uid.0).bind(new.size).bind(new.internal_date).bind(new.saved);
    inserted.bind(new.blob).bind(new.prefix).execute(connection).await?;
    Ok(())
}

/// Up to `limit` messages that came before `before` into a mailbox of this use, by account and mailbox.
pub async fn saved_before(
    connection: &mut Connection,
    special_use: SpecialUse,
    before: i64,
    limit: u32,
) -> Result<Vec<(AccountRow, MailboxRow, Uid)>, StoreError> {
    let found = query(
        "SELECT m.account, g.mailbox, g.uid FROM mailboxes m JOIN messages g ON g.mailbox = m.id
         WHERE m.special_use = ? AND m.messages > 0 AND g.saved < ?
           AND EXISTS (SELECT 1 FROM accounts a WHERE a.id = m.account AND a.state = 'present') ORDER BY m.account, g.mailbox, g.uid LIMIT ?",
    );
    let found = found.bind(special_use.attribute()).bind(before).bind(limit);
    found
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, Uid(row.try_get(2)?))))
        .collect()
}

/// Copies messages into a mailbox, with those of their flags that are in the scope: UID here and UID there. Whoever asks for
/// it counts them for the account.
pub async fn duplicate(
    connection: &mut Connection,
    source: MailboxRow,
    choice: &Choice,
    target: MailboxRow,
    scope: FlagScope,
    now: i64,
) -> Result<Vec<(Uid, Uid)>, StoreError> {
    for uids in &choice.ranges {
        blobs::name_again(connection, source, *uids).await?;
    }
    copy(connection, source, choice, target, scope, now).await
}

/// Moves messages into a mailbox: UID here and UID there. They are counted for the account that they leave; whoever asks for it
/// counts them for the one that they come to.
pub async fn relocate(
    connection: &mut Connection,
    source: MailboxRow,
    choice: &Choice,
    target: MailboxRow,
    scope: FlagScope,
    now: i64,
) -> Result<Vec<(Uid, Uid)>, StoreError> {
    let pairs = copy(connection, source, choice, target, scope, now).await?;
    if pairs.is_empty() {
        return Ok(pairs);
    }
    let mut anew = None;
    if source == target {
        // What has come may stand on the same pages.
        let uids = UidSet::from_uids(choice.marks.iter().map(|mark| mark.uid));
        anew = Some(Choice::of(connection, source, &uids).await?);
    }
    expunging::expunge(connection, source, anew.as_ref().unwrap_or(choice), (now, Remains::Moved)).await?;
    Ok(pairs)
}

/// Copies messages whose bodies count them already.
async fn copy(
    connection: &mut Connection,
    source: MailboxRow,
    choice: &Choice,
    target: MailboxRow,
    scope: FlagScope,
    now: i64,
) -> Result<Vec<(Uid, Uid)>, StoreError> {
    if choice.marks.is_empty() {
        return Ok(Vec::new());
    }
    let used = choice.marks.iter().filter(|_| scope.keywords).fold(0, |all, mark| all | mark.flags.keywords.0);
    let here = keywords::list(connection, source).await?;
    let mapped = keywords::carry(connection, (&here, KeywordBits(used)), target).await?;
    let flags = choice.marks.iter().map(|Mark { flags, .. }| Flags {
        system: flags.system & scope.system,
        keywords: keywords::mapped(flags.keywords, &mapped),
    });
    let numbers = take_in(connection, target, (flags.collect(), choice.bytes)).await?;
    let mut next = i64::from(numbers.first_uid);
    for (first, last) in &choice.ranges {
        let inserted = query(
            "INSERT INTO messages (mailbox, uid, size, internal_date, saved, blob, prefix)
             SELECT ?4, ?5 + row_number() OVER (ORDER BY uid) - 1, size, internal_date, ?6, blob, prefix
             FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
        );
        let inserted = inserted.bind(source).bind(*first).bind(*last).bind(target).bind(next).bind(now);
        next += inserted.execute(&mut *connection).await? as i64;
    }
    Ok(choice.marks.iter().map(|mark| mark.uid).zip((numbers.first_uid..).map(Uid)).collect())
}

/// Counts messages of these flags, `bytes` together, and puts their marks into a mailbox, whose rows follow.
pub async fn take_in(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (flags, bytes): (Vec<Flags>, i64),
) -> Result<Numbers, StoreError> {
    let numbers = mailboxes::advance(connection, mailbox, flags.len(), Counts::of(&flags, bytes)).await?;
    pages::append(connection, mailbox, &numbers.marks(flags)).await?;
    Ok(numbers)
}
