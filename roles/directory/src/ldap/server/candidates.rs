//! The entries that a search looks at, in one fixed order, so that a search in pages can go on where it stopped without
//! anything being kept here.
//!
//! The order: by domain; in a domain its own entry, the one above its accounts, the accounts by key, the one above its
//! aliases, the aliases by key.

use std::collections::{BTreeMap, VecDeque};

use estafeta_core::{AccountId, Address, Domain, Failure};

use crate::expand::{Found, LookUp as _};
use crate::ldap::entry::Entry;
use crate::ldap::filter::{Keys, Reach};
use crate::ldap::place::{Place, Scope};
use crate::store::Store;

/// How many accounts are read at once.
const ACCOUNTS: u32 = 500;

/// How many aliases: one may have a thousand targets.
const ALIASES: u32 = 50;

/// Where an entry stands in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    domain: String,
    stage: Stage,
    key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Domain,
    People,
    Accounts,
    AboveAliases,
    Aliases,
}

const STAGES: [Stage; 5] = [Stage::Domain, Stage::People, Stage::Accounts, Stage::AboveAliases, Stage::Aliases];

impl Position {
    /// Of an entry in the tree.
    pub fn of(place: &Place) -> Option<Self> {
        let (stage, key) = match place {
            Place::Root | Place::Subschema => return None,
            Place::Domain(_) => (Stage::Domain, String::new()),
            Place::People(_) => (Stage::People, String::new()),
            Place::Account(address) => (Stage::Accounts, address.key()),
            Place::Aliases(_) => (Stage::AboveAliases, String::new()),
            Place::Alias(address) => (Stage::Aliases, address.key()),
        };
        Some(Self { domain: place.domain()?.to_string(), stage, key })
    }

    /// As the cookie of a page (RFC 2696 §2).
    pub fn cookie(&self) -> Vec<u8> {
        let stage = STAGES.iter().position(|stage| *stage == self.stage).unwrap_or_default();
        format!("{stage} {} {}", self.domain, self.key).into_bytes()
    }

    /// Back from the cookie; none when it is not one of ours.
    pub fn from_cookie(cookie: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(cookie).ok()?.splitn(3, ' ');
        let stage = *STAGES.get(parts.next()?.parse::<usize>().ok()?)?;
        Some(Self { stage, domain: parts.next()?.to_owned(), key: parts.next()?.to_owned() })
    }
}

/// What a search looks at: a few entries, or a walk through the tree.
pub enum Candidates {
    /// These.
    Few(VecDeque<Entry>),
    /// The tree, as far as it can be below the base.
    Walk(Box<Walk>),
}

