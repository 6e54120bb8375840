//! Logins.
//!
//! Invariant: an unknown name, a wrong password and a disabled account look and cost the same from outside.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use estafeta_core::directory::Account;
use estafeta_core::{AccountId, Address, Failure, Reason, Secret};
use uuid::Uuid;

use super::Store;
use crate::guesses::{Attempt, FORGOTTEN_SECONDS};
use crate::password::Scheme;
use crate::sql::{accounts, credentials, failed_logins, now};

/// How much of a login that is no address is kept, in characters.
const LOGIN_CHARACTERS: usize = 256;

/// After so many failed logins those that no longer weigh on anybody are forgotten.
const PRUNE_EACH: u32 = 256;

impl Store {
    /// Whose login this is.
    pub(super) async fn log_in(&self, login: &str, password: &Secret, client: IpAddr) -> Result<Account, Failure> {
        let address: Option<Address> = login.parse().ok();
        let key = address
            .as_ref()
            .map_or_else(|| login.to_lowercase().chars().take(LOGIN_CHARACTERS).collect(), Address::key);
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

    /// Notes a wrong password.
    pub(super) async fn note_failure(&self, attempt: Attempt) -> Result<(), Failure> {
        let prune = self.failures.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRUNE_EACH);
        self.database
            .run(async move |connection| {
                let now = now();
                attempt.has_failed(&mut *connection, now).await?;
                if prune {
                    failed_logins::prune(connection, now.saturating_sub(FORGOTTEN_SECONDS), failed_logins::SUBJECTS)
                        .await?;
                }
                Ok::<_, Failure>(())
            })
            .await
    }
}

fn too_many(login: &str, client: IpAddr) -> Failure {
    metrics::counter!("estafeta_directory_logins_total", "result" => "limited").increment(1);
    tracing::info!(login, %client, "login refused: too many wrong passwords before");
    Failure::new(Reason::Busy, "too many wrong passwords, try again later")
}
