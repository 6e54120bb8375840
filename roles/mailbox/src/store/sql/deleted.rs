//! What was expunged and can be had back for a while: messages, and mailboxes that were deleted with theirs.
//!
//! Invariants: a message's row goes from `messages` to `deleted_messages` in the transaction that expunges it, and its mark
//! to `deleted_pages`. It takes its reference to its body along, so that nothing has to be counted: `refs` of a body is the
//! number of both. What is here counts for no quota and for no mailbox. A mailbox is named by its row's number, which is never
//! used again; of one that is there no more, `deleted_mailboxes` has what is needed to make it anew, for at least as long as
//! its last message is here.

use estafeta_storage::sql::{Connection, Query, Row, query};

use super::blobs::{self, Names};
use super::pages::{Page, damaged};
use super::{AccountRow, MailboxRow, keywords, marks, messages};
use crate::store::flags::KeywordBits;
use crate::store::{Flags, Keywords, MailboxName, Mark, SpecialUse, StoreError, SystemFlags, UidSet};

/// Keeps the rows of the messages from `first` to `last`, which are about to be deleted.
pub async fn keep(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (first, last): (u32, u32),
) -> Result<(), StoreError> {
    let kept = query(
        "INSERT INTO deleted_messages (mailbox, uid, size, internal_date, blob, prefix)
         SELECT mailbox, uid, size, internal_date, blob, prefix FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?",
    );
    kept.bind(mailbox).bind(first).bind(last).execute(connection).await?;
    Ok(())
}

/// Keeps their marks.
pub async fn keep_marks(
    connection: &mut Connection,
    mailbox: MailboxRow,
    gone: &[Mark],
    now: i64,
) -> Result<(), StoreError> {
    for of_one in gone.chunk_by(|one, next| Page::of(one.uid) == Page::of(next.uid)) {
        let kept = query(
            "INSERT INTO deleted_pages (mailbox, page, at, marks) VALUES (?, ?, ?, ?) ON CONFLICT (mailbox, page, at)
             DO UPDATE SET marks = CAST(deleted_pages.marks || excluded.marks AS BLOB)",
        );
        let kept = kept.bind(mailbox).bind(Page::of(of_one[0].uid)).bind(now).bind(marks::encode(of_one));
        kept.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Messages of one page that were expunged in the same second.
struct Part {
    mailbox: MailboxRow,
    number: u32,
    at: i64,
    /// By UID.
    marks: Vec<Mark>,
}

impl Part {
    /// Reads the columns `mailbox`, `page`, `at` and `marks`.
    fn read(row: &Row) -> Result<Self, StoreError> {
        let (mailbox, number) = (row.try_get("mailbox")?, row.try_get("page")?);
        let marks = marks::decode(number, row.try_get("marks")?);
        let mut marks = marks.ok_or_else(|| damaged(mailbox, number))?;
        marks.sort_unstable_by_key(|mark| mark.uid);
        Ok(Self { mailbox, number, at: row.try_get("at")?, marks })
    }

    async fn all(connection: &mut Connection, found: Query) -> Result<Vec<Self>, StoreError> {
        found.fetch_all(connection).await?.iter().map(Self::read).collect()
    }

    /// Writes what is left of it.
    async fn write(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let written = match self.marks[..] {
            [] => query("DELETE FROM deleted_pages WHERE mailbox = ?1 AND page = ?2 AND at = ?3"),
            _ => query("UPDATE deleted_pages SET marks = ?4 WHERE mailbox = ?1 AND page = ?2 AND at = ?3"),
        };
        let written = written.bind(self.mailbox).bind(self.number).bind(self.at);
        let written = if self.marks.is_empty() { written } else { written.bind(marks::encode(&self.marks)) };
        written.execute(connection).await?;
        Ok(())
    }

    /// Forgets its messages, and gives how many they were.
    async fn forget(mut self, connection: &mut Connection) -> Result<u64, StoreError> {
        let gone = std::mem::take(&mut self.marks);
        for (first, last) in ranges(&gone) {
            blobs::let_go(connection, Names::Deleted, self.mailbox, (first, last)).await?;
            delete(connection, self.mailbox, (first, last)).await?;
        }
        self.write(connection).await?;
        Ok(gone.len() as u64)
    }
}

/// UIDs that follow each other, as ranges.
fn ranges(marks: &[Mark]) -> Vec<(u32, u32)> {
    let uids = UidSet::from_uids(marks.iter().map(|mark| mark.uid));
    uids.ranges().map(|range| (*range.start(), *range.end())).collect()
}

async fn delete(connection: &mut Connection, mailbox: MailboxRow, (first, last): (u32, u32)) -> Result<(), StoreError> {
    let deleted = query("DELETE FROM deleted_messages WHERE mailbox = ? AND uid BETWEEN ? AND ?");
    deleted.bind(mailbox).bind(first).bind(last).execute(connection).await?;
    Ok(())
}

/// The sum of the sizes of these messages.
async fn bytes(connection: &mut Connection, mailbox: MailboxRow, marks: &[Mark]) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for (first, last) in ranges(marks) {
        let summed = query(
            "SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM deleted_messages WHERE mailbox = ? AND uid BETWEEN ? AND ?",
        );
        let summed = summed.bind(mailbox).bind(first).bind(last).fetch_one(&mut *connection).await?;
        bytes += summed.try_get::<i64>(0)? as u64;
    }
    Ok(bytes)
}

/// Keeps what is needed to make a mailbox anew that is about to be deleted.
pub async fn keep_mailbox(connection: &mut Connection, mailbox: MailboxRow, now: i64) -> Result<(), StoreError> {
    let known = keywords::list(connection, mailbox).await?;
    let names: Vec<&str> = known.iter().map(|keyword| keyword.as_str()).collect();
    let kept = query(
        "INSERT INTO deleted_mailboxes (mailbox, account, at, name, special_use, keywords)
         SELECT id, account, ?2, name, special_use, ?3 FROM mailboxes WHERE id = ?1",
    );
    kept.bind(mailbox).bind(now).bind(names.join(" ")).execute(connection).await?;
    Ok(())
}

/// What can be had back of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The mailbox where it was.
    pub(in crate::store) mailbox: MailboxRow,
    /// What it is called, or was when it was deleted.
    pub name: MailboxName,
    /// How many messages.
    pub messages: u64,
    /// The sum of their sizes.
    pub bytes: u64,
    /// When the first of them was expunged, in seconds since 1970.
    pub first: i64,
    /// When the last of them was expunged, in seconds since 1970.
    pub last: i64,
}

