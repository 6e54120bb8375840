//! What changes of messages (flags, keywords, modification sequences), by pages of 256 UIDs: so a change of all flags
//! writes a row for each page, and none of `messages`, and whoever asks for changes reads the pages that have any.
//!
//! Invariants, at the end of every transaction:
//! - a UID has a mark in its page if and only if it has a row in `messages` (`mailbox verify` compares);
//! - a page's marks stand by UID, and a page without marks has no row;
//! - a page's change is that of its last changed message, or a later one.
//!
//! Whoever writes a page has locked its mailbox's account, and reads it after that.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use estafeta_storage::sql::{Connection, Error, Row, query};

use super::MailboxRow;
use super::marks::{self, PAGE_BITS};
use crate::store::{Mark, ModSeq, StoreError, Uid, UidSet};

/// How many pages are read at once.
const AT_ONCE: u32 = 16;

/// How many messages one turn of the writer changes.
pub const TURN: usize = (AT_ONCE as usize) << PAGE_BITS;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Of UIDs: the number without its last 8 bits.
    pub number: u32,
    /// Its last change, or a later one.
    pub modseq: ModSeq,
    /// Its messages, by UID.
    pub marks: Vec<Mark>,
}

impl Page {
    /// On which page a message is.
    pub fn of(uid: Uid) -> u32 {
        uid.0 >> PAGE_BITS
    }

    /// The UIDs that a page has room for.
    pub fn uids(number: u32) -> RangeInclusive<u32> {
        number << PAGE_BITS..=number << PAGE_BITS | ((1 << PAGE_BITS) - 1)
    }

    /// Reads the columns `page`, `modseq` and `marks`.
    pub(super) fn read(mailbox: MailboxRow, row: &Row) -> Result<Self, StoreError> {
        let number = row.try_get("page")?;
        let marks =
            marks::decode(number, row.try_get("marks")?).filter(|marks| marks.is_sorted_by(|a, b| a.uid < b.uid));
        let marks = marks.ok_or_else(|| damaged(mailbox, number))?;
        Ok(Self { number, modseq: ModSeq(row.try_get::<i64>("modseq")? as u64), marks })
    }
}

/// What stands for messages cannot be read, or is not what their rows are.
pub fn damaged(mailbox: MailboxRow, page: u32) -> StoreError {
    let uids = Page::uids(page);
    let text = format!(
        "the flags of UIDs {} to {} of mailbox {} are damaged: run estafeta mailbox verify --repair",
        uids.start(),
        uids.end(),
        mailbox.0
    );
    Error::Decode(text.into()).into()
}

/// Pages of a mailbox that are still to be read, a few at a time.
pub struct Pages {
    mailbox: MailboxRow,
    /// Their numbers, ascending.
    left: VecDeque<RangeInclusive<u32>>,
}

impl Pages {
    /// Those that have room for these messages.
    pub fn of(mailbox: MailboxRow, uids: &UidSet) -> Self {
        let ranges = uids.ranges();
        Self::within(mailbox, ranges.map(|range| Page::of(Uid(*range.start()))..=Page::of(Uid(*range.end()))))
    }

    /// All of a mailbox that may have changed after `since`.
    pub async fn since(connection: &mut Connection, mailbox: MailboxRow, since: ModSeq) -> Result<Self, StoreError> {
        let found = query("SELECT page FROM pages WHERE mailbox = ? AND modseq > ?").bind(mailbox).bind(since.0 as i64);
        let rows = found.fetch_all(connection).await?;
        let mut numbers = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<u32>, _>>()?;
        numbers.sort_unstable();
        Ok(Self::within(mailbox, numbers.into_iter().map(|number| number..=number)))
    }

    /// Those of ascending ranges of numbers.
    fn within(mailbox: MailboxRow, ranges: impl Iterator<Item = RangeInclusive<u32>>) -> Self {
        let mut left: VecDeque<RangeInclusive<u32>> = VecDeque::new();
        for range in ranges {
            match left.back_mut() {
                Some(before) if *range.start() <= before.end() + 1 => *before = *before.start()..=*range.end(),
                _ => left.push_back(range),
            }
        }
        Self { mailbox, left }
    }

