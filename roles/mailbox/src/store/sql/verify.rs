//! What `verify` reads, and how it mends counts.
//!
//! A count is mended by the difference that was found, not by the number: what others add meanwhile stays counted, and the
//! writer reads nothing over.

use estafeta_core::AccountId;
use estafeta_protocols::imap::message::contents::Contents;
use estafeta_storage::blobs::BlobName;
use estafeta_storage::sql::{Connection, Engine, Row, query};

use super::mailboxes::Counts;
use super::pages::{self, Page};
use super::{AccountRow, BlobRow, MailboxRow, blobs};
use crate::store::{Flags, Mark, ModSeq, StoreError, Uid};

/// What the engine itself says of its file: nothing, when it is whole.
pub async fn damage(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    if connection.engine() != Engine::Sqlite {
        // PostgreSQL checks its pages by itself, and has tools of its own.
        return Ok(Vec::new());
    }
    let rows = query("PRAGMA quick_check(100)").fetch_all(connection).await?;
    let said = rows.iter().map(|row| Ok(row.try_get::<String>(0)?)).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(said.into_iter().filter(|line| line != "ok").collect())
}

/// How many bodies there are.
pub async fn count_bodies(connection: &mut Connection) -> Result<i64, StoreError> {
    Ok(query("SELECT count(*) FROM blobs").fetch_one(connection).await?.try_get(0)?)
}

/// Up to `limit` bodies behind `after`, in order.
pub async fn bodies_after(connection: &mut Connection, after: BlobRow, limit: u32) -> Result<Vec<BlobRow>, StoreError> {
    let rows = query("SELECT id FROM blobs WHERE id > ? ORDER BY id LIMIT ?").bind(after).bind(limit);
    rows.fetch_all(connection).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The bodies of an account's messages, and of those that it can have back.
pub async fn bodies_of(connection: &mut Connection, account: AccountRow) -> Result<Vec<BlobRow>, StoreError> {
    let rows = query(
        "SELECT m.blob FROM messages m JOIN mailboxes b ON b.id = m.mailbox WHERE b.account = ?1
         UNION SELECT d.blob FROM deleted_messages d JOIN mailboxes b ON b.id = d.mailbox WHERE b.account = ?1
         UNION SELECT d.blob FROM deleted_messages d JOIN deleted_mailboxes b ON b.mailbox = d.mailbox
             WHERE b.account = ?1 ORDER BY 1",
    );
    rows.bind(account).fetch_all(connection).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// A body that must be there.
pub struct Body {
    /// Its name.
    pub name: BlobName,
    /// Where it is.
    pub kept: blobs::Kept,
    /// What is kept of it for lists of messages; none where nothing is, or what another version kept.
    pub contents: Option<Contents>,
}

/// A body, unless it is condemned or gone.
pub async fn body(connection: &mut Connection, blob: BlobRow) -> Result<Option<Body>, StoreError> {
    let found = query(
        "SELECT hash, generation, packing, bytes, version, summary, header
         FROM blobs LEFT JOIN bodies ON bodies.blob = blobs.id LEFT JOIN contents ON contents.blob = blobs.id
         WHERE blobs.id = ? AND (condemned IS NULL OR refs > 0)",
    );
    let Some(row) = found.bind(blob).fetch_optional(connection).await? else { return Ok(None) };
    let contents = match row.try_get::<Option<i64>>("version")? {
        Some(version) if version == i64::from(Contents::VERSION) => {
            // What is of another type is damaged, too, and told as such.
            let (summary, header) = (row.try_get("summary"), row.try_get("header"));
            Some(Contents { summary: summary.unwrap_or_default(), header: header.unwrap_or_default() })
        }
        _ => None,
    };
    Ok(Some(Body { name: blobs::name(&row)?, kept: blobs::Kept::read(&row)?, contents }))
}

/// Where a message is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Whose.
    pub account: AccountId,
    /// In which mailbox.
    pub mailbox: String,
    /// Under which UID.
    pub uid: u32,
    /// Whether it is expunged, and can be had back.
    pub expunged: bool,
}

/// Up to `limit` messages that name this body. All that can be had back is read: no index leads there.
pub async fn places(connection: &mut Connection, blob: BlobRow, limit: u32) -> Result<Vec<Place>, StoreError> {
    let found = query(
        "SELECT a.account AS account, b.name AS name, m.uid AS uid, m.expunged AS expunged FROM (
             SELECT mailbox, uid, 0 AS expunged FROM messages WHERE blob = ?1
             UNION ALL SELECT mailbox, uid, 1 AS expunged FROM deleted_messages WHERE blob = ?1) m
         JOIN (SELECT id, name, account FROM mailboxes
             UNION ALL SELECT mailbox AS id, name, account FROM deleted_mailboxes) b ON b.id = m.mailbox
         JOIN accounts a ON a.id = b.account LIMIT ?2",
    );
    let rows = found.bind(blob).bind(limit).fetch_all(connection).await?;
    let place = |row: &Row| {
        Ok(Place {
            account: account_id(row)?,
            mailbox: row.try_get("name")?,
            uid: row.try_get("uid")?,
            expunged: row.try_get("expunged")?,
        })
    };
    rows.iter().map(place).collect()
}