/// What an account can have back that was expunged at `since` or later, by the names of mailboxes.
pub async fn list(connection: &mut Connection, account: AccountRow, since: i64) -> Result<Vec<Deleted>, StoreError> {
    let found = query(
        "SELECT m.name AS name, d.mailbox AS mailbox, d.page AS page, d.at AS at, d.marks AS marks
         FROM (SELECT id AS mailbox, name FROM mailboxes WHERE account = ?1
             UNION ALL SELECT mailbox, name FROM deleted_mailboxes WHERE account = ?1) m
         JOIN deleted_pages d ON d.mailbox = m.mailbox WHERE d.at >= ?2 ORDER BY m.name, m.mailbox, d.page, d.at",
    );
    let rows = found.bind(account).bind(since).fetch_all(&mut *connection).await?;
    let mut all: Vec<(Deleted, Vec<Mark>)> = Vec::new();
    for row in &rows {
        let Part { mailbox, at, marks, .. } = Part::read(row)?;
        match all.last_mut().filter(|(deleted, _)| deleted.mailbox == mailbox) {
            Some((deleted, known)) => {
                (deleted.first, deleted.last) = (deleted.first.min(at), deleted.last.max(at));
                known.extend(marks);
            }
            None => {
                let name = super::mailboxes::kept_name(row.try_get("name")?)?;
                all.push((Deleted { mailbox, name, messages: 0, bytes: 0, first: at, last: at }, marks));
            }
        }
    }
    let mut listed = Vec::with_capacity(all.len());
    for (deleted, marks) in all {
        let bytes = bytes(connection, deleted.mailbox, &marks).await?;
        listed.push(Deleted { messages: marks.len() as u64, bytes, ..deleted });
    }
    Ok(listed)
}

/// A mailbox that was deleted.
pub struct Gone {
    /// What it was called.
    pub name: MailboxName,
    /// What it was for.
    pub special_use: Option<SpecialUse>,
    /// Its keywords, by number.
    pub keywords: Keywords,
}

/// A mailbox of an account that was deleted; none when it was not, or too long ago.
pub async fn gone(
    connection: &mut Connection,
    account: AccountRow,
    mailbox: MailboxRow,
) -> Result<Option<Gone>, StoreError> {
    let found = query("SELECT name, special_use, keywords FROM deleted_mailboxes WHERE mailbox = ? AND account = ?");
    let Some(row) = found.bind(mailbox).bind(account).fetch_optional(connection).await? else { return Ok(None) };
    let special_use: Option<&str> = row.try_get("special_use")?;
    let names = row.try_get::<&str>("keywords")?.split_ascii_whitespace().map(keywords::kept);
    Ok(Some(Gone {
        name: super::mailboxes::kept_name(row.try_get("name")?)?,
        special_use: special_use.and_then(SpecialUse::from_attribute),
        keywords: Keywords::new(names.collect::<Result<_, _>>()?),
    }))
}

/// Some messages that can be had back.
#[derive(Default)]
pub struct Back {
    /// By UID.
    pub marks: Vec<Mark>,
    /// The sum of their sizes.
    pub bytes: u64,
    /// Their pages without them.
    rest: Vec<Part>,
}

