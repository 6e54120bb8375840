//! Hashing off the runtime's own threads, a bounded number at a time.
//!
//! Invariants: a comparison takes as long when there is nothing to compare with, so that time does not tell who exists;
//! past the bound the answer is Unavailable at once, not a queue without end. It is not Busy, which says that somebody
//! guesses at passwords: here nobody is to blame, another directory may have room, and a right password that was given
//! before is remembered.

use std::sync::Arc;
use std::time::Instant;

use estafeta_core::{Failure, Reason, Secret};
use tokio::sync::{Semaphore, TryAcquireError};

use super::{Verifier, argon2id, normal, verifiers};

/// How many wait for each that is hashed: at 25 ms each, some two seconds.
const WAITING: usize = 80;

/// Describes what is counted here.
pub fn describe_metrics() {
    metrics::describe_histogram!(
        "estafeta_directory_hashing_seconds",
        metrics::Unit::Seconds,
        "How long a password waited for its turn to be hashed and was hashed"
    );
}

/// Hashes passwords. Cheap to clone.
#[derive(Clone)]
pub struct Hasher {
    running: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// What is compared with when there is nothing to compare with.
    decoy: Arc<str>,
}

impl Hasher {
    /// A hasher that uses every processor, and no more.
    pub async fn new() -> Result<Self, Failure> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self::with_bounds(processors, processors * (WAITING + 1)).await
    }

    async fn with_bounds(running: usize, places: usize) -> Result<Self, Failure> {
        let decoy = tokio::task::spawn_blocking(|| argon2id::make(&Secret::new("decoy".into()))).await;
        let decoy = decoy.map_err(Failure::internal)??;
        Ok(Self {
            running: Arc::new(Semaphore::new(running)),
            places: Arc::new(Semaphore::new(places)),
            decoy: decoy.into(),
        })
    }

    /// The verifiers to keep of a password.
    pub async fn make(&self, password: &Secret) -> Result<Vec<Verifier>, Failure> {
        let password = password.clone();
        self.run(move || verifiers(&password)).await
    }

    /// Whether the argon2id verifier was made of this password; without one, no, after the same time.
    pub async fn matches(&self, password: &Secret, verifier: Option<String>) -> Result<bool, Failure> {
        let (password, decoy) = (password.clone(), self.decoy.clone());
        self.run(move || {
            let password = normal(&password);
            match verifier {
                Some(verifier) => argon2id::matches(&password, &verifier),
                None => argon2id::matches(&password, &decoy).map(|_| false),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let place = self.places.clone().try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => Failure::new(Reason::Unavailable, "too many logins at once, try again later")
                .because("every place before the password hash is taken"),
            TryAcquireError::Closed => Failure::internal(error),
        })?;
        let permit = self.running.clone().acquire_owned().await.map_err(Failure::internal)?;
        // The permits go with the work, so that a caller who gives up does not make room for more than is bounded.
        let work = move || {
            let _held = (place, permit);
            work()
        };
        let answer = tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?;
        metrics::histogram!("estafeta_directory_hashing_seconds").record(begun.elapsed().as_secs_f64());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn right_wrong_and_nobody() {
        let hasher = Hasher::new().await.unwrap();
        let password = Secret::new("correct horse".into());
        let verifier = hasher.make(&password).await.unwrap().swap_remove(0).text;
        assert!(hasher.matches(&password, Some(verifier.clone())).await.unwrap());
        assert!(!hasher.matches(&Secret::new("wrong horse".into()), Some(verifier)).await.unwrap());
        assert!(!hasher.matches(&Secret::new("decoy".into()), None).await.unwrap());
    }

    /// The same work, by its parameters; a clock would only measure what else the machine does.
    #[tokio::test]
    async fn nobody_takes_as_long_as_somebody() {
        let hasher = Hasher::new().await.unwrap();
        let verifier = hasher.make(&Secret::new("correct horse".into())).await.unwrap().swap_remove(0).text;
        let parameters = |text: &str| text.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parameters(&verifier), parameters(&hasher.decoy));
        // Filling 19 MiB twice takes longer than this on any machine; not doing it takes microseconds.
        let begun = Instant::now();
        hasher.matches(&Secret::new("wrong horse".into()), None).await.unwrap();
        assert!(begun.elapsed().as_millis() >= 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn past_the_bound_it_is_unavailable_and_nobody_is_blamed() {
        let hasher = Hasher::with_bounds(1, 2).await.unwrap();
        let wrong = Secret::new("wrong horse".into());
        let (one, two, three) =
            tokio::join!(hasher.matches(&wrong, None), hasher.matches(&wrong, None), hasher.matches(&wrong, None));
        assert!(!one.unwrap() && !two.unwrap());
        assert_eq!(three.unwrap_err().reason, Reason::Unavailable);
    }
}
