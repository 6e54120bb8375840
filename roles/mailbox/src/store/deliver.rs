//! Delivery: a message into an account's INBOX or Junk, once for each delivery id.

use estafeta_storage::sql::Connection;
use std::sync::Arc;

use bytes::Bytes;
use estafeta_core::{DeliveryId, Message};

use super::body::{Body, Linking};
use super::message::now_seconds;
use super::sql::{deliveries, mailboxes, messages};
use super::{AccountMail, Flags, Holding, MailboxName, SpecialUse, Store, StoreError, Uid};

/// Where a delivery goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// INBOX.
    Inbox,
    /// The mailbox for junk; INBOX when the account has none.
    Junk,
    /// The mailbox of this name, whatever the case of its letters; INBOX when there is none.
    Named(String),
}

/// What a delivery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The message is in the mailbox now, under this UID.
    Stored(Uid),
    /// It was stored under this delivery id before, and is not stored again.
    Before,
}

/// A message for several recipients: its body is made durable once.
#[derive(Debug, Clone)]
pub struct Consignment {
    id: DeliveryId,
    prefix: Bytes,
    body: Body,
}

impl Store {
    /// Makes a message's body durable, for [`AccountMail::deliver`] to each of its recipients.
    pub async fn consign(&self, id: DeliveryId, message: &Message) -> Result<Consignment, StoreError> {
        self.check_size(message)?;
        let (prefix, mut body) = Body::of(message).await?;
        self.place(&mut body).await?;
        Ok(Consignment { id, prefix, body })
    }
}

impl AccountMail {
    /// Delivers to this account, with `trace` (whole header lines) before the message. When it answers, the message is
    /// durable in the mailbox, once, however often the delivery is repeated.
    pub async fn deliver(
        &self,
        consignment: &Consignment,
        trace: &[u8],
        folder: Folder,
    ) -> Result<Delivered, StoreError> {
        let prefix = Bytes::from([trace, &consignment.prefix].concat());
        let size = u32::try_from(prefix.len() + consignment.body.len()).map_err(|_| StoreError::TooLarge)?;
        let (id, row, meter) = (consignment.id, self.row, self.meter());
        let more = Holding { bytes: size.into(), messages: 1 };
        let deliver = |store: Store, bodies: Arc<[Body]>| {
            let (prefix, hub, meter) = (prefix.clone(), store.inner.hub.clone(), meter.clone());
            let folder = folder.clone();
            let job = async move |transaction: &mut Connection| -> Result<Delivered, Linking> {
                let now = now_seconds();
                if !deliveries::note(transaction, id, row, now).await? {
                    return Ok(Delivered::Before);
                }
                let before = meter.admit(transaction, more).await?;
                let found = match &folder {
                    Folder::Named(name) => mailboxes::named(transaction, row, name).await?,
                    Folder::Inbox => mailboxes::select(transaction, row, &MailboxName::inbox()).await?,
                    Folder::Junk => mailboxes::of_use(transaction, row, SpecialUse::Junk).await?,
                };
                let new = messages::NewRow {
                    flags: Flags::default(),
                    size,
                    internal_date: now,
                    saved: now,
                    blob: bodies[0].link(transaction).await?,
                    prefix: &prefix,
                };
                let numbers = messages::add(transaction, found.row, &[new]).await?;
                hub.touch(found.row);
                meter.warn(transaction, before, more, &bodies).await?;
                Ok(Delivered::Stored(Uid(numbers.first_uid)))
            };
            async move { store.run_linking(job).await }
        };
        let delivered = self.store.with_bodies(vec![consignment.body.clone()], deliver).await;
        if let Err(StoreError::Gone) = delivered {
            self.store.inner.rows.remove(&self.account.id);
        }
        delivered
    }
}
