//! The directory itself: people and settings in SQLite.
//!
//! Invariants: what a change answers with `Ok` is on disk; an unknown name, a wrong password and a disabled account look
//! and cost the same from outside.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use estafeta_core::directory::{ALIAS_TARGETS, Account, AccountChange, Alias, Directory, NewAccount, Resolution};
use estafeta_core::settings::{Settings, SettingsStore};
use estafeta_core::{AccountId, Address, Domain, Failure, Reason, Secret, StoreGroup};
use estafeta_storage::StorageError;
use estafeta_storage::sql::{Database, DatabaseOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Acquire, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::expand::{self, Found, LookUp};
use crate::guesses::{Attempt, FORGOTTEN_SECONDS};
use crate::password::{self, Hasher, Scheme};
use crate::sql::domains::Uses;
use crate::sql::{self, accounts, aliases, credentials, domains, failed_logins, now};

/// The longest name of a person, in bytes.
pub const NAME_BYTES: usize = 256;

/// How many rows a list reads at once.
const PAGE: u32 = 1000;

/// After so many failed logins those that no longer weigh on anybody are forgotten.
const PRUNE_EACH: u32 = 256;

/// Describes what is counted here.
pub fn describe_metrics() {
    metrics::describe_counter!("estafeta_directory_logins_total", "Logins that were tried, by result: right, wrong, limited");
}

/// The directory's state. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    hasher: Hasher,
    failures: Arc<AtomicU32>,
}

impl Store {
    /// Opens the database in this directory, and makes it if it is missing.
    pub async fn open(data: PathBuf) -> Result<Self, Failure> {
        let database = Database::open(DatabaseOptions::new(data.join("directory.db"), sql::MIGRATIONS)).await?;
        Ok(Self { database, hasher: Hasher::new().await?, failures: Arc::default() })
    }

