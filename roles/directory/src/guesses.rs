//! Limits on guessing passwords. Each wrong one weighs on three subjects, and each subject forgets at its own pace:
//! the account as this client's network sees it (few, so that nobody guesses on), the network (for guesses spread over
//! accounts), the account as all see it (for guesses spread over networks; far more, so that a stranger cannot easily
//! lock somebody out).
//!
//! Invariant: what is over a limit is refused without being compared or counted, so that a refusal costs nothing.

use estafeta_storage::sql::Connection;
use std::net::IpAddr;

use estafeta_core::network::network_of;
use estafeta_storage::StorageError;

use crate::sql::failed_logins::{self, Level};

/// How many wrong passwords a subject bears, and how long it takes to forget one.
#[derive(Debug, Clone, Copy)]
struct Limit {
    most: u32,
    forget_one_seconds: u32,
}

const ACCOUNT_FROM_NETWORK: Limit = Limit { most: 10, forget_one_seconds: 60 };
const NETWORK: Limit = Limit { most: 100, forget_one_seconds: 10 };
const ACCOUNT: Limit = Limit { most: 200, forget_one_seconds: 30 };

/// After so long nothing weighs on anybody: the longest of the limits' times.
pub const FORGOTTEN_SECONDS: u64 = 200 * 30;

/// One attempt to log in: the account's key, whether or not there is such an account, and who tries.
pub struct Attempt {
    subjects: [(String, Limit); 3],
}

impl Attempt {
    /// An attempt at the account of this key, from this client.
    pub fn new(key: &str, client: IpAddr) -> Self {
        let network = network_of(client).to_string();
        Self {
            subjects: [
                (format!("{key} {network}"), ACCOUNT_FROM_NETWORK),
                (network, NETWORK),
                (key.to_owned(), ACCOUNT),
            ],
        }
    }

    /// Whether one more guess may be made.
    pub async fn is_allowed(&self, connection: &mut Connection, now: u64) -> Result<bool, StorageError> {
        for (subject, limit) in &self.subjects {
            let kept = failed_logins::find(&mut *connection, subject).await?;
            // What is left of a guess, once it began to fade, does not count as one.
            if decayed(kept, *limit, now) > f64::from(limit.most - 1) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The password was wrong. Ask inside a transaction.
    pub async fn has_failed(&self, connection: &mut Connection, now: u64) -> Result<(), StorageError> {
        for (subject, limit) in &self.subjects {
            let kept = failed_logins::find(&mut *connection, subject).await?;
            let level = (decayed(kept, *limit, now) + 1.0).min(f64::from(limit.most));
            failed_logins::put(&mut *connection, subject, Level { level, at: now }).await?;
        }
        Ok(())
    }

    /// The password was right: this network may mistype again. What weighs on the others stays, else whoever has one
    /// account could guess at the rest.
    pub async fn has_succeeded(&self, connection: &mut Connection) -> Result<(), StorageError> {
        failed_logins::delete(connection, &self.subjects[0].0).await
    }

    /// Whether anything weighs on this account from this network, so that a success has something to forget.
    pub async fn has_weight(&self, connection: &mut Connection) -> Result<bool, StorageError> {
        Ok(failed_logins::find(connection, &self.subjects[0].0).await?.is_some())
    }
}

fn decayed(kept: Option<Level>, limit: Limit, now: u64) -> f64 {
    let Some(kept) = kept else { return 0.0 };
    let seconds = now.saturating_sub(kept.at).min(FORGOTTEN_SECONDS);
    let forgotten = std::time::Duration::from_secs(seconds).as_secs_f64() / f64::from(limit.forget_one_seconds);
    (kept.level - forgotten).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_guesser() {
        let subjects = |client: &str| {
            Attempt::new("ana@example.edu", client.parse().unwrap()).subjects.map(|(subject, _)| subject)
        };
        assert_eq!(subjects("2001:db8:1:2::1"), subjects("2001:db8:1:ff::1"));
        assert_ne!(subjects("2001:db8:1:2::1"), subjects("2001:db8:1:100::1"));
    }

    #[test]
    fn levels_decay_to_nothing() {
        let limit = Limit { most: 10, forget_one_seconds: 60 };
        let kept = Some(Level { level: 10.0, at: 1000 });
        assert_eq!(decayed(kept, limit, 1000), 10.0);
        assert_eq!(decayed(kept, limit, 1060), 9.0);
        assert_eq!(decayed(kept, limit, 1600), 0.0);
        // A clock that was set back forgives nothing and breaks nothing.
        assert_eq!(decayed(kept, limit, 10), 10.0);
        for limit in [ACCOUNT_FROM_NETWORK, NETWORK, ACCOUNT] {
            assert!(u64::from(limit.most) * u64::from(limit.forget_one_seconds) <= FORGOTTEN_SECONDS);
        }
    }
}
