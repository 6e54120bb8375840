//! Who logs in: the directory's answer, behind what this node remembers of wrong passwords. Whoever guesses is answered
//! more and more slowly, then not at all.
//!
//! The directory counts over all nodes and by account too, and has the last word; this table spares it the storm.
//!
//! Invariant: the table holds at most [`SUBJECTS_LIMIT`] networks and logins; the one that was quiet longest makes room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafeta_core::directory::{Account, Directory};
use estafeta_core::network::network_of;
use estafeta_core::{Failure, Reason, Secret};

/// The one way in for people. Shared by all conversations of a role.
pub struct Gate {
    directory: Arc<dyn Directory>,
    guesses: Guesses,
}

impl Gate {
    /// A gate that remembers nothing yet.
    pub fn new(directory: Arc<dyn Directory>) -> Self {
        Self { directory, guesses: Guesses::default() }
    }

    /// Whose login this is. `on_behalf_of` is SASL's authorisation identity: nobody may act for another.
    pub async fn authenticate(
        &self,
        login: &str,
        password: &Secret,
        on_behalf_of: Option<&str>,
        client: IpAddr,
    ) -> Result<Account, Failure> {
        match self.guesses.advise(client, login, Instant::now()) {
            Advice::Refuse => {
                count("refused");
                return Err(Failure::new(Reason::Busy, "too many wrong passwords, try again later"));
            }
            Advice::AskAfter(pause) => tokio::time::sleep(pause).await,
        }
        let answer = self.directory.authenticate(login, password, client).await;
        match &answer {
            Ok(account)
                if on_behalf_of
                    .is_some_and(|other| !other.eq_ignore_ascii_case(login) && other != account.address.key()) =>
            {
                count("wrong");
                return Err(Failure::new(Reason::Denied, "you may not act for somebody else"));
            }
            Ok(_) => {
                count("right");
                self.guesses.has_succeeded(client, login);
            }
            Err(failure) if failure.reason == Reason::Credentials => {
                count("wrong");
                self.guesses.has_failed(client, login, Instant::now());
            }
            Err(_) => count("unanswered"),
        }
        answer
    }
}

fn count(answer: &'static str) {
    metrics::counter!("estafeta_logins_total", "answer" => answer).increment(1);
}

/// The most networks and logins that are remembered.
const SUBJECTS_LIMIT: usize = 20_000;
/// How much slower each wrong password makes the next answer, and the slowest.
const STEP: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(10);

/// How many wrong passwords a subject bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    /// So many are answered at full speed.
    free: u32,
    /// From so many on nothing is asked of the directory any more.
    refused: u32,
    /// How long one weighs.
    forget_one: Duration,
}

/// Of one login from one network: somebody who guesses at somebody.
const LOGIN: Limit = Limit { free: 3, refused: 20, forget_one: Duration::from_secs(60) };

/// Of a network altogether: a campus behind one address mistypes a lot, and forgets fast.
const NETWORK: Limit = Limit { free: 30, refused: 300, forget_one: Duration::from_secs(3) };

/// What to do with the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// Ask the directory after this pause.
    AskAfter(Duration),
    /// Refuse without asking.
    Refuse,
}

/// The table.
#[derive(Debug, Default)]
struct Guesses(Mutex<HashMap<String, Weight>>);

#[derive(Debug, Clone, Copy)]
struct Weight {
    wrong: u32,
    since: Instant,
}

impl Weight {
    /// What is left of it at `now`.
    fn at(self, now: Instant, limit: Limit) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_secs() / limit.forget_one.as_secs();
        self.wrong.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
    }
}

impl Guesses {
    /// What to do with an attempt of `client` at `login`.
    fn advise(&self, client: IpAddr, login: &str, now: Instant) -> Advice {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pause = Duration::ZERO;
        for (subject, limit) in subjects(client, login) {
            let wrong = table.get(&subject).map_or(0, |weight| weight.at(now, limit));
            if wrong >= limit.refused {
                return Advice::Refuse;
            }
            pause = pause.max((STEP * wrong.saturating_sub(limit.free)).min(SLOWEST));
        }
        Advice::AskAfter(pause)
    }

