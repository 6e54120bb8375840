//! The keywords of a mailbox, by number.

use super::MailboxRow;
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

/// The bits of keywords whose numbers become others, as an expression of the column `keywords`; all else is left out. Only
/// numbers of ours are put into the text.
pub fn mapped(numbers: &[(usize, usize)]) -> String {
    let bits: Vec<_> = numbers.iter().map(|(here, there)| format!("((keywords >> {here} & 1) << {there})")).collect();
    if bits.is_empty() { "0".to_owned() } else { bits.join(" | ") }
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
