//! What an account sees of all its mailboxes, and of those that others share with it: for whoever is told of changes
//! anywhere (NOTIFY). One look tells everything, so that no change has to be remembered for anybody.
//!
//! Invariant: a look is of one moment.

use std::collections::BTreeSet;

use estafeta_protocols::imap::types::Rights;
use estafeta_storage::blobs::BlobHash;

use super::hub::Subject;
use super::sql::{AccountRow, MailboxRow, accounts, mailboxes, overview};
use super::{AccountMail, MailboxName, ModSeq, Scope, SpecialUse, StoreError, Uid, UidValidity, Watcher};

/// How much is read of entries for one look: more, and they are not watched. In entries, and in bytes.
const ENTRIES: i64 = 10_000;
const ENTRY_BYTES: i64 = 8 * 1024 * 1024;

/// All that an account sees.
#[derive(Debug)]
pub struct Overview {
    /// The mailboxes, in no order.
    pub mailboxes: Vec<Seen>,
    /// The names that the account is subscribed to.
    pub subscriptions: BTreeSet<MailboxName>,
}

/// A mailbox that an account sees.
#[derive(Debug, Clone)]
pub struct Seen {
    pub(super) row: MailboxRow,
    pub(super) account: AccountRow,
    /// Whose it is, by address; none of one's own.
    pub owner: Option<String>,
    /// Its name there.
    pub name: MailboxName,
    /// Whether it can be selected.
    pub selectable: bool,
    /// What it is for, of one's own.
    pub special_use: Option<SpecialUse>,
    /// What may be done with it.
    pub rights: Rights,
    /// What stands for it, whatever it is called: as [`super::Mailbox::object_number`].
    pub object_number: u64,
    /// How it stands.
    pub standing: Standing,
}

/// How a mailbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The life of its UIDs.
    pub uid_validity: UidValidity,
    /// Above every UID so far.
    pub uid_next: Uid,
    /// The last change.
    pub highest_modseq: ModSeq,
    /// How many messages.
    pub messages: u32,
    /// How many of them without `\Seen`.
    pub unseen: u32,
}

/// An entry of a mailbox, as far as it takes to see that it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPrint {
    /// The mailbox, by its object number; none for the account's own entries.
    pub mailbox: Option<u64>,
    /// `/private` or `/shared`.
    pub scope: Scope,
    /// Its path.
    pub name: String,
    /// Other for another value.
    pub print: u64,
}

/// Other for another value.
pub fn print(value: &[u8]) -> u64 {
    let hash = BlobHash::of(value).0;
    hash.iter().take(8).fold(0, |print, byte| print << 8 | u64::from(*byte))
}

impl AccountMail {
    /// All that the account sees now; `others`: what is shared with it, too.
    pub async fn overview(&self, others: bool) -> Result<Overview, StoreError> {
        let mut reader = self.store.snapshot_reader().await?;
        let mut seen = overview::own(&mut reader, self.row).await?;
        if others {
            seen.extend(overview::shared(&mut reader, self.account.id, self.row).await?);
        }
        let subscriptions = mailboxes::subscriptions(&mut reader, self.row).await?.into_iter().collect();
        Ok(Overview { mailboxes: seen, subscriptions })
    }

    /// The entries of these mailboxes that the account sees, and with `own` those of the account.
    /// [`StoreError::Limit`] when there are too many to look at.
    pub async fn entry_prints(&self, of: &[&Seen], own: bool) -> Result<Vec<EntryPrint>, StoreError> {
        let rows: Vec<MailboxRow> = of.iter().map(|seen| seen.row).collect();
        let mut reader = self.store.snapshot_reader().await?;
        let (count, bytes) = overview::size_of_entries(&mut reader, &rows, self.row).await?;
        if count > ENTRIES || bytes > ENTRY_BYTES {
            return Err(StoreError::Limit("there are too many entries to watch"));
        }
        let mut prints = Vec::new();
        let numbers: std::collections::HashMap<_, _> = of.iter().map(|seen| (seen.row, seen.object_number)).collect();
        let each = |row, scope, name: &str, value: &[u8]| {
            let mailbox = numbers.get(&row).copied();
            prints.push(EntryPrint { mailbox, scope, name: name.to_owned(), print: print(value) });
        };
        overview::entries(&mut reader, &rows, self.row, each).await?;
        drop(reader);
        if own {
            let own = self.entries().await?.into_iter();
            prints.extend(own.map(|(name, value)| EntryPrint {
                mailbox: None,
                scope: Scope::Private,
                name,
                print: print(&value),
            }));
        }
        Ok(prints)
    }

    /// Wakes when the account leaves for another store group.
    pub fn watch_home(&self) -> Watcher {
        self.store.inner.hub.watch([Subject::Home(self.row)])
    }

    /// [`StoreError::Moving`] and [`StoreError::Gone`] when the account's mail does not live here any more.
    pub async fn check_home(&self) -> Result<(), StoreError> {
        accounts::check_home(&mut self.store.reader().await?, self.row).await
    }

    /// Wakes when messages of these come, go or change.
    pub fn watch_messages<'s>(&self, of: impl IntoIterator<Item = &'s Seen>) -> Watcher {
        self.store.inner.hub.watch(of.into_iter().map(|seen| seen.row.into()))
    }

    /// Wakes when the account has other mailboxes, subscriptions, entries or rights, or the owners of these have; and
    /// with `sharing` when anybody shares anything.
    pub fn watch_names<'s>(&self, of: impl IntoIterator<Item = &'s Seen>, sharing: bool) -> Watcher {
        let mut subjects: Vec<Subject> = vec![self.row.into()];
        subjects.extend(sharing.then_some(Subject::Sharing));
        for owner in of.into_iter().map(|seen| Subject::from(seen.account)) {
            if !subjects.contains(&owner) {
                subjects.push(owner);
            }
        }
        self.store.inner.hub.watch(subjects)
    }
}
