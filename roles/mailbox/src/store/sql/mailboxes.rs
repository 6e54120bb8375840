//! Mailboxes and subscriptions.
//!
//! Invariants: every superior of a name has a row; a row that cannot be selected has inferiors.

use super::accounts::check_present;
use super::expunging::{self, Remains};
use super::search::Progress;
use super::{AccountRow, MailboxRow, deleted, images, rights};
use crate::store::{
    Flags, MailboxEntry, MailboxName, MailboxStatus, Mark, ModSeq, SpecialUse, StoreError, SystemFlags, Uid,
    UidValidity,
};
use estafeta_storage::sql::{Connection, Row, query, query_built};
use std::collections::HashMap;
use std::ops::{AddAssign, Neg};

/// The most mailboxes of an account, and the most subscriptions.
pub const MAILBOXES_LIMIT: i64 = 10_000;

/// What an operation on a name has to know first.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its row.
    pub row: MailboxRow,
    /// Whether it is a mailbox, or only holds others.
    pub selectable: bool,
    /// The life of its UIDs.
    pub uid_validity: UidValidity,
    /// What stands for it, whatever it is called.
    pub object_number: u64,
}

impl Found {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            row: row.try_get("id")?,
            object_number: object_number(row, row.try_get("id")?)?,
            selectable: row.try_get("selectable")?,
            uid_validity: UidValidity(row.try_get("uidvalidity")?),
        })
    }
}

/// Numbers for a change: the first of the UIDs that it takes, and its modification sequence.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// The first UID.
    pub first_uid: u32,
    /// The modification sequence.
    pub modseq: ModSeq,
}

impl Numbers {
    /// Marks of new messages under these numbers, which have these flags.
    pub fn marks(self, flags: impl IntoIterator<Item = Flags>) -> Vec<Mark> {
        let uids = (self.first_uid..).map(Uid);
        uids.zip(flags).map(|(uid, flags)| Mark { uid, modseq: self.modseq, flags }).collect()
    }
}

