//! Whose mail lives here: the directory says who belongs to this store group, the store says who has come.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::contracts::Contracts;
use estafeta_core::directory::{Account, CacheAges, Directory, DirectoryCache};
use estafeta_core::{Address, Failure, Reason, Secret, StoreGroup};
use estafeta_net::login::Gate;

use crate::store::{AccountMail, Store, StoreError};

/// How long an answer about a person serves here: long enough for the steps of one delivery. An address that was removed
/// and made anew belongs to somebody else, who must not find the old mail, nor lose the new.
const FRESH: Duration = Duration::from_millis(100);

/// The accounts of this node. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    store_group: StoreGroup,
    /// Asked at each opening; what it last said serves while no directory answers.
    directory: Arc<DirectoryCache>,
    directory_uncached: Arc<dyn Directory>,
    /// For those who log in here.
    gate: Arc<Gate>,
}

impl Accounts {
    /// The accounts of `store_group`, as the directory knows them, whose mail is in `store`.
    pub fn new(store: Store, store_group: StoreGroup, contracts: &Contracts) -> Self {
        let directory_uncached = contracts.directory_uncached.clone();
        let ages = CacheAges { positive: FRESH, negative: FRESH, ..CacheAges::default() };
        let directory = Arc::new(DirectoryCache::new(directory_uncached.clone(), ages));
        let gate = Arc::new(Gate::new(contracts.directory.clone()));
        Self { store, store_group, directory, directory_uncached, gate }
    }

    /// The store group.
    pub fn store_group(&self) -> &StoreGroup {
        &self.store_group
    }

    /// People, never from a cache.
    pub fn directory_uncached(&self) -> &dyn Directory {
        self.directory_uncached.as_ref()
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

    /// The account that mail to an address is for: the address as it stands, else without its detail (RFC 5233).
    pub async fn recipient(&self, address: &Address) -> Result<Account, Failure> {
        match (self.of(address).await, address.split_detail()) {
            (Err(failure), Some((base, _))) if failure.reason == Reason::NotFound => self.of(&base).await,
            (found, _) => found,
        }
    }

    /// The account of an address in this store group, with which mail can be shared, disabled or not. [`Reason::Denied`] when
    /// it lives in another.
    pub async fn neighbour(&self, address: &Address) -> Result<Account, Failure> {
        let account = self.directory.account(address).await?;
        if account.store_group == self.store_group {
            return Ok(account);
        }
        let text = format!(
            "{address} lives in another store group: mail is shared within one; an administrator may bring accounts together \
             by estafeta account move"
        );
        Err(Failure::new(Reason::Denied, text))
    }

    /// Whose login this is, with the same patience as the access nodes have.
    pub async fn authenticate(
        &self,
        login: &str,
        password: &Secret,
        on_behalf_of: Option<&str>,
        client: IpAddr,
    ) -> Result<Account, Failure> {
        self.gate.authenticate(login, password, on_behalf_of, client).await
    }

    /// Whether an account belongs here and may be used.
    fn check(&self, account: &Account) -> Result<(), Failure> {
        if account.store_group != self.store_group {
            let cause = format!(
                "{} lives in store group {}, and this node serves {}",
                account.address, account.store_group, self.store_group
            );
            return Err(Failure::new(Reason::Elsewhere, "temporarily unavailable, try again later").because(cause));
        }
        if !account.enabled {
            return Err(Failure::new(Reason::Denied, "this account is disabled"));
        }
        Ok(())
    }

    /// Opens an account's mail, if it is still the one of its address. For an account that comes for the first time it is
    /// made, after the directory has said so itself, without any cache: an old answer would make a second mailbox of an
    /// account that moved.
    pub async fn open(&self, account: &Account) -> Result<AccountMail, Failure> {
        let known = self.known(account).await?;
        match self.store.account(&known).await.map_err(failure)? {
            Some(mail) => Ok(mail),
            None => self.make(account).await,
        }
    }

    /// The same to deliver to. That its mail has gone elsewhere is told by the delivery.
    pub async fn open_to_deliver(&self, account: &Account) -> Result<AccountMail, Failure> {
        let known = self.known(account).await?;
        match self.store.account_to_deliver(&known).await.map_err(failure)? {
            Some(mail) => Ok(mail),
            None => self.make(account).await,
        }
    }

    /// The account as the directory has it now.
    async fn known(&self, account: &Account) -> Result<Account, Failure> {
        let known = self.of(&account.address).await?;
        same(&known, account)?;
        Ok(known)
    }

    async fn make(&self, account: &Account) -> Result<AccountMail, Failure> {
        let fresh = self.directory_uncached.account(&account.address).await?;
        self.check(&fresh)?;
        same(&fresh, account)?;
        tracing::info!(account = %fresh.id, address = %fresh.address, "the account's first mail: its mailboxes are made");
        self.store.create_account(&fresh).await.map_err(failure)
    }
}

impl Accounts {
    /// The mail of an address, for an administrator: whether its account is enabled or not. Nothing is made.
    pub async fn of_whoever(&self, address: &Address) -> Result<AccountMail, Failure> {
        let account = self.directory_uncached.account(address).await?;
        let elsewhere = || {
            if account.store_group == self.store_group {
                let text = format!(
                    "{address} has no mail yet: its mailboxes are made when the first message or the first login comes"
                );
                return Failure::new(Reason::NotFound, text);
            }
            let text = format!(
                "{address} has no mail on this node, which serves store group {}; the directory says that it lives in {}",
                self.store_group, account.store_group
            );
            Failure::new(Reason::Elsewhere, text)
        };
        match self.store.account(&account).await {
            Ok(mail) => mail.ok_or_else(elsewhere),
            Err(StoreError::Gone) => Err(elsewhere()),
            Err(error) => Err(failure(error)),
        }
    }

    /// The same, to put mail into: that of an account that belongs here is made when it never came.
    pub async fn of_whoever_made(&self, address: &Address) -> Result<AccountMail, Failure> {
        let account = self.directory_uncached.account(address).await?;
        if account.store_group == self.store_group {
            return self.store.create_account(&account).await.map_err(failure);
        }
        self.of_whoever(address).await
    }
}

/// An address that has another owner now does not lead to what was meant for the one before.
fn same(now: &Account, meant: &Account) -> Result<(), Failure> {
    if now.id == meant.id {
        return Ok(());
    }
    let gone = Failure::new(Reason::NotFound, "there is no such account");
    Err(gone.because("the address has another account now"))
}

/// An error of the store as others see it.
fn failure(error: StoreError) -> Failure {
    error.into()
}
