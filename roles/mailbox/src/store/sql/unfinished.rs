//! What copies have put somewhere that have not come to their end.

use estafeta_storage::sql::{Connection, Value, query};

use super::choice::Choice;
use super::expunging::{self, Remains};
use super::{AccountRow, MailboxRow, relocation};
use crate::store::{StoreError, Uid, UidSet};

/// By which one copy is told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyNumber(i64);

impl CopyNumber {
    /// Another one.
    pub fn draw() -> Self {
        Self(fastrand::i64(1..))
    }
}

impl From<CopyNumber> for Value {
    fn from(number: CopyNumber) -> Self {
        number.0.into()
    }
}

/// Notes what a turn has put into a mailbox.
pub async fn note(
    connection: &mut Connection,
    number: CopyNumber,
    mailbox: MailboxRow,
    copied: &[(Uid, Uid)],
    now: i64,
) -> Result<(), StoreError> {
    let (Some((_, first)), Some((_, last))) = (copied.first(), copied.last()) else { return Ok(()) };
    let noted = query("INSERT INTO unfinished_copies (copy, mailbox, first_uid, last_uid, at) VALUES (?, ?, ?, ?, ?)");
    noted.bind(number).bind(mailbox).bind(first.0).bind(last.0).bind(now).execute(connection).await?;
    Ok(())
}

/// Says that it is still under way, of which so many turns were noted. [`StoreError::NotAllowed`] when any of them was undone.
pub async fn go_on(connection: &mut Connection, number: CopyNumber, turns: u64, now: i64) -> Result<(), StoreError> {
    let noted = query("UPDATE unfinished_copies SET at = ? WHERE copy = ?").bind(now).bind(number);
    if noted.execute(connection).await? == turns {
        Ok(())
    } else {
        Err(StoreError::NotAllowed("the copy took too long and was undone: try again"))
    }
}

/// It is whole.
pub async fn end(connection: &mut Connection, number: CopyNumber) -> Result<(), StoreError> {
    query("DELETE FROM unfinished_copies WHERE copy = ?").bind(number).execute(connection).await?;
    Ok(())
}

/// Which copies are to be undone.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// One.
    Number(CopyNumber),
    /// Those not heard of since then.
    Before(i64),
    /// Those into an account's mailboxes.
    Into(AccountRow),
}

/// What was undone.
pub struct Undone {
    /// Where.
    pub mailbox: MailboxRow,
    /// How many messages.
    pub messages: u64,
}

/// Removes what one turn has put somewhere; none when there is nothing left.
pub async fn undo_some(connection: &mut Connection, which: Which, now: i64) -> Result<Option<Undone>, StoreError> {
    let (condition, value) = match which {
        Which::Number(number) => ("copy = ?", Value::from(number)),
        Which::Before(at) => ("at < ?", Value::from(at)),
        Which::Into(account) => ("account = ?", Value::from(account)),
    };
    let found = estafeta_storage::sql::query_built(format!(
        "SELECT copy, mailbox, first_uid, last_uid, account FROM unfinished_copies u JOIN mailboxes m ON m.id = u.mailbox
         WHERE {condition} LIMIT 1"
    ));
    let Some(row) = found.bind(value).fetch_optional(&mut *connection).await? else { return Ok(None) };
    let (number, mailbox, first) =
        (CopyNumber(row.try_get("copy")?), row.try_get("mailbox")?, row.try_get("first_uid")?);
    relocation::lock(connection, row.try_get("account")?).await?;
    // Of two that undo the same, one does.
    let taken = query("DELETE FROM unfinished_copies WHERE copy = ? AND first_uid = ?").bind(number).bind(first);
    if taken.execute(&mut *connection).await? == 0 {
        return Ok(Some(Undone { mailbox, messages: 0 }));
    }
    let uids = UidSet::from_ranges([Uid(first)..=Uid(row.try_get("last_uid")?)]);
    let choice = Choice::of(connection, mailbox, &uids).await?;
    if !choice.marks.is_empty() {
        expunging::expunge(connection, mailbox, &choice, (now, Remains::None)).await?;
    }
    Ok(Some(Undone { mailbox, messages: choice.marks.len() as u64 }))
}
