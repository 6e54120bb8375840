//! What is kept of messages, page by page, and their texts where all are asked for: while one page is answered, the next
//! one is read. At most two stand in memory.

use tokio::task::JoinHandle;

use super::refusal::Refused;
use crate::store::{Columns, KeptMessage, Mailbox, StoreError, TextRow, UidSet};

/// What is to be read of each page's messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What is kept of them.
    pub(super) columns: Columns,
    /// Their texts.
    pub(super) texts: bool,
}

/// What was read of a page's messages, by UID; of those that are gone, nothing.
#[derive(Default)]
pub(super) struct Read {
    pub(super) kept: Vec<KeptMessage>,
    /// None when they were not wanted.
    pub(super) texts: Option<Vec<TextRow>>,
}

impl Wanted {
    async fn read(self, mailbox: &Mailbox, uids: &UidSet) -> Result<Read, StoreError> {
        let mut read = Read::default();
        if self.columns != Columns::default() {
            read.kept = mailbox.contents(uids, self.columns).await?;
        }
        if self.texts {
            read.texts = Some(mailbox.texts(uids).await?);
        }
        Ok(read)
    }
}

/// Pages, each with the UIDs of which something is to be read.
pub(super) struct Ahead<T, P> {
    mailbox: Mailbox,
    wanted: Wanted,
    pages: P,
    next: Option<(T, Reading)>,
}

/// A page on its way.
enum Reading {
    /// Nothing is to be read.
    Nothing,
    /// It is read when it is asked for.
    Later(UidSet),
    /// It is being read.
    Begun(JoinHandle<Result<Read, StoreError>>),
}

impl<T, P: Iterator<Item = (T, UidSet)>> Ahead<T, P> {
    pub(super) fn new(mailbox: &Mailbox, wanted: Wanted, pages: P) -> Self {
        Self { mailbox: mailbox.clone(), wanted, pages, next: None }
    }

    /// The next page, with what was read of its messages.
    pub(super) async fn next(&mut self) -> Result<Option<(T, Read)>, Refused> {
        let current = match self.next.take() {
            Some(next) => next,
            None => match self.pages.next() {
                Some((page, uids)) => (page, self.reading(uids)),
                None => return Ok(None),
            },
        };
        self.next = self.pages.next().map(|(page, uids)| (page, self.begin(self.reading(uids))));
        let (page, reading) = current;
        let read = match reading {
            Reading::Nothing => Ok(Read::default()),
            Reading::Later(uids) => self.wanted.read(&self.mailbox, &uids).await,
            // It ends early only when the program does.
            Reading::Begun(task) => task.await.map_err(|_| Refused::End("Shutting down"))?,
        };
        Ok(Some((page, read.map_err(Refused::of_selected)?)))
    }

    fn reading(&self, uids: UidSet) -> Reading {
        if self.wanted == Wanted::default() || uids.is_empty() { Reading::Nothing } else { Reading::Later(uids) }
    }

    fn begin(&self, reading: Reading) -> Reading {
        let Reading::Later(uids) = reading else { return reading };
        let (mailbox, wanted) = (self.mailbox.clone(), self.wanted);
        Reading::Begun(tokio::spawn(async move { wanted.read(&mailbox, &uids).await }))
    }
}
