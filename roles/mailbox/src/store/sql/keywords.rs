//! The keywords of a mailbox, by number.

use super::MailboxRow;
use crate::store::flags::KeywordBits;
use crate::store::{Keyword, Keywords, StoreError};
use estafeta_storage::sql::{Connection, query};

/// All of a mailbox.
pub async fn list(connection: &mut Connection, mailbox: MailboxRow) -> Result<Keywords, StoreError> {
    let rows = query("SELECT name FROM keywords WHERE mailbox = ? ORDER BY number")
        .bind(mailbox)
        .fetch_all(connection)
        .await?;
    let names = rows.iter().map(|row| kept(row.try_get("name")?));
    Ok(Keywords::new(names.collect::<Result<_, StoreError>>()?))
}

/// A keyword as the database has it: one that was checked before it was written.
pub fn kept(name: &str) -> Result<Keyword, StoreError> {
    name.parse().map_err(|error| StoreError::from(estafeta_storage::sql::Error::Decode(Box::new(error))))
}

/// The bits of keywords whose numbers become others; all else is left out.
pub fn mapped(bits: KeywordBits, numbers: &[(usize, usize)]) -> KeywordBits {
    KeywordBits(numbers.iter().fold(0, |all, (here, there)| all | (bits.0 >> here & 1) << there))
}

/// Which number in a mailbox each keyword has that `here` knows and one of these messages has: number here and number
/// there. The mailbox learns them as far as it has room.
pub async fn carry(
    connection: &mut Connection,
    (here, used): (&Keywords, KeywordBits),
    target: MailboxRow,
) -> Result<Vec<(usize, usize)>, StoreError> {
    if used == KeywordBits::default() {
        return Ok(Vec::new());
    }
    let there = learn(connection, target, here.of(used)).await?;
    Ok(here.of(used).filter_map(|keyword| Some((here.number(keyword)?, there.number(keyword)?))).collect())
}

/// All of a mailbox, after those of `wanted` that it did not know got a number. Those that find no room are left out.
pub async fn learn<'a>(
    connection: &mut Connection,
    mailbox: MailboxRow,
    wanted: impl IntoIterator<Item = &'a Keyword>,
) -> Result<Keywords, StoreError> {
    let mut known = list(connection, mailbox).await?;
    for keyword in wanted {
        if known.bit(keyword).is_none() && known.has_room() {
            let inserted = query("INSERT INTO keywords (mailbox, number, name) VALUES (?, ?, ?)");
            let inserted = inserted.bind(mailbox).bind(known.len() as i64).bind(keyword.as_str());
            inserted.execute(&mut *connection).await?;
            known.push(keyword.clone());
        }
    }
    Ok(known)
}
