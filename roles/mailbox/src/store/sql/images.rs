//! An account as it is carried from one store group to another: its rows as they are read on one side and written on the
//! other. Each may be written again.

use std::collections::HashMap;

use estafeta_core::{Address, DeliveryId};
use estafeta_storage::sql::{Connection, Row, query, query_built};

use super::choice::Choice;
use super::expunging::{self, Remains};
use super::mailboxes::{self, Counts};
use super::messages::{self, NewRow};
use super::pages::{self, Page, Pages};
use super::{AccountRow, BlobRow, MailboxRow, accounts};
use crate::store::flags::KeywordBits;
use crate::store::relocation::{Entries, Expunged, Given, ImageOfMailbox, ImageOfMessage};
use crate::store::{Flags, Mark, ModSeq, StoreError, SystemFlags, Uid, UidSet};

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

/// A message whose mark is known.
fn image(row: &Row, marks: &HashMap<Uid, Mark>) -> Result<Option<ImageOfMessage>, StoreError> {
    let Some(mark) = marks.get(&Uid(row.try_get("uid")?)) else { return Ok(None) };
    Ok(Some(ImageOfMessage {
        uid: mark.uid.0,
        modseq: mark.modseq.0 as i64,
        flags: mark.flags.system.bits().into(),
        keywords: mark.flags.keywords.0 as i64,
        size: row.try_get("size")?,
        internal_date: row.try_get("internal_date")?,
        saved: row.try_get("saved")?,
        hash: row.try_get::<Vec<u8>>("hash")?.into(),
        prefix: row.try_get::<Vec<u8>>("prefix")?.into(),
    }))
}

fn mark(image: &ImageOfMessage) -> Mark {
    let flags = Flags { system: SystemFlags::of_bits(image.flags), keywords: KeywordBits(image.keywords as u64) };
    Mark { uid: Uid(image.uid), modseq: ModSeq(image.modseq as u64), flags }
}

/// Up to `limit` messages that changed after (modseq, uid), in the order of their changes.
pub async fn messages(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (modseq, uid): (i64, u32),
    limit: u32,
) -> Result<Vec<ImageOfMessage>, StoreError> {
    let since = ModSeq((modseq as u64).saturating_sub(1));
    let mut marks = Vec::new();
    for page in Pages::since(connection, mailbox, since).await?.all(connection).await? {
        marks.extend(page.marks.into_iter().filter(|mark| (mark.modseq.0, mark.uid.0) > (modseq as u64, uid)));
    }
    marks.sort_unstable_by_key(|mark| (mark.modseq, mark.uid));
    marks.truncate(limit as usize);
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    // Only numbers of ours are put into the text.
    let named = marks.iter().map(|mark| mark.uid.to_string()).collect::<Vec<_>>().join(",");
    let rows = query_built(format!(
        "SELECT uid, size, internal_date, saved, hash, prefix FROM messages m JOIN blobs b ON b.id = m.blob
         WHERE mailbox = ? AND uid IN ({named})"
    ));
    let rows = rows.once().bind(mailbox).fetch_all(connection).await?;
    let marks = marks.into_iter().map(|mark| (mark.uid, mark)).collect();
    let mut images: Vec<ImageOfMessage> =
        rows.iter().filter_map(|row| image(row, &marks).transpose()).collect::<Result<_, _>>()?;
    images.sort_unstable_by_key(|image| (image.modseq, image.uid));
    Ok(images)
}

/// Up to `limit` messages after this UID, by UID.
pub async fn messages_by_uid(
    connection: &mut Connection,
    mailbox: MailboxRow,
    after: u32,
    limit: u32,
) -> Result<Vec<ImageOfMessage>, StoreError> {
    let rows = query(
        "SELECT uid, size, internal_date, saved, hash, prefix FROM messages m JOIN blobs b ON b.id = m.blob
         WHERE mailbox = ? AND uid > ? ORDER BY uid LIMIT ?",
    );
    let rows = rows.bind(mailbox).bind(after).bind(limit).fetch_all(&mut *connection).await?;
    let uids = rows.iter().map(|row| Ok(Uid(row.try_get("uid")?))).collect::<Result<Vec<_>, StoreError>>()?;
    let pages = Pages::of(mailbox, &UidSet::from_uids(uids)).all(connection).await?;
    let marks = pages.into_iter().flat_map(|page| page.marks).map(|mark| (mark.uid, mark)).collect();
    rows.iter().filter_map(|row| image(row, &marks).transpose()).collect()
}

