//! The message store: mailboxes, their messages, and what changed.
//!
//! The way in: [`Store::open`] once a node; [`Store::account`] gives an account's mail, [`AccountMail::mailbox`] one of
//! its mailboxes. Handles are cheap to clone and hold nothing open. Who may ask is decided before: the store trusts
//! its callers.
//!
//! What is true of it (DESIGN.md, invariants 1, 2, 4):
//! - an operation that has answered is durable; one that failed changed nothing, or, where it takes several turns (STORE, EXPUNGE,
//!   MOVE, DELETE of very many), what its first turns changed;
//! - a UID is never used twice and never appears below one that was seen; a modification sequence never goes back;
//!   UIDVALIDITY comes from a counter, so no two mailboxes of a store ever share one;
//! - a snapshot, or changes, are of one moment;
//! - a body is on disk before the row that names it, is kept once for all recipients, and lives while a row names it;
//! - after every commit that touches a mailbox its [`Watcher`]s wake.
//!
//! A mailbox's messages are known to a session by UID; sequence numbers are the session's own affair:
//! take a [`Snapshot`], then ask [`Mailbox::changes`] since its `highest_modseq` whenever the protocol allows to tell
//! the client, and wait for [`Watcher::changed`] in IDLE.

mod account;
mod body;
mod contents;
mod deliver;
mod elsewhere;
mod error;
mod flags;
mod garbage;
mod hub;
mod imports;
mod known;
mod list;
mod mailbox;
mod mending;
mod message;
mod metadata;
mod name;
mod outbox;
mod overview;
mod quota;
pub mod relocation;
mod search;
mod sharing;
mod sql;
#[cfg(test)]
mod tests;
mod transfer;
mod uid;
mod undelete;
mod verify;

use estafeta_storage::sql::{Connection, query};
use std::path::PathBuf;
use std::sync::Arc;

use estafeta_core::directory::Account;
use estafeta_core::{AccountId, Message};
use estafeta_storage::StorageError;
use estafeta_storage::blobs::{Blobs, ObjectsOptions};
use estafeta_storage::spool::{Spool, SpoolDirectory};
use estafeta_storage::sql::{Database, DatabaseOptions, Engine, Place, Servers};

use quick_cache::sync::Cache;
use tokio::sync::Notify;

use hub::Hub;
use known::KnownMailboxes;
use search::SearchIndex;
use sql::AccountRow;
use sql::expunging::Remains;

pub use account::{AccountMail, MailboxEntry};
pub use contents::{Columns, KeptMessage};
pub use deliver::{Consignment, Delivered, Folder};
pub use error::StoreError;
pub use flags::{
    FlagAction, FlagChange, Flags, KEYWORD_BYTES, KEYWORDS_PER_MAILBOX, Keyword, KeywordBits, KeywordError, Keywords,
    SystemFlags,
};
pub use garbage::{Collected, GarbageAges};
pub use hub::Watcher;
pub use imports::{Origin, Reached};
pub use list::MessageList;
pub use mailbox::Mailbox;
pub use message::{
    Appended, Changes, Copied, FlagsStored, MailboxStatus, Mark, MessageEntry, NewMessage, RecentClaim, Snapshot, Usage,
};
pub use metadata::{ENTRIES, ENTRY_NAME_BYTES, ENTRY_VALUE_BYTES, EntryName, Scope};
pub use name::{DELIMITER, MailboxName, MailboxNameError, SpecialUse};
pub use outbox::{Letter, Waiting};
pub use overview::{EntryPrint, Overview, Seen, Standing, print};
pub use quota::Holding;
pub use search::Indexed;
pub use sharing::{FlagScope, Grant, SharedMailbox};
pub(crate) use sql::messages::TextRow;
pub use transfer::Moved;
pub use uid::{ModSeq, Uid, UidSet, UidValidity};
pub use undelete::{Deleted, Wanted};
pub use verify::{Finding, Progress};

/// The rows of so many accounts are remembered: some 50 bytes each.
const REMEMBERED_ACCOUNTS: usize = 100_000;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Its directory: the database (unless it is a PostgreSQL), the bodies or their copies, and the spool stand in it.
    pub directory: PathBuf,
    /// Where bodies are that are too large for a row.
    pub bodies: BodyPlace,
    /// The PostgreSQL that has the rows; none for a SQLite file in the directory.
    pub servers: Option<Servers>,
    /// The largest message that it takes, in bytes.
    pub message_limit_bytes: u32,
    /// How many read at the same moment at most.
    pub readers: u32,
    /// At how many percent of its quota an account is warned, ascending.
    pub warn_at_percent: Vec<u8>,
    /// Whether what is expunged can be had back, until garbage is collected that is older than
    /// [`GarbageAges::undelete`].
    pub keep_expunged: bool,
}

