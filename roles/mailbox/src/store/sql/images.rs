//! An account as it is carried from one store group to another: its rows as they are read on one side and written on the
//! other. Each may be written again.

use estafeta_core::{Address, DeliveryId};
use estafeta_storage::sql::{Connection, Row, query, query_built};

use super::expunging::{self, Remains};
use super::{AccountRow, BlobRow, MailboxRow, changes};
use crate::store::StoreError;
use crate::store::relocation::{Entries, Given, ImageOfMailbox, ImageOfMessage};

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

/// Whole images, of `messages m` joined to what says which.
macro_rules! images {
    ($from:literal, $which:literal) => {
        concat!(
            "SELECT m.uid, m.modseq, flags, keywords, size, internal_date, saved, hash, prefix FROM ",
            $from,
            " JOIN blobs b ON b.id = m.blob WHERE ",
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
    // Joined so that the pages are looked at first.
    let rows = query(images!(
        "changes c CROSS JOIN messages m",
        "c.mailbox = ?1 AND c.modseq >= ?2 AND m.mailbox = ?1 AND m.uid BETWEEN c.page << 8 AND c.page << 8 | 255
             AND (m.modseq, m.uid) > (?2, ?3) ORDER BY m.modseq, m.uid LIMIT ?4"
    ));
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
    let rows = query(images!("messages m", "mailbox = ? AND uid > ? ORDER BY uid LIMIT ?"));
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

/// Up to where the messages, and word of those expunged, have come. Reads the whole mailbox: it is asked once a round.
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
    renewed.execute(&mut *connection).await?;
    changes::note(connection, mailbox, (image.uid, image.uid), image.modseq).await
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
    inserted.bind(&image.prefix[..]).execute(&mut *connection).await?;
    changes::note_new(connection, mailbox, (image.uid, image.uid), image.modseq).await
}

/// Removes a message that was expunged there, and notes it.
pub async fn put_expunged(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (modseq, uid, at): (i64, u32, i64),
) -> Result<(), StoreError> {
    expunging::delete(connection, mailbox, [uid..=uid], (at, Remains::None)).await?;
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