fn account_id(row: &Row) -> Result<AccountId, StoreError> {
    let bytes: [u8; 16] = row
        .try_get::<&[u8]>("account")?
        .try_into()
        .map_err(|_| estafeta_storage::sql::Error::Decode("an account of another length".into()))?;
    Ok(AccountId(uuid::Uuid::from_bytes(bytes)))
}

/// Bodies whose references are counted wrongly, each with what must be added.
pub async fn miscounted_bodies(connection: &mut Connection) -> Result<Vec<(BlobRow, i64)>, StoreError> {
    let found = query(
        "SELECT blobs.id, coalesce(counted.n, 0) - blobs.refs AS missing FROM blobs
         LEFT JOIN (SELECT blob, count(*) AS n FROM (SELECT blob FROM messages UNION ALL SELECT blob FROM deleted_messages) AS named
             GROUP BY blob) AS counted ON counted.blob = blobs.id
         WHERE blobs.refs <> coalesce(counted.n, 0)",
    );
    found.fetch_all(connection).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Adds to the references of a body. One that is named again lives again, if its hash has no other that lives.
pub async fn recount_body(connection: &mut Connection, blob: BlobRow, missing: i64) -> Result<(), StoreError> {
    query("UPDATE blobs SET refs = refs + ?2 WHERE id = ?1").bind(blob).bind(missing).execute(&mut *connection).await?;
    let revived = query(
        "UPDATE blobs SET condemned = NULL WHERE id = ?1 AND refs > 0 AND NOT EXISTS
         (SELECT 1 FROM blobs AS other WHERE other.hash = blobs.hash AND other.condemned IS NULL)",
    );
    revived.bind(blob).execute(connection).await?;
    Ok(())
}

/// The accounts, each with what must be added to its messages and its bytes.
pub async fn miscounted_accounts(
    connection: &mut Connection,
    only: Option<AccountRow>,
) -> Result<Vec<(AccountRow, AccountId, [i64; 2])>, StoreError> {
    let found = query(
        "SELECT * FROM (SELECT accounts.id AS id, accounts.account AS account,
            CAST(coalesce(counted.messages, 0) AS BIGINT) - accounts.messages AS messages,
            CAST(coalesce(counted.bytes, 0) AS BIGINT) - accounts.used_bytes AS bytes FROM accounts
         LEFT JOIN (SELECT mailboxes.account AS account, count(*) AS messages, sum(messages.size) AS bytes
            FROM messages JOIN mailboxes ON mailboxes.id = messages.mailbox GROUP BY mailboxes.account) AS counted
         ON counted.account = accounts.id WHERE ?1 = 0 OR accounts.id = ?1) AS missing WHERE messages <> 0 OR bytes <> 0",
    );
    let rows = found.bind(only.map_or(0, |account| account.0)).fetch_all(connection).await?;
    let one = |row: &Row| Ok((row.try_get("id")?, account_id(row)?, [row.try_get("messages")?, row.try_get("bytes")?]));
    rows.iter().map(one).collect()
}

/// Adds to an account's counts.
pub async fn recount_account(
    connection: &mut Connection,
    account: AccountRow,
    [messages, bytes]: [i64; 2],
) -> Result<(), StoreError> {
    let updated = query("UPDATE accounts SET messages = messages + ?2, used_bytes = used_bytes + ?3 WHERE id = ?1");
    updated.bind(account).bind(messages).bind(bytes).execute(connection).await?;
    Ok(())
}

/// A mailbox to look at.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its row.
    pub row: MailboxRow,
    /// Whose.
    pub account: AccountId,
    /// Its name.
    pub name: String,
}

/// All mailboxes, or those of an account.
pub async fn mailboxes(connection: &mut Connection, only: Option<AccountRow>) -> Result<Vec<Named>, StoreError> {
    let found = query(
        "SELECT mailboxes.id AS id, mailboxes.name AS name, accounts.account AS account
         FROM mailboxes JOIN accounts ON accounts.id = mailboxes.account WHERE ?1 = 0 OR accounts.id = ?1 ORDER BY mailboxes.id",
    );
    let rows = found.bind(only.map_or(0, |account| account.0)).fetch_all(connection).await?;
    let one = |row: &Row| Ok(Named { row: row.try_get("id")?, account: account_id(row)?, name: row.try_get("name")? });
    rows.iter().map(one).collect()
}

