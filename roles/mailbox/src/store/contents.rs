//! What is kept of messages, read page by page, and made where it is missing: for messages that came before there was
//! anything kept, or when an older version of this program kept it otherwise.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use estafeta_protocols::imap::message::contents::{Contents, Kept};
use estafeta_storage::StorageError;
use estafeta_storage::blobs::BlobHash;
use estafeta_storage::sql::Connection;

use super::sql::contents::{self, Row};
use super::{Mailbox, StoreError, Uid, UidSet};

pub use super::sql::contents::Columns;

/// A body up to this size is read through where it is; a larger one, off the threads that must not wait.
const READ_AT_ONCE_BYTES: usize = 256 * 1024;

/// What is kept of a body, found without holding others up.
pub(super) async fn of(body: &Bytes) -> Result<Contents, StoreError> {
    if body.len() <= READ_AT_ONCE_BYTES {
        return Ok(Contents::of(body));
    }
    let body = body.clone();
    let read = tokio::task::spawn_blocking(move || Contents::of(&body)).await;
    Ok(read.map_err(|_| StorageError::Closed)?)
}

/// A message with what was kept of it.
#[derive(Debug)]
pub struct KeptMessage {
    /// Its number.
    pub uid: Uid,
    /// What was asked for.
    pub kept: Kept,
    /// The name of its content, if the hash was asked for.
    email_id: Option<String>,
}

impl KeptMessage {
    /// EMAILID (RFC 8474 §5.1): the same wherever the same bytes are, copies and moved messages among them.
    pub fn email_id(&self) -> Option<&str> {
        self.email_id.as_deref()
    }

    /// THREADID (RFC 8474 §5.2): the same for all messages whose references begin with the same one; of one without
    /// references and without an identifier, its own.
    pub fn thread_id(&self) -> Option<String> {
        match self.kept.thread_root() {
            Some(root) => Some(object_id('T', root)),
            None => self.email_id().map(|id| format!("T{id}")),
        }
    }
}

/// `objectid = 1*255(ALPHA / DIGIT / "_" / "-")` (RFC 8474 §7), the first letter saying of what.
fn object_id(kind: char, named: &[u8]) -> String {
    // 160 bits: nobody makes two that are alike.
    format!("{kind}{}", URL_SAFE_NO_PAD.encode(&BlobHash::of(named).0[..20]))
}

#[cfg(test)]
impl super::AccountMail {
    /// As a store is whose messages came before there was anything kept.
    pub(crate) async fn forget_contents(&self) {
        let forget = async |transaction: &mut Connection| {
            estafeta_storage::sql::query("UPDATE contents SET version = 0, summary = ''").execute(transaction).await?;
            Ok::<_, StoreError>(())
        };
        self.store.run(forget).await.unwrap();
    }

    /// Loses the bodies that stand in the database.
    pub(crate) async fn lose_small_bodies(&self) {
        let lose = async |transaction: &mut Connection| {
            estafeta_storage::sql::query("DELETE FROM bodies").execute(transaction).await?;
            Ok::<_, StoreError>(())
        };
        self.store.run(lose).await.unwrap();
    }
}

impl Mailbox {
    /// What is kept of these messages, by UID; what is gone is missing. Of one whose body is lost before anything was kept,
    /// nothing is. For as many as may be held at once: headers are up to 64 KB long.
    pub async fn contents(&self, uids: &UidSet, columns: Columns) -> Result<Vec<KeptMessage>, StoreError> {
        let mut reader = self.mail.store.reader().await?;
        let rows = contents::find(&mut reader, self.row, uids, columns).await?;
        drop(reader);
        let mut messages = Vec::with_capacity(rows.len());
        for mut row in rows {
            if !row.kept && !self.make(&mut row).await? {
                continue;
            }
            let email_id = row.hash.map(|hash| object_id('M', &[&hash.0[..], &row.prefix].concat()));
            messages.push(KeptMessage { uid: row.uid, kept: Kept::new(row.prefix, row.summary, row.header), email_id });
        }
        Ok(messages)
    }

    /// Makes what should have been kept, and keeps it. False when the message is gone.
    async fn make(&self, row: &mut Row) -> Result<bool, StoreError> {
        let text = match self.text(row.uid).await {
            Err(StoreError::NoMessage) => return Ok(false),
            // Whoever needs it finds out.
            Err(error) if error.is_lost() => return Ok(true),
            text => text?,
        };
        let made = of(text.body()).await?;
        (row.summary, row.header) = (made.summary.clone(), made.header.clone());
        let blob = row.blob;
        self.mail
            .store
            .run(async move |transaction: &mut Connection| contents::renew(transaction, blob, &made).await)
            .await?;
        Ok(true)
    }
}