/// Where bodies are that are too large for a row.
#[derive(Debug, Clone)]
pub enum BodyPlace {
    /// In files, in the store's directory.
    Files,
    /// In an object store, and copies in the store's directory.
    Objects {
        /// Which.
        options: ObjectsOptions,
        /// The most bytes of copies.
        cache_bytes: u64,
    },
}

/// The mail of one store group, on one node. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Whose mail this handle is for, if it is an account's.
    owner: Option<(AccountRow, AccountId)>,
}

struct Inner {
    database: Database,
    blobs: Blobs,
    /// By which bodies are known to be this database's.
    identity: String,
    spools: SpoolDirectory,
    hub: Hub,
    search: SearchIndex,
    known: KnownMailboxes,
    /// Wakes whoever sends letters.
    letters: Notify,
    /// The rows of accounts that had mail lately. A word of it is only good for what looks whether it still is.
    rows: Cache<AccountId, AccountRow>,
    message_limit_bytes: u32,
    warn_at_percent: Arc<[u8]>,
    remains: Remains,
}

impl Store {
    /// Opens the store, and makes it if it is missing. One process at a time may.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let hub = Hub::default();
        let mut database = DatabaseOptions {
            readers: options.readers,
            observer: Arc::new(hub.clone()),
            after_loss: sql::RENEW_UIDVALIDITY,
            ..DatabaseOptions::new(options.directory.join("mailbox.db"), sql::MIGRATIONS)
        };
        if let Some(servers) = options.servers {
            database.place = Place::Servers(servers);
            database.lock = Some(options.directory.join("mailbox"));
        }
        let database = Database::open(database);
        // The database first: it holds the lock under which the directories are cleaned.
        let database = database.await?;
        let search = SearchIndex::open(&options.directory, &database, options.readers).await?;
        let blobs = match &options.bodies {
            BodyPlace::Files => Blobs::open(&options.directory.join("bodies"))?,
            BodyPlace::Objects { options: objects, cache_bytes } => {
                Blobs::in_objects(objects, &options.directory.join("cache"), *cache_bytes)?
            }
        };
        let identity = async |transaction: &mut Connection| sql::blobs::identity(transaction).await;
        let identity = database.run(identity).await?;
        match blobs.claim(&identity).await {
            // What needs no body is served meanwhile, and readiness tells the rest.
            Err(error) if error.is_away() => tracing::error!(%error, "bodies are away"),
            claimed => claimed?,
        }
        let spools = SpoolDirectory::open(&options.directory.join("spool"))?;
        let inner = Arc::new(Inner {
            database,
            blobs,
            identity,
            spools,
            hub,
            search,
            known: KnownMailboxes::default(),
            letters: Notify::new(),
            rows: Cache::new(REMEMBERED_ACCOUNTS),
            message_limit_bytes: options.message_limit_bytes,
            warn_at_percent: options.warn_at_percent.into(),
            remains: if options.keep_expunged { Remains::Kept } else { Remains::None },
        });
        let store = Self { inner, owner: None };
        match store.inner.database.engine() {
            Engine::Postgres => drop(tokio::spawn(elsewhere::follow(Arc::downgrade(&store.inner)))),
            // No other process has it open: nothing is under way.
            Engine::Sqlite => {
                if let Err(error) = store.undo_copies(sql::unfinished::Which::Before(i64::MAX)).await {
                    tracing::error!(%error, "a copy that a crash has ended cannot be undone");
                }
            }
        }
        Ok(store)
    }

    /// The mail of an account, to deliver to: its row may be remembered, and each transaction looks whether it lives here.
    pub async fn account_to_deliver(&self, account: &Account) -> Result<Option<AccountMail>, StoreError> {
        match self.inner.rows.get(&account.id) {
            Some(row) => Ok(Some(self.mail(row, account))),
            None => self.account(account).await,
        }
    }

    /// The mail of an account, if it lives here.
    pub async fn account(&self, account: &Account) -> Result<Option<AccountMail>, StoreError> {
        let row = sql::accounts::find(&mut self.reader().await?, account.id).await?;
        Ok(row.map(|row| self.mail(row, account)))
    }

    /// Makes the mail of an account, with INBOX and the mailboxes that have a use, if it is not there yet. Only after
    /// an uncached answer of the directory: a stale one would make a second mailbox.
    pub async fn create_account(&self, account: &Account) -> Result<AccountMail, StoreError> {
        let id = account.id;
        let create = async move |transaction: &mut Connection| {
            if let Some(row) = sql::accounts::find(transaction, id).await? {
                return Ok(row);
            }
            let Some(row) = sql::accounts::insert(transaction, id).await? else {
                // Another node was quicker.
                return sql::accounts::find(transaction, id).await?.ok_or(StoreError::from(StorageError::Contended));
            };
            insert_first_mailboxes(transaction, row).await?;
            Ok(row)
        };
        let row = self.run(create).await?;
        Ok(self.mail(row, account))
    }

    fn mail(&self, row: AccountRow, account: &Account) -> AccountMail {
        self.inner.rows.insert(account.id, row);
        let store = Self { owner: Some((row, account.id)), ..self.clone() };
        AccountMail { store, row, account: Arc::new(account.clone()) }
    }

    /// Where the text of an incoming message is gathered. It takes what the store takes.
    pub fn spool(&self) -> Spool {
        self.inner.spools.spool(self.inner.message_limit_bytes.into())
    }

    /// The largest message that is taken, in bytes.
    pub fn message_limit_bytes(&self) -> u32 {
        self.inner.message_limit_bytes
    }

    /// Whether the store can be read and written now. The text says why not.
    pub async fn check(&self) -> Result<(), StoreError> {
        let write = async |transaction: &mut Connection| {
            query("UPDATE counters SET value = value WHERE name = 'uidvalidity'").execute(transaction).await?;
            Ok(())
        };
        self.run(write).await
    }

    /// Whether the writer takes its turns: what [`Store::check`] asks, but for the disk.
    pub async fn is_writable(&self) -> Result<(), StoreError> {
        Ok(self.inner.database.check().await?)
    }

    /// By which this store's database is told from others, whichever node asks.
    pub fn identity(&self) -> &str {
        &self.inner.identity
    }

    /// Whether bodies can be reached and are those of this database.
    pub async fn check_bodies(&self) -> Result<(), StoreError> {
        Ok(self.inner.blobs.claim(&self.inner.identity).await?)
    }

    /// Commits what waits and closes. Later calls fail.
    pub async fn close(&self) {
        self.inner.search.close().await;
        self.inner.database.close().await;
    }

    /// The size of a message, which must be acceptable.
    fn check_size(&self, message: &Message) -> Result<u32, StoreError> {
        let size = u32::try_from(message.len()).map_err(|_| StoreError::TooLarge)?;
        if size > self.inner.message_limit_bytes { Err(StoreError::TooLarge) } else { Ok(size) }
    }

    async fn reader(&self) -> Result<Connection, StoreError> {
        Ok(self.inner.database.reader().await?)
    }

    /// A reader that sees one moment.
    async fn snapshot_reader(&self) -> Result<Connection, StoreError> {
        Ok(self.inner.database.snapshot().await?)
    }

    /// Runs a job in a transaction. One on an account's mail has the account locked, which must live here, so that on PostgreSQL too an account's
    /// changes happen one after the other, whichever nodes they come from.
    async fn run<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        F: AsyncFnMut(&mut Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.run_linking(job).await
    }

    /// The same for a job that links bodies, and may ask for them to be placed anew.
    async fn run_linking<T, E, F>(&self, mut job: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StorageError> + From<StoreError> + Send + 'static,
    {
        match self.owner {
            None => self.inner.database.run(job).await,
            Some(owner) => {
                let locked = async move |transaction: &mut Connection| {
                    sql::accounts::lock_own(transaction, owner).await?;
                    job(transaction).await
                };
                self.inner.database.run_for(owner.0.0, locked).await
            }
        }
    }
}

/// INBOX, and the mailboxes that have a use.
async fn insert_first_mailboxes(transaction: &mut Connection, row: AccountRow) -> Result<(), StoreError> {
    let uses = SpecialUse::ALL.into_iter().map(|(special_use, name)| (Some(special_use), name));
    for (special_use, name) in std::iter::once((None, "INBOX")).chain(uses) {
        let name = name.parse().map_err(|_| StoreError::NotAllowed("not a mailbox name"))?;
        sql::mailboxes::insert(transaction, row, &name, true, special_use).await?;
        sql::mailboxes::subscribe(transaction, row, &name).await?;
    }
    Ok(())
}
