//! Who waits for changes of which mailbox.
//!
//! A job of a database's writer, which has a thread of its own, says there what it touches; after the commit all who watch then wake, also those who began
//! between the two: what they saw of the mailbox may be older than the commit. A job that was undone after it had
//! touched something wakes them for nothing, which does no harm.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use estafeta_storage::sql::Observer;

use tokio::sync::watch;

use super::sql::MailboxRow;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Hub(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    watched: HashMap<MailboxRow, watch::Sender<()>>,
    /// Since the last commit of each writer, watched or not.
    touched: HashMap<ThreadId, HashSet<MailboxRow>>,
}

/// A notice to other nodes is up to this long; a longer one says only that much has changed.
const NOTICE_BYTES: usize = 7000;

/// The notice that says so.
const EVERYTHING: &str = "*";

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inside the transaction: this mailbox changes.
    pub(super) fn touch(&self, mailbox: MailboxRow) {
        self.state().touched.entry(thread::current().id()).or_default().insert(mailbox);
    }

    /// After the commit, on the thread that has touched.
    fn publish(&self) {
        let mut state = self.state();
        let touched = state.touched.remove(&thread::current().id());
        touched.into_iter().flatten().for_each(|mailbox| state.wake(mailbox));
    }

    /// These have changed on another node.
    pub(super) fn changed_elsewhere(&self, mailboxes: impl IntoIterator<Item = MailboxRow>) {
        let state = self.state();
        mailboxes.into_iter().for_each(|mailbox| state.wake(mailbox));
    }

    /// What is watched now.
    pub(super) fn watched(&self) -> Vec<MailboxRow> {
        self.state().watched.keys().copied().collect()
    }

    /// Wakes on changes that are committed from now on.
    pub(super) fn watch(&self, mailbox: MailboxRow) -> Watcher {
        let receiver = self.state().watched.entry(mailbox).or_default().subscribe();
        Watcher { hub: self.clone(), mailbox, receiver }
    }
}

impl State {
    fn wake(&self, mailbox: MailboxRow) {
        if let Some(sender) = self.watched.get(&mailbox) {
            sender.send_replace(());
        }
    }
}

impl Observer for Hub {
    fn notices(&self) -> Vec<String> {
        let state = self.state();
        let Some(touched) = state.touched.get(&thread::current().id()).filter(|touched| !touched.is_empty()) else {
            return Vec::new();
        };
        let rows: Vec<String> = touched.iter().map(|mailbox| mailbox.0.to_string()).collect();
        let notice = rows.join(",");
        vec![if notice.len() <= NOTICE_BYTES { notice } else { EVERYTHING.to_owned() }]
    }

    fn committed(&self) {
        self.publish();
    }

    fn heard(&self, notice: &str) {
        if notice == EVERYTHING {
            return self.missed();
        }
        self.changed_elsewhere(notice.split(',').filter_map(|row| row.parse().ok()).map(MailboxRow));
    }

    fn missed(&self) {
        self.changed_elsewhere(self.watched());
    }
}

/// Wakes when its mailbox changes.
pub struct Watcher {
    hub: Hub,
    mailbox: MailboxRow,
    receiver: watch::Receiver<()>,
}

impl Watcher {
    /// Waits for a change after the last one that was waited for or taken; one that came meanwhile counts. May be
    /// dropped half-way without losing anything. Also wakes when the mailbox is deleted.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // Not while this watcher lives: its hub keeps the sender.
            std::future::pending().await
        }
    }

    /// Whether something changed since this was asked or waited for last: without waiting, without the database.
    pub fn take(&mut self) -> bool {
        // In one step: a change between asking and marking would be lost.
        self.receiver.borrow_and_update().has_changed()
    }
}

impl Drop for Watcher {
    /// Who watches last takes the entry along.
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if state.watched.get(&self.mailbox).is_some_and(|sender| sender.receiver_count() <= 1) {
            state.watched.remove(&self.mailbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn wakes_after_the_commit_and_only_who_watches() {
        let hub = Hub::default();
        let (mut one, mut other) = (hub.watch(MailboxRow(1)), hub.watch(MailboxRow(2)));
        hub.touch(MailboxRow(1));
        assert!(!one.take());
        hub.publish();
        one.changed().await;
        assert!(!one.take() && !other.take());
        hub.touch(MailboxRow(1));
        hub.publish();
        assert!(one.take() && !one.take());
        let second = hub.watch(MailboxRow(1));
        drop(one);
        assert_eq!(hub.state().watched.len(), 2);
        drop(second);
        assert_eq!(hub.state().watched.len(), 1);
    }

    #[test]
    fn who_begins_to_watch_before_the_commit_hears_of_it() {
        let hub = Hub::default();
        hub.touch(MailboxRow(1));
        let mut watcher = hub.watch(MailboxRow(1));
        hub.publish();
        assert!(watcher.take());
        hub.publish();
        assert!(!watcher.take());
    }

    #[test]
    fn a_change_that_comes_while_it_is_asked_for_is_not_lost() {
        let hub = Hub::default();
        let mut watcher = hub.watch(MailboxRow(1));
        for round in 0..2000 {
            let published = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    hub.touch(MailboxRow(1));
                    hub.publish();
                    published.store(true, Ordering::SeqCst);
                });
                let mut heard = false;
                while !published.load(Ordering::SeqCst) {
                    heard |= watcher.take();
                }
                assert!(heard | watcher.take(), "round {round}");
            });
        }
    }
}
