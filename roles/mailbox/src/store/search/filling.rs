//! How messages come into the index, and out of it: in the background, a few at a time, from where it stopped last. A few
//! mailboxes at the same time, so that very many with one new message each share commits.
//!
//! A mailbox that has changed is looked at a moment later; at the start and once an hour, and when changes may have been
//! missed, all are compared. Several nodes may fill one index: who comes second with the same messages leaves it.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use estafeta_protocols::imap::message::{Message, Searchable};
use estafeta_storage::StorageError;
use estafeta_storage::sql::Connection;
use futures_util::future::join_all;

use super::TEXT_BYTES;
use crate::store::body::computed;
use crate::store::sql::messages::TextRow;
use crate::store::sql::search::{self, Progress};
use crate::store::sql::{MailboxRow, expunging, mailboxes, messages};
use crate::store::{ModSeq, Store, StoreError, Uid};

/// How much text is put in at once: others write between two turns.
const TURN_BYTES: usize = 512 * 1024;

/// How many mailboxes have turns at the same time: they leave readers to others. Where nodes share the index, each locks them in
/// the order of their numbers.
const AT_ONCE: usize = 4;

/// How many expunged messages are taken out at once.
const TAKEN_OUT: u32 = 200;

/// After so many changes it is written down that nothing was expunged by them.
const UNWRITTEN_CHANGES: u64 = 1000;

/// How many mailboxes are compared at once.
const MAILBOXES: u32 = 500;

/// How the work goes on.
struct Pace {
    /// How many turns a mailbox has before others have theirs.
    turns: u32,
    /// How many messages are put in at once.
    messages: u32,
    /// How many times as long as was worked nothing is done then, for the sake of others: once at least, and longer only up to
    /// [`LONGEST_REST`].
    rest: u32,
}

const USUAL: Pace = Pace { turns: 8, messages: 64, rest: 1 };
/// While more and more changes come in, and whoever delivers them is waited for.
const UNDER_CHANGES: Pace = Pace { turns: 1, messages: 16, rest: 16 };
/// So that it goes on soon after the last change.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// How long changes are gathered.
const GATHER: Duration = Duration::from_secs(1);

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// How often all mailboxes are compared.
const COMPARE: Duration = Duration::from_secs(3600);

