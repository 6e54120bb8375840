//! The directory itself: people and settings in SQLite.
//!
//! - [`people`]: the contract `Directory`;
//! - [`login`]: who may log in;
//! - [`settings`]: the contract `SettingsStore`;
//! - [`cluster`]: which nodes are enrolled, and what lets them in.
//!
//! Invariant: what a change answers with `Ok` is on disk.

mod cluster;
mod login;
mod people;
mod settings;

use estafeta_storage::sql::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use estafeta_core::directory::{Account, Alias};
use estafeta_core::{AccountId, Address, Domain, Failure};
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Database, DatabaseOptions};

use crate::expand::{Found, LookUp};
use crate::password::Hasher;
use crate::sql::{self, accounts, aliases, domains};

/// Describes what is counted here.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "estafeta_directory_logins_total",
        "Logins that were tried, by result: right, wrong, limited"
    );
}

/// The directory's state. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    hasher: Hasher,
    /// How many logins have failed since the start.
    failures: Arc<AtomicU32>,
}

impl Store {
    /// Opens the database in this directory, and makes it if it is missing.
    pub async fn open(data: PathBuf) -> Result<Self, Failure> {
        let database = Database::open(DatabaseOptions::new(data.join("directory.db"), sql::MIGRATIONS)).await?;
        Ok(Self { database, hasher: Hasher::new().await?, failures: Arc::default() })
    }

    /// Whether the database can be written. The text says why not.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.database.check().await
    }

    /// Commits what waits and closes the database.
    pub async fn close(&self) {
        self.database.close().await;
    }

    async fn reader(&self) -> Result<Connection, StorageError> {
        Ok(self.database.reader().await?)
    }

    async fn moment(&self) -> Result<Connection, StorageError> {
        Ok(self.database.snapshot().await?)
    }

    /// The domains whose mail is ours.
    pub async fn our_domains(&self) -> Result<Vec<Domain>, Failure> {
        Ok(domains::all(&mut self.reader().await?).await?)
    }

    /// The account of this id.
    pub async fn account_of_id(&self, id: AccountId) -> Result<Option<Account>, Failure> {
        Ok(accounts::find_id(&mut self.reader().await?, id).await?)
    }

    /// At most `count` accounts, of all domains or one, in the order of their keys, behind the key `after`.
    pub async fn accounts_page(
        &self,
        domain: Option<&Domain>,
        after: &str,
        count: u32,
    ) -> Result<Vec<Account>, Failure> {
        Ok(accounts::page(&mut self.reader().await?, domain, after, count).await?)
    }

    /// At most `count` aliases, of all domains or one, in the order of their keys, behind the key `after`.
    pub async fn aliases_page(&self, domain: Option<&Domain>, after: &str, count: u32) -> Result<Vec<Alias>, Failure> {
        Ok(aliases::page(&mut self.reader().await?, domain, after, count).await?)
    }
}

#[async_trait]
impl LookUp for Store {
    async fn look_up(&self, addresses: &[Address]) -> Result<Vec<Found>, Failure> {
        // One moment for all of them.
        let mut moment = self.moment().await?;
        let mut found = Vec::with_capacity(addresses.len());
        for address in addresses {
            found.push(look_up(&mut moment, address).await?);
        }
        Ok(found)
    }
}

async fn look_up(connection: &mut Connection, address: &Address) -> Result<Found, StorageError> {
    if let Some(account) = accounts::find(&mut *connection, address).await? {
        return Ok(Found::Account(account));
    }
    if let Some(alias) = aliases::find(&mut *connection, address).await? {
        return Ok(Found::Alias(alias));
    }
    let ours = domains::exists(connection, address.domain()).await?;
    Ok(if ours { Found::Unknown } else { Found::Foreign })
}

#[cfg(test)]
mod tests;
