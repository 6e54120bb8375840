//! Limits on guessing passwords, as one access node sees it: a slower answer with each wrong password, then none at all
//! for a while.
//!
//! Two subjects bear the weight of a wrong password, and each forgets at its own pace: the login as this client's
//! network tries it, and the network (for guesses spread over logins; it bears far more, for a whole campus may stand
//! behind one address). The login as all networks try it is the directory's to limit, which sees every access node.
//!
//! Invariants: bounded memory; no clock of its own; what is refused is neither asked of the directory nor counted, so
//! that a refusal costs nothing and does not prolong itself.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much a subject bears.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Wrong passwords without any delay.
    free: f64,
    /// Wrong passwords after which there is no answer.
    most: f64,
    /// How long it takes to forget one.
    forget_one: Duration,
}

const LOGIN_FROM_NETWORK: Limit = Limit { free: 1.0, most: 10.0, forget_one: Duration::from_secs(60) };
const NETWORK: Limit = Limit { free: 20.0, most: 200.0, forget_one: Duration::from_secs(3) };

/// The longest delay of an answer.
pub const LONGEST_DELAY: Duration = Duration::from_secs(8);

/// Subjects that are remembered: 2 tables of 2 generations, some 40 bytes each.
const SUBJECTS: usize = 50_000;

/// What a client gets for its next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It is tried. Should the password be wrong, the answer waits as long as [`Guesses::failed`] says.
    Try,
    /// It is not; this long at least.
    Refuse(Duration),
}

/// The memory of wrong passwords.
pub struct Guesses {
    hasher: RandomState,
    logins: Table,
    networks: Table,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            logins: Table::new(LOGIN_FROM_NETWORK, SUBJECTS),
            networks: Table::new(NETWORK, SUBJECTS),
        }
    }
}

impl Guesses {
    /// What the next try gets.
    pub fn check(&self, login: &str, client: IpAddr, now: Instant) -> Ruling {
        let (login, network) = self.subjects(login, client);
        let wait = self.logins.wait(login, now).max(self.networks.wait(network, now));
        if wait.is_zero() { Ruling::Try } else { Ruling::Refuse(wait) }
    }

    /// The password was wrong. Gives how long the answer shall wait.
    pub fn failed(&self, login: &str, client: IpAddr, now: Instant) -> Duration {
        let (login, network) = self.subjects(login, client);
        self.logins.add(login, now).max(self.networks.add(network, now))
    }

    /// The password was right: this login may be mistyped again from here. What weighs on the network stays, else
    /// whoever has one account could guess at the rest.
    pub fn succeeded(&self, login: &str, client: IpAddr) {
        let (login, _) = self.subjects(login, client);
        self.logins.forget(login);
    }

    fn subjects(&self, login: &str, client: IpAddr) -> (u64, u64) {
        let network = network(client);
        (self.hasher.hash_one((login.to_lowercase(), network)), self.hasher.hash_one(network))
    }
}

/// What one customer of a provider usually has: an IPv4 /24, an IPv6 /56 (RIPE-690 §4.2).
fn network(client: IpAddr) -> Ipv6Addr {
    match client.to_canonical() {
        IpAddr::V4(address) => std::net::Ipv4Addr::from_bits(address.to_bits() & !0xff).to_ipv6_mapped(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !((1 << 72) - 1)),
    }
}

/// The weights of one kind of subject.
struct Table {
    limit: Limit,
    most_subjects: usize,
    generations: Mutex<Generations>,
}

/// Who failed of late, and who did before. When the young are too many they become the old, and the old are forgotten:
/// so whoever goes on guessing stays remembered.
#[derive(Default)]
struct Generations {
    young: HashMap<u64, Weight>,
    old: HashMap<u64, Weight>,
}

#[derive(Clone, Copy)]
struct Weight {
    level: f64,
    at: Instant,
}

impl Table {
    fn new(limit: Limit, most_subjects: usize) -> Self {
        Self { limit, most_subjects, generations: Mutex::default() }
    }

