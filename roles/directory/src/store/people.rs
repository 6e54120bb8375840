//! People in the database: the contract `Directory`.

use estafeta_storage::sql::Connection;
use std::collections::HashSet;
use std::net::IpAddr;

use async_trait::async_trait;
use estafeta_core::directory::{ALIAS_TARGETS, Account, AccountChange, Alias, Directory, NewAccount, Resolution};
use estafeta_core::{AccountId, Address, Domain, Failure, Reason, Secret, StoreGroup};
use estafeta_storage::StorageError;

use super::{Store, look_up};
use crate::expand::{self, Found};
use crate::password::{self, Verifier};
use crate::sql::{self, accounts, aliases, credentials, now};

/// The longest name of a person, in bytes.
const NAME_BYTES: usize = 256;

/// How many rows a list reads at once.
const PAGE: u32 = 1000;

impl Store {
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
                let account =
                    accounts::update(&mut *connection, &address, &change).await?.ok_or_else(|| no_account(&address))?;
                if !verifiers.is_empty() {
                    credentials::replace(connection, account.id, &verifiers).await?;
                }
                Ok::<_, Failure>(account)
            })
            .await?;
        let Account { address, enabled, quota_bytes, quota_messages, .. } = &changed;
        tracing::info!(account = %address, enabled, ?quota_bytes, ?quota_messages, with_password, "account changed");
        Ok(changed)
    }

    async fn verifiers(&self, password: Option<&Secret>) -> Result<Vec<Verifier>, Failure> {
        let Some(password) = password else { return Ok(Vec::new()) };
        password::check(password)?;
        self.hasher.make(password).await
    }
    /// Changes the targets of an alias, as they are at that moment. `edit` may be asked twice.
    pub async fn edit_alias<E>(
        &self,
        address: &Address,
        edit: impl Fn(&mut Alias) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E>
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
}

#[async_trait]
impl Directory for Store {
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
        expand::resolve(self, address).await
    }
    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        self.log_in(login, password, client).await
    }

    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        accounts::find(&mut self.reader().await?, address).await?.ok_or_else(|| no_account(address))
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
        Ok(accounts::count_in(&mut self.reader().await?, group).await?)
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
            quota_messages: new.quota_messages,
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

/// That an address can be given away: its domain is ours and nobody has it.
async fn check_free(connection: &mut Connection, address: &Address) -> Result<(), Failure> {
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
    let mut seen = HashSet::new();
    let targets: Vec<Address> = alias.targets.iter().filter(|target| seen.insert(target.key())).cloned().collect();
    if targets.is_empty() {
        return invalid(format!("the alias {} needs at least one target", alias.address));
    }
    if targets.len() > ALIAS_TARGETS {
        return invalid(format!(
            "the alias {} has {} targets: {ALIAS_TARGETS} are the most",
            alias.address,
            targets.len()
        ));
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