impl Candidates {
    /// What can fit at most, behind `after`.
    pub async fn new(
        store: &Store,
        base: &Place,
        scope: Scope,
        reach: Reach,
        domains: &[Domain],
        after: Option<Position>,
    ) -> Result<Self, Failure> {
        let is_leaf = matches!(base, Place::Subschema | Place::Account(_) | Place::Alias(_));
        if scope == Scope::Base || is_leaf {
            return Ok(Self::Few(at(store, base, domains).await?.into_iter().collect()));
        }
        match reach {
            Reach::Everything => {
                Ok(Self::Walk(Box::new(Walk::new(store.clone(), base.clone(), scope, domains, after))))
            }
            Reach::Only(keys) => {
                let mut few = of_keys(store, keys, domains).await?;
                few.retain(|position, _| after.as_ref().is_none_or(|after| position > after));
                Ok(Self::Few(few.into_values().collect()))
            }
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> Result<Option<Entry>, Failure> {
        match self {
            Self::Few(entries) => Ok(entries.pop_front()),
            Self::Walk(walk) => walk.next().await,
        }
    }
}

/// The entry at a place.
pub async fn at(store: &Store, place: &Place, domains: &[Domain]) -> Result<Option<Entry>, Failure> {
    let ours = place.domain().is_some_and(|domain| domains.contains(domain));
    Ok(match place {
        Place::Root => Some(Entry::of_root(domains)),
        Place::Subschema => Some(Entry::of_subschema()),
        Place::Domain(domain) => ours.then(|| Entry::of_domain(domain)),
        Place::People(domain) => ours.then(|| Entry::of_people(domain)),
        Place::Aliases(domain) => ours.then(|| Entry::of_aliases(domain)),
        Place::Account(address) | Place::Alias(address) => {
            let found = store.look_up(std::slice::from_ref(address)).await?;
            found.iter().find_map(of_found).filter(|entry| entry.place.is(place))
        }
    })
}

fn of_found(found: &Found) -> Option<Entry> {
    match found {
        Found::Account(account) => Some(Entry::of_account(account)),
        Found::Alias(alias) => Some(Entry::of_alias(alias)),
        Found::Unknown | Found::Foreign => None,
    }
}

async fn of_keys(store: &Store, keys: Keys, domains: &[Domain]) -> Result<BTreeMap<Position, Entry>, Failure> {
    let mut addresses = keys.addresses;
    for local in &keys.locals {
        let possible = domains.iter().filter_map(|domain| Address::new(local, domain.clone()).ok());
        addresses.extend(possible.map(|address| (address.key(), address)));
    }
    let addresses: Vec<Address> = addresses.into_values().collect();
    let mut entries: Vec<Entry> = store.look_up(&addresses).await?.iter().filter_map(of_found).collect();
    for id in keys.ids {
        entries.extend(store.account_of_id(AccountId(id)).await?.as_ref().map(Entry::of_account));
    }
    entries.extend(keys.domains.iter().filter(|domain| domains.contains(domain)).map(Entry::of_domain));
    Ok(entries.into_iter().filter_map(|entry| Some((Position::of(&entry.place)?, entry))).collect())
}

/// A walk through the tree in its order, reading a bounded number of rows at a time.
pub struct Walk {
    store: Store,
    base: Place,
    scope: Scope,
    domains: VecDeque<Domain>,
    stage: Stage,
    /// In a stage of many, the key behind which it goes on.
    key: String,
    read: VecDeque<Entry>,
}

impl Walk {
    fn new(store: Store, base: Place, scope: Scope, domains: &[Domain], after: Option<Position>) -> Self {
        let mut domains: VecDeque<Domain> = domains
            .iter()
            .filter(|domain| match &base {
                Place::Root | Place::Domain(_) => true,
                other => other.domain() == Some(domain),
            })
            .cloned()
            .collect();
        let (mut stage, mut key) = (Stage::Domain, String::new());
        if let Some(after) = after {
            domains.retain(|domain| domain.as_str() >= after.domain.as_str());
            if domains.front().is_some_and(|domain| domain.as_str() == after.domain) {
                (stage, key) = (after.stage, after.key);
                if !matches!(stage, Stage::Accounts | Stage::Aliases) {
                    stage = STAGES.into_iter().find(|next| *next > stage).unwrap_or(Stage::Aliases);
                }
            }
        }
        Self { store, base, scope, domains, stage, key, read: VecDeque::new() }
    }

    async fn next(&mut self) -> Result<Option<Entry>, Failure> {
        while self.read.is_empty() {
            let Some(domain) = self.domains.front().cloned() else { return Ok(None) };
            self.read_on(&domain).await?;
        }
        Ok(self.read.pop_front())
    }

    /// Reads the next entries of this domain, or goes on to the next stage or domain.
    async fn read_on(&mut self, domain: &Domain) -> Result<(), Failure> {
        match self.stage {
            Stage::Domain => self.read.push_back(Entry::of_domain(domain)),
            Stage::People => self.read.push_back(Entry::of_people(domain)),
            Stage::AboveAliases => self.read.push_back(Entry::of_aliases(domain)),
            Stage::Accounts if self.wants(&Place::People(domain.clone())) => {
                let page = self.store.accounts_page(Some(domain), &self.key, ACCOUNTS).await?;
                self.read.extend(page.iter().map(Entry::of_account));
                if let Some(last) = page.last() {
                    self.key = last.address.key();
                    return Ok(());
                }
            }
            Stage::Aliases if self.wants(&Place::Aliases(domain.clone())) => {
                let page = self.store.aliases_page(Some(domain), &self.key, ALIASES).await?;
                self.read.extend(page.iter().map(Entry::of_alias));
                if let Some(last) = page.last() {
                    self.key = last.address.key();
                    return Ok(());
                }
            }
            Stage::Accounts | Stage::Aliases => {}
        }
        self.key.clear();
        match STAGES.into_iter().find(|next| *next > self.stage) {
            Some(next) => self.stage = next,
            None => {
                self.stage = Stage::Domain;
                self.domains.pop_front();
            }
        }
        Ok(())
    }

    /// Whether anything directly below `unit` can be found: what is not is not read.
    fn wants(&self, unit: &Place) -> bool {
        match self.scope {
            Scope::One | Scope::Base => self.base.is(unit),
            Scope::Subtree | Scope::Below => self.base.is(unit) || self.base.reaches(Scope::Below, unit, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_come_back() {
        for place in [
            Place::Domain("example.edu".parse().unwrap()),
            Place::Account("\"a b\"@example.edu".parse().unwrap()),
            Place::Aliases("example.edu".parse().unwrap()),
        ] {
            let position = Position::of(&place).unwrap();
            assert_eq!(Position::from_cookie(&position.cookie()), Some(position));
        }
        for bad in [&b""[..], b"9 a b", b"1", b"1 a", b"\xff", b"-1 a b"] {
            assert_eq!(Position::from_cookie(bad), None);
        }
    }
}
