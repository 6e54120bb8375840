//! What was expunged is had back: into the mailbox where it was, which is made anew when it is gone.
//!
//! Invariants: a message that comes back is a new one of its mailbox, under a new UID, for a UID is never used twice; its flags
//! (but for `\Deleted`, by which it would go again), keywords and date of receipt are those that it had, and so is what EMAILID
//! tells. It is in one place at any moment: here, or among what can be had back. The quota must hold it.

use estafeta_storage::sql::Connection;
use std::sync::Arc;

use super::body::{Body, Linking};
use super::message::now_seconds;
use super::sql::deleted::Gone;
use super::sql::{AccountRow, MailboxRow, deleted, keywords, mailboxes};
use super::{AccountMail, Holding, MailboxName, Store, StoreError};

pub use super::sql::deleted::Deleted;

/// How many messages come back in one transaction.
const MESSAGES: u32 = 500;

/// What is wanted back.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What was in this mailbox alone, by the name that it has, or had when it was deleted.
    pub mailbox: Option<MailboxName>,
    /// What was expunged then or later, in seconds since 1970.
    pub since: i64,
}

impl AccountMail {
    /// What can be had back of what is wanted, by mailbox. Of several mailboxes that had the same name each stands for itself.
    pub async fn deleted(&self, wanted: &Wanted) -> Result<Vec<Deleted>, StoreError> {
        let mut found = deleted::list(&mut self.store.reader().await?, self.row, wanted.since).await?;
        found.retain(|deleted| wanted.mailbox.as_ref().is_none_or(|name| *name == deleted.name));
        Ok(found)
    }

    /// Brings back up to [`MESSAGES`] messages of a mailbox that were expunged at `since` or later, and gives how many they
    /// were, and their bytes: none when there are no more.
    pub async fn undelete(&self, deleted: &Deleted, since: i64) -> Result<Holding, StoreError> {
        let (row, source, meter) = (self.row, deleted.mailbox, self.meter());
        let undelete = |store: Store, bodies: Arc<[Body]>| {
            let (hub, meter) = (store.inner.hub.clone(), meter.clone());
            let job = async move |transaction: &mut Connection| -> Result<Holding, Linking> {
                let back = deleted::some(transaction, source, since, MESSAGES).await?;
                let more = Holding { bytes: back.bytes, messages: back.marks.len() as u64 };
                if back.marks.is_empty() {
                    return Ok(more);
                }
                let before = meter.admit(transaction, more).await?;
                let (target, here) = match deleted::gone(transaction, row, source).await? {
                    Some(gone) => {
                        hub.touch(row);
                        (made(transaction, row, &gone).await?, gone.keywords)
                    }
                    None => (source, keywords::list(transaction, source).await?),
                };
                let mapped = keywords::carry(transaction, (&here, back.keywords()), target).await?;
                deleted::put_back(transaction, (source, &back), target, &mapped, now_seconds()).await?;
                hub.touch(target);
                meter.warn(transaction, before, more, &bodies).await?;
                Ok(more)
            };
            async move { store.run_linking(job).await }
        };
        self.store.with_bodies(Vec::new(), undelete).await
    }
}

/// The mailbox that has the name of one that is gone; it is made when there is none.
async fn made(transaction: &mut Connection, account: AccountRow, gone: &Gone) -> Result<MailboxRow, StoreError> {
    if let Some(found) = mailboxes::find(transaction, account, &gone.name).await?
        && found.selectable
    {
        return Ok(found.row);
    }
    let special_use = match gone.special_use {
        Some(special_use) if mailboxes::use_is_free(transaction, account, special_use).await? => Some(special_use),
        _ => None,
    };
    mailboxes::create(transaction, account, &gone.name, special_use).await?;
    Ok(mailboxes::select(transaction, account, &gone.name).await?.row)
}
