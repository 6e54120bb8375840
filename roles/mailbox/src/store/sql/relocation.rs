//! Accounts on their way from one store group to another: their states, and their rows as they are read on one side and
//! written on the other.
//!
//! Every table that belongs to an account or to a mailbox is carried, or left on purpose; a test holds the schema against
//! [`CARRIED`] and [`LEFT`].

use estafeta_core::{AccountId, Address, DeliveryId, StoreGroup};
use estafeta_storage::sql::{Connection, Row, query, query_built};

use uuid::Uuid;

use super::{AccountRow, BlobRow, MailboxRow, deleted};
use crate::store::StoreError;
use crate::store::relocation::{Entries, Given, ImageOfMailbox, ImageOfMessage};

/// Migration 7.
pub const MOVES: &str = "
-- While an account leaves, and once it is gone: for which attempt. While it comes: which attempt, from where, and as whom.
ALTER TABLE accounts ADD COLUMN attempt TEXT;
ALTER TABLE accounts ADD COLUMN comes_from TEXT;
ALTER TABLE accounts ADD COLUMN address TEXT;
-- When it was gone.
ALTER TABLE accounts ADD COLUMN gone_at INTEGER;
CREATE INDEX accounts_coming ON accounts (id) WHERE comes_from IS NOT NULL;
CREATE INDEX accounts_gone ON accounts (gone_at) WHERE gone_at IS NOT NULL;
-- What stands for a mailbox that came from another store group (RFC 8474); none for one that began here.
ALTER TABLE mailboxes ADD COLUMN object_number INTEGER;
";

/// The tables whose rows belong to accounts and mailboxes, and move with them.
#[cfg(test)]
pub const CARRIED: &[&str] = &[
    "account_entries",
    "accounts",
    "deliveries",
    "expunged",
    "keywords",
    "mailbox_entries",
    "mailboxes",
    "messages",
    "rights",
    "sharers",
    "subscriptions",
];

/// Those whose rows stay, and are removed with what else stays: what was expunged can be had back in this group alone, and
/// an import that goes on elsewhere sees what is there already.
#[cfg(test)]
pub const LEFT: &[&str] = &["deleted_mailboxes", "deleted_messages", "imports"];

/// Where an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its mail lives here.
    Present,
    /// It leaves, or comes.
    Moving,
    /// It lives elsewhere.
    Gone,
}

impl State {
    /// As the database has it.
    pub fn of(text: &str) -> Self {
        match text {
            "present" => Self::Present,
            "moving" => Self::Moving,
            _ => Self::Gone,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Moving => "moving",
            Self::Gone => "gone",
        }
    }
}

/// An account that may be on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its row.
    pub row: AccountRow,
    /// Its state.
    pub state: State,
    /// The attempt that it leaves by, or comes by; or by which it went.
    pub attempt: Option<String>,
    /// Where it comes from, until all know that it has come.
    pub comes_from: Option<String>,
}

/// How an account stands; none when it never came.
pub async fn standing(connection: &mut Connection, account: AccountId) -> Result<Option<Standing>, StoreError> {
    let found = connection.locking("SELECT id, state, attempt, comes_from FROM accounts WHERE account = ?");
    let row = found.bind(account.0.as_bytes().as_slice()).fetch_optional(connection).await?;
    let standing = |row: Row| {
        Ok(Standing {
            row: row.try_get("id")?,
            state: State::of(row.try_get("state")?),
            attempt: row.try_get("attempt")?,
            comes_from: row.try_get("comes_from")?,
        })
    };
    row.map(standing).transpose()
}

/// Sets the state of an account that leaves, or stays after all.
pub async fn set_leaving(
    connection: &mut Connection,
    account: AccountRow,
    state: State,
    attempt: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    let gone_at = (state == State::Gone).then_some(now);
    let set = query("UPDATE accounts SET state = ?, attempt = ?, comes_from = NULL, gone_at = ? WHERE id = ?");
    set.bind(state.text()).bind(attempt).bind(gone_at).bind(account).execute(connection).await?;
    Ok(())
}

