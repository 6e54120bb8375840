//! Accounts on their way from one store group to another: their states, and what is left behind and cleared. What is carried
//! is in `images`.
//!
//! Every table that belongs to an account or to a mailbox is carried, or left on purpose; a test holds the schema against
//! [`CARRIED`] and [`LEFT`].

use estafeta_core::{AccountId, Address, StoreGroup};
use estafeta_storage::sql::{Connection, Row, query, query_built};

use uuid::Uuid;

use super::expunging;
use super::{AccountRow, MailboxRow, deleted};
use crate::store::StoreError;

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
    "pages",
    "rights",
    "sharers",
    "subscriptions",
];

/// Those whose rows stay, and are removed with what else stays: what was expunged can be had back in this group alone, and
/// an import that goes on elsewhere sees what is there already; what a copy has not come to an end with is undone first.
#[cfg(test)]
pub const LEFT: &[&str] =
    &["deleted_mailboxes", "deleted_messages", "deleted_pages", "imports", "refused_imports", "unfinished_copies"];

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

/// Removes some messages of an account, first those that can be had back, then word of expunged ones, then all else that it
/// has here but its row. Gives whether something may be left.
pub async fn clear(connection: &mut Connection, account: AccountRow, limit: u32) -> Result<bool, StoreError> {
    if deleted::clear(connection, account, limit).await? > 0 {
        return Ok(true);
    }
    let holding = query(
        "SELECT id FROM mailboxes m WHERE account = ?
         AND (EXISTS (SELECT 1 FROM pages p WHERE p.mailbox = m.id) OR EXISTS (SELECT 1 FROM expunged e WHERE e.mailbox = m.id))
         LIMIT 1",
    );
    if let Some(row) = holding.bind(account).fetch_optional(&mut *connection).await? {
        clear_mailbox(connection, row.try_get(0)?, limit).await?;
        return Ok(true);
    }
    for table in ["keywords", "mailbox_entries", "rights", "unfinished_copies"] {
        let cleared =
            query_built(format!("DELETE FROM {table} WHERE mailbox IN (SELECT id FROM mailboxes WHERE account = ?)"));
        cleared.bind(account).execute(&mut *connection).await?;
    }
    for table in
        ["mailboxes", "subscriptions", "account_entries", "sharers", "deliveries", "imports", "refused_imports"]
    {
        let cleared = query_built(format!("DELETE FROM {table} WHERE account = ?"));
        cleared.bind(account).execute(&mut *connection).await?;
    }
    Ok(false)
}

/// Removes a page of messages of a mailbox, then up to `limit` rows of expunged ones. Gives whether there were any.
pub async fn clear_mailbox(connection: &mut Connection, mailbox: MailboxRow, limit: u32) -> Result<bool, StoreError> {
    if expunging::delete_some(connection, mailbox).await? {
        return Ok(true);
    }
    let cleared = query(
        "DELETE FROM expunged WHERE (mailbox, modseq, first_uid) IN
         (SELECT mailbox, modseq, first_uid FROM expunged WHERE mailbox = ? LIMIT ?)",
    );
    Ok(cleared.bind(mailbox).bind(limit).execute(connection).await? > 0)
}
