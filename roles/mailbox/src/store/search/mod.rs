//! The search index: which messages hold which texts, so that SEARCH BODY and TEXT read no messages.
//!
//! Invariants:
//! - it can be rebuilt from the messages: what is missing is put in in the background ([`filling`]). On SQLite it is a
//!   database of its own, `search.db`, which may be deleted while nobody has it open;
//! - it is never behind in secret: a mailbox is indexed up to a UID, in the order of UIDs, of which none appears late;
//!   messages beyond are read. Nobody waits for it who delivers;
//! - what it says of a message is what reading it says: the same text, folded by the same function. Only of a message that
//!   is longer than [`TEXT_BYTES`] does it not know what is missing, and that one is read;
//! - that a message is in it says nothing about whether the message is still there.

mod filling;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use estafeta_protocols::imap::message::search::Place;
use estafeta_storage::sql::{Database, DatabaseOptions, Engine};

use super::sql::search::{self, MIGRATIONS};
use super::{Mailbox, StoreError, Uid, UidSet};

/// How much of a message's header, and of its body, is indexed, in bytes.
const TEXT_BYTES: usize = 512 * 1024;

/// Shorter texts are not in it, in letters.
const TEXT_LETTERS: usize = 3;

/// Of a longer text it is asked for the beginning, in letters.
const ASKED_LETTERS: usize = 64;

/// How many texts of one search are looked up.
const TEXTS: usize = 64;

/// The index. Cheap to clone.
#[derive(Clone)]
pub(super) struct SearchIndex {
    /// On PostgreSQL the store's.
    database: Database,
}

impl SearchIndex {
    /// Opens the index of the store in that directory. One that cannot be used is made anew.
    pub(super) async fn open(directory: &Path, store: &Database, readers: u32) -> Result<Self, StoreError> {
        if store.engine() == Engine::Postgres {
            return Ok(Self { database: store.clone() });
        }
        let path = directory.join("search.db");
        // What waits for the index is read meanwhile: mail that comes in does not wait for it.
        let options = || DatabaseOptions { readers, background: true, ..DatabaseOptions::new(&path, MIGRATIONS) };
        let database = match Database::open(options()).await {
            Err(error) if error.is_unusable() => {
                tracing::warn!(path = %path.display(), %error, "the search index cannot be used and is made anew");
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = path.clone().into_os_string();
                    file.push(suffix);
                    // What cannot be deleted is still what it is, which opening it says.
                    std::fs::remove_file(PathBuf::from(file)).ok();
                }
                Database::open(options()).await
            }
            opened => opened,
        };
        Ok(Self { database: database? })
    }

    /// Commits what waits and closes, where it is a database of its own.
    pub(super) async fn close(&self) {
        if self.database.engine() == Engine::Sqlite {
            self.database.close().await;
        }
    }
}

/// What the index knows of a mailbox, for some texts.
#[derive(Debug)]
pub struct Indexed {
    /// It knows the messages up to this one.
    up_to: Uid,
    /// Of these only the beginning.
    cut: UidSet,
    header: HashMap<String, Holding>,
    body: HashMap<String, Holding>,
}

#[derive(Debug)]
struct Holding {
    uids: UidSet,
    /// Only the text's beginning was asked for.
    shortened: bool,
}

impl Indexed {
    /// Whether the message holds the text, if that is known.
    pub fn holds(&self, uid: Uid, place: Place, text: &str) -> Option<bool> {
        let texts = match place {
            Place::Header => &self.header,
            Place::Body => &self.body,
        };
        let holding = texts.get(text).filter(|_| uid <= self.up_to)?;
        match holding.uids.contains(uid) {
            true if holding.shortened => None,
            true => Some(true),
            false if self.cut.contains(uid) => None,
            false => Some(false),
        }
    }
}

impl Mailbox {
    /// What the index knows of these texts, which are folded. None when that is nothing, or the index fails: then the
    /// messages are read.
    pub async fn indexed(&self, texts: &[(Place, &str)]) -> Option<Indexed> {
        match self.ask_index(texts).await {
            Ok(indexed) => indexed,
            Err(error) => {
                tracing::warn!(%error, "the search index does not answer: messages are read");
                None
            }
        }
    }

    async fn ask_index(&self, texts: &[(Place, &str)]) -> Result<Option<Indexed>, StoreError> {
        let long_enough = |(_, text): &(Place, &str)| text.chars().nth(TEXT_LETTERS - 1).is_some();
        let asked: Vec<(Place, &str)> = texts.iter().copied().filter(long_enough).take(TEXTS).collect();
        if asked.is_empty() {
            return Ok(None);
        }
        let mut reader = self.mail.store.inner.search.database.reader().await?;
        // How far it is comes first: what is put in meanwhile is not asked for.
        let progress = search::progress(&mut reader, self.row).await?;
        let Some(progress) = progress.filter(|progress| progress.uid_validity == self.uid_validity) else {
            return Ok(None);
        };
        let (mut header, mut body) = (HashMap::new(), HashMap::new());
        for (place, text) in asked {
            let beginning = text.char_indices().nth(ASKED_LETTERS).map_or(text, |(end, _)| &text[..end]);
            let uids = search::holding(&mut reader, self.row, place, beginning).await?;
            let holding = Holding { uids, shortened: beginning.len() < text.len() };
            match place {
                Place::Header => header.insert(text.to_owned(), holding),
                Place::Body => body.insert(text.to_owned(), holding),
            };
        }
        let cut = search::cut(&mut reader, self.row).await?;
        Ok(Some(Indexed { up_to: progress.uid, cut, header, body }))
    }
}