/// What a name stands for.
pub async fn find(
    connection: &mut Connection,
    account: AccountRow,
    name: &MailboxName,
) -> Result<Option<Found>, StoreError> {
    let found = connection
        .locking("SELECT id, selectable, uidvalidity, object_number FROM mailboxes WHERE account = ? AND name = ?");
    let row = found.bind(account).bind(name.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(Found::read).transpose()
}

/// The mailbox of a name, to read or change.
pub async fn select(connection: &mut Connection, account: AccountRow, name: &MailboxName) -> Result<Found, StoreError> {
    match find(connection, account, name).await? {
        None => Err(StoreError::NoMailbox),
        Some(found) if !found.selectable => Err(StoreError::NotSelectable),
        Some(found) => Ok(found),
    }
}

/// The mailbox of a use; INBOX when there is none.
pub async fn of_use(
    connection: &mut Connection,
    account: AccountRow,
    special_use: SpecialUse,
) -> Result<Found, StoreError> {
    let found = connection.locking(
        "SELECT id, selectable, uidvalidity, object_number FROM mailboxes WHERE account = ? AND special_use = ?",
    );
    match found.bind(account).bind(special_use.attribute()).fetch_optional(&mut *connection).await? {
        Some(row) => Found::read(&row),
        None => select(connection, account, &MailboxName::inbox()).await,
    }
}

/// The mailbox of a name as a sender writes it: in any case, for addresses lose theirs; INBOX when there is none.
pub async fn named(connection: &mut Connection, account: AccountRow, name: &str) -> Result<Found, StoreError> {
    let inbox = MailboxName::inbox();
    let found = match name.parse::<MailboxName>() {
        Ok(exact) => find(connection, account, &exact).await?.filter(|found| found.selectable),
        Err(_) => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let like = name.to_lowercase();
    let entries = list(connection, account).await?;
    let alike = entries.into_iter().find(|entry| entry.selectable && entry.name.as_str().to_lowercase() == like);
    select(connection, account, &alike.map_or(inbox, |entry| entry.name)).await
}

/// Whether no mailbox of the account is for this use.
pub async fn use_is_free(
    connection: &mut Connection,
    account: AccountRow,
    special_use: SpecialUse,
) -> Result<bool, StoreError> {
    let found = query("SELECT NOT EXISTS (SELECT 1 FROM mailboxes WHERE account = ? AND special_use = ?)");
    Ok(found.bind(account).bind(special_use.attribute()).fetch_one(connection).await?.try_get(0)?)
}

/// All of an account, INBOX first.
pub async fn list(connection: &mut Connection, account: AccountRow) -> Result<Vec<MailboxEntry>, StoreError> {
    let rows = query(
        "SELECT name, special_use, selectable,
            EXISTS (SELECT 1 FROM subscriptions s WHERE s.account = m.account AND s.name = m.name) AS subscribed
         FROM mailboxes m WHERE account = ? ORDER BY name <> 'INBOX', name",
    );
    let mut entries: Vec<MailboxEntry> = Vec::new();
    for row in rows.bind(account).fetch_all(connection).await? {
        let special_use: Option<&str> = row.try_get("special_use")?;
        entries.push(MailboxEntry {
            name: kept_name(row.try_get("name")?)?,
            special_use: special_use.and_then(SpecialUse::from_attribute),
            selectable: row.try_get("selectable")?,
            has_children: false,
            subscribed: row.try_get("subscribed")?,
        });
    }
    let above: std::collections::HashSet<MailboxName> =
        entries.iter().flat_map(|entry| entry.name.superiors()).collect();
    for entry in &mut entries {
        entry.has_children = above.contains(&entry.name);
    }
    Ok(entries)
}

/// Makes a mailbox (or a name that only holds others), without looking at what is there.
pub async fn insert(
    connection: &mut Connection,
    account: AccountRow,
    name: &MailboxName,
    selectable: bool,
    special_use: Option<SpecialUse>,
) -> Result<(), StoreError> {
    let count: i64 = query("SELECT count(*) FROM mailboxes WHERE account = ?")
        .bind(account)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if count >= MAILBOXES_LIMIT {
        return Err(StoreError::Limit("there are too many mailboxes"));
    }
    let counted = query("UPDATE counters SET value = value + 1 WHERE name = 'uidvalidity' RETURNING value");
    let uid_validity: u32 = counted.fetch_one(&mut *connection).await?.try_get("value")?;
    let inserted =
        query("INSERT INTO mailboxes (account, name, selectable, special_use, uidvalidity) VALUES (?, ?, ?, ?, ?)");
    let inserted =
        inserted.bind(account).bind(name.as_str()).bind(selectable).bind(special_use.map(SpecialUse::attribute));
    inserted.bind(uid_validity).execute(&mut *connection).await?;
    // RFC 4314 §3: a new mailbox begins with the rights of the one above it.
    let Some(above) = name.superiors().last() else { return Ok(()) };
    let (above, new) = (find(connection, account, &above).await?, find(connection, account, name).await?);
    match (above, new) {
        (Some(above), Some(new)) => rights::inherit(connection, above.row, new.row).await,
        _ => Ok(()),
    }
}

/// Makes a mailbox, and its superiors where they are missing. A name that only held others becomes a mailbox.
/// [`StoreError::Exists`] when it is one.
pub async fn create(
    connection: &mut Connection,
    account: AccountRow,
    name: &MailboxName,
    special_use: Option<SpecialUse>,
) -> Result<(), StoreError> {
    match find(connection, account, name).await? {
        Some(found) if found.selectable => return Err(StoreError::Exists),
        Some(found) => remove(connection, found.row, (0, Remains::None)).await?,
        None => insert_superiors(connection, account, name).await?,
    }
    if let Some(special_use) = special_use
        && !use_is_free(connection, account, special_use).await?
    {
        return Err(StoreError::NotAllowed("another mailbox is for this use"));
    }
    insert(connection, account, name, true, special_use).await
}

/// Makes the superiors of a name that are missing, as names that only hold others.
pub async fn insert_superiors(
    connection: &mut Connection,
    account: AccountRow,
    name: &MailboxName,
) -> Result<(), StoreError> {
    for superior in name.superiors() {
        if find(connection, account, &superior).await?.is_none() {
            insert(connection, account, &superior, false, None).await?;
        }
    }
    Ok(())
}

/// Removes the superiors of a name that only held others and hold none any more.
pub async fn remove_idle_superiors(
    connection: &mut Connection,
    account: AccountRow,
    name: &MailboxName,
) -> Result<(), StoreError> {
    let superiors: Vec<_> = name.superiors().collect();
    for superior in superiors.into_iter().rev() {
        match find(connection, account, &superior).await? {
            Some(found) if !found.selectable && !has_inferiors(connection, account, &superior).await? => {
                remove(connection, found.row, (0, Remains::None)).await?
            }
            _ => break,
        }
    }
    Ok(())
}

/// Whether others lie below a name.
pub async fn has_inferiors(
    connection: &mut Connection,
    account: AccountRow,
    name: &MailboxName,
) -> Result<bool, StoreError> {
    // All names below `a` stand between `a/` and `a0`, for 0 follows the slash.
    let found =
        query("SELECT EXISTS (SELECT 1 FROM mailboxes WHERE account = ?1 AND name > ?2 || '/' AND name < ?2 || '0')");
    Ok(found.bind(account).bind(name.as_str()).fetch_one(connection).await?.try_get(0)?)
}

/// Removes a mailbox with all it holds.
pub async fn remove(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (now, remains): (i64, Remains),
) -> Result<(), StoreError> {
    if remains == Remains::Kept {
        deleted::keep_mailbox(connection, mailbox, now).await?;
    }
    expunging::delete_all(connection, mailbox, (now, remains)).await?;
    for statement in [
        "DELETE FROM expunged WHERE mailbox = ?",
        "DELETE FROM keywords WHERE mailbox = ?",
        "DELETE FROM mailbox_entries WHERE mailbox = ?",
        "DELETE FROM rights WHERE mailbox = ?",
        "DELETE FROM unfinished_copies WHERE mailbox = ?",
        "DELETE FROM mailboxes WHERE id = ?",
    ] {
        query(statement).bind(mailbox).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Gives a mailbox and all below it another name.
pub async fn rename(
    connection: &mut Connection,
    account: AccountRow,
    from: &MailboxName,
    to: &MailboxName,
) -> Result<(), StoreError> {
    let renamed = query(
        "UPDATE mailboxes SET name = ?3 || substr(name, length(?2) + 1)
         WHERE account = ?1 AND (name = ?2 OR name > ?2 || '/' AND name < ?2 || '0') RETURNING name",
    );
    for row in renamed.bind(account).bind(from.as_str()).bind(to.as_str()).fetch_all(connection).await? {
        row.try_get::<&str>("name")?
            .parse::<MailboxName>()
            .map_err(|_| StoreError::Limit("a name below would become too long"))?;
    }
    Ok(())
}

/// What a change adds to what is counted of a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// To the messages.
    pub messages: i64,
    /// To the sum of their sizes.
    pub bytes: i64,
    /// To those without `\Seen`.
    pub unseen: i64,
    /// To those with `\Deleted`.
    pub deleted: i64,
}

impl Counts {
    /// What messages of these flags add that come, `bytes` together.
    pub fn of<'m>(messages: impl IntoIterator<Item = &'m Flags>, bytes: i64) -> Self {
        let mut counts = Self { bytes, ..Self::default() };
        for flags in messages {
            counts.messages += 1;
            counts.unseen += i64::from(!flags.system.contains(SystemFlags::SEEN));
            counts.deleted += i64::from(flags.system.contains(SystemFlags::DELETED));
        }
        counts
    }

    /// One message's flags become others.
    pub fn turn(&mut self, before: Flags, after: Flags) {
        let more = |flag| i64::from(after.system.contains(flag)) - i64::from(before.system.contains(flag));
        self.unseen -= more(SystemFlags::SEEN);
        self.deleted += more(SystemFlags::DELETED);
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
        self.unseen += more.unseen;
        self.deleted += more.deleted;
    }
}

impl Neg for Counts {
    type Output = Self;

    fn neg(self) -> Self {
        Self { messages: -self.messages, bytes: -self.bytes, unseen: -self.unseen, deleted: -self.deleted }
    }
}

/// Takes `uids` new UIDs and one modification sequence, and counts what the change adds. The row stays locked until the
/// commit, so that no UID appears late.
pub async fn advance(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: usize,
    counts: Counts,
) -> Result<Numbers, StoreError> {
    let uids = i64::try_from(uids).unwrap_or(i64::MAX);
    let advanced = query(
        "UPDATE mailboxes SET messages = messages + ?2, size_bytes = size_bytes + ?3, unseen = unseen + ?4,
             deleted = deleted + ?5, uidnext = uidnext + ?6, modseq = modseq + 1
         WHERE id = ?1 RETURNING uidnext - ?6 AS first_uid, uidnext, modseq",
    );
    let advanced = advanced.bind(mailbox).bind(counts.messages).bind(counts.bytes).bind(counts.unseen);
    let advanced = advanced.bind(counts.deleted).bind(uids);
    let row = advanced.fetch_optional(connection).await?.ok_or(StoreError::NoMailbox)?;
    // RFC 9051 §2.3.1.1: a UID is a non-zero 32-bit number.
    if row.try_get::<i64>("uidnext")? > i64::from(u32::MAX) {
        return Err(StoreError::Limit("this mailbox has no UIDs left"));
    }
    Ok(Numbers { first_uid: row.try_get("first_uid")?, modseq: ModSeq(row.try_get::<i64>("modseq")? as u64) })
}

/// Counts a change that has its modification sequence from elsewhere, or none.
pub async fn count(connection: &mut Connection, mailbox: MailboxRow, counts: Counts) -> Result<(), StoreError> {
    let counted = query(
        "UPDATE mailboxes SET messages = messages + ?2, size_bytes = size_bytes + ?3, unseen = unseen + ?4,
             deleted = deleted + ?5 WHERE id = ?1",
    );
    let counted = counted.bind(mailbox).bind(counts.messages).bind(counts.bytes).bind(counts.unseen);
    counted.bind(counts.deleted).execute(connection).await?;
    Ok(())
}

/// Where a mailbox stands.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// What STATUS says, `recent` excepted.
    pub status: MailboxStatus,
    /// UIDs from here on are recent.
    pub recent_from: Uid,
    /// Expunged messages up to this one may be forgotten.
    pub forgotten_modseq: ModSeq,
}

/// What stands for a mailbox.
pub fn object_number(row: &Row, mailbox: MailboxRow) -> Result<u64, StoreError> {
    let kept: Option<i64> = row.try_get("object_number")?;
    let begun_here = images::object_number(mailbox, row.try_get("uidvalidity")?);
    Ok(kept.unwrap_or(begun_here) as u64)
}

/// Where a mailbox stands.
pub async fn state(connection: &mut Connection, mailbox: MailboxRow) -> Result<State, StoreError> {
    let found = connection.locking(
        "SELECT uidvalidity, uidnext, modseq, recent_from, forgotten_modseq, messages, unseen, deleted, size_bytes,
             object_number, (SELECT state FROM accounts a WHERE a.id = m.account) AS state
         FROM mailboxes m WHERE id = ?",
    );
    let row = found.bind(mailbox).fetch_optional(connection).await?.ok_or(StoreError::NoMailbox)?;
    check_present(row.try_get("state")?)?;
    Ok(State {
        status: MailboxStatus {
            uid_validity: UidValidity(row.try_get("uidvalidity")?),
            uid_next: Uid(row.try_get("uidnext")?),
            highest_modseq: ModSeq(row.try_get::<i64>("modseq")? as u64),
            messages: row.try_get("messages")?,
            unseen: row.try_get("unseen")?,
            deleted: row.try_get("deleted")?,
            recent: 0,
            size_bytes: row.try_get::<i64>("size_bytes")? as u64,
            object_number: object_number(&row, mailbox)?,
        },
        recent_from: Uid(row.try_get("recent_from")?),
        forgotten_modseq: ModSeq(row.try_get::<i64>("forgotten_modseq")? as u64),
    })
}

/// How far the search index of a mailbox should be, and up to which change expunged messages may be forgotten.
pub async fn position(
    connection: &mut Connection,
    mailbox: MailboxRow,
) -> Result<Option<(Progress, ModSeq)>, StoreError> {
    let found = query(
        "SELECT id, uidvalidity, uidnext, modseq, forgotten_modseq FROM mailboxes WHERE id = ? AND selectable = 1",
    );
    let row = found.bind(mailbox).fetch_optional(connection).await?;
    row.map(|row| Ok((read_position(&row)?, ModSeq(row.try_get::<i64>("forgotten_modseq")? as u64)))).transpose()
}

/// The same of up to `limit` mailboxes behind `after`, by their numbers.
pub async fn positions_after(
    connection: &mut Connection,
    after: MailboxRow,
    limit: u32,
) -> Result<Vec<(MailboxRow, Progress)>, StoreError> {
    let found = query(
        "SELECT id, uidvalidity, uidnext, modseq FROM mailboxes WHERE id > ? AND selectable = 1 ORDER BY id LIMIT ?",
    );
    let rows = found.bind(after).bind(limit).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, read_position(row)?))).collect()
}