    /// How long a subject is refused from now on.
    fn wait(&self, subject: u64, now: Instant) -> Duration {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let over = self.level(&generations, subject, now) - (self.limit.most - 1.0);
        if over > 0.0 { self.limit.forget_one.mul_f64(over) } else { Duration::ZERO }
    }

    /// Adds a wrong password and gives the delay: none while few, then doubled with each quarter of what is borne.
    fn add(&self, subject: u64, now: Instant) -> Duration {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let level = (self.level(&generations, subject, now) + 1.0).min(self.limit.most);
        if generations.young.len() >= self.most_subjects {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(subject, Weight { level, at: now });
        if level <= self.limit.free {
            return Duration::ZERO;
        }
        let quarters = (level - self.limit.free) / (self.limit.most - self.limit.free) * 4.0;
        Duration::from_secs_f64(quarters.exp2() / 2.0).min(LONGEST_DELAY)
    }

    fn forget(&self, subject: u64) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.remove(&subject);
        generations.old.remove(&subject);
    }

    fn level(&self, generations: &Generations, subject: u64, now: Instant) -> f64 {
        let weight = generations.young.get(&subject).or_else(|| generations.old.get(&subject));
        weight.map_or(0.0, |weight| {
            let forgotten = now.saturating_duration_since(weight.at).div_duration_f64(self.limit.forget_one);
            (weight.level - forgotten).max(0.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn answers_grow_slower_then_stop_for_a_while() {
        let (guesses, start, client) = (Guesses::default(), Instant::now(), address("192.0.2.1"));
        let mut last = Duration::ZERO;
        for number in 1..=10 {
            assert_eq!(guesses.check("ana", client, start), Ruling::Try, "{number}");
            let delay = guesses.failed("Ana", client, start);
            assert!(if number == 1 { delay.is_zero() } else { delay > last && delay <= LONGEST_DELAY }, "{number}: {delay:?}");
            last = delay;
        }
        let Ruling::Refuse(wait) = guesses.check("ana", address("192.0.2.200"), start) else { panic!("not refused") };
        assert_eq!(wait, Duration::from_secs(60));
        assert_eq!(guesses.check("ana", client, start + wait), Ruling::Try);
        // Others are not touched: another login from here, the same login from elsewhere.
        assert_eq!(guesses.check("luis", client, start), Ruling::Try);
        assert_eq!(guesses.check("ana", address("198.51.100.1"), start), Ruling::Try);
        guesses.succeeded("ANA", client);
        assert_eq!(guesses.check("ana", client, start), Ruling::Try);
        assert_eq!(guesses.failed("ana", client, start), Duration::ZERO);
    }

    #[test]
    fn guesses_spread_over_logins_weigh_on_the_network() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let client = |index: u32| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(index)));
        for index in 0..200 {
            assert_eq!(guesses.check(&index.to_string(), client(index), start), Ruling::Try);
            guesses.failed(&index.to_string(), client(index), start);
            guesses.succeeded("own", client(index));
        }
        assert!(matches!(guesses.check("next", client(7), start), Ruling::Refuse(_)));
        assert_eq!(guesses.check("next", address("2001:db8:0:100::1"), start), Ruling::Try);
        assert_eq!(guesses.check("next", client(7), start + Duration::from_secs(3)), Ruling::Try);
    }

    #[test]
    fn networks_are_of_the_size_of_a_customer() {
        assert_eq!(network(address("192.0.2.1")), network(address("::ffff:192.0.2.255")));
        assert_ne!(network(address("192.0.2.1")), network(address("192.0.3.1")));
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8:0:ff::")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:100::")));
    }

    #[test]
    fn memory_is_bounded_and_whoever_goes_on_stays_remembered() {
        let table = Table::new(LOGIN_FROM_NETWORK, 100);
        let now = Instant::now();
        for index in 0..10_000 {
            table.add(index, now);
            table.add(1_000_000, now);
        }
        let generations = table.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 200);
        drop(generations);
        assert!(!table.wait(1_000_000, now).is_zero());
    }
}
