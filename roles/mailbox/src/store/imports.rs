//! Mail that comes over from another server, by UID there: how far it has come is noted in the transaction that puts it in, so
//! that whatever is cut off goes on where it was, and of two who bring the same one is refused.

use estafeta_storage::sql::Connection;

use super::sql::imports;
use super::{AccountMail, MailboxName, NewMessage, StoreError};

/// How far a mailbox of another server has come over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whose mail, on which server.
    pub source: String,
    /// What the mailbox is called there.
    pub mailbox: String,
    /// The life of its UIDs there.
    pub uid_validity: u32,
    /// What was noted before: zero for nothing.
    pub from: u32,
    /// All up to this UID are here, or were passed over.
    pub uid: u32,
}

impl AccountMail {
    /// Up to which UID a mailbox has come over in this life of its UIDs; none when nothing of it has.
    pub async fn reached(&self, source: &str, mailbox: &str, uid_validity: u32) -> Result<Option<u32>, StoreError> {
        imports::reached(&mut self.store.reader().await?, self.row, source, mailbox, uid_validity).await
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
