//! Messages, while they are there.

use bytes::Bytes;
use estafeta_storage::sql::{Connection, Query, Row, query, query_built};

use super::expunging::Remains;
use super::{AccountRow, BlobRow, MailboxRow, blobs, changes, expunging, keywords, mailboxes};
use crate::store::flags::KeywordBits;
use crate::store::{
    FlagAction, FlagScope, Flags, MessageEntry, ModSeq, SpecialUse, StoreError, SystemFlags, Uid, UidSet,
};

/// Whole entries, to be followed by the table's name.
macro_rules! entries {
    ($behind:literal) => {
        concat!("SELECT uid, modseq, flags, keywords, size, internal_date, saved FROM messages ", $behind)
    };
}

fn entry(row: &Row) -> Result<MessageEntry, StoreError> {
    Ok(MessageEntry {
        uid: Uid(row.try_get(0)?),
        modseq: ModSeq(row.try_get::<i64>(1)? as u64),
        flags: Flags {
            system: SystemFlags::from_bits(row.try_get(2)?),
            keywords: KeywordBits(row.try_get::<i64>(3)? as u64),
        },
        size: row.try_get(4)?,
        internal_date: row.try_get(5)?,
        saved: row.try_get(6)?,
    })
}

/// How many rows are held at once (one as the database gives it takes some twenty times its entry), and how many messages
/// one turn of the writer changes.
pub const PAGE: usize = 4096;

/// All of a mailbox, by UID.
pub async fn list(connection: &mut Connection, mailbox: MailboxRow) -> Result<Vec<MessageEntry>, StoreError> {
    let mut found = Vec::new();
    find_between(connection, mailbox, 0, u32::MAX, &mut found).await?;
    Ok(found)
}

/// Those of `uids` that are there, by UID.
pub async fn find(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: &UidSet,
) -> Result<Vec<MessageEntry>, StoreError> {
    let mut found = Vec::new();
    for range in uids.ranges() {
        find_between(connection, mailbox, *range.start(), *range.end(), &mut found).await?;
    }
    Ok(found)
}

/// The first of them, no more than a page; and those of `uids` that were not looked at.
pub async fn find_first(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: &UidSet,
) -> Result<(Vec<MessageEntry>, UidSet), StoreError> {
    let mut found = Vec::new();
    for range in uids.ranges() {
        let room = PAGE - found.len();
        if let Some(last) = find_page(connection, mailbox, (*range.start(), *range.end()), room, &mut found).await? {
            return Ok((found, uids.split_behind(last).1));
        }
    }
    Ok((found, UidSet::default()))
}

/// Adds those from `first` to `last`, page by page.
async fn find_between(
    connection: &mut Connection,
    mailbox: MailboxRow,
    mut first: u32,
    last: u32,
    found: &mut Vec<MessageEntry>,
) -> Result<(), StoreError> {
    while let Some(reached) = find_page(connection, mailbox, (first, last), PAGE, found).await? {
        match reached.0.checked_add(1) {
            Some(next) if next <= last => first = next,
            _ => break,
        }
    }
    Ok(())
}

/// Adds up to `most` of those from `first` to `last`. When they are as many, the last one's UID: there may be more.
async fn find_page(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (first, last): (u32, u32),
    most: usize,
    found: &mut Vec<MessageEntry>,
) -> Result<Option<Uid>, StoreError> {
    let rows = query(entries!("WHERE mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid LIMIT ?"));
    let rows = rows.bind(mailbox).bind(first).bind(last).bind(most as i64).fetch_all(connection).await?;
    for row in &rows {
        found.push(entry(row)?);
    }
    Ok(found.last().filter(|_| rows.len() == most).map(|entry| entry.uid))
}

