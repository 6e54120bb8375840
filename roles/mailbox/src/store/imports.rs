//! Mail that comes over from another server, by UID there: how far it has come is noted in the transaction that puts it in, so
//! that whatever is cut off goes on where it was, and of two who bring the same one is refused.

use estafeta_storage::sql::Connection;

use super::sql::imports;
use super::{AccountMail, MailboxName, NewMessage, StoreError};

/// A mailbox of another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whose mail, on which server.
    pub source: String,
    /// What the mailbox is called there.
    pub mailbox: String,
    /// The life of its UIDs there.
    pub uid_validity: u32,
}

/// How far a mailbox of another server has come over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub origin: Origin,
    /// What was noted before: zero for nothing.
    pub from: u32,
    /// All up to this UID are here, or were passed over.
    pub uid: u32,
}

impl AccountMail {
    /// Up to which UID a mailbox has come over in this life of its UIDs; none when nothing of it has.
    pub async fn reached(&self, origin: &Origin) -> Result<Option<u32>, StoreError> {
        imports::reached(&mut self.store.reader().await?, self.row, origin).await
    }

    /// The UIDs of a mailbox that were refused in this life of its UIDs, ascending.
    pub async fn refused(&self, origin: &Origin) -> Result<Vec<u32>, StoreError> {
        imports::refused(&mut self.store.reader().await?, self.row, origin).await
    }

    /// Notes that a message was refused.
    pub async fn refuse(&self, origin: &Origin, uid: u32) -> Result<(), StoreError> {
        let (row, origin) = (self.row, origin.clone());
        let note = async move |transaction: &mut Connection| imports::refuse(transaction, row, &origin, uid).await;
        self.store.run(note).await
    }

    /// Notes that these are refused, and no others of the mailbox.
    pub async fn refuse_only(&self, origin: &Origin, uids: &[u32]) -> Result<(), StoreError> {
        let (row, origin, uids) = (self.row, origin.clone(), uids.to_vec());
        let note = async move |transaction: &mut Connection| {
            imports::forget_refused(transaction, row, &origin).await?;
            for uid in &uids {
                imports::refuse(transaction, row, &origin, *uid).await?;
            }
            Ok(())
        };
        self.store.run(note).await
    }

    /// Puts messages into a mailbox, and notes up to where they have come: both or neither. [`StoreError::NotAllowed`] when
    /// somebody else has noted something since.
    pub async fn append_reaching(
        &self,
        to: &MailboxName,
        new: Vec<NewMessage>,
        reached: Reached,
    ) -> Result<(), StoreError> {
        if !new.is_empty() {
            return self.put(to, new, None, Some(reached)).await.map(drop);
        }
        let row = self.row;
        let note = async move |transaction: &mut Connection| imports::note(transaction, row, &reached).await;
        self.store.run(note).await
    }
}
