//! The directory's answers, kept where they are asked.
//!
//! Invariants: bounded in number and age; a change made through this cache empties it; an answer past its age is given
//! only while no directory can be reached, and only up to the longer age; passwords are kept as a keyed hash under a key
//! that lives and dies with the process.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::{Account, AccountChange, Alias, Directory, NewAccount, Resolution};
use crate::address::{Address, Domain};
use crate::failure::{Failure, Reason};
use crate::secret::Secret;

/// How long answers are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheAges {
    /// An address that exists, a password that was right.
    pub positive: Duration,
    /// An address that does not.
    pub negative: Duration,
    /// Either, while no directory can be reached.
    pub stale: Duration,
}

impl Default for CacheAges {
    fn default() -> Self {
        Self { positive: Duration::from_secs(60), negative: Duration::from_secs(10), stale: Duration::from_secs(24 * 3600) }
    }
}

/// Entries a table. An entry takes some 300 bytes.
const ENTRIES: usize = 100_000;

#[derive(Clone)]
struct Kept<T> {
    answer: T,
    since: Instant,
    age: Duration,
}

/// A directory in front of which a cache stands.
pub struct DirectoryCache {
    inner: Arc<dyn Directory>,
    ages: CacheAges,
    resolutions: Cache<String, Kept<Resolution>>,
    accounts: Cache<String, Kept<Account>>,
    logins: Cache<[u8; 32], Kept<Account>>,
    key: [u8; 32],
}

impl DirectoryCache {
    /// An empty cache before `inner`.
    pub fn new(inner: Arc<dyn Directory>, ages: CacheAges) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self {
            inner,
            ages,
            resolutions: Cache::new(ENTRIES),
            accounts: Cache::new(ENTRIES),
            logins: Cache::new(ENTRIES),
            key,
        }
    }

    fn login_key(&self, login: &str, password: &Secret) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_keyed(&self.key);
        hash.update(&(login.len() as u64).to_le_bytes()).update(login.to_lowercase().as_bytes());
        *hash.update(password.expose().as_bytes()).finalize().as_bytes()
    }

    fn forget(&self) {
        self.resolutions.clear();
        self.accounts.clear();
        self.logins.clear();
    }

    /// The kept answer while it is fresh; else what `ask` answers, which is kept for the age that `age` gives it; else,
    /// when no directory can be reached, the kept answer while it is not too stale.
    async fn look_up<K, T>(
        &self,
        table: &Cache<K, Kept<T>>,
        key: K,
        age: impl Fn(&T) -> Duration,
        ask: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure>
    where
        K: std::hash::Hash + Eq + Clone,
        T: Clone,
    {
        let kept = table.get(&key);
        if let Some(kept) = &kept
            && kept.since.elapsed() < kept.age
        {
            metrics::counter!("estafeta_directory_cache_total", "answer" => "fresh").increment(1);
            return Ok(kept.answer.clone());
        }
        match (ask.await, kept) {
            (Ok(answer), _) => {
                metrics::counter!("estafeta_directory_cache_total", "answer" => "asked").increment(1);
                table.insert(key, Kept { age: age(&answer), answer: answer.clone(), since: Instant::now() });
                Ok(answer)
            }
            (Err(failure), Some(kept)) if failure.reason == Reason::Unavailable && kept.since.elapsed() < self.ages.stale => {
                metrics::counter!("estafeta_directory_cache_total", "answer" => "stale").increment(1);
                tracing::debug!(%failure, "no directory answers: a kept answer serves");
                Ok(kept.answer)
            }
            (Err(failure), _) => {
                // What the directory denies now it may have granted before: the old grant must not outlive it.
                if failure.reason != Reason::Unavailable {
                    table.remove(&key);
                }
                Err(failure)
            }
        }
    }
}

#[async_trait]
impl Directory for DirectoryCache {
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
        let age = |resolution: &Resolution| match resolution {
            Resolution::Recipients(_) => self.ages.positive,
            _ => self.ages.negative,
        };
        self.look_up(&self.resolutions, address.key(), age, self.inner.resolve(address)).await
    }

    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        let key = self.login_key(login, password);
        self.look_up(&self.logins, key, |_| self.ages.positive, self.inner.authenticate(login, password, client)).await
    }

    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        self.look_up(&self.accounts, address.key(), |_| self.ages.positive, self.inner.account(address)).await
    }

    async fn accounts(&self, domain: Option<&Domain>) -> Result<Vec<Account>, Failure> {
        self.inner.accounts(domain).await
    }

    async fn add_account(&self, account: &NewAccount) -> Result<Account, Failure> {
        let answer = self.inner.add_account(account).await;
        self.forget();
        answer
    }

    async fn change_account(&self, address: &Address, change: &AccountChange) -> Result<Account, Failure> {
        let answer = self.inner.change_account(address, change).await;
        self.forget();
        answer
    }

    async fn set_password(&self, address: &Address, password: &Secret) -> Result<(), Failure> {
        let answer = self.inner.set_password(address, password).await;
        self.forget();
        answer
    }

    async fn remove_account(&self, address: &Address) -> Result<(), Failure> {
        let answer = self.inner.remove_account(address).await;
        self.forget();
        answer
    }

    async fn aliases(&self, domain: Option<&Domain>) -> Result<Vec<Alias>, Failure> {
        self.inner.aliases(domain).await
    }

    async fn add_alias(&self, alias: &Alias) -> Result<(), Failure> {
        let answer = self.inner.add_alias(alias).await;
        self.forget();
        answer
    }

    async fn remove_alias(&self, address: &Address) -> Result<(), Failure> {
        let answer = self.inner.remove_alias(address).await;
        self.forget();
        answer
    }
}