/// Sets the state of an account that comes, or has come. `from` is none once all know that.
pub async fn set_coming(
    connection: &mut Connection,
    account: AccountRow,
    state: State,
    attempt: &str,
    (from, address): (Option<&StoreGroup>, &Address),
) -> Result<(), StoreError> {
    let set =
        query("UPDATE accounts SET state = ?, attempt = ?, comes_from = ?, address = ?, gone_at = NULL WHERE id = ?");
    let set = set.bind(state.text()).bind(attempt).bind(from.map(StoreGroup::as_str)).bind(address.to_string());
    set.bind(account).execute(connection).await?;
    Ok(())
}

/// Locks an account's row until the commit, whatever its state.
pub async fn lock(connection: &mut Connection, account: AccountRow) -> Result<(), StoreError> {
    connection.locking("SELECT id FROM accounts WHERE id = ?").bind(account).fetch_optional(connection).await?;
    Ok(())
}

/// Locks an account's row, which must be on its way here by this attempt.
pub async fn check_coming(connection: &mut Connection, account: AccountRow, attempt: &str) -> Result<(), StoreError> {
    let found = connection.locking("SELECT state, attempt, comes_from FROM accounts WHERE id = ?");
    let row = found.bind(account).fetch_optional(connection).await?.ok_or(StoreError::Gone)?;
    let comes = State::of(row.try_get("state")?) == State::Moving
        && row.try_get::<Option<&str>>("attempt")? == Some(attempt)
        && row.try_get::<Option<&str>>("comes_from")?.is_some();
    if comes { Ok(()) } else { Err(StoreError::NotAllowed("this account is not on its way here any more")) }
}

/// Whether not all know yet that an account has come.
pub async fn still_comes(connection: &mut Connection, account: AccountRow) -> Result<bool, StoreError> {
    let found = query("SELECT comes_from IS NOT NULL FROM accounts WHERE id = ?").bind(account);
    Ok(found.fetch_one(connection).await?.try_get(0)?)
}

/// The addresses of those that come.
pub async fn coming(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    let rows = query("SELECT address FROM accounts WHERE comes_from IS NOT NULL").fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get("address")?)).collect()
}

/// Those whose mail lives here.
pub async fn present(connection: &mut Connection) -> Result<Vec<AccountId>, StoreError> {
    let rows = query("SELECT account FROM accounts WHERE state = 'present' ORDER BY id").fetch_all(connection).await?;
    let read = |row: &Row| {
        let bytes = row.try_get::<Vec<u8>>("account").map_err(StoreError::from);
        bytes.map(|bytes| Uuid::from_slice(&bytes).map(AccountId).unwrap_or(AccountId(Uuid::nil())))
    };
    rows.iter().map(read).collect()
}

/// One that has been gone since before `before` and still has mailboxes here.
pub async fn long_gone(connection: &mut Connection, before: i64) -> Result<Option<AccountRow>, StoreError> {
    let found = query(
        "SELECT id FROM accounts a WHERE gone_at < ? AND state = 'gone'
         AND EXISTS (SELECT 1 FROM mailboxes m WHERE m.account = a.id) LIMIT 1",
    );
    let row = found.bind(before).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Removes up to `limit` messages of an account, first those that can be had back, then word of expunged ones, then all else that it has here but its row.
/// Gives how many rows went; fewer than the limit when nothing is left.
pub async fn clear(connection: &mut Connection, account: AccountRow, limit: u32) -> Result<u64, StoreError> {
    if deleted::clear(connection, account, limit).await? > 0 {
        return Ok(limit.into());
    }
    for table in ["messages", "expunged"] {
        let columns = if table == "messages" { "mailbox, uid" } else { "mailbox, modseq, uid" };
        let cleared = query_built(format!(
            "DELETE FROM {table} WHERE ({columns}) IN (SELECT {columns} FROM {table}
             WHERE mailbox IN (SELECT id FROM mailboxes WHERE account = ?) LIMIT ?)"
        ));
        let rows = cleared.bind(account).bind(limit).execute(&mut *connection).await?;
        if rows > 0 {
            // There may be more, and there is more of another kind.
            return Ok(limit.into());
        }
    }
    for table in ["keywords", "mailbox_entries", "rights"] {
        let cleared =
            query_built(format!("DELETE FROM {table} WHERE mailbox IN (SELECT id FROM mailboxes WHERE account = ?)"));
        cleared.bind(account).execute(&mut *connection).await?;
    }
    for table in ["mailboxes", "subscriptions", "account_entries", "sharers", "deliveries", "imports"] {
        let cleared = query_built(format!("DELETE FROM {table} WHERE account = ?"));
        cleared.bind(account).execute(&mut *connection).await?;
    }
    Ok(0)
}

