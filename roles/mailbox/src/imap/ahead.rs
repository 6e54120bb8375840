//! What is kept of messages, page by page: while one page is answered, the next one is read. At most two stand in memory.

use tokio::task::JoinHandle;

use super::refusal::Refused;
use crate::store::{Columns, KeptMessage, Mailbox, StoreError, UidSet};

/// Pages, each with the UIDs of which something kept is to be read.
pub(super) struct Ahead<T, P> {
    mailbox: Mailbox,
    columns: Columns,
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
    Begun(JoinHandle<Result<Vec<KeptMessage>, StoreError>>),
}

impl<T, P: Iterator<Item = (T, UidSet)>> Ahead<T, P> {
    pub(super) fn new(mailbox: &Mailbox, columns: Columns, pages: P) -> Self {
        Self { mailbox: mailbox.clone(), columns, pages, next: None }
    }

    /// The next page, with what is kept of its messages by UID; of those that are gone, nothing.
    pub(super) async fn next(&mut self) -> Result<Option<(T, Vec<KeptMessage>)>, Refused> {
        let current = match self.next.take() {
            Some(next) => next,
            None => match self.pages.next() {
                Some((page, uids)) => (page, self.reading(uids)),
                None => return Ok(None),
            },
        };
        self.next = self.pages.next().map(|(page, uids)| (page, self.reading(uids).begin(&self.mailbox, self.columns)));
        let (page, reading) = current;
        let read = match reading {
            Reading::Nothing => Ok(Vec::new()),
            Reading::Later(uids) => self.mailbox.contents(&uids, self.columns).await,
            // It ends early only when the program does.
            Reading::Begun(task) => task.await.map_err(|_| Refused::End("Shutting down"))?,
        };
        Ok(Some((page, read.map_err(Refused::of_selected)?)))
    }

    fn reading(&self, uids: UidSet) -> Reading {
        if self.columns == Columns::default() || uids.is_empty() { Reading::Nothing } else { Reading::Later(uids) }
    }
}

impl Reading {
    fn begin(self, mailbox: &Mailbox, columns: Columns) -> Self {
        let Self::Later(uids) = self else { return self };
        let mailbox = mailbox.clone();
        Self::Begun(tokio::spawn(async move { mailbox.contents(&uids, columns).await }))
    }
}
