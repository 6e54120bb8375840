//! How often an account may log in by POP3 (RFC 2449 §6.6): some programs ask every few seconds whether mail has come.
//!
//! Each access node counts by itself. Invariant: an account is remembered for as long as it has to wait, and no longer
//! than until the next login that finds the memory full.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafeta_core::AccountId;

/// How many accounts are remembered before those that need not wait any more are forgotten.
const REMEMBERED: usize = 10_000;

/// The last logins.
pub struct Pace {
    delay: Duration,
    last: Mutex<HashMap<AccountId, Instant>>,
}

impl Pace {
    /// One login in this time. Zero lets everybody in at once.
    pub fn new(delay: Duration) -> Self {
        Self { delay, last: Mutex::default() }
    }

    /// The delay, in seconds.
    pub fn seconds(&self) -> u32 {
        u32::try_from(self.delay.as_secs()).unwrap_or(u32::MAX)
    }

    /// Notes a login now; when it comes too soon, it is not noted and this is how long the account has to wait.
    pub fn log_in(&self, account: AccountId, now: Instant) -> Result<(), Duration> {
        if self.delay.is_zero() {
            return Ok(());
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |before: &Instant| self.delay.saturating_sub(now.saturating_duration_since(*before));
        if let Some(wait) = last.get(&account).map(wait).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        if last.len() >= REMEMBERED {
            last.retain(|_, before| !wait(before).is_zero());
        }
        last.insert(account, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn who_comes_too_soon_waits_and_others_do_not() {
        let (pace, now) = (Pace::new(Duration::from_secs(60)), Instant::now());
        let (one, other) = (AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        assert_eq!(pace.log_in(one, now), Ok(()));
        assert_eq!(pace.log_in(one, now + Duration::from_secs(20)), Err(Duration::from_secs(40)));
        assert_eq!(pace.log_in(other, now), Ok(()));
        // Having been refused does not make the wait longer.
        assert_eq!(pace.log_in(one, now + Duration::from_secs(60)), Ok(()));
        assert_eq!(Pace::new(Duration::ZERO).log_in(one, now), Ok(()));
    }

    #[test]
    fn who_need_not_wait_is_forgotten() {
        let (pace, now) = (Pace::new(Duration::from_secs(1)), Instant::now());
        for number in 0..REMEMBERED as u128 {
            pace.log_in(AccountId(Uuid::from_u128(number)), now).unwrap();
        }
        pace.log_in(AccountId(Uuid::from_u128(u128::MAX)), now + Duration::from_secs(2)).unwrap();
        assert_eq!(pace.last.lock().unwrap().len(), 1);
    }
}
