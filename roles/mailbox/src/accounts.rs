//! Whose mail lives here: the directory says who belongs to this store group, the store says who has come.

use std::sync::Arc;

use estafeta_core::contracts::Contracts;
use estafeta_core::directory::{Account, Directory};
use estafeta_core::{Address, Failure, Reason, StoreGroup};

use crate::store::{AccountMail, Store, StoreError};

/// The accounts of this node. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    store_group: StoreGroup,
    directory: Arc<dyn Directory>,
    directory_uncached: Arc<dyn Directory>,
}

impl Accounts {
    /// The accounts of `store_group`, as the directory knows them, whose mail is in `store`.
    pub fn new(store: Store, store_group: StoreGroup, contracts: &Contracts) -> Self {
        let (directory, directory_uncached) = (contracts.directory.clone(), contracts.directory_uncached.clone());
        Self { store, store_group, directory, directory_uncached }
    }

    /// Where the mail is.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The account of an address. [`Reason::NotFound`] when there is none, [`Reason::Denied`] when it is disabled.
    pub async fn of(&self, address: &Address) -> Result<Account, Failure> {
        let account = self.directory.account(address).await?;
        self.check(&account)?;
        Ok(account)
    }

    /// Whether an account belongs here and may be used.
    fn check(&self, account: &Account) -> Result<(), Failure> {
        if account.store_group != self.store_group {
            let cause = format!(
                "{} lives in store group {}, and this node serves {}",
                account.address, account.store_group, self.store_group
            );
            return Err(Failure::unavailable(cause));
        }
        if !account.enabled {
            return Err(Failure::new(Reason::Denied, "this account is disabled"));
        }
        Ok(())
    }

    /// Opens an account's mail. For an account that comes for the first time it is made, after the directory has said
    /// so itself, not its cache: an old answer would make a second mailbox of an account that moved.
    pub async fn open(&self, account: &Account) -> Result<AccountMail, Failure> {
        self.check(account)?;
        if let Some(mail) = self.store.account(account).await.map_err(failure)? {
            return Ok(mail);
        }
        let fresh = self.directory_uncached.account(&account.address).await?;
        self.check(&fresh)?;
        if fresh.id != account.id {
            // The address has another owner now, who does not inherit what was meant for the one before.
            return Err(Failure::new(Reason::NotFound, "there is no such account")
                .because("the address has another account now"));
        }
        tracing::info!(account = %fresh.id, address = %fresh.address, "the account's first mail: its mailboxes are made");
        self.store.create_account(&fresh).await.map_err(failure)
    }
}

/// An error of the store as others see it.
fn failure(error: StoreError) -> Failure {
    error.into()
}
