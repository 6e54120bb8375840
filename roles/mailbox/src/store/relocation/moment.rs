//! An account whose mail lives here, as it is at one moment: what a backup reads.

use bytes::Bytes;
use estafeta_core::AccountId;
use estafeta_storage::blobs::BlobHash;
use estafeta_storage::sql::Connection;

use super::{ImageOfAccount, ImageOfMessage, Octets};
use crate::store::sql::{AccountRow, MailboxRow, accounts, blobs, images, keywords, mailboxes, metadata, relocation};
use crate::store::{Store, StoreError};

/// How many messages a page has at most.
const MESSAGES: u32 = 1000;

/// One moment, held until this is dropped: not for long.
pub struct Moment {
    reader: Connection,
    image: ImageOfAccount,
    /// The mailbox that is read, by its place in the image, and up to which UID.
    mailbox: usize,
    reached: u32,
}

impl Moment {
    /// The account without its messages.
    pub fn image(&self) -> &ImageOfAccount {
        &self.image
    }

    /// The number of a mailbox, and some of its messages, by UID; none at the end.
    pub async fn next(&mut self) -> Result<Option<(i64, Vec<ImageOfMessage>)>, StoreError> {
        while let Some(mailbox) = self.image.mailboxes.get(self.mailbox) {
            let row = MailboxRow(mailbox.number);
            let messages = images::messages_by_uid(&mut self.reader, row, self.reached, MESSAGES).await?;
            if let Some(last) = messages.last() {
                self.reached = last.uid;
                return Ok(Some((mailbox.number, messages)));
            }
            (self.mailbox, self.reached) = (self.mailbox + 1, 0);
        }
        Ok(None)
    }
}

impl Store {
    /// The accounts whose mail lives here.
    pub async fn present(&self) -> Result<Vec<AccountId>, StoreError> {
        relocation::present(&mut self.reader().await?).await
    }

    /// An account as it is now; none when it never came.
    pub async fn moment(&self, account: AccountId) -> Result<Option<Moment>, StoreError> {
        let mut reader = self.snapshot_reader().await?;
        let Some(row) = accounts::find(&mut reader, account).await? else { return Ok(None) };
        let image = image(&mut reader, row).await?;
        Ok(Some(Moment { reader, image, mailbox: 0, reached: 0 }))
    }

    /// A body that some message names, or lately named; none when it is gone.
    pub async fn body(&self, hash: BlobHash) -> Result<Option<Bytes>, StoreError> {
        let kept = blobs::kept(&mut self.reader().await?, hash).await?;
        match kept {
            Some(kept) => Ok(Some(self.unkeep(kept).await?)),
            None => Ok(None),
        }
    }
}

/// An account without its messages.
pub(super) async fn image(reader: &mut Connection, row: AccountRow) -> Result<ImageOfAccount, StoreError> {
    let octets = |entries: Vec<(String, Vec<u8>)>| -> Vec<(String, Octets)> {
        entries.into_iter().map(|(name, value)| (name, value.into())).collect()
    };
    let mut all = images::mailboxes(reader, row).await?;
    for image in &mut all {
        let mailbox = MailboxRow(image.number);
        let known = keywords::list(reader, mailbox).await?;
        image.keywords = known.iter().map(|keyword| keyword.as_str().to_owned()).collect();
        image.rights = images::rights(reader, mailbox).await?;
        image.shared = octets(metadata::list(reader, metadata::Owner::Shared(mailbox)).await?);
        image.private = octets(metadata::list(reader, metadata::Owner::Private(mailbox, row)).await?);
    }
    Ok(ImageOfAccount {
        mailboxes: all,
        subscriptions: mailboxes::subscriptions(reader, row).await?.iter().map(ToString::to_string).collect(),
        entries: octets(metadata::list(reader, metadata::Owner::Account(row)).await?),
        shares_as: images::shares_as(reader, row).await?,
    })
}
