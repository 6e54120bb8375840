//! Mailboxes that accounts of the store group share (RFC 4314).
//!
//! Invariants: an owner has every right on a mailbox, and no row says so; rights belong to the account that had the
//! address when they were given, not to whoever has the address later; a new mailbox begins with the rights of the one
//! above it.

use estafeta_core::directory::Account;
use estafeta_core::{AccountId, Address};
use estafeta_protocols::imap::command::acl::RightsChange;
use estafeta_protocols::imap::types::Rights;
use estafeta_storage::sql::Connection;

use super::hub::Subject;
use super::sql::rights;
use super::{AccountMail, Mailbox, MailboxName, StoreError, SystemFlags};
use crate::store::sql::mailboxes;

pub use rights::Grant;

/// The most identifiers that one mailbox names.
const GRANTS: usize = 500;

/// A mailbox of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMailbox {
    /// The owner's address.
    pub owner: String,
    /// Its name there.
    pub name: MailboxName,
    /// Whether it can be selected.
    pub selectable: bool,
    /// What may be done with it.
    pub rights: Rights,
}

/// Flags that somebody may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagScope {
    /// These system flags.
    pub system: SystemFlags,
    /// Every keyword, or none.
    pub keywords: bool,
}

impl FlagScope {
    /// All flags.
    pub const ALL: Self = Self { system: SystemFlags::ALL, keywords: true };
}

impl Mailbox {
    /// Whom its owner named.
    pub async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        rights::list(&mut self.mail.store.reader().await?, self.row).await
    }

    /// What `reader` may do with it.
    pub async fn rights_of(&self, reader: &AccountMail) -> Result<Rights, StoreError> {
        if reader.row == self.mail.row {
            return Ok(Rights::ALL);
        }
        rights::of(&mut self.mail.store.reader().await?, self.row, reader.account.id).await
    }

    /// Changes what an identifier is given, or taken. `account` is whom it means; none for everybody.
    pub async fn grant(
        &self,
        (identifier, negative): (&str, bool),
        account: Option<AccountId>,
        change: RightsChange,
    ) -> Result<(), StoreError> {
        let (row, owner, address) = (self.row, self.mail.row, self.mail.account.address.clone());
        let (identifier, hub) = (identifier.to_owned(), self.mail.store.inner.hub.clone());
        let job = async move |transaction: &mut Connection| {
            mailboxes::state(transaction, row).await?;
            hub.touch(owner);
            hub.touch(Subject::Sharing);
            let before = rights::list(transaction, row).await?;
            let same = |grant: &&Grant| grant.identifier == identifier && grant.negative == negative;
            let had = before.iter().find(same).map_or(Rights::NONE, |grant| grant.rights);
            let rights = match change {
                RightsChange::Replace(rights) => rights,
                RightsChange::Add(rights) => had.with(rights),
                RightsChange::Remove(rights) => had.without(rights),
            };
            if had.is_empty() && !rights.is_empty() && before.len() >= GRANTS {
                return Err(StoreError::Limit("this mailbox names too many already"));
            }
            rights::note_sharer(transaction, owner, &address).await?;
            rights::set(transaction, row, &Grant { identifier: identifier.clone(), negative, rights }, account).await
        };
        self.mail.store.run(job).await
    }
}

impl AccountMail {
    /// Every mailbox of others on which this account has some right. Of those whose mail lives here.
    pub async fn shared(&self) -> Result<Vec<SharedMailbox>, StoreError> {
        rights::shared_with(&mut self.store.reader().await?, self.account.id, self.row).await
    }

    /// Whether somebody shared something under this address.
    pub async fn has_neighbour(&self, address: &Address) -> Result<bool, StoreError> {
        let sharers = rights::sharers(&mut self.store.reader().await?, address).await?;
        Ok(sharers.into_iter().any(|row| row != self.row))
    }

    /// The mail of another account that shares; none when it lives elsewhere or is on its way, or the address is another's
    /// now.
    pub async fn neighbour(&self, account: &Account) -> Result<Option<AccountMail>, StoreError> {
        let sharers = rights::sharers(&mut self.store.reader().await?, &account.address).await?;
        let mail = match self.store.account(account).await {
            Err(StoreError::Moving | StoreError::Gone) => None,
            mail => mail?,
        };
        Ok(mail.filter(|mail| mail.row != self.row && sharers.contains(&mail.row)))
    }

    /// What `reader` may do with the mailbox of this name; nothing when there is none.
    pub async fn rights_on(&self, name: &MailboxName, reader: &AccountMail) -> Result<Rights, StoreError> {
        let mut connection = self.store.reader().await?;
        match mailboxes::find(&mut connection, self.row, name).await? {
            Some(found) => rights::of(&mut connection, found.row, reader.account.id).await,
            None => Ok(Rights::NONE),
        }
    }
}