/// Those that changed after `since`, by UID. Page by page, for after a long absence it may be all of them.
pub async fn changed(
    connection: &mut Connection,
    mailbox: MailboxRow,
    since: ModSeq,
) -> Result<Vec<MessageEntry>, StoreError> {
    let mut found = Vec::new();
    for pages in changes::since(connection, mailbox, since, PAGE as u32).await? {
        let rows = query(entries!("WHERE mailbox = ? AND uid BETWEEN ? AND ? AND modseq > ? ORDER BY uid"));
        let rows = rows.bind(mailbox).bind(pages.first_uid()).bind(pages.last_uid()).bind(since.0 as i64);
        for row in &rows.fetch_all(&mut *connection).await? {
            found.push(entry(row)?);
        }
    }
    Ok(found)
}

/// How many have a UID from `from` on.
pub async fn count_from(connection: &mut Connection, mailbox: MailboxRow, from: Uid) -> Result<u32, StoreError> {
    let counted = query("SELECT count(*) FROM messages WHERE mailbox = ? AND uid >= ?").bind(mailbox).bind(from.0);
    Ok(counted.fetch_one(connection).await?.try_get(0)?)
}

/// The sum of the sizes of those with `\\Deleted`.
pub async fn deleted_bytes(connection: &mut Connection, mailbox: MailboxRow) -> Result<u64, StoreError> {
    let summed =
        query("SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM messages WHERE mailbox = ? AND flags & ? <> 0");
    let summed = summed.bind(mailbox).bind(i64::from(SystemFlags::DELETED.bits()));
    Ok(summed.fetch_one(connection).await?.try_get::<i64>(0)? as u64)
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

/// A message to insert.
pub struct NewRow<'a> {
    /// Its UID.
    pub uid: u32,
    /// The change that it is part of.
    pub modseq: i64,
    /// Its flags.
    pub flags: Flags,
    /// The size of prefix and body together.
    pub size: u32,
    /// In seconds since 1970.
    pub internal_date: i64,
    /// In seconds since 1970.
    pub saved: i64,
    /// Its body.
    pub blob: BlobRow,
    /// What stands before the body.
    pub prefix: &'a [u8],
}

