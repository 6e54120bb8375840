//! Who waits for changes of what, and which mailboxes have changed since the search index was looked after.
//!
//! A job of a database's writer, which has a thread of its own, says there what it touches; after the commit all who
//! watch then wake, also those who began between the two: what they saw may be older than the commit. A job that was
//! undone after it had touched something wakes them for nothing, which does no harm.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use estafeta_storage::sql::Observer;

use tokio::sync::{Notify, watch};

use super::sql::{AccountRow, MailboxRow};

/// Something that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A mailbox's messages.
    Mailbox(MailboxRow),
    /// Which mailboxes an account has, which it is subscribed to, what is noted of them, and who may see them.
    Account(AccountRow),
    /// Whether an account's mail lives here.
    Home(AccountRow),
    /// Who shares something with somebody, in the whole store group.
    Sharing,
}

impl From<MailboxRow> for Subject {
    fn from(row: MailboxRow) -> Self {
        Self::Mailbox(row)
    }
}

impl From<AccountRow> for Subject {
    fn from(row: AccountRow) -> Self {
        Self::Account(row)
    }
}

/// As a notice to other nodes has it. What an older one cannot read, it passes over.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailbox(row) => write!(f, "{}", row.0),
            Self::Account(row) => write!(f, "a{}", row.0),
            Self::Home(row) => write!(f, "h{}", row.0),
            Self::Sharing => f.write_str("s"),
        }
    }
}

impl FromStr for Subject {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let account = |row: &str| row.parse().map(AccountRow);
        match (text.strip_prefix('a'), text.strip_prefix('h')) {
            _ if text == "s" => Ok(Self::Sharing),
            (Some(row), _) => account(row).map(Self::Account),
            (None, Some(row)) => account(row).map(Self::Home),
            (None, None) => text.parse().map(|row| Self::Mailbox(MailboxRow(row))),
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Hub(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Default)]
struct State {
    watched: HashMap<Subject, Vec<Arc<watch::Sender<()>>>>,
    /// Since the last commit of each writer, watched or not.
    touched: HashMap<ThreadId, HashSet<Subject>>,
    /// Since this was taken last.
    changed: Changed,
}

/// What has changed: a number a mailbox, however often it has.
#[derive(Default)]
pub(super) struct Changed {
    /// These have.
    pub(super) mailboxes: HashSet<MailboxRow>,
    /// Any other may have, too.
    pub(super) any: bool,
}

/// A notice to other nodes is up to this long; a longer one says only that much has changed.
const NOTICE_BYTES: usize = 7000;

/// The notice that says so.
const EVERYTHING: &str = "*";

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inside the transaction: this changes.
    pub(super) fn touch(&self, subject: impl Into<Subject>) {
        self.state().touched.entry(thread::current().id()).or_default().insert(subject.into());
    }

    /// After the commit, on the thread that has touched.
    fn publish(&self) {
        let mut state = self.state();
        let touched = state.touched.remove(&thread::current().id());
        touched.into_iter().flatten().for_each(|subject| state.happened(subject));
        self.1.notify_one();
    }

    /// Waits until something has changed that was not taken.
    pub(super) async fn something_changed(&self) {
        self.1.notified().await;
    }

    /// What has changed since this was asked last.
    pub(super) fn take_changed(&self) -> Changed {
        std::mem::take(&mut self.state().changed)
    }

    /// These have changed on another node.
    pub(super) fn changed_elsewhere(&self, subjects: impl IntoIterator<Item = Subject>) {
        let mut state = self.state();
        subjects.into_iter().for_each(|subject| state.happened(subject));
        self.1.notify_one();
    }

    /// The mailboxes that are watched now.
    pub(super) fn watched_mailboxes(&self) -> Vec<MailboxRow> {
        let state = self.state();
        let mailbox = |subject: &Subject| match subject {
            Subject::Mailbox(row) => Some(*row),
            Subject::Account(_) | Subject::Home(_) | Subject::Sharing => None,
        };
        state.watched.keys().filter_map(mailbox).collect()
    }

    /// The accounts of which is watched now whether they live here.
    pub(super) fn watched_homes(&self) -> Vec<AccountRow> {
        let state = self.state();
        let home = |subject: &Subject| if let Subject::Home(row) = subject { Some(*row) } else { None };
        state.watched.keys().filter_map(home).collect()
    }

