//! The directory's answers, kept where they are asked.
//!
//! Invariants: bounded in number and age; a change made through this cache empties it; an answer past its age is given
//! only while no directory can be reached, only up to the longer age, and only when it says yes (what did not exist may
//! exist by now: whoever asks must ask again); passwords are kept as a keyed hash under a key
//! that lives and dies with the process.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::{Account, AccountChange, Alias, Directory, NewAccount, Resolution};
use crate::address::{Address, Domain};
use crate::failure::{Failure, Reason};
use crate::name::StoreGroup;
use crate::secret::Secret;

/// How long answers are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheAges {
    /// An address that exists, a password that was right.
    pub positive: Duration,
    /// An address that does not.
    pub negative: Duration,
    /// What exists, while no directory can be reached.
    pub stale: Duration,
    /// How long after a directory was found away the kept answers serve without asking again: each question to a host
    /// that is unplugged takes seconds.
    pub away: Duration,
}

impl Default for CacheAges {
    fn default() -> Self {
        Self {
            positive: Duration::from_secs(60),
            negative: Duration::from_secs(10),
            stale: Duration::from_secs(24 * 3600),
            away: Duration::from_secs(5),
        }
    }
}

/// Entries a table. An entry takes some 300 bytes.
const ENTRIES: usize = 100_000;

#[derive(Clone)]
struct Kept<T> {
    answer: T,
    since: Instant,
    fresh: Duration,
    stale: Duration,
}

/// A directory in front of which a cache stands.
pub struct DirectoryCache {
    inner: Arc<dyn Directory>,
    ages: CacheAges,
    resolutions: Cache<String, Kept<Resolution>>,
    accounts: Cache<String, Kept<Account>>,
    logins: Cache<[u8; 32], Kept<Account>>,
    key: [u8; 32],
    /// When a directory was last found away.
    away: Mutex<Option<Instant>>,
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
            away: Mutex::default(),
        }
    }

    fn is_away(&self) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| since.elapsed() < self.ages.away)
    }

    fn note(&self, away: bool) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = away.then(Instant::now);
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

    /// The kept answer while it is fresh; else what `ask` answers, which is kept as long as `says_yes` makes it worth;
    /// else, when no directory can be reached, the kept answer while it is not too stale.
    async fn look_up<K, T>(
        &self,
        table: &Cache<K, Kept<T>>,
        key: K,
        says_yes: impl Fn(&T) -> bool,
        ask: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure>
    where
        K: std::hash::Hash + Eq + Clone,
        T: Clone,
    {
        let kept = table.get(&key);
        if let Some(kept) = &kept
            && kept.since.elapsed() < kept.fresh
        {
            count("fresh");
            return Ok(kept.answer.clone());
        }
        let kept = kept.filter(|kept| kept.since.elapsed() < kept.stale);
        if let Some(kept) = kept.as_ref().filter(|_| self.is_away()) {
            count("stale");
            return Ok(kept.answer.clone());
        }
        match (ask.await, kept) {
            (Ok(answer), _) => {
                count("asked");
                self.note(false);
                let (fresh, stale) = match says_yes(&answer) {
                    true => (self.ages.positive, self.ages.stale),
                    false => (self.ages.negative, Duration::ZERO),
                };
                table.insert(key, Kept { answer: answer.clone(), since: Instant::now(), fresh, stale });
                Ok(answer)
            }
            (Err(failure), Some(kept)) if failure.reason == Reason::Unavailable => {
                count("stale");
                self.note(true);
                tracing::debug!(%failure, "no directory answers: a kept answer serves");
                Ok(kept.answer)
            }
            (Err(failure), _) => {
                // What the directory denies now it may have granted before: the old grant must not outlive it.
                if failure.reason == Reason::Unavailable {
                    self.note(true);
                } else {
                    table.remove(&key);
                }
                Err(failure)
            }
        }
    }
}

fn count(answer: &'static str) {
    metrics::counter!("estafeta_directory_cache_total", "answer" => answer).increment(1);
}