fn read_position(row: &Row) -> Result<Progress, StoreError> {
    Ok(Progress {
        uid_validity: UidValidity(row.try_get("uidvalidity")?),
        uid: Uid(row.try_get::<u32>("uidnext")?.saturating_sub(1)),
        modseq: ModSeq(row.try_get::<i64>("modseq")? as u64),
    })
}

/// How many mailboxes one statement asks about.
const ASKED_AT_ONCE: usize = 500;

/// The last change of each of these that is there.
pub async fn modseqs(
    connection: &mut Connection,
    mailboxes: &[MailboxRow],
) -> Result<HashMap<MailboxRow, i64>, StoreError> {
    let mut found = HashMap::with_capacity(mailboxes.len());
    for some in mailboxes.chunks(ASKED_AT_ONCE) {
        // Only numbers of ours are put into the text.
        let rows = some.iter().map(|row| row.0.to_string()).collect::<Vec<_>>().join(",");
        let asked = query_built(format!("SELECT id, modseq FROM mailboxes WHERE id IN ({rows})"));
        for row in asked.once().fetch_all(&mut *connection).await? {
            found.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(found)
}

/// Nothing up to the next UID is recent any more.
pub async fn take_recent(connection: &mut Connection, mailbox: MailboxRow) -> Result<(), StoreError> {
    query("UPDATE mailboxes SET recent_from = uidnext WHERE id = ?").bind(mailbox).execute(connection).await?;
    Ok(())
}

/// The names that an account is subscribed to.
pub async fn subscriptions(connection: &mut Connection, account: AccountRow) -> Result<Vec<MailboxName>, StoreError> {
    let rows = query("SELECT name FROM subscriptions WHERE account = ? ORDER BY name")
        .bind(account)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| kept_name(row.try_get("name")?)).collect()
}

/// Adds a subscription.
pub async fn subscribe(connection: &mut Connection, account: AccountRow, name: &MailboxName) -> Result<(), StoreError> {
    let inserted = query(
        "INSERT INTO subscriptions SELECT ?1, ?2 WHERE (SELECT count(*) FROM subscriptions WHERE account = ?1) < ?3
         ON CONFLICT DO NOTHING",
    );
    let inserted = inserted.bind(account).bind(name.as_str()).bind(MAILBOXES_LIMIT).execute(&mut *connection).await?;
    if inserted == 0 && !subscriptions(connection, account).await?.contains(name) {
        return Err(StoreError::Limit("there are too many subscriptions"));
    }
    Ok(())
}

/// Removes a subscription.
pub async fn unsubscribe(
    connection: &mut Connection,
    account: AccountRow,
    name: &MailboxName,
) -> Result<(), StoreError> {
    let deleted = query("DELETE FROM subscriptions WHERE account = ? AND name = ?").bind(account).bind(name.as_str());
    deleted.execute(connection).await?;
    Ok(())
}

/// A name as the database has it: one that was checked before it was written.
pub(super) fn kept_name(name: &str) -> Result<MailboxName, StoreError> {
    name.parse().map_err(|error| StoreError::from(estafeta_storage::sql::Error::Decode(Box::new(error))))
}