    /// The password was wrong.
    fn has_failed(&self, client: IpAddr, login: &str, now: Instant) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (subject, limit) in subjects(client, login) {
            if table.len() >= SUBJECTS_LIMIT && !table.contains_key(&subject) {
                make_room(&mut table, now);
            }
            let weight = table.entry(subject).or_insert(Weight { wrong: 0, since: now });
            let wrong = weight.at(now, limit).saturating_add(1).min(2 * limit.refused);
            *weight = Weight { wrong, since: now };
        }
    }

    /// The password was right: the login is forgiven; the network is not, or whoever has one account could guess at the
    /// rest.
    fn has_succeeded(&self, client: IpAddr, login: &str) {
        let [_, (login, _)] = subjects(client, login);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&login);
    }
}

/// The client's network, and its attempts at this login. The login as all see it is the directory's to count, or a
/// stranger could lock somebody out.
fn subjects(client: IpAddr, login: &str) -> [(String, Limit); 2] {
    let network = network_of(client).to_string();
    let short: String = login.chars().take(128).flat_map(char::to_lowercase).collect();
    let login = format!("{network} {short}");
    [(network, NETWORK), (login, LOGIN)]
}

/// Forgets what weighs nothing any more, and if that is not enough, whoever was quiet longest.
fn make_room(table: &mut HashMap<String, Weight>, now: Instant) {
    table.retain(|_, weight| weight.at(now, LOGIN) > 0);
    if table.len() >= SUBJECTS_LIMIT {
        let mut times: Vec<Instant> = table.values().map(|weight| weight.since).collect();
        let tenth = times.len() / 10;
        let (_, &mut oldest, _) = times.select_nth_unstable(tenth);
        table.retain(|_, weight| weight.since > oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn slower_then_refused_then_forgotten() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..LOGIN.free {
            assert_eq!(guesses.advise(client(1), "ana", now), Advice::AskAfter(Duration::ZERO));
            guesses.has_failed(client(1), "ana", now);
        }
        guesses.has_failed(client(1), "ANA", now);
        assert_eq!(guesses.advise(client(1), "ana", now), Advice::AskAfter(STEP));
        for _ in 0..LOGIN.refused {
            guesses.has_failed(client(1), "ana", now);
        }
        assert_eq!(guesses.advise(client(1), "ana", now), Advice::Refuse);
        // Neither a colleague behind the same address nor ana elsewhere is locked out with her.
        assert_eq!(guesses.advise(client(1), "bob", now), Advice::AskAfter(Duration::ZERO));
        assert_eq!(guesses.advise(client(2), "ana", now), Advice::AskAfter(Duration::ZERO));
        let later = now + LOGIN.forget_one * 100;
        assert_eq!(guesses.advise(client(1), "ana", later), Advice::AskAfter(Duration::ZERO));
    }

    #[test]
    fn a_network_that_guesses_at_everybody_is_refused() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..NETWORK.refused {
            guesses.has_failed("2001:db8::1".parse().unwrap(), &format!("user{number}"), now);
        }
        assert_eq!(guesses.advise("2001:db8:0:ff::1".parse().unwrap(), "bob", now), Advice::Refuse);
        assert_eq!(guesses.advise("2001:db8:0:100::1".parse().unwrap(), "bob", now), Advice::AskAfter(Duration::ZERO));
    }

    #[test]
    fn a_success_forgives_the_login_and_not_the_network() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..LOGIN.refused {
            guesses.has_failed(client(1), "ana", now);
        }
        guesses.has_succeeded(client(1), "ana");
        assert_eq!(guesses.advise(client(1), "ana", now), Advice::AskAfter(Duration::ZERO));
        assert_eq!(guesses.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_table_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..30_000 {
            guesses.has_failed(client(number), "ana", now + Duration::from_millis(number.into()));
        }
        assert!(guesses.0.lock().unwrap().len() <= SUBJECTS_LIMIT);
    }
}