#[async_trait]
impl Directory for DirectoryCache {
    async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
        let says_yes = |resolution: &Resolution| matches!(resolution, Resolution::Recipients(_));
        self.look_up(&self.resolutions, address.key(), says_yes, self.inner.resolve(address)).await
    }

    async fn authenticate(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        let key = self.login_key(login, password);
        self.look_up(&self.logins, key, |_| true, self.inner.authenticate(login, password, client)).await
    }

    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        self.look_up(&self.accounts, address.key(), |_| true, self.inner.account(address)).await
    }

    async fn accounts(&self, domain: Option<&Domain>) -> Result<Vec<Account>, Failure> {
        self.inner.accounts(domain).await
    }

    async fn accounts_in(&self, group: &StoreGroup) -> Result<u64, Failure> {
        self.inner.accounts_in(group).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::AccountId;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const HOUR: Duration = Duration::from_secs(3600);
    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Knows one account, ana, and can be unreachable; counts what it is asked.
    struct One {
        account: Mutex<Option<Account>>,
        password: Mutex<String>,
        down: Mutex<bool>,
        asked: AtomicUsize,
    }

    impl One {
        fn ask(&self) -> Result<Option<Account>, Failure> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if *self.down.lock().unwrap() {
                Err(Failure::unavailable("down"))
            } else {
                Ok(self.account.lock().unwrap().clone())
            }
        }

        fn asked(&self) -> usize {
            self.asked.swap(0, Ordering::Relaxed)
        }
    }

    fn not_found() -> Failure {
        Failure::new(Reason::NotFound, "nobody")
    }

    #[async_trait]
    impl Directory for One {
        async fn resolve(&self, address: &Address) -> Result<Resolution, Failure> {
            let found = self.ask()?.filter(|account| account.address.key() == address.key());
            Ok(found.map_or(Resolution::Unknown, |account| {
                Resolution::Recipients(vec![super::super::Target::Account(account)])
            }))
        }
        async fn authenticate(&self, _: &str, password: &Secret, _: IpAddr) -> Result<Account, Failure> {
            let right = *self.password.lock().unwrap() == password.expose();
            self.ask()?.filter(|_| right).ok_or_else(|| Failure::new(Reason::Credentials, "wrong"))
        }
        async fn account(&self, _: &Address) -> Result<Account, Failure> {
            self.ask()?.ok_or_else(not_found)
        }
        async fn accounts(&self, _: Option<&Domain>) -> Result<Vec<Account>, Failure> {
            Ok(self.ask()?.into_iter().collect())
        }
        async fn add_account(&self, _: &NewAccount) -> Result<Account, Failure> {
            self.ask()?.ok_or_else(not_found)
        }
        async fn change_account(&self, _: &Address, _: &AccountChange) -> Result<Account, Failure> {
            self.ask()?.ok_or_else(not_found)
        }
        async fn set_password(&self, _: &Address, password: &Secret) -> Result<(), Failure> {
            self.ask()?;
            *self.password.lock().unwrap() = password.expose().to_owned();
            Ok(())
        }
        async fn remove_account(&self, _: &Address) -> Result<(), Failure> {
            self.ask()?;
            *self.account.lock().unwrap() = None;
            Ok(())
        }
        async fn aliases(&self, _: Option<&Domain>) -> Result<Vec<Alias>, Failure> {
            self.ask().map(|_| Vec::new())
        }
        async fn add_alias(&self, _: &Alias) -> Result<(), Failure> {
            self.ask().map(|_| ())
        }
        async fn remove_alias(&self, _: &Address) -> Result<(), Failure> {
            self.ask().map(|_| ())
        }
    }

    fn ana() -> Address {
        "ana@example.edu".parse().unwrap()
    }

    fn cache(positive: Duration, negative: Duration, stale: Duration) -> (Arc<One>, DirectoryCache) {
        let account = Account {
            id: AccountId::random(),
            address: ana(),
            name: String::new(),
            store_group: "g".parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            enabled: true,
            created: 0,
        };
        let one = Arc::new(One {
            account: Mutex::new(Some(account)),
            password: Mutex::new("correct horse".into()),
            down: Mutex::new(false),
            asked: AtomicUsize::new(0),
        });
        let cache = DirectoryCache::new(one.clone(), CacheAges { positive, negative, stale, away: Duration::ZERO });
        (one, cache)
    }

    fn password(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[tokio::test]
    async fn a_fresh_answer_is_not_asked_for_again() {
        let (one, cache) = cache(HOUR, HOUR, HOUR);
        let first = cache.resolve(&ana()).await.unwrap();
        assert_eq!(cache.resolve(&"ANA@example.edu".parse().unwrap()).await.unwrap(), first);
        cache.account(&ana()).await.unwrap();
        cache.account(&ana()).await.unwrap();
        cache.authenticate("ana@example.edu", &password("correct horse"), CLIENT).await.unwrap();
        cache.authenticate("Ana@example.edu", &password("correct horse"), CLIENT).await.unwrap();
        assert_eq!(one.asked(), 3);
    }

    #[tokio::test]
    async fn nobody_has_an_age_of_its_own() {
        let nobody = "bea@example.edu".parse().unwrap();
        let (one, long) = cache(Duration::ZERO, HOUR, HOUR);
        assert_eq!(long.resolve(&nobody).await.unwrap(), Resolution::Unknown);
        assert_eq!(long.resolve(&nobody).await.unwrap(), Resolution::Unknown);
        assert_eq!(one.asked(), 1);
        let (one, short) = cache(HOUR, Duration::ZERO, HOUR);
        short.resolve(&nobody).await.unwrap();
        short.resolve(&nobody).await.unwrap();
        assert_eq!(one.asked(), 2);
    }

    #[tokio::test]
    async fn a_stale_answer_serves_only_while_nobody_answers() {
        let (one, aged) = cache(Duration::ZERO, Duration::ZERO, HOUR);
        let known = aged.resolve(&ana()).await.unwrap();
        aged.authenticate("ana@example.edu", &password("correct horse"), CLIENT).await.unwrap();
        *one.down.lock().unwrap() = true;
        assert_eq!(aged.resolve(&ana()).await.unwrap(), known);
        aged.authenticate("ana@example.edu", &password("correct horse"), CLIENT).await.unwrap();
        let wrong = aged.authenticate("ana@example.edu", &password("wrong horse"), CLIENT).await.unwrap_err();
        assert_eq!(wrong.reason, Reason::Unavailable);
        assert_eq!(aged.resolve(&"bea@example.edu".parse().unwrap()).await.unwrap_err().reason, Reason::Unavailable);
        // It is back, and ana is gone: the old answer is too.
        *one.down.lock().unwrap() = false;
        *one.account.lock().unwrap() = None;
        assert_eq!(aged.resolve(&ana()).await.unwrap(), Resolution::Unknown);

        let (one, too_old) = cache(Duration::ZERO, Duration::ZERO, Duration::ZERO);
        too_old.resolve(&ana()).await.unwrap();
        *one.down.lock().unwrap() = true;
        assert_eq!(too_old.resolve(&ana()).await.unwrap_err().reason, Reason::Unavailable);
    }

    #[tokio::test]
    async fn what_did_not_exist_is_asked_for_again() {
        let (one, aged) = cache(Duration::ZERO, Duration::ZERO, HOUR);
        let nobody = "bea@example.edu".parse().unwrap();
        assert_eq!(aged.resolve(&nobody).await.unwrap(), Resolution::Unknown);
        // She may have been made meanwhile: a sender must come again, not be told that there is nobody.
        *one.down.lock().unwrap() = true;
        assert_eq!(aged.resolve(&nobody).await.unwrap_err().reason, Reason::Unavailable);
    }

    #[tokio::test]
    async fn a_directory_that_is_away_is_not_waited_for_each_time() {
        let (one, mut aged) = cache(Duration::ZERO, Duration::ZERO, HOUR);
        aged.ages.away = HOUR;
        let known = aged.resolve(&ana()).await.unwrap();
        *one.down.lock().unwrap() = true;
        for _ in 0..3 {
            assert_eq!(aged.resolve(&ana()).await.unwrap(), known);
        }
        assert_eq!(one.asked(), 2);
    }

    #[tokio::test]
    async fn a_denial_ends_an_old_grant() {
        let (one, cache) = cache(Duration::ZERO, Duration::ZERO, HOUR);
        let right = password("correct horse");
        cache.authenticate("ana@example.edu", &right, CLIENT).await.unwrap();
        *one.password.lock().unwrap() = "battery staple".into();
        assert_eq!(
            cache.authenticate("ana@example.edu", &right, CLIENT).await.unwrap_err().reason,
            Reason::Credentials
        );
        *one.down.lock().unwrap() = true;
        assert_eq!(
            cache.authenticate("ana@example.edu", &right, CLIENT).await.unwrap_err().reason,
            Reason::Unavailable
        );
    }

    #[tokio::test]
    async fn a_change_here_is_seen_here_at_once() {
        let (one, cache) = cache(HOUR, HOUR, HOUR);
        cache.authenticate("ana@example.edu", &password("correct horse"), CLIENT).await.unwrap();
        cache.resolve(&ana()).await.unwrap();
        cache.set_password(&ana(), &password("battery staple")).await.unwrap();
        let old = cache.authenticate("ana@example.edu", &password("correct horse"), CLIENT).await.unwrap_err();
        assert_eq!(old.reason, Reason::Credentials);
        cache.authenticate("ana@example.edu", &password("battery staple"), CLIENT).await.unwrap();
        cache.remove_account(&ana()).await.unwrap();
        assert_eq!(cache.resolve(&ana()).await.unwrap(), Resolution::Unknown);
        assert_eq!(cache.account(&ana()).await.unwrap_err().reason, Reason::NotFound);
        assert!(cache.authenticate("ana@example.edu", &password("battery staple"), CLIENT).await.is_err());
        // A change that may or may not have been made empties the cache too.
        assert!(one.asked() > 0);
        cache.resolve(&ana()).await.unwrap();
        *one.down.lock().unwrap() = true;
        assert!(cache.set_password(&ana(), &password("one more word")).await.is_err());
        assert_eq!(cache.resolve(&ana()).await.unwrap_err().reason, Reason::Unavailable);
    }
}
