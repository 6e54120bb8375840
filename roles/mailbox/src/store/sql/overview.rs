//! All mailboxes that an account can see, with how they stand.

use std::collections::BTreeMap;

use estafeta_core::AccountId;
use estafeta_protocols::imap::types::Rights;
use estafeta_storage::sql::{Connection, Error, Row, query, query_built};

use super::rights::Effective;
use super::{AccountRow, MailboxRow, mailboxes};
use crate::store::overview::{Seen, Standing};
use crate::store::{MailboxName, ModSeq, Scope, SpecialUse, StoreError, Uid, UidValidity};

fn seen(row: &Row, owner: Option<String>, rights: Rights) -> Result<Seen, StoreError> {
    let name = row.try_get::<&str>("name")?.parse::<MailboxName>();
    Ok(Seen {
        row: row.try_get("id")?,
        account: row.try_get("account")?,
        owner,
        name: name.map_err(|error| StoreError::from(Error::Decode(Box::new(error))))?,
        selectable: row.try_get("selectable")?,
        special_use: row.try_get::<Option<&str>>("special_use")?.and_then(SpecialUse::from_attribute),
        rights,
        object_number: mailboxes::object_number(row, row.try_get("id")?)?,
        standing: Standing {
            uid_validity: UidValidity(row.try_get("uidvalidity")?),
            uid_next: Uid(row.try_get("uidnext")?),
            highest_modseq: ModSeq(row.try_get::<i64>("modseq")? as u64),
            messages: row.try_get("messages")?,
            unseen: row.try_get("unseen")?,
        },
    })
}

/// An account's own.
pub async fn own(connection: &mut Connection, account: AccountRow) -> Result<Vec<Seen>, StoreError> {
    let rows = query(
        "SELECT id, account, name, selectable, special_use, uidvalidity, object_number, uidnext, modseq, messages,
             unseen
         FROM mailboxes WHERE account = ?",
    );
    let rows = rows.bind(account).fetch_all(connection).await?;
    rows.iter().map(|row| seen(row, None, Rights::ALL)).collect()
}

/// Those of others on which an account has some right, and whose mail lives here.
pub async fn shared(connection: &mut Connection, account: AccountId, own: AccountRow) -> Result<Vec<Seen>, StoreError> {
    let rows = query(
        "SELECT m.id, m.account, m.name, m.selectable, NULL AS special_use, m.uidvalidity, m.object_number, m.uidnext, m.modseq,
            m.messages, m.unseen, s.address, r.negative, r.rights
         FROM rights r JOIN mailboxes m ON m.id = r.mailbox JOIN sharers s ON s.account = m.account
         JOIN accounts a ON a.id = m.account AND a.state = 'present'
         WHERE (r.account = ? OR r.identifier IN ('anyone', 'authenticated')) AND m.account <> ?",
    );
    let rows = rows.bind(account.0.as_bytes().as_slice()).bind(own).fetch_all(connection).await?;
    let mut found: BTreeMap<i64, (&Row, Effective)> = BTreeMap::new();
    for row in &rows {
        found.entry(row.try_get("id")?).or_insert_with(|| (row, Effective::default())).1.take(row)?;
    }
    let all = found
        .into_values()
        .map(|(row, effective)| seen(row, Some(row.try_get::<&str>("address")?.to_owned()), effective.rights()));
    all.collect()
}

/// How many mailboxes one statement asks about.
const ASKED_AT_ONCE: usize = 500;

/// How many entries those mailboxes have, and how long their values are together, in bytes: those that `reader` sees.
pub async fn size_of_entries(
    connection: &mut Connection,
    mailboxes: &[MailboxRow],
    reader: AccountRow,
) -> Result<(i64, i64), StoreError> {
    let mut size = (0, 0);
    for some in mailboxes.chunks(ASKED_AT_ONCE) {
        let asked = query_built(format!(
            "SELECT count(*) AS entries, CAST(coalesce(sum(length(value)), 0) AS BIGINT) AS bytes {}",
            of_some(some)
        ));
        let row = asked.once().bind(reader).fetch_one(&mut *connection).await?;
        size.0 += row.try_get::<i64>("entries")?;
        size.1 += row.try_get::<i64>("bytes")?;
    }
    Ok(size)
}

/// Each entry of those mailboxes that `reader` sees, with its value.
pub async fn entries(
    connection: &mut Connection,
    mailboxes: &[MailboxRow],
    reader: AccountRow,
    mut each: impl FnMut(MailboxRow, Scope, &str, &[u8]),
) -> Result<(), StoreError> {
    for some in mailboxes.chunks(ASKED_AT_ONCE) {
        let asked = query_built(format!("SELECT mailbox, account, entry, value {}", of_some(some)));
        for row in asked.once().bind(reader).fetch_all(&mut *connection).await? {
            let shared = row.try_get::<i64>("account")? == 0;
            let scope = if shared { Scope::Shared } else { Scope::Private };
            each(row.try_get("mailbox")?, scope, row.try_get("entry")?, &row.try_get::<Vec<u8>>("value")?);
        }
    }
    Ok(())
}

/// Only numbers of ours are put into the text.
fn of_some(mailboxes: &[MailboxRow]) -> String {
    let rows = mailboxes.iter().map(|row| row.0.to_string()).collect::<Vec<_>>().join(",");
    format!("FROM mailbox_entries WHERE mailbox IN ({rows}) AND (account = 0 OR account = ?)")
}
