//! Who may do what with a mailbox (RFC 4314).

use std::collections::BTreeMap;

use estafeta_core::{AccountId, Address};
use estafeta_protocols::imap::types::Rights;
use estafeta_storage::sql::{Connection, Error, Row, query};

use super::{AccountRow, MailboxRow};
use crate::store::{MailboxName, SharedMailbox, StoreError};

/// What is given to or taken from one identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As the database has it.
    pub identifier: String,
    /// Taken, not given.
    pub negative: bool,
    /// Which.
    pub rights: Rights,
}

fn rights(row: &Row) -> Result<Rights, StoreError> {
    let bits: i64 = row.try_get("rights")?;
    Ok(Rights::from_bits(u16::try_from(bits).unwrap_or_default()))
}

/// All of a mailbox.
pub async fn list(connection: &mut Connection, mailbox: MailboxRow) -> Result<Vec<Grant>, StoreError> {
    let rows = query("SELECT identifier, negative, rights FROM rights WHERE mailbox = ? ORDER BY identifier, negative");
    let rows = rows.bind(mailbox).fetch_all(connection).await?;
    let grant = |row: &Row| {
        let identifier = row.try_get::<&str>("identifier")?.to_owned();
        Ok(Grant { identifier, negative: row.try_get("negative")?, rights: rights(row)? })
    };
    rows.iter().map(grant).collect()
}

/// Sets what an identifier is given or taken; nothing removes its row.
pub async fn set(
    connection: &mut Connection,
    mailbox: MailboxRow,
    grant: &Grant,
    account: Option<AccountId>,
) -> Result<(), StoreError> {
    if grant.rights.is_empty() {
        let removed = query("DELETE FROM rights WHERE mailbox = ? AND identifier = ? AND negative = ?");
        let removed = removed.bind(mailbox).bind(grant.identifier.as_str()).bind(grant.negative);
        removed.execute(connection).await?;
        return Ok(());
    }
    let set = query(
        "INSERT INTO rights (mailbox, identifier, negative, account, rights) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (mailbox, identifier, negative) DO UPDATE SET account = excluded.account, rights = excluded.rights",
    );
    let set = set.bind(mailbox).bind(grant.identifier.as_str()).bind(grant.negative);
    let set = set.bind(account.map(|account| account.0.as_bytes().to_vec())).bind(i64::from(grant.rights.bits()));
    set.execute(connection).await?;
    Ok(())
}

/// Gives a new mailbox the rights of the one above it.
pub async fn inherit(connection: &mut Connection, above: MailboxRow, new: MailboxRow) -> Result<(), StoreError> {
    let copied = query(
        "INSERT INTO rights (mailbox, identifier, negative, account, rights)
         SELECT ?, identifier, negative, account, rights FROM rights WHERE mailbox = ?",
    );
    copied.bind(new).bind(above).execute(connection).await?;
    Ok(())
}

/// What an account that is not the owner may do: what it is given, by name or as anyone, without what it is taken.
pub async fn of(connection: &mut Connection, mailbox: MailboxRow, account: AccountId) -> Result<Rights, StoreError> {
    let rows = query(
        "SELECT negative, rights FROM rights
         WHERE mailbox = ? AND (account = ? OR identifier IN ('anyone', 'authenticated'))",
    );
    let rows = rows.bind(mailbox).bind(account.0.as_bytes().as_slice()).fetch_all(connection).await?;
    let mut effective = Effective::default();
    for row in &rows {
        effective.take(row)?;
    }
    Ok(effective.rights())
}

/// What one account may do, by all that is said of it.
#[derive(Default)]
pub struct Effective {
    given: Rights,
    taken: Rights,
}

impl Effective {
    /// Takes in a row of the table: its `negative` and its `rights`.
    pub fn take(&mut self, row: &Row) -> Result<(), StoreError> {
        let side = if row.try_get("negative")? { &mut self.taken } else { &mut self.given };
        *side = side.with(rights(row)?);
        Ok(())
    }

    /// What comes of it.
    pub fn rights(&self) -> Rights {
        self.given.without(self.taken)
    }
}

/// Every mailbox of others on which an account has some right, of those whose mail lives here.
pub async fn shared_with(
    connection: &mut Connection,
    account: AccountId,
    own: AccountRow,
) -> Result<Vec<SharedMailbox>, StoreError> {
    let rows = query(
        "SELECT s.address, m.name, m.selectable, r.negative, r.rights FROM rights r
         JOIN mailboxes m ON m.id = r.mailbox JOIN sharers s ON s.account = m.account
         JOIN accounts a ON a.id = m.account AND a.state = 'present'
         WHERE (r.account = ? OR r.identifier IN ('anyone', 'authenticated')) AND m.account <> ?",
    );
    let rows = rows.bind(account.0.as_bytes().as_slice()).bind(own).fetch_all(connection).await?;
    let mut found: BTreeMap<(String, String), (bool, Effective)> = BTreeMap::new();
    for row in &rows {
        let place = (row.try_get::<&str>("address")?.to_owned(), row.try_get::<&str>("name")?.to_owned());
        let (selectable, effective) = found.entry(place).or_default();
        *selectable = row.try_get("selectable")?;
        effective.take(row)?;
    }
    let entry = |((owner, name), (selectable, effective)): ((String, String), (bool, Effective))| {
        let name = name.parse::<MailboxName>().map_err(|error| StoreError::from(Error::Decode(Box::new(error))))?;
        Ok(SharedMailbox { owner, name, selectable, rights: effective.rights() })
    };
    let all: Result<Vec<_>, StoreError> = found.into_iter().map(entry).collect();
    Ok(all?.into_iter().filter(|shared| !shared.rights.is_empty()).collect())
}

/// Notes by which address others know an account that shares.
pub async fn note_sharer(
    connection: &mut Connection,
    account: AccountRow,
    address: &Address,
) -> Result<(), StoreError> {
    let noted = query(
        "INSERT INTO sharers (account, address_key, address) VALUES (?, ?, ?)
         ON CONFLICT (account) DO UPDATE SET address_key = excluded.address_key, address = excluded.address",
    );
    noted.bind(account).bind(address.key()).bind(address.to_string()).execute(connection).await?;
    Ok(())
}

/// The accounts that shared something under an address: one, or none; several when the address had several owners.
pub async fn sharers(connection: &mut Connection, address: &Address) -> Result<Vec<AccountRow>, StoreError> {
    let rows = query("SELECT account FROM sharers WHERE address_key = ?").bind(address.key());
    rows.fetch_all(connection).await?.iter().map(|row| Ok(row.try_get("account")?)).collect()
}