/// Removes up to `limit` messages of a mailbox, then word of expunged ones. Gives how many.
pub async fn clear_mailbox(connection: &mut Connection, mailbox: MailboxRow, limit: u32) -> Result<u64, StoreError> {
    for (table, columns) in [("messages", "mailbox, uid"), ("expunged", "mailbox, modseq, uid")] {
        let cleared = query_built(format!(
            "DELETE FROM {table} WHERE ({columns}) IN (SELECT {columns} FROM {table} WHERE mailbox = ? LIMIT ?)"
        ));
        let rows = cleared.bind(mailbox).bind(limit).execute(&mut *connection).await?;
        if rows > 0 {
            return Ok(rows);
        }
    }
    Ok(0)
}

/// Every mailbox of an account, without what is noted of it.
pub async fn mailboxes(connection: &mut Connection, account: AccountRow) -> Result<Vec<ImageOfMailbox>, StoreError> {
    let rows = query(
        "SELECT id, object_number, name, selectable, special_use, uidvalidity, uidnext, modseq, recent_from,
             forgotten_modseq, messages, size_bytes FROM mailboxes WHERE account = ? ORDER BY id",
    );
    let rows = rows.bind(account).fetch_all(connection).await?;
    let image = |row: &Row| {
        let (number, uid_validity): (MailboxRow, u32) = (row.try_get("id")?, row.try_get("uidvalidity")?);
        let kept: Option<i64> = row.try_get("object_number")?;
        Ok(ImageOfMailbox {
            number: number.0,
            object_number: kept.unwrap_or_else(|| object_number(number, uid_validity)),
            name: row.try_get::<&str>("name")?.to_owned(),
            selectable: row.try_get("selectable")?,
            special_use: row.try_get("special_use")?,
            uid_validity,
            uid_next: row.try_get("uidnext")?,
            modseq: row.try_get("modseq")?,
            recent_from: row.try_get("recent_from")?,
            forgotten_modseq: row.try_get("forgotten_modseq")?,
            messages: row.try_get("messages")?,
            size_bytes: row.try_get("size_bytes")?,
            ..ImageOfMailbox::default()
        })
    };
    rows.iter().map(image).collect()
}

/// What stands for a mailbox that began here. The row alone would do, were it not for accounts that move to another store
/// group: no two life times of UIDs are alike.
pub fn object_number(row: MailboxRow, uid_validity: u32) -> i64 {
    row.0 << 32 | i64::from(uid_validity)
}

/// Whole images, to be followed by which.
macro_rules! images {
    ($which:literal) => {
        concat!(
            "SELECT uid, modseq, flags, keywords, size, internal_date, saved, hash, prefix
             FROM messages m JOIN blobs b ON b.id = m.blob ",
            $which
        )
    };
}

fn image(row: &Row) -> Result<ImageOfMessage, StoreError> {
    Ok(ImageOfMessage {
        uid: row.try_get("uid")?,
        modseq: row.try_get("modseq")?,
        flags: row.try_get("flags")?,
        keywords: row.try_get("keywords")?,
        size: row.try_get("size")?,
        internal_date: row.try_get("internal_date")?,
        saved: row.try_get("saved")?,
        hash: row.try_get::<Vec<u8>>("hash")?.into(),
        prefix: row.try_get::<Vec<u8>>("prefix")?.into(),
    })
}