/// What is wrong with a mailbox.
#[derive(Debug, Default)]
pub struct Wrong {
    /// The pages whose marks cannot be read, or are not those of the messages.
    pub pages: Vec<u32>,
    /// What must be added to its numbers, once the pages are mended: messages, unseen, deleted, bytes; and to its next UID and
    /// its modification sequence, which must be above all that was given out.
    pub numbers: [i64; 6],
}

/// Looks at a mailbox.
pub async fn look(connection: &mut Connection, mailbox: MailboxRow) -> Result<Wrong, StoreError> {
    let found = query(
        "SELECT messages, unseen, deleted, size_bytes, uidnext, modseq,
            (SELECT coalesce(max(uid), 0) FROM deleted_messages WHERE mailbox = ?1) AS given FROM mailboxes WHERE id = ?1",
    );
    let Some(row) = found.bind(mailbox).fetch_optional(&mut *connection).await? else { return Ok(Wrong::default()) };
    let (mut uid, mut modseq): (i64, i64) = (row.try_get("given")?, 0);
    let (mut counts, mut wrong) = (Counts::default(), Wrong::default());
    let numbers =
        query("SELECT page FROM pages WHERE mailbox = ?1 UNION SELECT uid >> 8 FROM messages WHERE mailbox = ?1");
    for number in numbers.bind(mailbox).fetch_all(&mut *connection).await? {
        let number = number.try_get(0)?;
        let Mended { page, bytes, was_whole } = mended(connection, mailbox, number).await?;
        counts += Counts::of(page.marks.iter().map(|mark| &mark.flags), bytes);
        uid = uid.max(page.marks.last().map_or(0, |last| last.uid.0.into()));
        modseq = modseq.max(page.modseq.0 as i64);
        if !was_whole {
            wrong.pages.push(number);
        }
    }
    let there = |name: &str| row.try_get::<i64>(name);
    wrong.numbers = [
        counts.messages - there("messages")?,
        counts.unseen - there("unseen")?,
        counts.deleted - there("deleted")?,
        counts.bytes - there("size_bytes")?,
        (uid + 1 - there("uidnext")?).max(0),
        (modseq - there("modseq")?).max(0),
    ];
    Ok(wrong)
}

/// A page as its messages say that it should be.
struct Mended {
    page: Page,
    /// The sum of the messages' sizes.
    bytes: i64,
    /// It was so already.
    was_whole: bool,
}

/// A message without a mark has no flags, and changed when its page did; a mark without a message goes.
async fn mended(connection: &mut Connection, mailbox: MailboxRow, number: u32) -> Result<Mended, StoreError> {
    let found = query(
        "SELECT p.page AS page, p.modseq AS modseq, p.marks AS marks, m.modseq AS highest FROM mailboxes m
         LEFT JOIN pages p ON p.mailbox = m.id AND p.page = ?2 WHERE m.id = ?1",
    );
    let row = found.bind(mailbox).bind(number).fetch_one(&mut *connection).await?;
    let modseq = row.try_get::<Option<i64>>("modseq")?.map_or_else(|| row.try_get("highest"), Ok)?;
    let known = Page::read(mailbox, &row).ok();
    let mut page = Page { number, modseq: ModSeq(modseq as u64), marks: Vec::new() };
    let (mut bytes, uids) = (0, Page::uids(number));
    let rows = query("SELECT uid, size FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid");
    let rows = rows.bind(mailbox).bind(*uids.start()).bind(*uids.end()).fetch_all(connection).await?;
    for row in &rows {
        let uid = Uid(row.try_get(0)?);
        let mark = known.iter().flat_map(|page| &page.marks).find(|mark| mark.uid == uid);
        page.marks.push(mark.copied().unwrap_or(Mark { uid, modseq: page.modseq, flags: Flags::default() }));
        bytes += row.try_get::<i64>(1)?;
    }
    let was_whole = known.as_ref() == Some(&page);
    Ok(Mended { page, bytes, was_whole })
}

/// Makes a page what its messages say that it should be.
pub async fn mend_page(connection: &mut Connection, mailbox: MailboxRow, number: u32) -> Result<(), StoreError> {
    let locked = connection.locking("SELECT id FROM accounts WHERE id = (SELECT account FROM mailboxes WHERE id = ?)");
    if locked.bind(mailbox).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(());
    }
    let Mended { page, .. } = mended(connection, mailbox, number).await?;
    pages::write(connection, mailbox, &page).await
}

/// Adds to a mailbox's numbers.
pub async fn recount_mailbox(
    connection: &mut Connection,
    mailbox: MailboxRow,
    missing: [i64; 6],
) -> Result<(), StoreError> {
    let updated = query(
        "UPDATE mailboxes SET messages = messages + ?2, unseen = unseen + ?3, deleted = deleted + ?4,
            size_bytes = size_bytes + ?5, uidnext = uidnext + ?6, modseq = modseq + ?7 WHERE id = ?1",
    );
    missing.into_iter().fold(updated.bind(mailbox), |query, value| query.bind(value)).execute(connection).await?;
    Ok(())
}
