//! A directory in memory, for the tests of whoever asks one. A double, not an implementation: logins and passwords are
//! compared as they stand, without the Unicode preparation that the suite asks of the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{
    ALIAS_DEPTH, ALIAS_TARGETS, Account, AccountChange, Alias, Directory, NewAccount, PASSWORD_CHARACTERS, Resolution,
    Target,
};
use crate::address::{Address, Domain};
use crate::administration::Administration;
use crate::failure::{Failure, Reason};
use crate::name::{AccountId, RoleName};
use crate::secret::Secret;
use crate::settings::{KeptSecret, Settings, SettingsStore};

/// Domains, accounts and aliases, gone when it is dropped.
#[derive(Default)]
pub struct MemoryDirectory(Mutex<Content>);

#[derive(Default)]
struct Content {
    version: u64,
    domains: BTreeSet<Domain>,
    accounts: BTreeMap<String, (Account, Option<Secret>)>,
    aliases: BTreeMap<String, Alias>,
    secrets: BTreeMap<(RoleName, String), KeptSecret>,
    /// Wrong passwords by login and client. Nothing here forgets them.
    wrong: BTreeMap<(String, IpAddr), u32>,
}

/// How many wrong passwords for a login are looked at, from one client.
const WRONG: u32 = 10;

impl MemoryDirectory {
    fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn resolve(&self, address: &Address) -> Resolution {
        if !self.domains.contains(address.domain()) {
            return Resolution::Foreign;
        }
        let mut found = Found::default();
        match self.expand(address, 0, &mut found) {
            Err(why) => Resolution::Blocked(why),
            Ok(()) if !found.targets.is_empty() => Resolution::Recipients(found.targets),
            Ok(()) if found.disabled || found.alias => {
                Resolution::Blocked(format!("nobody behind {address} may receive"))
            }
            Ok(()) => Resolution::Unknown,
        }
    }

    fn free(&self, address: &Address) -> Result<(), Failure> {
        if !self.domains.contains(address.domain()) {
            return Err(Failure::new(
                Reason::NotFound,
                format!("{} is not a domain of this cluster", address.domain()),
            ));
        }
        if self.accounts.contains_key(&address.key()) || self.aliases.contains_key(&address.key()) {
            return Err(Failure::new(Reason::Exists, format!("{address} exists already")));
        }
        Ok(())
    }

    fn account(&mut self, address: &Address) -> Result<&mut (Account, Option<Secret>), Failure> {
        self.accounts
            .get_mut(&address.key())
            .ok_or_else(|| Failure::new(Reason::NotFound, format!("there is no account {address}")))
    }

    /// Adds what an address stands for; notes a disabled account. An error: it leads too far.
    fn expand(&self, address: &Address, depth: usize, found: &mut Found) -> Result<(), String> {
        if depth > ALIAS_DEPTH {
            return Err(format!("{address} leads too deep, or in a circle"));
        }
        let target = if let Some((account, _)) = self.accounts.get(&address.key()) {
            if !account.enabled {
                found.disabled = true;
                return Ok(());
            }
            Target::Account(account.clone())
        } else if let Some(alias) = self.aliases.get(&address.key()) {
            found.alias = true;
            return alias.targets.iter().try_for_each(|target| self.expand(target, depth + 1, found));
        } else if self.domains.contains(address.domain()) {
            return Ok(());
        } else {
            Target::Remote(address.clone())
        };
        if !found.targets.iter().any(|known| key(known) == key(&target)) {
            found.targets.push(target);
        }
        if found.targets.len() > ALIAS_TARGETS {
            return Err(format!("{address} stands for more than {ALIAS_TARGETS} recipients"));
        }
        Ok(())
    }
}

/// What an address stands for.
#[derive(Default)]
struct Found {
    targets: Vec<Target>,
    disabled: bool,
    alias: bool,
}

