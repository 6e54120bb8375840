//! What was expunged and can be had back for a while: messages, and mailboxes that were deleted with theirs.
//!
//! Invariants: a message's row goes from `messages` to `deleted_messages` in the transaction that expunges it, and takes its
//! reference to its body along, so that nothing has to be counted: `refs` of a body is the number of both. What is here counts
//! for no quota and for no mailbox. A mailbox is named by its row's number, which is never used again; of one that is there no
//! more, `deleted_mailboxes` has what is needed to make it anew, for at least as long as its last message is here.

use estafeta_storage::sql::{Connection, Row, query, query_built};

use super::{AccountRow, MailboxRow, changes, keywords};
use crate::store::flags::KeywordBits;
use crate::store::{Keywords, MailboxName, SpecialUse, StoreError, SystemFlags, Uid, UidSet};

/// Migration 10.
pub const SCHEMA: &str = "
CREATE TABLE deleted_messages (
    -- The mailbox where it was, which may be there no more.
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    at INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    keywords INTEGER NOT NULL,
    size INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    blob INTEGER NOT NULL,
    prefix BLOB NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX deleted_messages_at ON deleted_messages (at);

CREATE TABLE deleted_mailboxes (
    mailbox INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    special_use TEXT,
    -- The names of its keywords by their numbers, with spaces between.
    keywords TEXT NOT NULL,
    PRIMARY KEY (mailbox)
) WITHOUT ROWID;
CREATE INDEX deleted_mailboxes_account ON deleted_mailboxes (account);
CREATE INDEX deleted_mailboxes_at ON deleted_mailboxes (at);
";

/// From now on `expunging` counts what goes.
pub const COUNTS_SQLITE: &str = "
DROP TRIGGER messages_deleted;
CREATE TRIGGER deleted_messages_deleted AFTER DELETE ON deleted_messages BEGIN
    UPDATE blobs SET refs = refs - 1 WHERE id = OLD.blob;
END;
";

/// The same, statement by statement.
pub const COUNTS_POSTGRES: &str = "
DROP TRIGGER messages_deleted ON messages;
DROP FUNCTION messages_deleted();
CREATE FUNCTION deleted_messages_deleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM 1 FROM blobs WHERE id IN (SELECT blob FROM old_rows) ORDER BY id FOR NO KEY UPDATE;
    UPDATE blobs b SET refs = b.refs - n.refs
        FROM (SELECT blob, count(*) AS refs FROM old_rows GROUP BY blob) n WHERE b.id = n.blob;
    RETURN NULL;
END $$;
CREATE TRIGGER deleted_messages_deleted AFTER DELETE ON deleted_messages REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION deleted_messages_deleted();
";

/// Keeps the messages from `first` to `last`, which are about to be deleted.
pub async fn keep(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (first, last): (u32, u32),
    now: i64,
) -> Result<(), StoreError> {
    let kept = query(
        "INSERT INTO deleted_messages (mailbox, uid, at, flags, keywords, size, internal_date, blob, prefix)
         SELECT mailbox, uid, ?4, flags, keywords, size, internal_date, blob, prefix
         FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
    );
    kept.bind(mailbox).bind(first).bind(last).bind(now).execute(connection).await?;
    Ok(())
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
        "SELECT m.mailbox, m.name, count(*), CAST(sum(d.size) AS BIGINT), min(d.at), max(d.at)
         FROM (SELECT id AS mailbox, name FROM mailboxes WHERE account = ?1
             UNION ALL SELECT mailbox, name FROM deleted_mailboxes WHERE account = ?1) m
         JOIN deleted_messages d ON d.mailbox = m.mailbox
         WHERE d.at >= ?2 GROUP BY m.mailbox, m.name ORDER BY m.name, m.mailbox",
    );
    let rows = found.bind(account).bind(since).fetch_all(connection).await?;
    let one = |row: &Row| {
        Ok(Deleted {
            mailbox: row.try_get(0)?,
            name: super::mailboxes::kept_name(row.try_get(1)?)?,
            messages: row.try_get::<i64>(2)? as u64,
            bytes: row.try_get::<i64>(3)? as u64,
            first: row.try_get(4)?,
            last: row.try_get(5)?,
        })
    };
    rows.iter().map(one).collect()
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
#[derive(Debug, Default)]
pub struct Page {
    /// Their UIDs, ascending.
    pub uids: Vec<Uid>,
    /// The sum of their sizes.
    pub bytes: u64,
    /// The keywords that any of them has.
    pub keywords: KeywordBits,
}

/// Up to `limit` messages of a mailbox that were expunged at `since` or later. They stay here until the commit.
pub async fn page(
    connection: &mut Connection,
    mailbox: MailboxRow,
    since: i64,
    limit: u32,
) -> Result<Page, StoreError> {
    let found = connection
        .locking("SELECT uid, size, keywords FROM deleted_messages WHERE mailbox = ? AND at >= ? ORDER BY uid LIMIT ?");
    let rows = found.bind(mailbox).bind(since).bind(limit).fetch_all(connection).await?;
    let mut page = Page::default();
    for row in &rows {
        page.uids.push(Uid(row.try_get(0)?));
        page.bytes += u64::from(row.try_get::<u32>(1)?);
        page.keywords.0 |= row.try_get::<i64>(2)? as u64;
    }
    Ok(page)
}

/// Puts messages into `target` under UIDs from `first_uid` on, without `\Deleted`. `keywords` says which number there each
/// number here has.
pub async fn put_back(
    connection: &mut Connection,
    (source, chosen): (MailboxRow, &[Uid]),
    target: MailboxRow,
    (first_uid, modseq): (u32, i64),
    keywords: &[(usize, usize)],
    now: i64,
) -> Result<(), StoreError> {
    let mapped = keywords::mapped(keywords);
    let kept = (!SystemFlags::DELETED).bits();
    // Only numbers of ours are put into the text.
    let statement = format!(
        "INSERT INTO messages (mailbox, uid, modseq, flags, keywords, size, internal_date, saved, blob, prefix)
         SELECT ?4, ?5 + row_number() OVER (ORDER BY uid) - 1, ?6, flags & {kept}, {mapped}, size, internal_date, ?7, blob, prefix
         FROM deleted_messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3"
    );
    let mut next = i64::from(first_uid);
    for range in UidSet::from_uids(chosen.iter().copied()).ranges() {
        let (first, last) = (*range.start(), *range.end());
        let inserted = query_built(statement.clone()).bind(source).bind(first).bind(last);
        next += inserted.bind(target).bind(next).bind(modseq).bind(now).execute(&mut *connection).await? as i64;
        let taken = query("DELETE FROM deleted_messages WHERE mailbox = ? AND uid BETWEEN ? AND ?");
        taken.bind(source).bind(first).bind(last).execute(&mut *connection).await?;
    }
    changes::note_run(connection, target, (first_uid, next), modseq).await
}

/// Forgets up to `limit` messages that were expunged at `before` or earlier, then mailboxes that were deleted then. Gives how
/// many rows went.
pub async fn forget(connection: &mut Connection, before: i64, limit: u32) -> Result<u64, StoreError> {
    let messages = query(
        "DELETE FROM deleted_messages WHERE (mailbox, uid) IN
         (SELECT mailbox, uid FROM deleted_messages WHERE at <= ? LIMIT ?)",
    );
    let messages = messages.bind(before).bind(limit).execute(&mut *connection).await?;
    let mailboxes = query(
        "DELETE FROM deleted_mailboxes WHERE mailbox IN
         (SELECT mailbox FROM deleted_mailboxes WHERE at <= ? LIMIT ?)",
    );
    let rest = i64::from(limit).saturating_sub_unsigned(messages);
    Ok(messages + mailboxes.bind(before).bind(rest).execute(connection).await?)
}

/// Forgets up to `limit` messages of an account, then its deleted mailboxes. Gives how many rows went.
pub async fn clear(connection: &mut Connection, account: AccountRow, limit: u32) -> Result<u64, StoreError> {
    let messages = query(
        "DELETE FROM deleted_messages WHERE (mailbox, uid) IN (SELECT mailbox, uid FROM deleted_messages
         WHERE mailbox IN (SELECT id FROM mailboxes WHERE account = ?1
             UNION ALL SELECT mailbox FROM deleted_mailboxes WHERE account = ?1) LIMIT ?2)",
    );
    let messages = messages.bind(account).bind(limit).execute(&mut *connection).await?;
    if messages > 0 {
        return Ok(messages);
    }
    Ok(query("DELETE FROM deleted_mailboxes WHERE account = ?").bind(account).execute(connection).await?)
}