/// Up to `limit` messages that changed after (modseq, uid), in the order of their changes.
pub async fn messages(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (modseq, uid): (i64, u32),
    limit: u32,
) -> Result<Vec<ImageOfMessage>, StoreError> {
    let rows = query(images!("WHERE mailbox = ? AND (modseq, uid) > (?, ?) ORDER BY modseq, uid LIMIT ?"));
    let rows = rows.bind(mailbox).bind(modseq).bind(uid).bind(limit).fetch_all(connection).await?;
    rows.iter().map(image).collect()
}

/// Up to `limit` messages after this UID, by UID.
pub async fn messages_by_uid(
    connection: &mut Connection,
    mailbox: MailboxRow,
    after: u32,
    limit: u32,
) -> Result<Vec<ImageOfMessage>, StoreError> {
    let rows = query(images!("WHERE mailbox = ? AND uid > ? ORDER BY uid LIMIT ?"));
    let rows = rows.bind(mailbox).bind(after).bind(limit).fetch_all(connection).await?;
    rows.iter().map(image).collect()
}

/// Up to `limit` of those that were expunged after (modseq, uid): modseq, uid and when.
pub async fn expunged(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (modseq, uid): (i64, u32),
    limit: u32,
) -> Result<Vec<(i64, u32, i64)>, StoreError> {
    let rows = query(
        "SELECT modseq, uid, at FROM expunged WHERE mailbox = ? AND (modseq, uid) > (?, ?) ORDER BY modseq, uid LIMIT ?",
    );
    let rows = rows.bind(mailbox).bind(modseq).bind(uid).bind(limit).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

/// Up to `limit` deliveries after (at, id).
pub async fn deliveries(
    connection: &mut Connection,
    account: AccountRow,
    (at, delivery): (i64, &[u8]),
    limit: u32,
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let rows = query(
        "SELECT at, delivery FROM deliveries WHERE account = ? AND (at, delivery) > (?, ?) ORDER BY at, delivery LIMIT ?",
    );
    let rows = rows.bind(account).bind(at).bind(delivery).bind(limit).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Notes deliveries that were made elsewhere.
pub async fn note_deliveries(
    connection: &mut Connection,
    account: AccountRow,
    deliveries: &[(i64, DeliveryId)],
) -> Result<(), StoreError> {
    for (at, delivery) in deliveries {
        let noted = query("INSERT INTO deliveries (delivery, account, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING");
        let noted = noted.bind(delivery.0.as_bytes().as_slice()).bind(account).bind(*at);
        noted.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Rights on a mailbox, with whom they mean.
pub async fn rights(connection: &mut Connection, mailbox: MailboxRow) -> Result<Vec<Given>, StoreError> {
    let rows = query("SELECT identifier, negative, account, rights FROM rights WHERE mailbox = ?");
    let given = |row: &Row| {
        Ok(Given {
            identifier: row.try_get::<&str>("identifier")?.to_owned(),
            negative: row.try_get("negative")?,
            account: row.try_get::<Option<Vec<u8>>>("account")?.map(Into::into),
            rights: row.try_get("rights")?,
        })
    };
    rows.bind(mailbox).fetch_all(connection).await?.iter().map(given).collect()
}

/// The address that an account shares under.
pub async fn shares_as(connection: &mut Connection, account: AccountRow) -> Result<Option<String>, StoreError> {
    let found = query("SELECT address FROM sharers WHERE account = ?").bind(account).fetch_optional(connection).await?;
    Ok(found.map(|row| row.try_get("address")).transpose()?)
}

/// The mailboxes that have come, by what stands for them.
pub async fn come(connection: &mut Connection, account: AccountRow) -> Result<Vec<(i64, MailboxRow)>, StoreError> {
    let rows = query("SELECT object_number, id FROM mailboxes WHERE account = ? AND object_number IS NOT NULL");
    rows.bind(account).fetch_all(connection).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Gives mailboxes names under which none can be in another's way.
pub async fn unname(connection: &mut Connection, account: AccountRow) -> Result<(), StoreError> {
    let unnamed = query(
        "UPDATE mailboxes SET name = '/' || id, special_use = NULL WHERE account = ? AND object_number IS NOT NULL",
    );
    unnamed.bind(account).execute(connection).await?;
    Ok(())
}

/// Writes a mailbox as it is there; `row` is its row here, if it has one.
pub async fn put_mailbox(
    connection: &mut Connection,
    account: AccountRow,
    row: Option<MailboxRow>,
    image: &ImageOfMailbox,
) -> Result<MailboxRow, StoreError> {
    let row = match row {
        Some(row) => row,
        None => {
            let inserted = query(
                "INSERT INTO mailboxes (account, name, selectable, uidvalidity, object_number) VALUES (?, ?, ?, ?, ?)
                 RETURNING id",
            );
            let inserted = inserted.bind(account).bind(image.name.as_str()).bind(image.selectable);
            let inserted = inserted.bind(image.uid_validity).bind(image.object_number);
            inserted.fetch_one(&mut *connection).await?.try_get("id")?
        }
    };
    let set = query(
        "UPDATE mailboxes SET name = ?, selectable = ?, special_use = ?, uidvalidity = ?, uidnext = ?, modseq = ?,
             recent_from = ?, forgotten_modseq = ? WHERE id = ?",
    );
    let set = set.bind(image.name.as_str()).bind(image.selectable).bind(image.special_use.as_deref());
    let set = set.bind(image.uid_validity).bind(image.uid_next).bind(image.modseq).bind(image.recent_from);
    set.bind(image.forgotten_modseq).bind(row).execute(&mut *connection).await?;
    // No mailbox that begins here later repeats it.
    let counter = query("UPDATE counters SET value = ?1 WHERE name = 'uidvalidity' AND value < ?1");
    counter.bind(image.uid_validity).execute(&mut *connection).await?;
    for (number, keyword) in image.keywords.iter().enumerate() {
        let known = query("INSERT INTO keywords (mailbox, number, name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING");
        known.bind(row).bind(number as i64).bind(keyword.as_str()).execute(&mut *connection).await?;
    }
    for statement in ["DELETE FROM rights WHERE mailbox = ?", "DELETE FROM mailbox_entries WHERE mailbox = ?"] {
        query(statement).bind(row).execute(&mut *connection).await?;
    }
    for Given { identifier, negative, account, rights } in &image.rights {
        let given = query("INSERT INTO rights (mailbox, identifier, negative, account, rights) VALUES (?, ?, ?, ?, ?)");
        let given = given.bind(row).bind(identifier.as_str()).bind(*negative);
        given.bind(account.as_ref().map(|account| account.to_vec())).bind(*rights).execute(&mut *connection).await?;
    }
    for (owner, entries) in [(0, &image.shared), (account.0, &image.private)] {
        for (entry, value) in entries {
            let noted = query("INSERT INTO mailbox_entries (mailbox, account, entry, value) VALUES (?, ?, ?, ?)");
            noted.bind(row).bind(owner).bind(entry.as_str()).bind(&value[..]).execute(&mut *connection).await?;
        }
    }
    Ok(row)
}

/// Writes what belongs to the account itself.
pub async fn put_account(
    connection: &mut Connection,
    account: AccountRow,
    subscriptions: &[String],
    entries: &Entries,
    shares_as: Option<&Address>,
) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM subscriptions WHERE account = ?",
        "DELETE FROM account_entries WHERE account = ?",
        "DELETE FROM sharers WHERE account = ?",
    ] {
        query(statement).bind(account).execute(&mut *connection).await?;
    }
    for name in subscriptions {
        let noted = query("INSERT INTO subscriptions (account, name) VALUES (?, ?)").bind(account).bind(name.as_str());
        noted.execute(&mut *connection).await?;
    }
    for (entry, value) in entries {
        let noted = query("INSERT INTO account_entries (account, entry, value) VALUES (?, ?, ?)");
        noted.bind(account).bind(entry.as_str()).bind(&value[..]).execute(&mut *connection).await?;
    }
    match shares_as {
        Some(address) => super::rights::note_sharer(connection, account, address).await,
        None => Ok(()),
    }
}

/// Up to where the messages, and word of those expunged, have come.
pub async fn reached(connection: &mut Connection, mailbox: MailboxRow) -> Result<((i64, u32), (i64, u32)), StoreError> {
    let mut reached = [(0, 0); 2];
    for (at, statement) in [
        "SELECT modseq, uid FROM messages WHERE mailbox = ? ORDER BY modseq DESC, uid DESC LIMIT 1",
        "SELECT modseq, uid FROM expunged WHERE mailbox = ? ORDER BY modseq DESC, uid DESC LIMIT 1",
    ]
    .into_iter()
    .enumerate()
    {
        if let Some(row) = query(statement).bind(mailbox).fetch_optional(&mut *connection).await? {
            reached[at] = (row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok((reached[0], reached[1]))
}

/// Those of `uids` that have come: their flags alone may have changed.
pub async fn there(connection: &mut Connection, mailbox: MailboxRow, uids: &[u32]) -> Result<Vec<u32>, StoreError> {
    // Only numbers of ours are put into the text.
    let named = uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let found =
        query_built(format!("SELECT uid FROM messages WHERE mailbox = ? AND uid IN ({named}) ORDER BY uid")).once();
    found.bind(mailbox).fetch_all(connection).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Changes what can change of a message that has come.
pub async fn renew_message(
    connection: &mut Connection,
    mailbox: MailboxRow,
    image: &ImageOfMessage,
) -> Result<(), StoreError> {
    // Whoever changes flags counts them.
    let counted = query(
        "UPDATE mailboxes SET unseen = unseen + now_unseen, deleted = deleted + now_deleted FROM (
             SELECT (flags & 1) - (?3 & 1) AS now_unseen, ((?3 & 8) - (flags & 8)) / 8 AS now_deleted
             FROM messages WHERE mailbox = ?1 AND uid = ?2) d WHERE id = ?1",
    );
    counted.bind(mailbox).bind(image.uid).bind(image.flags).execute(&mut *connection).await?;
    let renewed = query("UPDATE messages SET modseq = ?, flags = ?, keywords = ? WHERE mailbox = ? AND uid = ?");
    let renewed = renewed.bind(image.modseq).bind(image.flags).bind(image.keywords).bind(mailbox).bind(image.uid);
    renewed.execute(connection).await?;
    Ok(())
}

/// Writes a message that comes.
pub async fn put_message(
    connection: &mut Connection,
    mailbox: MailboxRow,
    image: &ImageOfMessage,
    blob: BlobRow,
) -> Result<(), StoreError> {
    let inserted = query(
        "INSERT INTO messages (mailbox, uid, modseq, flags, keywords, size, internal_date, saved, blob, prefix)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    let inserted = inserted.bind(mailbox).bind(image.uid).bind(image.modseq).bind(image.flags).bind(image.keywords);
    let inserted = inserted.bind(image.size).bind(image.internal_date).bind(image.saved).bind(blob);
    inserted.bind(&image.prefix[..]).execute(connection).await?;
    Ok(())
}

/// Removes a message that was expunged there, and notes it.
pub async fn put_expunged(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (modseq, uid, at): (i64, u32, i64),
) -> Result<(), StoreError> {
    query("DELETE FROM messages WHERE mailbox = ? AND uid = ?")
        .bind(mailbox)
        .bind(uid)
        .execute(&mut *connection)
        .await?;
    let noted = query("INSERT INTO expunged (mailbox, modseq, uid, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
    noted.bind(mailbox).bind(modseq).bind(uid).bind(at).execute(connection).await?;
    Ok(())
}

/// How many messages a mailbox has here, and how many bytes.
pub async fn counts(connection: &mut Connection, mailbox: MailboxRow) -> Result<(i64, i64), StoreError> {
    let row = query("SELECT messages, size_bytes FROM mailboxes WHERE id = ?").bind(mailbox);
    let row = row.fetch_one(connection).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