    /// Commits what waits and closes the database.
    pub async fn close(&self) {
        self.database.close().await;
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StorageError> {
        Ok(self.database.readers().acquire().await?)
    }

    /// Changes an account, its password with it if one is given, and gives it as it is then.
    pub async fn modify_account(
        &self,
        address: &Address,
        change: &AccountChange,
        password: Option<&Secret>,
    ) -> Result<Account, Failure> {
        if let Some(name) = &change.name {
            check_name(name)?;
        }
        let verifiers = self.verifiers(password).await?;
        let with_password = !verifiers.is_empty();
        let (address, change) = (address.clone(), change.clone());
        let changed = self
            .database
            .run(async move |connection| {
                let account = accounts::update(&mut *connection, &address, &change).await?.ok_or_else(|| no_account(&address))?;
                if !verifiers.is_empty() {
                    credentials::replace(connection, account.id, &verifiers).await?;
                }
                Ok::<_, Failure>(account)
            })
            .await?;
        let Account { address, enabled, quota_bytes, .. } = &changed;
        tracing::info!(account = %address, enabled, ?quota_bytes, with_password, "account changed");
        Ok(changed)
    }

    async fn verifiers(&self, password: Option<&Secret>) -> Result<Vec<password::Verifier>, Failure> {
        let Some(password) = password else { return Ok(Vec::new()) };
        password::check(password)?;
        self.hasher.make(password).await
    }

    /// The account of this id.
    pub async fn account_of_id(&self, id: AccountId) -> Result<Option<Account>, Failure> {
        Ok(accounts::find_id(&mut *self.reader().await?, id).await?)
    }

    /// At most `count` accounts, of all domains or one, in the order of their keys, behind the key `after`.
    pub async fn accounts_page(&self, domain: Option<&Domain>, after: &str, count: u32) -> Result<Vec<Account>, Failure> {
        Ok(accounts::page(&mut *self.reader().await?, domain, after, count).await?)
    }

    /// At most `count` aliases, of all domains or one, in the order of their keys, behind the key `after`.
    pub async fn aliases_page(&self, domain: Option<&Domain>, after: &str, count: u32) -> Result<Vec<Alias>, Failure> {
        Ok(aliases::page(&mut *self.reader().await?, domain, after, count).await?)
    }

    /// Changes the targets of an alias, as they are at that moment. `edit` may be asked twice.
    pub async fn edit_alias<E>(&self, address: &Address, edit: impl Fn(&mut Alias) -> Result<(), E> + Send + 'static) -> Result<(), E>
    where
        E: From<Failure> + From<StorageError> + Send + 'static,
    {
        let asked = address.clone();
        self.database
            .run(async move |connection| {
                let mut alias = aliases::find(&mut *connection, &asked).await?.ok_or_else(|| no_alias(&asked))?;
                edit(&mut alias)?;
                aliases::replace_targets(connection, &checked_alias(&alias)?).await?;
                Ok::<_, E>(())
            })
            .await?;
        tracing::info!(alias = %address, "alias changed");
        Ok(())
    }

    /// Every domain and what of it is in use.
    pub async fn domains(&self) -> Result<Vec<(Domain, Uses)>, Failure> {
        let mut connection = self.reader().await?;
        let mut answer = Vec::new();
        for domain in domains::settings(&mut connection).await?.domains {
            let uses = domains::uses(&mut connection, &domain).await?;
            answer.push((domain, uses));
        }
        Ok(answer)
    }

    /// Notes a wrong password.
    async fn note_failure(&self, attempt: Attempt) -> Result<(), Failure> {
        let prune = self.failures.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRUNE_EACH);
        self.database
            .run(async move |connection| {
                let now = now();
                attempt.has_failed(&mut *connection, now).await?;
                if prune {
                    failed_logins::prune(connection, now.saturating_sub(FORGOTTEN_SECONDS), failed_logins::SUBJECTS).await?;
                }
                Ok::<_, Failure>(())
            })
            .await
    }
}

#[async_trait]
impl LookUp for Store {
    async fn look_up(&self, addresses: &[Address]) -> Result<Vec<Found>, Failure> {
        let mut connection = self.reader().await?;
        // One moment for all of them.
        let mut moment = connection.begin().await.map_err(StorageError::from)?;
        let mut found = Vec::with_capacity(addresses.len());
        for address in addresses {
            found.push(look_up(&mut moment, address).await?);
        }
        Ok(found)
    }
}

async fn look_up(connection: &mut SqliteConnection, address: &Address) -> Result<Found, StorageError> {
    if let Some(account) = accounts::find(&mut *connection, address).await? {
        return Ok(Found::Account(account));
    }
    if let Some(alias) = aliases::find(&mut *connection, address).await? {
        return Ok(Found::Alias(alias));
    }
    let ours = domains::exists(connection, address.domain()).await?;
    Ok(if ours { Found::Unknown } else { Found::Foreign })
}

#[async_trait]
impl Directory for Store {
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
        expand::resolve(self, address).await
    }

    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        let address: Option<Address> = login.parse().ok();
        let key = address.as_ref().map_or_else(|| login.to_lowercase().chars().take(NAME_BYTES).collect(), Address::key);
        let attempt = Attempt::new(&key, client);
        let mut connection = self.reader().await?;
        if !attempt.is_allowed(&mut connection, now()).await? {
            return Err(too_many(&key, client));
        }
        let account = match &address {
            Some(address) => accounts::find(&mut connection, address).await?,
            None => None,
        };
        // For nobody as for somebody, that it takes as long.
        let id = account.as_ref().map_or(AccountId(Uuid::nil()), |account| account.id);
        let verifier = credentials::find(&mut connection, id, Scheme::Argon2id).await?;
        // Not held while hashing: others may read meanwhile.
        drop(connection);
        let right = self.hasher.matches(password, verifier).await?;
        let Some(account) = account.filter(|account| right && account.enabled) else {
            metrics::counter!("estafeta_directory_logins_total", "result" => "wrong").increment(1);
            tracing::info!(login = key, %client, "login refused: wrong name or password, or the account is disabled");
            self.note_failure(attempt).await?;
            return Err(Failure::new(Reason::Credentials, "the name or the password is wrong"));
        };
        // Of many guesses at once, those that end when the limit is reached count for nothing.
        let mut connection = self.reader().await?;
        if !attempt.is_allowed(&mut connection, now()).await? {
            return Err(too_many(&key, client));
        }
        if attempt.has_weight(&mut connection).await? {
            drop(connection);
            self.database.run(async move |connection| attempt.has_succeeded(connection).await).await?;
        }
        metrics::counter!("estafeta_directory_logins_total", "result" => "right").increment(1);
        Ok(account)
    }

    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        accounts::find(&mut *self.reader().await?, address).await?.ok_or_else(|| no_account(address))
    }

    async fn accounts(&self, domain: Option<&Domain>) -> Result<Vec<Account>, Failure> {
        let mut all: Vec<Account> = Vec::new();
        loop {
            let after = all.last().map(|account| account.address.key()).unwrap_or_default();
            let page = self.accounts_page(domain, &after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    async fn accounts_in(&self, group: &StoreGroup) -> Result<u64, Failure> {
        Ok(accounts::count_in(&mut *self.reader().await?, group).await?)
    }

    async fn add_account(&self, new: &NewAccount) -> Result<Account, Failure> {
        check_name(&new.name)?;
        let verifiers = self.verifiers(new.password.as_ref()).await?;
        let account = Account {
            id: AccountId::random(),
            address: new.address.clone(),
            name: new.name.clone(),
            store_group: new.store_group.clone(),
            quota_bytes: new.quota_bytes,
            enabled: true,
            created: now(),
        };
        let added = account.clone();
        self.database
            .run(async move |connection| {
                check_free(&mut *connection, &added.address).await?;
                accounts::insert(&mut *connection, &added).await.map_err(|error| taken(error, &added.address))?;
                Ok::<_, Failure>(credentials::replace(connection, added.id, &verifiers).await?)
            })
            .await?;
        tracing::info!(account = %account.address, id = %account.id, store_group = %account.store_group, "account added");
        Ok(account)
    }

    async fn change_account(&self, address: &Address, change: &AccountChange) -> Result<Account, Failure> {
        self.modify_account(address, change, None).await
    }

    async fn set_password(&self, address: &Address, password: &Secret) -> Result<(), Failure> {
        self.modify_account(address, &AccountChange::default(), Some(password)).await.map(|_| ())
    }

    async fn remove_account(&self, address: &Address) -> Result<(), Failure> {
        let asked = address.clone();
        self.database
            .run(async move |connection| {
                let found = accounts::delete(connection, &asked).await?;
                if found { Ok(()) } else { Err(no_account(&asked)) }
            })
            .await?;
        tracing::info!(account = %address, "account removed");
        Ok(())
    }

    async fn aliases(&self, domain: Option<&Domain>) -> Result<Vec<Alias>, Failure> {
        let mut all: Vec<Alias> = Vec::new();
        loop {
            let after = all.last().map(|alias| alias.address.key()).unwrap_or_default();
            let page = self.aliases_page(domain, &after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    async fn add_alias(&self, alias: &Alias) -> Result<(), Failure> {
        let added = checked_alias(alias)?;
        self.database
            .run(async move |connection| {
                check_free(&mut *connection, &added.address).await?;
                aliases::insert(connection, &added).await.map_err(|error| taken(error, &added.address))
            })
            .await?;
        tracing::info!(alias = %alias.address, targets = alias.targets.len(), "alias added");
        Ok(())
    }

    async fn remove_alias(&self, address: &Address) -> Result<(), Failure> {
        let asked = address.clone();
        self.database
            .run(async move |connection| {
                let found = aliases::delete(connection, &asked).await?;
                if found { Ok(()) } else { Err(no_alias(&asked)) }
            })
            .await?;
        tracing::info!(alias = %address, "alias removed");
        Ok(())
    }
}

#[async_trait]
impl SettingsStore for Store {
    async fn read(&self) -> Result<Settings, Failure> {
        let mut connection = self.reader().await?;
        let mut moment = connection.begin().await.map_err(StorageError::from)?;
        Ok(domains::settings(&mut moment).await?)
    }

    async fn add_domain(&self, domain: &Domain) -> Result<(), Failure> {
        let asked = domain.clone();
        self.database
            .run(async move |connection| {
                if domains::exists(&mut *connection, &asked).await? {
                    return Err(Failure::new(Reason::Exists, format!("{asked} is a domain of this cluster already")));
                }
                Ok(domains::insert(connection, &asked).await?)
            })
            .await?;
        tracing::info!(%domain, "domain added");
        Ok(())
    }

    async fn remove_domain(&self, domain: &Domain) -> Result<(), Failure> {
        let asked = domain.clone();
        self.database
            .run(async move |connection| {
                let Uses { accounts, aliases } = domains::uses(&mut *connection, &asked).await?;
                if accounts + aliases > 0 {
                    let text = format!("{asked} is in use by {accounts} accounts and {aliases} aliases: remove them first");
                    return Err(Failure::new(Reason::Denied, text));
                }
                let missing = || Failure::new(Reason::NotFound, format!("{asked} is not a domain of this cluster"));
                let found = domains::delete(connection, &asked).await?;
                if found { Ok(()) } else { Err(missing()) }
            })
            .await?;
        tracing::info!(%domain, "domain removed");
        Ok(())
    }
}

/// That an address can be given away: its domain is ours and nobody has it.
async fn check_free(connection: &mut SqliteConnection, address: &Address) -> Result<(), Failure> {
    match look_up(connection, address).await? {
        Found::Unknown => Ok(()),
        Found::Account(_) => Err(Failure::new(Reason::Exists, format!("{address} exists already: it is an account"))),
        Found::Alias(_) => Err(Failure::new(Reason::Exists, format!("{address} exists already: it is an alias"))),
        Found::Foreign => {
            let domain = address.domain();
            let text = format!("{domain} is not a domain of this cluster; add it with: estafeta domain add {domain}");
            Err(Failure::new(Reason::NotFound, text))
        }
    }
}

/// The database's own refusal of what [`check_free`] let through.
fn taken(error: StorageError, address: &Address) -> Failure {
    if sql::is_taken(&error) { Failure::new(Reason::Exists, format!("{address} exists already")) } else { error.into() }
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        let text = format!("a person's name takes at most {NAME_BYTES} bytes and no control characters");
        return Err(Failure::new(Reason::Invalid, text));
    }
    Ok(())
}

/// The alias with each target once, if it is one.
fn checked_alias(alias: &Alias) -> Result<Alias, Failure> {
    let invalid = |text: String| Err(Failure::new(Reason::Invalid, text));
    let mut seen = std::collections::HashSet::new();
    let targets: Vec<Address> = alias.targets.iter().filter(|target| seen.insert(target.key())).cloned().collect();
    if targets.is_empty() {
        return invalid(format!("the alias {} needs at least one target", alias.address));
    }
    if targets.len() > ALIAS_TARGETS {
        return invalid(format!("the alias {} has {} targets: {ALIAS_TARGETS} are the most", alias.address, targets.len()));
    }
    if seen.contains(&alias.address.key()) {
        return invalid(format!("the alias {} cannot stand for itself", alias.address));
    }
    Ok(Alias { address: alias.address.clone(), targets })
}

fn no_account(address: &Address) -> Failure {
    Failure::new(Reason::NotFound, format!("there is no account {address}"))
}

fn no_alias(address: &Address) -> Failure {
    Failure::new(Reason::NotFound, format!("there is no alias {address}"))
}

fn too_many(login: &str, client: IpAddr) -> Failure {
    metrics::counter!("estafeta_directory_logins_total", "result" => "limited").increment(1);
    tracing::info!(login, %client, "login refused: too many wrong passwords before");
    Failure::new(Reason::Busy, "too many wrong passwords, try again later")
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_core::directory::suite;
    use sqlx::Row;

    async fn fixture() -> (tempfile::TempDir, Store) {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path().to_owned()).await.unwrap();
        for domain in ["example.edu", "example.org"] {
            store.add_domain(&domain.parse().unwrap()).await.unwrap();
        }
        (data, store)
    }

    fn ana(password: Option<&str>) -> NewAccount {
        NewAccount {
            address: "ana@example.edu".parse().unwrap(),
            name: String::new(),
            store_group: "group1".parse().unwrap(),
            quota_bytes: None,
            password: password.map(|password| Secret::new(password.into())),
        }
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        suite::run(async || {
            let (data, store) = fixture().await;
            suite::Fixture { directory: Arc::new(store), keep: Box::new(data) }
        })
        .await;
    }

    #[tokio::test]
    async fn settings_count_their_versions() {
        let (_data, store) = fixture().await;
        let domain = |text: &str| text.parse::<Domain>().unwrap();
        assert_eq!(store.read().await.unwrap(), Settings { version: 2, domains: vec![domain("example.edu"), domain("example.org")] });
        assert_eq!(store.add_domain(&domain("EXAMPLE.edu")).await.unwrap_err().reason, Reason::Exists);
        store.add_account(&ana(None)).await.unwrap();
        let denied = store.remove_domain(&domain("example.edu")).await.unwrap_err();
        assert_eq!((denied.reason, denied.client.as_str()), (Reason::Denied, "example.edu is in use by 1 accounts and 0 aliases: remove them first"));
        assert_eq!(store.remove_domain(&domain("foreign.net")).await.unwrap_err().reason, Reason::NotFound);
        store.remove_domain(&domain("example.org")).await.unwrap();
        assert_eq!(store.read().await.unwrap(), Settings { version: 3, domains: vec![domain("example.edu")] });
        assert_eq!(store.domains().await.unwrap(), [(domain("example.edu"), Uses { accounts: 1, aliases: 0 })]);
    }

    #[tokio::test]
    async fn a_password_is_two_rows_and_a_new_one_takes_their_place() {
        let (_data, store) = fixture().await;
        let account = store.add_account(&ana(Some("correct horse"))).await.unwrap();
        let rows = async || -> Vec<(String, String)> {
            let rows = sqlx::query("SELECT scheme, verifier FROM credentials ORDER BY scheme").fetch_all(store.database.readers()).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        let before = rows().await;
        assert_eq!(before.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["argon2id", "scram-sha-256"]);
        store.set_password(&account.address, &Secret::new("battery staple".into())).await.unwrap();
        let after = rows().await;
        assert_eq!(after.len(), 2);
        assert!(before.iter().all(|row| !after.contains(row)));
        store.remove_account(&account.address).await.unwrap();
        assert_eq!(rows().await, []);
    }

    #[tokio::test]
    async fn the_database_itself_guards_names_and_ids() {
        let (_data, store) = fixture().await;
        let account = store.add_account(&ana(None)).await.unwrap();
        let alias = Alias { address: account.address.clone(), targets: vec!["x@foreign.net".parse().unwrap()] };
        let taken = store.database.run(async move |connection| aliases::insert(connection, &alias).await).await.unwrap_err();
        assert!(sql::is_taken(&taken), "{taken}");
        store.remove_account(&account.address).await.unwrap();
        let back = store.database.run(async move |connection| accounts::insert(connection, &account).await).await.unwrap_err();
        assert!(back.to_string().contains("never used again"), "{back}");
        let foreign = Account { address: "ana@foreign.net".parse().unwrap(), id: AccountId::random(), ..store.add_account(&ana(None)).await.unwrap() };
        let foreign = store.database.run(async move |connection| accounts::insert(connection, &foreign).await).await.unwrap_err();
        assert!(foreign.to_string().contains("FOREIGN KEY"), "{foreign}");
    }

    #[tokio::test]
    async fn of_many_at_once_one_gets_the_name() {
        let (_data, store) = fixture().await;
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move {
                    if i % 2 == 0 {
                        return store.add_account(&ana(None)).await.map(|_| ());
                    }
                    let alias = Alias { address: ana(None).address, targets: vec!["x@foreign.net".parse().unwrap()] };
                    store.add_alias(&alias).await
                })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => made += 1,
                Err(failure) => assert_eq!(failure.reason, Reason::Exists),
            }
        }
        assert_eq!(made, 1);
    }

    #[tokio::test]
    async fn what_was_answered_is_there_after_a_restart() {
        let (data, store) = fixture().await;
        let account = store.add_account(&ana(Some("correct horse"))).await.unwrap();
        store.close().await;
        let store = Store::open(data.path().to_owned()).await.unwrap();
        let client = "192.0.2.1".parse().unwrap();
        assert_eq!(store.authenticate("ana@example.edu", &Secret::new("correct horse".into()), client).await.unwrap(), account);
        assert_eq!(store.read().await.unwrap().version, 2);
    }

    #[tokio::test]
    async fn guesses_are_forgotten_with_time_and_bounded_in_number() {
        let (_data, store) = fixture().await;
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mut connection = store.database.readers().acquire().await.unwrap();
        for _ in 0..10 {
            assert!(Attempt::new("ana@example.edu", client).is_allowed(&mut connection, now()).await.unwrap());
            store.note_failure(Attempt::new("ana@example.edu", client)).await.unwrap();
        }
        let attempt = Attempt::new("ana@example.edu", client);
        assert!(!attempt.is_allowed(&mut connection, now()).await.unwrap());
        assert!(attempt.is_allowed(&mut connection, now() + 61).await.unwrap());
        drop(connection);
        store
            .database
            .run(async |connection| {
                for i in 0..50 {
                    Attempt::new(&format!("a{i}@example.edu"), "192.0.2.9".parse().unwrap()).has_failed(&mut *connection, now()).await?;
                }
                failed_logins::prune(connection, 0, 20).await
            })
            .await
            .unwrap();
        let count: i64 = sqlx::query("SELECT count(*) FROM failed_logins").fetch_one(store.database.readers()).await.unwrap().get(0);
        assert_eq!(count, 20);
    }
}