/// Up to `limit` runs of those that were expunged after (modseq, first UID).
pub async fn expunged(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (modseq, uid): (i64, u32),
    limit: u32,
) -> Result<Vec<Expunged>, StoreError> {
    let rows = query(
        "SELECT modseq, first_uid, last_uid, at FROM expunged WHERE mailbox = ? AND (modseq, first_uid) > (?, ?)
         ORDER BY modseq, first_uid LIMIT ?",
    );
    let rows = rows.bind(mailbox).bind(modseq).bind(uid).bind(limit).fetch_all(connection).await?;
    let one = |row: &Row| {
        let uids = (row.try_get("first_uid")?, row.try_get("last_uid")?);
        Ok(Expunged { modseq: row.try_get("modseq")?, uids, at: row.try_get("at")? })
    };
    rows.iter().map(one).collect()
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

/// Up to where the messages, and word of those expunged, have come. Reads all pages: it is asked once a round.
pub async fn reached(connection: &mut Connection, mailbox: MailboxRow) -> Result<((i64, u32), (i64, u32)), StoreError> {
    let pages = Pages::of(mailbox, &UidSet::all()).all(connection).await?;
    let last = pages.iter().flat_map(|page| &page.marks).map(|mark| (mark.modseq.0 as i64, mark.uid.0)).max();
    let expunged =
        query("SELECT modseq, first_uid FROM expunged WHERE mailbox = ? ORDER BY modseq DESC, first_uid DESC LIMIT 1");
    let expunged = match expunged.bind(mailbox).fetch_optional(connection).await? {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0, 0),
    };
    Ok((last.unwrap_or_default(), expunged))
}

/// Those of `uids` that have come: their flags alone may have changed.
pub async fn there(connection: &mut Connection, mailbox: MailboxRow, uids: &[u32]) -> Result<Vec<u32>, StoreError> {
    // Only numbers of ours are put into the text.
    let named = uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let found =
        query_built(format!("SELECT uid FROM messages WHERE mailbox = ? AND uid IN ({named}) ORDER BY uid")).once();
    found.bind(mailbox).fetch_all(connection).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Writes messages that come, each with its body, or that have come and change: all that is written again is as it was.
pub async fn put_messages(
    connection: &mut Connection,
    mailbox: MailboxRow,
    images: &[(&ImageOfMessage, Option<BlobRow>)],
) -> Result<(), StoreError> {
    let uids = UidSet::from_uids(images.iter().map(|(image, _)| Uid(image.uid)));
    let pages = Pages::of(mailbox, &uids).all(connection).await?;
    let mut pages: HashMap<u32, Page> = pages.into_iter().map(|page| (page.number, page)).collect();
    let mut counts = Counts::default();
    for (image, blob) in images {
        let (mark, number) = (mark(image), Page::of(Uid(image.uid)));
        let page = pages.entry(number).or_insert(Page { number, modseq: mark.modseq, marks: Vec::new() });
        let place = page.marks.binary_search_by_key(&mark.uid, |mark| mark.uid);
        match (place, blob) {
            (Ok(place), _) => {
                counts.turn(page.marks[place].flags, mark.flags);
                page.marks[place] = mark;
            }
            (Err(place), Some(blob)) => {
                counts += Counts::of([&mark.flags], image.size);
                page.marks.insert(place, mark);
                let new = NewRow {
                    flags: mark.flags,
                    size: image.size as u32,
                    internal_date: image.internal_date,
                    saved: image.saved,
                    blob: *blob,
                    prefix: &image.prefix,
                };
                messages::insert(connection, mailbox, mark.uid, &new).await?;
            }
            // Expunged here since it was looked for: word of that is still to come.
            (Err(_), None) => {}
        }
        page.modseq = page.modseq.max(mark.modseq);
    }
    for page in pages.values() {
        pages::write(connection, mailbox, page).await?;
    }
    mailboxes::count(connection, mailbox, counts).await?;
    accounts::count_of(connection, mailbox, counts).await
}

/// Removes messages that were expunged there, and notes them.
pub async fn put_expunged(
    connection: &mut Connection,
    mailbox: MailboxRow,
    Expunged { modseq, uids, at }: Expunged,
) -> Result<(), StoreError> {
    let range = UidSet::from_ranges([Uid(uids.0)..=Uid(uids.1)]);
    let choice = Choice::of(connection, mailbox, &range).await?;
    expunging::delete(connection, mailbox, &choice, (at, Remains::None)).await?;
    expunging::note_expunged(connection, mailbox, (modseq, uids, at)).await
}

/// How many messages a mailbox has here, and how many bytes.
pub async fn counts(connection: &mut Connection, mailbox: MailboxRow) -> Result<(i64, i64), StoreError> {
    let row = query("SELECT messages, size_bytes FROM mailboxes WHERE id = ?").bind(mailbox);
    let row = row.fetch_one(connection).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