impl Back {
    /// The keywords that any of them has.
    pub fn keywords(&self) -> KeywordBits {
        KeywordBits(self.marks.iter().fold(0, |all, mark| all | mark.flags.keywords.0))
    }
}

/// Up to `limit` messages of a mailbox that were expunged at `since` or later. They stay here until the commit.
pub async fn some(
    connection: &mut Connection,
    mailbox: MailboxRow,
    since: i64,
    limit: u32,
) -> Result<Back, StoreError> {
    let found = connection.locking(
        "SELECT mailbox, page, at, marks FROM deleted_pages WHERE mailbox = ? AND at >= ? ORDER BY page, at LIMIT ?",
    );
    let parts = Part::all(connection, found.bind(mailbox).bind(since).bind(limit)).await?;
    let mut some = Back::default();
    for mut part in parts {
        let room = limit as usize - some.marks.len();
        if room == 0 {
            break;
        }
        some.marks.extend(part.marks.drain(..room.min(part.marks.len())));
        some.rest.push(part);
    }
    some.marks.sort_unstable_by_key(|mark| mark.uid);
    some.bytes = bytes(connection, mailbox, &some.marks).await?;
    Ok(some)
}

/// Puts messages into `target`, without `\Deleted`. `keywords` says which number there each number here has.
pub async fn put_back(
    connection: &mut Connection,
    (source, some): (MailboxRow, &Back),
    target: MailboxRow,
    keywords: &[(usize, usize)],
    now: i64,
) -> Result<(), StoreError> {
    let flags = some.marks.iter().map(|Mark { flags, .. }| Flags {
        system: flags.system & !SystemFlags::DELETED,
        keywords: keywords::mapped(flags.keywords, keywords),
    });
    let numbers = messages::take_in(connection, target, (flags.collect(), some.bytes as i64)).await?;
    let mut next = i64::from(numbers.first_uid);
    for (first, last) in ranges(&some.marks) {
        let inserted = query(
            "INSERT INTO messages (mailbox, uid, size, internal_date, saved, blob, prefix)
             SELECT ?4, ?5 + row_number() OVER (ORDER BY uid) - 1, size, internal_date, ?6, blob, prefix
             FROM deleted_messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
        );
        let inserted = inserted.bind(source).bind(first).bind(last).bind(target).bind(next).bind(now);
        next += inserted.execute(&mut *connection).await? as i64;
        delete(connection, source, (first, last)).await?;
    }
    for part in &some.rest {
        part.write(connection).await?;
    }
    Ok(())
}

/// Forgets `limit` messages or some more that were expunged at `before` or earlier, then up to `limit` mailboxes that were
/// deleted then. Gives how many went.
pub async fn forget(connection: &mut Connection, before: i64, limit: u32) -> Result<u64, StoreError> {
    let oldest = |connection: &Connection| {
        connection
            .locking("SELECT mailbox, page, at, marks FROM deleted_pages WHERE at <= ? ORDER BY at LIMIT 1")
            .bind(before)
    };
    let gone = forget_those(connection, oldest, limit).await?;
    let mailboxes = query(
        "DELETE FROM deleted_mailboxes WHERE mailbox IN
         (SELECT mailbox FROM deleted_mailboxes WHERE at <= ? LIMIT ?)",
    );
    let rest = i64::from(limit).saturating_sub_unsigned(gone);
    Ok(gone + mailboxes.bind(before).bind(rest.max(0)).execute(connection).await?)
}

/// Forgets `limit` messages of an account or some more, then its deleted mailboxes. Gives how many went.
pub async fn clear(connection: &mut Connection, account: AccountRow, limit: u32) -> Result<u64, StoreError> {
    let any = |connection: &Connection| {
        let any = connection.locking(
            "SELECT mailbox, page, at, marks FROM deleted_pages WHERE mailbox IN (SELECT id FROM mailboxes WHERE account = ?1
                 UNION ALL SELECT mailbox FROM deleted_mailboxes WHERE account = ?1) LIMIT 1",
        );
        any.bind(account)
    };
    match forget_those(connection, any, limit).await? {
        0 => Ok(query("DELETE FROM deleted_mailboxes WHERE account = ?").bind(account).execute(connection).await?),
        gone => Ok(gone),
    }
}

/// Forgets what `next` finds, part by part, up to `limit` messages or some more.
async fn forget_those(
    connection: &mut Connection,
    next: impl Fn(&Connection) -> Query,
    limit: u32,
) -> Result<u64, StoreError> {
    let mut gone = 0;
    while gone < limit.into() {
        let found = next(connection).fetch_optional(&mut *connection).await?;
        let Some(row) = found else { break };
        gone += Part::read(&row)?.forget(connection).await?;
    }
    Ok(gone)
}
