//! Messages that are chosen to be copied, moved or expunged.

use estafeta_storage::sql::{Connection, query};

use super::MailboxRow;
use super::mailboxes::Counts;
use super::pages::{self, Page, Pages};
use crate::store::{Mark, StoreError, Uid, UidSet};

/// Some messages of a mailbox.
#[derive(Debug, Default)]
pub struct Choice {
    /// By UID.
    pub marks: Vec<Mark>,
    /// Ranges of UIDs that hold these messages and no others, so that a statement takes many at once.
    pub ranges: Vec<(u32, u32)>,
    /// The sum of their sizes.
    pub bytes: i64,
    /// Their pages without them.
    pub rest: Vec<Page>,
}

impl Choice {
    /// Those of the messages on these pages, ascending ones, for which `chosen` is true.
    pub async fn among(
        connection: &mut Connection,
        mailbox: MailboxRow,
        pages: Vec<Page>,
        chosen: impl Fn(&Mark) -> bool,
    ) -> Result<Self, StoreError> {
        let mut choice = Self::default();
        // How many messages a range holds, its first and its last UID.
        let mut open: Option<(u32, u32, u32)> = None;
        let mut closed = Vec::new();
        for mut page in pages {
            // Between pages that do not follow each other there may be others.
            closed.extend(open.take_if(|(.., last)| Page::of(Uid(*last)) + 1 < page.number));
            let before = choice.marks.len();
            for mark in &page.marks {
                if !chosen(mark) {
                    closed.extend(open.take());
                    continue;
                }
                choice.marks.push(*mark);
                let (count, first) = open.map_or((0, mark.uid.0), |(count, first, _)| (count, first));
                open = Some((count + 1, first, mark.uid.0));
            }
            if choice.marks.len() > before {
                page.marks.retain(|mark| !chosen(mark));
                choice.rest.push(page);
            }
        }
        closed.extend(open);
        for (count, first, last) in closed {
            let summed = query(
                "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM messages
                 WHERE mailbox = ? AND uid BETWEEN ? AND ?",
            );
            let row = summed.bind(mailbox).bind(first).bind(last).fetch_one(&mut *connection).await?;
            // Marks without rows would give their UIDs to others.
            if row.try_get::<u32>(0)? != count {
                return Err(pages::damaged(mailbox, Page::of(Uid(first))));
            }
            choice.bytes += row.try_get::<i64>(1)?;
            choice.ranges.push((first, last));
        }
        Ok(choice)
    }

    /// Those of `uids` that are there.
    pub async fn of(connection: &mut Connection, mailbox: MailboxRow, uids: &UidSet) -> Result<Self, StoreError> {
        let pages = Pages::of(mailbox, uids).all(connection).await?;
        Self::among(connection, mailbox, pages, |mark| uids.contains(mark.uid)).await
    }

    /// What they add to what is counted of their mailbox.
    pub fn counts(&self) -> Counts {
        Counts::of(self.marks.iter().map(|mark| &mark.flags), self.bytes)
    }
}
