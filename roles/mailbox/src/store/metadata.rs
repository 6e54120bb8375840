//! Notes on mailboxes and on the account: entries with values (RFC 5464).
//!
//! An entry is named without its `/private` or `/shared`, in small letters; its [`Scope`] says which of the two.

use estafeta_storage::sql::Connection;

use super::sql::metadata::{self, Owner};
use super::{AccountMail, Mailbox, StoreError};

/// The longest value, in bytes: a command with it must still fit.
pub const ENTRY_VALUE_BYTES: usize = 32 * 1024;

/// The longest name of an entry, in bytes.
pub const ENTRY_NAME_BYTES: usize = 256;

/// The most entries of one scope.
pub const ENTRIES: usize = 100;

/// Who sees an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `/private`: who wrote it.
    Private,
    /// `/shared`: everybody who may read the mailbox.
    Shared,
}

/// An entry's name: scope and path, like `/comment`.
pub type EntryName = (Scope, String);

impl Mailbox {
    /// The entries of one scope, as `reader` sees them, by name.
    pub async fn entries(&self, scope: Scope, reader: &AccountMail) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        metadata::list(&mut self.mail.store.reader().await?, self.owner(scope, reader)).await
    }

    /// Sets or removes entries as `writer`: all or none. [`StoreError::Limit`] when there would be too many.
    pub async fn set_entries(
        &self,
        writer: &AccountMail,
        entries: Vec<(EntryName, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let named = entries.into_iter();
        let owned = named.map(|((scope, name), value)| (self.owner(scope, writer), name, value)).collect();
        set(&self.mail, owned).await
    }

    fn owner(&self, scope: Scope, account: &AccountMail) -> Owner {
        match scope {
            Scope::Shared => Owner::Shared(self.row),
            Scope::Private => Owner::Private(self.row, account.row),
        }
    }
}

impl AccountMail {
    /// The account's own entries, of no mailbox, by name.
    pub async fn entries(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        metadata::list(&mut self.store.reader().await?, Owner::Account(self.row)).await
    }

    /// Sets or removes them: all or none. [`StoreError::Limit`] when there would be too many.
    pub async fn set_entries(&self, entries: Vec<(String, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        let owner = Owner::Account(self.row);
        set(self, entries.into_iter().map(|(name, value)| (owner, name, value)).collect()).await
    }
}

async fn set(mail: &AccountMail, entries: Vec<(Owner, String, Option<Vec<u8>>)>) -> Result<(), StoreError> {
    let (row, hub) = (mail.row, mail.store.inner.hub.clone());
    let job = async move |transaction: &mut Connection| {
        hub.touch(row);
        for (owner, name, value) in &entries {
            metadata::set(transaction, *owner, name, value.as_deref()).await?;
        }
        for (owner, ..) in &entries {
            if metadata::list(transaction, *owner).await?.len() > ENTRIES {
                return Err(StoreError::Limit("there are too many entries"));
            }
        }
        Ok(())
    };
    mail.store.run(job).await
}
