//! Where in a mailbox something changed last: a row for each 256 UIDs, so that a change of all flags writes a few rows of
//! these. An index of the messages by their changes would cost as much as all the rest of it.
//!
//! Invariant: a page's change is that of its last changed message, or a later one. Whoever writes a message's change
//! notes it here, in the same transaction.

use estafeta_storage::sql::{Connection, Migration, query};

use super::MailboxRow;
use crate::store::{ModSeq, StoreError};

pub const SCHEMA: Migration = Migration::new(
    9,
    "changes by pages",
    "CREATE TABLE changes (
        mailbox INTEGER NOT NULL REFERENCES mailboxes,
        -- Of UIDs: the number without its last 8 bits.
        page INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        PRIMARY KEY (mailbox, page)
    ) WITHOUT ROWID;
    CREATE INDEX changes_modseq ON changes (mailbox, modseq);
    INSERT INTO changes SELECT mailbox, uid >> 8, max(modseq) FROM messages GROUP BY mailbox, uid >> 8;
    DROP INDEX messages_modseq;",
);

/// How many of a UID's bits say where on its page it stands. Statements that name a page's UIDs write it out.
const PAGE_BITS: u32 = 8;

/// Pages that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    first: u32,
    last: u32,
}

impl Pages {
    /// The first of their UIDs.
    pub fn first_uid(self) -> u32 {
        self.first << PAGE_BITS
    }

    /// The last of their UIDs.
    pub fn last_uid(self) -> u32 {
        self.last << PAGE_BITS | ((1 << PAGE_BITS) - 1)
    }

    /// What joins pages that follow each other, up to `most` of them.
    fn join(pages: impl IntoIterator<Item = u32>, most: u32) -> Vec<Self> {
        let mut joined: Vec<Self> = Vec::new();
        for page in pages {
            match joined.last_mut() {
                Some(last) if last.last + 1 == page && page - last.first < most => last.last = page,
                _ => joined.push(Self { first: page, last: page }),
            }
        }
        joined
    }
}

/// Notes the change of messages that come, under these UIDs.
pub async fn note_new(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (first, last): (u32, u32),
    modseq: i64,
) -> Result<(), StoreError> {
    for page in first >> PAGE_BITS..=last >> PAGE_BITS {
        let noted = query(
            "INSERT INTO changes (mailbox, page, modseq) VALUES (?, ?, ?)
             ON CONFLICT (mailbox, page) DO UPDATE SET modseq = excluded.modseq WHERE changes.modseq < excluded.modseq",
        );
        noted.bind(mailbox).bind(page).bind(modseq).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Notes the change of messages that have come under the UIDs from `first` on and before `next`, if any have.
pub async fn note_run(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (first, next): (u32, i64),
    modseq: i64,
) -> Result<(), StoreError> {
    match u32::try_from(next - 1) {
        Ok(last) if last >= first => note_new(connection, mailbox, (first, last), modseq).await,
        _ => Ok(()),
    }
}

/// Notes the change of messages that are there, or of some of them.
pub async fn note(
    connection: &mut Connection,
    mailbox: MailboxRow,
    (first, last): (u32, u32),
    modseq: i64,
) -> Result<(), StoreError> {
    let noted = query("UPDATE changes SET modseq = ?4 WHERE mailbox = ?1 AND page BETWEEN ?2 AND ?3 AND modseq < ?4");
    let noted = noted.bind(mailbox).bind(first >> PAGE_BITS).bind(last >> PAGE_BITS).bind(modseq);
    noted.execute(connection).await?;
    Ok(())
}

/// The pages of which messages may have changed after `since`, by UID, together as far as they have `most` messages at most.
pub async fn since(
    connection: &mut Connection,
    mailbox: MailboxRow,
    since: ModSeq,
    most: u32,
) -> Result<Vec<Pages>, StoreError> {
    let found = query("SELECT page FROM changes WHERE mailbox = ? AND modseq > ? ORDER BY page");
    let rows = found.bind(mailbox).bind(since.0 as i64).fetch_all(connection).await?;
    let pages = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<u32>, StoreError>>()?;
    Ok(Pages::join(pages, most >> PAGE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_follow_each_other_are_read_together() {
        let joined = Pages::join([0, 1, 2, 3, 7, 9, 10], 3);
        let uids: Vec<_> = joined.iter().map(|pages| (pages.first_uid(), pages.last_uid())).collect();
        assert_eq!(uids, [(0, 767), (768, 1023), (7 << 8, (8 << 8) - 1), (9 << 8, (11 << 8) - 1)]);
        let last = Pages { first: u32::MAX >> 8, last: u32::MAX >> 8 };
        assert_eq!(last.last_uid(), u32::MAX);
    }
}
