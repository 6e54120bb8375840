//! The secrets that cookies are made with, shared by all name servers of the cluster: kept with the settings, made by
//! whichever of them finds none or only an old one, and announced before they are used, so that a cookie which one node
//! made is taken by all.
//!
//! While no directory can be asked, a node goes on with what it has: at first with a secret of its own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use estafeta_core::settings::SettingsStore;
use estafeta_core::{Failure, RoleName};
use estafeta_net::drain::Drain;
use serde::{Deserialize, Serialize};

use super::{Jar, Secret};

/// The secret's name with the settings.
const NAME: &str = "cookie";

/// How often the shared secrets are read. A new one is announced for far longer before it is used.
const READ: Duration = Duration::from_secs(60);

/// After how long a secret is followed by another one, in seconds (RFC 7873 §7.1).
const LIFE_SECONDS: u64 = 30 * 24 * 3600;

/// How long before its use a secret is announced, in seconds (RFC 9018 §5).
const ANNOUNCED_SECONDS: u64 = 600;

/// How many are kept: the one in use, one before and one after it.
const KEPT: usize = 3;

/// The jar as of now: cheap to clone.
#[derive(Clone)]
pub struct Secrets(Arc<ArcSwap<Jar>>);

impl Secrets {
    /// Begins with a secret of this node's own.
    pub fn own() -> Result<Self, Failure> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Jar { current: random()?, others: vec![] }))))
    }

    /// The secrets now.
    pub fn current(&self) -> Arc<Jar> {
        self.0.load_full()
    }

    /// Follows the shared secrets until the drain begins.
    pub async fn follow(self, store: Arc<dyn SettingsStore>, drain: Drain) {
        let own = self.current().current.clone();
        let mut failing = false;
        loop {
            let shared = tokio::select! {
                shared = share(&*store, now_seconds()) => shared,
                () = drain.begun() => return,
            };
            match shared {
                Ok(shared) => {
                    let jar = shared.jar(&own, now_seconds());
                    if jar != *self.current() {
                        self.0.store(Arc::new(jar));
                    }
                    failing = false;
                }
                Err(failure) if !failing => {
                    tracing::warn!(%failure, "the secret of the DNS cookies cannot be read: cookies go on as before, and other name servers may not know those of this node; it is tried again every minute");
                    failing = true;
                }
                Err(_) => {}
            }
            // Not all nodes at the same moment.
            tokio::select! {
                () = tokio::time::sleep(READ.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
                () = drain.begun() => return,
            }
        }
    }
}

/// The secrets as they are kept, the oldest first.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shared {
    secrets: Vec<Dated>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Dated {
    /// From when new cookies are made with it, in seconds since 1970.
    from_seconds: u64,
    /// 128 bits, in hexadecimal digits.
    secret: String,
}

impl fmt::Debug for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dated").field("from_seconds", &self.from_seconds).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.secrets).finish()
    }
}

impl Shared {
    /// The secret to make new cookies with is the newest whose time has come; all are taken, and this node's own.
    fn jar(&self, own: &Secret, now_seconds: u64) -> Jar {
        let secret = |dated: &Dated| decode(&dated.secret);
        let current = self.secrets.iter().rev().find(|dated| dated.from_seconds <= now_seconds).and_then(secret);
        let current = current.unwrap_or_else(|| own.clone());
        let all = self.secrets.iter().filter_map(secret).chain([own.clone()]);
        let others = all.filter(|secret| *secret != current).collect();
        Jar { current, others }
    }

    /// With one more secret, if it is time for one: at once when there is none that could be in use already, else
    /// announced. None when nothing is to be done.
    fn renewed(
        &self,
        now_seconds: u64,
        new: impl FnOnce() -> Result<Secret, Failure>,
    ) -> Result<Option<Self>, Failure> {
        let newest = self.secrets.iter().map(|dated| dated.from_seconds).max();
        let from_seconds = match newest {
            None => now_seconds,
            Some(newest) if newest.saturating_add(LIFE_SECONDS) <= now_seconds => now_seconds + ANNOUNCED_SECONDS,
            Some(_) => return Ok(None),
        };
        let mut secrets = self.secrets.clone();
        secrets.push(Dated { from_seconds, secret: encode(&new()?) });
        let surplus = secrets.len().saturating_sub(KEPT);
        secrets.drain(..surplus);
        Ok(Some(Self { secrets }))
    }
}

/// Reads the shared secrets, and adds one when it is time. Of two nodes that do so at once one wins, and the other one
/// reads the winner's the next time.
async fn share(store: &dyn SettingsStore, now_seconds: u64) -> Result<Shared, Failure> {
    let kept = store.read_secret(&RoleName::DNS, NAME).await?;
    let known = kept.as_ref().map_or(0, |kept| kept.version);
    // What cannot be read was not written by us: it is replaced, for cookies are worth no more than a lost round trip.
    let shared: Shared = kept.and_then(|kept| serde_json::from_str(&kept.content).ok()).unwrap_or_default();
    let Some(renewed) = shared.renewed(now_seconds, random)? else { return Ok(shared) };
    let content = serde_json::to_string(&renewed).map_err(Failure::internal)?;
    match store.write_secret(&RoleName::DNS, NAME, known, &content).await {
        Ok(()) => Ok(renewed),
        Err(_) => Ok(shared),
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn random() -> Result<Secret, Failure> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::internal("the system gives no random numbers"))?;
    Ok(Secret(bytes))
}

fn encode(secret: &Secret) -> String {
    secret.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(text: &str) -> Option<Secret> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then(|| Secret(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u8) -> Secret {
        Secret([n; 16])
    }

    #[test]
    fn a_secret_is_announced_before_it_is_used() {
        let own = secret(9);
        let empty = Shared::default();
        assert_eq!(empty.jar(&own, 0), Jar { current: own.clone(), others: vec![] });
        let first = empty.renewed(1000, || Ok(secret(1))).unwrap().unwrap();
        assert_eq!(first.jar(&own, 1000), Jar { current: secret(1), others: vec![own.clone()] });
        assert_eq!(first.renewed(1000 + LIFE_SECONDS - 1, || Ok(secret(2))).unwrap(), None);
        let now = 1000 + LIFE_SECONDS;
        let second = first.renewed(now, || Ok(secret(2))).unwrap().unwrap();
        assert_eq!(second.jar(&own, now).current, secret(1));
        assert!(second.jar(&own, now).others.contains(&secret(2)), "taken before it is used");
        let later = second.jar(&own, now + ANNOUNCED_SECONDS);
        assert_eq!(later, Jar { current: secret(2), others: vec![secret(1), own] });
        let mut many = second;
        for n in 3..9 {
            let now = many.secrets.last().unwrap().from_seconds + LIFE_SECONDS;
            many = many.renewed(now, || Ok(secret(n))).unwrap().unwrap();
        }
        assert_eq!(many.secrets.len(), KEPT);
        let text = serde_json::to_string(&many).unwrap();
        assert_eq!(serde_json::from_str::<Shared>(&text).unwrap(), many);
        assert!(!format!("{many:?}").contains("0808"), "secrets are not printed");
    }

    #[test]
    fn digits() {
        assert_eq!(decode(&encode(&secret(0xab))), Some(secret(0xab)));
        for wrong in ["", "ab", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(decode(wrong), None);
        }
    }
}