    /// Wakes on changes of any of these that are committed from now on.
    pub(super) fn watch(&self, subjects: impl IntoIterator<Item = Subject>) -> Watcher {
        let (sender, receiver) = watch::channel(());
        let sender = Arc::new(sender);
        let subjects: Box<[Subject]> = subjects.into_iter().collect();
        let mut state = self.state();
        for subject in &subjects {
            state.watched.entry(*subject).or_default().push(sender.clone());
        }
        drop(state);
        Watcher { hub: self.clone(), subjects, sender, receiver }
    }
}

impl State {
    /// Wakes who watches it, and remembers it for the search index.
    fn happened(&mut self, subject: Subject) {
        self.wake(subject);
        if let Subject::Mailbox(row) = subject {
            self.changed.mailboxes.insert(row);
        }
    }

    fn wake(&self, subject: Subject) {
        self.watched.get(&subject).into_iter().flatten().for_each(|sender| sender.send_replace(()));
    }
}

impl Observer for Hub {
    fn notices(&self) -> Vec<String> {
        let state = self.state();
        let Some(touched) = state.touched.get(&thread::current().id()).filter(|touched| !touched.is_empty()) else {
            return Vec::new();
        };
        let notice = touched.iter().map(Subject::to_string).collect::<Vec<_>>().join(",");
        vec![if notice.len() <= NOTICE_BYTES { notice } else { EVERYTHING.to_owned() }]
    }

    fn committed(&self) {
        self.publish();
    }

    fn heard(&self, notice: &str) {
        if notice == EVERYTHING {
            return self.missed();
        }
        self.changed_elsewhere(notice.split(',').filter_map(|subject| subject.parse().ok()));
    }

    fn missed(&self) {
        let mut state = self.state();
        state.changed.any = true;
        state.watched.keys().for_each(|subject| state.wake(*subject));
        self.1.notify_one();
    }
}

/// Wakes when something changes that it watches.
pub struct Watcher {
    hub: Hub,
    subjects: Box<[Subject]>,
    /// Its own end, by which it is known in the hub.
    sender: Arc<watch::Sender<()>>,
    receiver: watch::Receiver<()>,
}

impl Watcher {
    /// Waits for a change after the last one that was waited for or taken; one that came meanwhile counts. May be
    /// dropped half-way without losing anything. Also wakes when the mailbox is deleted.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // Not while this watcher lives: it keeps the sender.
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
        for subject in &self.subjects {
            let Some(senders) = state.watched.get_mut(subject) else { continue };
            senders.retain(|sender| !Arc::ptr_eq(sender, &self.sender));
            if senders.is_empty() {
                state.watched.remove(subject);
            }
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
        let (mut one, mut other) = (hub.watch([MailboxRow(1).into()]), hub.watch([MailboxRow(2).into()]));
        hub.touch(MailboxRow(1));
        assert!(!one.take());
        hub.publish();
        one.changed().await;
        assert!(!one.take() && !other.take());
        hub.touch(MailboxRow(1));
        hub.publish();
        assert!(one.take() && !one.take());
        let second = hub.watch([MailboxRow(1).into()]);
        drop(one);
        assert_eq!(hub.state().watched.len(), 2);
        drop(second);
        assert_eq!(hub.state().watched.len(), 1);
    }

    #[test]
    fn whoever_watches_several_wakes_by_each() {
        let (here, there) = (Hub::default(), Hub::default());
        let subjects = [
            Subject::Mailbox(MailboxRow(1)),
            Subject::Account(AccountRow(1)),
            Subject::Home(AccountRow(1)),
            Subject::Sharing,
        ];
        let mut watcher = there.watch(subjects);
        for subject in subjects {
            here.touch(subject);
            let notices = here.notices();
            here.publish();
            notices.iter().for_each(|notice| there.heard(notice));
            assert!(watcher.take() && !watcher.take(), "{notices:?}");
        }
        there.heard("2,a2,h2,x,a,h,");
        assert!(!watcher.take());
        there.missed();
        assert!(watcher.take());
        assert_eq!((there.watched_mailboxes(), there.watched_homes()), (vec![MailboxRow(1)], vec![AccountRow(1)]));
        drop(watcher);
        assert!(there.state().watched.is_empty());
    }

    #[test]
    fn who_begins_to_watch_before_the_commit_hears_of_it() {
        let hub = Hub::default();
        hub.touch(MailboxRow(1));
        let mut watcher = hub.watch([MailboxRow(1).into()]);
        hub.publish();
        assert!(watcher.take());
        hub.publish();
        assert!(!watcher.take());
    }

    #[test]
    fn a_change_that_comes_while_it_is_asked_for_is_not_lost() {
        let hub = Hub::default();
        let mut watcher = hub.watch([MailboxRow(1).into()]);
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