/// Inserts a message.
pub async fn insert(connection: &mut Connection, mailbox: MailboxRow, new: NewRow<'_>) -> Result<(), StoreError> {
    let inserted = query(
        "INSERT INTO messages (mailbox, uid, modseq, flags, keywords, size, internal_date, saved, blob, prefix)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    let inserted = inserted
        .bind(mailbox)
        .bind(new.uid)
        .bind(new.modseq)
        .bind(new.flags.system.bits())
        .bind(new.flags.keywords.0 as i64);
    let inserted = inserted.bind(new.size).bind(new.internal_date).bind(new.saved).bind(new.blob).bind(new.prefix);
    inserted.execute(&mut *connection).await?;
    changes::note_new(connection, mailbox, (new.uid, new.uid), new.modseq).await
}

/// Changes the flags of those of `uids` that have others and did not change after `unchanged_since`. Whoever asks for it
/// counts them.
pub async fn flag(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: &UidSet,
    (action, flags): (FlagAction, Flags),
    unchanged_since: Option<ModSeq>,
    modseq: ModSeq,
) -> Result<(), StoreError> {
    let (system, keywords) = (i64::from(flags.system.bits()), flags.keywords.0 as i64);
    // Every action keeps some bits and then sets some.
    let (keep_system, keep_keywords, set_system, set_keywords) = match action {
        FlagAction::Add => (-1, -1, system, keywords),
        FlagAction::Remove => (!system, !keywords, 0, 0),
        FlagAction::Replace => (0, 0, system, keywords),
        FlagAction::ReplaceWithin(scope) => {
            let (keep, named) = if scope.keywords { (0, keywords) } else { (-1, 0) };
            (!i64::from(scope.system.bits()), keep, system, named)
        }
    };
    let until = unchanged_since.map_or(i64::MAX, |since| since.0.min(i64::MAX as u64) as i64);
    let modseq = modseq.0 as i64;
    for range in uids.ranges() {
        let (first, last) = (*range.start(), *range.end());
        let updated = query(
            "UPDATE messages SET modseq = ?4, flags = flags & ?5 | ?7, keywords = keywords & ?6 | ?8
             WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 AND modseq <= ?9
               AND (flags <> (flags & ?5 | ?7) OR keywords <> (keywords & ?6 | ?8))",
        );
        let updated = updated.bind(mailbox).bind(first).bind(last).bind(modseq);
        let updated = updated.bind(keep_system).bind(keep_keywords).bind(set_system).bind(set_keywords).bind(until);
        if updated.execute(&mut *connection).await? > 0 {
            changes::note(connection, mailbox, (first, last), modseq).await?;
        }
    }
    Ok(())
}

/// Copies the messages `chosen`, ascending, into `target` under UIDs from `first_uid` on. `keywords` says which number
/// there each number here has; those without are left out, and so are system flags other than `system`.
pub async fn copy(
    connection: &mut Connection,
    source: MailboxRow,
    chosen: &[Uid],
    target: MailboxRow,
    (first_uid, modseq): (u32, i64),
    (system, keywords): (SystemFlags, &[(usize, usize)]),
    now: i64,
) -> Result<(), StoreError> {
    let mapped = keywords::mapped(keywords);
    let system = system.bits();
    // Only numbers of ours are put into the text.
    let statement = format!(
        "INSERT INTO messages (mailbox, uid, modseq, flags, keywords, size, internal_date, saved, blob, prefix)
         SELECT ?4, ?5 + row_number() OVER (ORDER BY uid) - 1, ?6, flags & {system}, {mapped}, size, internal_date, ?7, blob, prefix
         FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3"
    );
    let mut next = i64::from(first_uid);
    for range in UidSet::from_uids(chosen.iter().copied()).ranges() {
        let inserted = query_built(statement.clone()).bind(source).bind(*range.start()).bind(*range.end());
        let inserted = inserted.bind(target).bind(next).bind(modseq).bind(now);
        next += inserted.execute(&mut *connection).await? as i64;
    }
    changes::note_run(connection, target, (first_uid, next), modseq).await
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

/// Copies messages into a mailbox, with those of their flags that are in the scope: UID here and UID there.
pub async fn duplicate(
    connection: &mut Connection,
    source: MailboxRow,
    chosen: &[MessageEntry],
    target: MailboxRow,
    scope: FlagScope,
    now: i64,
) -> Result<Vec<(Uid, Uid)>, StoreError> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = mailboxes::advance(connection, target, chosen.len()).await?;
    let used = chosen.iter().filter(|_| scope.keywords).fold(0, |all, message| all | message.flags.keywords.0);
    let used = KeywordBits(used);
    let here = keywords::list(connection, source).await?;
    let there = keywords::learn(connection, target, here.of(used)).await?;
    let mapped: Vec<_> =
        here.of(used).filter_map(|keyword| Some((here.number(keyword)?, there.number(keyword)?))).collect();
    let uids: Vec<Uid> = chosen.iter().map(|message| message.uid).collect();
    copy(connection, source, &uids, target, (numbers.first_uid, numbers.modseq), (scope.system, &mapped), now).await?;
    Ok(uids.into_iter().zip((numbers.first_uid..).map(Uid)).collect())
}

/// Moves those of `uids` that are there into a mailbox: UID here and UID there.
pub async fn relocate(
    connection: &mut Connection,
    source: MailboxRow,
    uids: &UidSet,
    target: MailboxRow,
    scope: FlagScope,
    now: i64,
) -> Result<Vec<(Uid, Uid)>, StoreError> {
    let chosen = find(connection, source, uids).await?;
    let pairs = duplicate(connection, source, &chosen, target, scope, now).await?;
    if !pairs.is_empty() {
        let gone: Vec<Uid> = pairs.iter().map(|(here, _)| *here).collect();
        let numbers = mailboxes::advance(connection, source, 0).await?;
        expunging::expunge(connection, source, &gone, (numbers.modseq, now), Remains::None).await?;
    }
    Ok(pairs)
}