    /// The next of those that are there; none at the end.
    pub async fn next(&mut self, connection: &mut Connection) -> Result<Vec<Page>, StoreError> {
        while let Some(range) = self.left.pop_front() {
            let found = query(
                "SELECT page, modseq, marks FROM pages WHERE mailbox = ? AND page BETWEEN ? AND ? ORDER BY page LIMIT ?",
            );
            let found = found.bind(self.mailbox).bind(*range.start()).bind(*range.end());
            let rows = found.bind(AT_ONCE).fetch_all(&mut *connection).await?;
            let pages = rows.iter().map(|row| Page::read(self.mailbox, row)).collect::<Result<Vec<_>, _>>()?;
            if let Some(last) = pages.last().filter(|last| rows.len() == AT_ONCE as usize && last.number < *range.end())
            {
                self.left.push_front(last.number + 1..=*range.end());
            }
            if !pages.is_empty() {
                return Ok(pages);
            }
        }
        Ok(Vec::new())
    }

    /// All of them.
    pub async fn all(mut self, connection: &mut Connection) -> Result<Vec<Page>, StoreError> {
        let mut all = Vec::new();
        loop {
            let some = self.next(connection).await?;
            if some.is_empty() {
                return Ok(all);
            }
            all.extend(some);
        }
    }
}

/// The first pages that have some of these messages, no more of them than one turn may change; and those of `uids` that
/// were not looked at.
pub async fn first_of(
    connection: &mut Connection,
    mailbox: MailboxRow,
    uids: &UidSet,
) -> Result<(Vec<Page>, UidSet), StoreError> {
    let (mut pages, mut found, mut first) = (Pages::of(mailbox, uids), 0, Vec::new());
    loop {
        let some = pages.next(connection).await?;
        if some.is_empty() {
            return Ok((first, UidSet::default()));
        }
        for page in some {
            found += page.marks.iter().filter(|mark| uids.contains(mark.uid)).count();
            if found > TURN && !first.is_empty() {
                let before = Uid(Page::uids(page.number).start() - 1);
                return Ok((first, uids.split_behind(before).1));
            }
            first.push(page);
        }
    }
}

/// Adds marks of new messages, which have higher UIDs than all before.
pub async fn append(connection: &mut Connection, mailbox: MailboxRow, new: &[Mark]) -> Result<(), StoreError> {
    for of_one in new.chunk_by(|one, next| Page::of(one.uid) == Page::of(next.uid)) {
        let (page, modseq) = (Page::of(of_one[0].uid), of_one.iter().map(|mark| mark.modseq.0).max());
        let added = query(
            "INSERT INTO pages (mailbox, page, modseq, marks) VALUES (?, ?, ?, ?) ON CONFLICT (mailbox, page)
             DO UPDATE SET modseq = excluded.modseq, marks = CAST(pages.marks || excluded.marks AS BLOB)",
        );
        let added = added.bind(mailbox).bind(page).bind(modseq.unwrap_or(0) as i64).bind(marks::encode(of_one));
        added.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Writes a page in place of what it was.
pub async fn write(connection: &mut Connection, mailbox: MailboxRow, page: &Page) -> Result<(), StoreError> {
    let written = match page.marks[..] {
        [] => query("DELETE FROM pages WHERE mailbox = ? AND page = ?").bind(mailbox).bind(page.number),
        _ => {
            let written = query(
                "INSERT INTO pages (mailbox, page, modseq, marks) VALUES (?, ?, ?, ?) ON CONFLICT (mailbox, page)
                 DO UPDATE SET modseq = excluded.modseq, marks = excluded.marks",
            );
            let written = written.bind(mailbox).bind(page.number).bind(page.modseq.0 as i64);
            written.bind(marks::encode(&page.marks))
        }
    };
    written.execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_follow_each_other_are_read_together() {
        let uids = [1, 255, 256, 700, 1024, 5000, 70_000].map(Uid);
        let pages = Pages::of(MailboxRow(1), &UidSet::from_uids(uids));
        assert_eq!(Vec::from(pages.left), [0..=2, 4..=4, 19..=19, 273..=273]);
        let all = Pages::of(MailboxRow(1), &UidSet::all());
        assert_eq!(Vec::from(all.left), [0..=u32::MAX >> 8]);
        assert_eq!(Page::uids(u32::MAX >> 8), u32::MAX - 255..=u32::MAX);
    }
}