impl Store {
    /// Keeps the index up to date, until the store is closed.
    pub async fn keep_indexed(&self) {
        let mut queue = Queue::default();
        let mut compared: Option<Instant> = None;
        loop {
            if queue.mailboxes.is_empty() {
                let next = compared.map_or(Duration::ZERO, |at| COMPARE.saturating_sub(at.elapsed()));
                // Whoever waits longest has all that changed meanwhile.
                tokio::time::timeout(next, self.inner.hub.something_changed()).await.ok();
                if compared.is_some() {
                    tokio::time::sleep(GATHER).await;
                }
            }
            let changed = self.inner.hub.take_changed();
            let calm = changed.mailboxes.is_empty() && !changed.any;
            let pace = if calm { USUAL } else { UNDER_CHANGES };
            changed.mailboxes.into_iter().for_each(|mailbox| queue.push(mailbox));
            let all = changed.any || compared.is_none_or(|at| at.elapsed() >= COMPARE);
            let worked = async {
                if all {
                    self.compare_index(&mut queue).await?;
                    compared = Some(Instant::now());
                }
                let began = Instant::now();
                let next: Vec<_> = std::iter::from_fn(|| queue.pop()).take(AT_ONCE).collect();
                let caught_up = next.iter().map(|mailbox| self.catch_up(*mailbox, &pace));
                let mut failed = Ok(());
                for (mailbox, done) in next.iter().zip(join_all(caught_up).await) {
                    if !matches!(done, Ok(true)) {
                        queue.push(*mailbox);
                    }
                    failed = failed.and(done.map(drop));
                }
                let worked = began.elapsed();
                tokio::time::sleep((worked * pace.rest).min(LONGEST_REST).max(worked)).await;
                failed
            };
            if let Err(error) = worked.await {
                if matches!(error, StoreError::Storage(StorageError::Closed)) {
                    return;
                }
                tracing::warn!(%error, "the search index is not brought up to date: it is tried again");
                if all {
                    compared = None;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Finds the mailboxes that are not as they are indexed.
    async fn compare_index(&self, queue: &mut Queue) -> Result<(), StoreError> {
        let mut after = MailboxRow(0);
        loop {
            let index = self.inner.search.database.reader().await?;
            let (mut index, mut store) = (index, self.reader().await?);
            let indexed = search::progress_after(&mut index, after, MAILBOXES).await?;
            let there = mailboxes::positions_after(&mut store, after, MAILBOXES).await?;
            drop((index, store));
            // Only as far as both were read.
            let full = |length: usize| length >= MAILBOXES as usize;
            let ends = [
                indexed.last().filter(|_| full(indexed.len())).map(|(mailbox, _)| mailbox.0),
                there.last().filter(|_| full(there.len())).map(|(mailbox, _)| mailbox.0),
            ];
            let end = ends.into_iter().flatten().min();
            let within = |mailbox: MailboxRow| end.is_none_or(|end| mailbox.0 <= end);
            for (mailbox, position) in there.iter().filter(|(mailbox, _)| within(*mailbox)) {
                let known = indexed.binary_search_by_key(&mailbox.0, |(mailbox, _)| mailbox.0).ok();
                let known = known.map(|place| indexed[place].1);
                let empty = position.uid == Uid(0);
                if known != Some(*position) && !(known.is_none() && empty) {
                    queue.push(*mailbox);
                }
            }
            let is_there = |mailbox: MailboxRow| there.binary_search_by_key(&mailbox.0, |(row, _)| row.0).is_ok();
            for (mailbox, _) in indexed.iter().filter(|(mailbox, _)| within(*mailbox) && !is_there(*mailbox)) {
                queue.push(*mailbox);
            }
            match end {
                Some(end) => after = MailboxRow(end),
                None => return Ok(()),
            }
        }
    }

    /// Does a few turns on a mailbox; says whether nothing is left to do.
    async fn catch_up(&self, mailbox: MailboxRow, pace: &Pace) -> Result<bool, StoreError> {
        for _ in 0..pace.turns {
            let position = mailboxes::position(&mut self.reader().await?, mailbox).await?;
            let known = search::progress(&mut self.inner.search.database.reader().await?, mailbox).await?;
            let goes_on = match (position, known) {
                (None, None) => false,
                (None, Some(_)) => self.clear(mailbox).await?,
                // Its UIDs began another life: what is known of the last one is void.
                (Some((now, _)), Some(known)) if known.uid_validity != now.uid_validity => self.clear(mailbox).await?,
                (Some((now, _)), None) => self.put_next(mailbox, None, now, pace.messages).await?,
                (Some((now, _)), Some(known)) if known.uid < now.uid => {
                    self.put_next(mailbox, Some(known), now, pace.messages).await?
                }
                (Some((now, forgotten)), Some(known)) if known.modseq < now.modseq => {
                    self.take_out(mailbox, known, now, forgotten).await?
                }
                (Some(_), Some(_)) => false,
            };
            if !goes_on {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts the next messages of a mailbox in, that stands as `now` says.
    async fn put_next(
        &self,
        mailbox: MailboxRow,
        known: Option<Progress>,
        now: Progress,
        messages: u32,
    ) -> Result<bool, StoreError> {
        // What was expunged before the first one came in was never in.
        let from = known.unwrap_or(Progress { uid: Uid(0), ..now });
        let found = messages::texts_after(&mut self.reader().await?, mailbox, from.uid, messages).await?;
        // Behind the last one there is nothing, up to where the mailbox was then.
        let mut up_to = if found.len() < messages as usize { now.uid.max(from.uid) } else { from.uid };
        let (mut texts, mut bytes) = (Vec::new(), 0);
        let all = found.len();
        for TextRow { uid, prefix, body } in found {
            let text = match self.unkeep(body).await {
                Ok(body) => searchable(prefix, body).await?,
                // Gone meanwhile, or lost: whoever reads it is told.
                Err(error) if error.is_missing() => Searchable::unknown(),
                Err(error) if error.is_away() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(mailbox = mailbox.0, %uid, %error, "a message cannot be read, and is not indexed");
                    Searchable::unknown()
                }
            };
            bytes += text.header.len() + text.body.len();
            texts.push((uid, text));
            if bytes >= TURN_BYTES {
                break;
            }
        }
        if texts.len() < all || up_to == from.uid {
            up_to = texts.last().map_or(up_to, |(uid, _)| *uid);
        }
        let count = texts.len() as u64;
        let next = Progress { uid: up_to, ..from };
        let put = async move |transaction: &mut Connection| {
            if search::progress(transaction, mailbox).await? != known {
                // Another node was quicker.
                return Ok(false);
            }
            // First, so that on PostgreSQL a second node waits here.
            search::set_progress(transaction, mailbox, next).await?;
            for (uid, text) in &texts {
                search::put(transaction, mailbox, *uid, text).await?;
            }
            Ok::<_, StoreError>(true)
        };
        if self.inner.search.database.run_for(mailbox.0, put).await? {
            metrics::counter!("estafeta_mailbox_indexed_messages_total").increment(count);
        }
        Ok(true)
    }

    /// Takes expunged messages of a mailbox out.
    async fn take_out(
        &self,
        mailbox: MailboxRow,
        known: Progress,
        now: Progress,
        forgotten: ModSeq,
    ) -> Result<bool, StoreError> {
        let gone = if known.modseq < forgotten {
            self.no_more_there(mailbox, known.uid).await?
        } else {
            expunging::expunged(&mut self.reader().await?, mailbox, known.modseq).await?
        };
        // Most changes are of flags, of which the index knows nothing.
        if gone.is_empty() && now.modseq.0 - known.modseq.0 < UNWRITTEN_CHANGES {
            return Ok(false);
        }
        for some in gone.chunks(TAKEN_OUT as usize) {
            let some = some.to_vec();
            let take_out =
                async move |transaction: &mut Connection| search::take_out(transaction, mailbox, &some).await;
            self.inner.search.database.run_for(mailbox.0, take_out).await?;
        }
        let set = async move |transaction: &mut Connection| match search::progress(transaction, mailbox).await? {
            Some(progress) if progress == known => {
                search::set_progress(transaction, mailbox, Progress { modseq: now.modseq, ..known }).await
            }
            // Another node was quicker.
            _ => Ok::<_, StoreError>(()),
        };
        self.inner.search.database.run_for(mailbox.0, set).await?;
        Ok(false)
    }

    /// What is in the index and not in the mailbox.
    async fn no_more_there(&self, mailbox: MailboxRow, up_to: Uid) -> Result<Vec<Uid>, StoreError> {
        let mut gone = Vec::new();
        let mut after = Uid(0);
        loop {
            let mut index = self.inner.search.database.reader().await?;
            let indexed = search::uids_after(&mut index, mailbox, after, MAILBOXES).await?;
            drop(index);
            let Some(last) = indexed.last().copied() else { return Ok(gone) };
            let there: HashSet<Uid> =
                messages::uids_between(&mut self.reader().await?, mailbox, after, last).await?.into_iter().collect();
            gone.extend(indexed.into_iter().filter(|uid| *uid <= up_to && !there.contains(uid)));
            after = last;
        }
    }

    /// Takes a few rows of a mailbox out, and forgets it with the last; says whether there is more to do on it.
    async fn clear(&self, mailbox: MailboxRow) -> Result<bool, StoreError> {
        let clear = async move |transaction: &mut Connection| {
            let some = search::uids_after(transaction, mailbox, Uid(0), TAKEN_OUT).await?;
            search::take_out(transaction, mailbox, &some).await?;
            if some.len() < TAKEN_OUT as usize {
                search::forget(transaction, mailbox).await?;
            }
            Ok::<_, StoreError>(true)
        };
        self.inner.search.database.run_for(mailbox.0, clear).await
    }
}

/// What of a message is indexed.
async fn searchable(prefix: Bytes, body: Bytes) -> Result<Searchable, StoreError> {
    Ok(computed(move || Message::new(prefix, body).searchable(TEXT_BYTES)).await?)
}

/// Mailboxes that wait, each once.
#[derive(Default)]
struct Queue {
    mailboxes: VecDeque<MailboxRow>,
    waiting: HashSet<MailboxRow>,
}

impl Queue {
    fn push(&mut self, mailbox: MailboxRow) {
        if self.waiting.insert(mailbox) {
            self.mailboxes.push_back(mailbox);
        }
    }

    fn pop(&mut self) -> Option<MailboxRow> {
        let mailbox = self.mailboxes.pop_front()?;
        self.waiting.remove(&mailbox);
        Some(mailbox)
    }
}

#[cfg(test)]
impl Store {
    /// Brings the whole index up to date.
    pub(crate) async fn index_all(&self) {
        let mut queue = Queue::default();
        self.compare_index(&mut queue).await.unwrap();
        while let Some(mailbox) = queue.pop() {
            while !self.catch_up(mailbox, &USUAL).await.unwrap() {}
        }
    }
}

#[cfg(test)]
impl Store {
    /// How many messages are in the index.
    pub(crate) async fn indexed_messages(&self) -> i64 {
        let mut index = self.inner.search.database.reader().await.unwrap();
        let counted = estafeta_storage::sql::query("SELECT count(*) FROM search_texts");
        counted.fetch_one(&mut index).await.unwrap().try_get(0).unwrap()
    }
}

#[cfg(test)]
impl crate::store::AccountMail {
    /// The same, for tests that know an account alone.
    pub(crate) async fn index_all(&self) {
        self.store.index_all().await;
    }
}