fn key(target: &Target) -> String {
    match target {
        Target::Account(account) => account.address.key(),
        Target::Remote(address) => address.key(),
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.chars().any(char::is_control) {
        return Err(Failure::new(Reason::Invalid, "a name is one line"));
    }
    Ok(())
}

fn check_password(password: &Secret) -> Result<(), Failure> {
    if password.expose().chars().count() < PASSWORD_CHARACTERS {
        return Err(Failure::new(
            Reason::Invalid,
            format!("a password takes at least {PASSWORD_CHARACTERS} characters"),
        ));
    }
    Ok(())
}

#[async_trait]
impl Directory for MemoryDirectory {
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
        Ok(match (self.content().resolve(address), address.split_detail()) {
            (Resolution::Unknown, Some((base, _))) => self.content().resolve(&base),
            (resolution, _) => resolution,
        })
    }

    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        let mut content = self.content();
        let attempt = (login.to_lowercase(), client);
        if content.wrong.get(&attempt).is_some_and(|wrong| *wrong >= WRONG) {
            return Err(Failure::new(Reason::Busy, "too many wrong passwords, try again later"));
        }
        match content.accounts.get(&attempt.0) {
            Some((account, Some(right))) if account.enabled && right == password => Ok(account.clone()),
            _ => {
                *content.wrong.entry(attempt).or_default() += 1;
                Err(Failure::new(Reason::Credentials, "the name or the password is wrong"))
            }
        }
    }

    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        self.content().account(address).map(|(account, _)| account.clone())
    }

    async fn accounts(&self, domain: Option<&Domain>) -> Result<Vec<Account>, Failure> {
        let content = self.content();
        let accounts = content.accounts.values().map(|(account, _)| account);
        Ok(accounts.filter(|account| domain.is_none_or(|domain| account.address.domain() == domain)).cloned().collect())
    }

    async fn add_account(&self, new: &NewAccount) -> Result<Account, Failure> {
        let mut content = self.content();
        content.free(&new.address)?;
        check_name(&new.name)?;
        new.password.as_ref().map(check_password).transpose()?;
        let account = Account {
            id: AccountId::random(),
            address: new.address.clone(),
            name: new.name.clone(),
            store_group: new.store_group.clone(),
            quota_bytes: new.quota_bytes,
            quota_messages: new.quota_messages,
            enabled: true,
            created: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        content.accounts.insert(new.address.key(), (account.clone(), new.password.clone()));
        Ok(account)
    }

    async fn change_account(&self, address: &Address, change: &AccountChange) -> Result<Account, Failure> {
        let mut content = self.content();
        let (account, _) = content.account(address)?;
        let AccountChange { name, store_group, quota_bytes, quota_messages, enabled } = change.clone();
        check_name(name.as_deref().unwrap_or_default())?;
        account.name = name.unwrap_or_else(|| account.name.clone());
        account.store_group = store_group.unwrap_or_else(|| account.store_group.clone());
        account.quota_bytes = quota_bytes.unwrap_or(account.quota_bytes);
        account.quota_messages = quota_messages.unwrap_or(account.quota_messages);
        account.enabled = enabled.unwrap_or(account.enabled);
        Ok(account.clone())
    }

    async fn set_password(&self, address: &Address, password: &Secret) -> Result<(), Failure> {
        check_password(password)?;
        self.content().account(address)?.1 = Some(password.clone());
        Ok(())
    }

    async fn remove_account(&self, address: &Address) -> Result<(), Failure> {
        let mut content = self.content();
        content.account(address)?;
        content.accounts.remove(&address.key());
        Ok(())
    }

    async fn aliases(&self, domain: Option<&Domain>) -> Result<Vec<Alias>, Failure> {
        let content = self.content();
        let aliases = content.aliases.values();
        Ok(aliases.filter(|alias| domain.is_none_or(|domain| alias.address.domain() == domain)).cloned().collect())
    }

    async fn add_alias(&self, alias: &Alias) -> Result<(), Failure> {
        let mut content = self.content();
        content.free(&alias.address)?;
        if alias.targets.is_empty() || alias.targets.len() > ALIAS_TARGETS {
            return Err(Failure::new(Reason::Invalid, format!("an alias takes 1 to {ALIAS_TARGETS} targets")));
        }
        content.aliases.insert(alias.address.key(), alias.clone());
        Ok(())
    }

    async fn remove_alias(&self, address: &Address) -> Result<(), Failure> {
        let removed = self.content().aliases.remove(&address.key());
        removed.map(drop).ok_or_else(|| Failure::new(Reason::NotFound, format!("there is no alias {address}")))
    }
}

/// Knows no operation.
#[async_trait]
impl Administration for MemoryDirectory {
    async fn perform(&self, operation: &str, _: serde_json::Value) -> Result<serde_json::Value, Failure> {
        Err(Failure::new(Reason::NotFound, format!("there is no operation {operation:?} here")))
    }
}

#[async_trait]
impl SettingsStore for MemoryDirectory {
    async fn read(&self) -> Result<Settings, Failure> {
        let content = self.content();
        Ok(Settings {
            version: content.version,
            domains: content.domains.iter().cloned().collect(),
            ..Settings::default()
        })
    }

    async fn add_domain(&self, domain: &Domain) -> Result<(), Failure> {
        let mut content = self.content();
        if !content.domains.insert(domain.clone()) {
            return Err(Failure::new(Reason::Exists, format!("{domain} is a domain of this cluster already")));
        }
        content.version += 1;
        Ok(())
    }

    async fn remove_domain(&self, domain: &Domain) -> Result<(), Failure> {
        let mut content = self.content();
        let accounts = content.accounts.values().map(|(account, _)| &account.address);
        let used = accounts
            .chain(content.aliases.values().map(|alias| &alias.address))
            .any(|address| address.domain() == domain);
        if used {
            return Err(Failure::new(Reason::Denied, format!("accounts or aliases use {domain}")));
        }
        if !content.domains.remove(domain) {
            return Err(Failure::new(Reason::NotFound, format!("{domain} is not a domain of this cluster")));
        }
        content.version += 1;
        Ok(())
    }

    async fn read_secret(&self, role: &RoleName, name: &str) -> Result<Option<KeptSecret>, Failure> {
        Ok(self.content().secrets.get(&(role.clone(), name.to_owned())).cloned())
    }

    async fn write_secret(&self, role: &RoleName, name: &str, known: u64, content: &str) -> Result<(), Failure> {
        let mut all = self.content();
        let key = (role.clone(), name.to_owned());
        let version = all.secrets.get(&key).map_or(0, |secret| secret.version);
        if version != known {
            return Err(Failure::new(Reason::Exists, format!("version {version} of {role} {name} stands there")));
        }
        all.secrets.insert(key, KeptSecret { version: version + 1, content: content.to_owned() });
        Ok(())
    }
}
