//! How many answers a network gets: whoever sends us questions under a victim's address makes us flood the victim with
//! answers, and is stopped by this. It counts answers, not questions, by the network that they go to: each answer apart
//! and all of them together, as other name servers' response rate limiting does.
//!
//! Invariants: pure, time is an argument; a fixed table, in which the longest unused row makes room; a resolver that is
//! held back still comes through, for some answers go out truncated and so send it to TCP, where no address is forged.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use estafeta_core::network::network_of;
use ipnet::IpNet;
use serde::Deserialize;

/// The section `[dns.limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often the same answer goes to one network (24 bits of IPv4, 56 of IPv6) over UDP, in a second; of answers that
    /// a name does not exist, all of a zone are the same. 0 for without limit. Default: 100.
    pub same_per_second: u32,
    /// How many answers of any kind go to one network over UDP, in a second. 0 for without limit. Default: 1000.
    pub all_per_second: u32,
    /// For how long at most whoever went on beyond a limit is held back once it stops, in seconds, 1 to 3600. Default: 5.
    pub window_seconds: u32,
    /// Of the answers beyond a limit each so-manieth goes out truncated, so that a real resolver asks again over TCP; the
    /// others are not sent. 0 for none, 1 for all. Default: 2.
    pub truncate_every: u32,
    /// Networks without limits. Default: this machine.
    pub exempt_networks: Vec<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = [IpNet::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8), IpNet::new(Ipv6Addr::LOCALHOST.into(), 128)];
        Self {
            same_per_second: 100,
            all_per_second: 1000,
            window_seconds: 5,
            truncate_every: 2,
            exempt_networks: loopback.into_iter().flatten().collect(),
        }
    }
}

impl Config {
    /// What is wrong with the values, in words for whoever wrote them.
    pub fn check(&self) -> Result<(), String> {
        match self.window_seconds {
            1..=3600 => Ok(()),
            seconds => Err(format!("limits.window_seconds = {seconds}: it takes 1 to 3600 seconds")),
        }
    }
}

/// What happens with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Answer,
    /// It is sent without records, with the bit that makes a resolver ask over TCP.
    Truncate,
    /// It is not sent.
    Silence,
}

/// The table's locks; each guards its part.
const SHARDS: usize = 64;

/// Rows that share a place in the table.
const WAYS: usize = 4;

/// Places in each part: 65,536 rows in all, 2 MB.
const PLACES: usize = 65_536 / SHARDS / WAYS;

/// One account: a network, or a network and an answer.
#[derive(Clone, Copy, Default)]
struct Row {
    /// Whose it is: a hash, 0 for nobody's.
    tag: u64,
    /// When it was charged last.
    at_ms: u64,
    /// What is left of it, in thousandths of an answer; below 0 it is in debt.
    balance: i64,
    /// How many answers were held back in a row.
    held_back: u32,
}

/// Counts answers.
pub struct Limiter {
    config: Config,
    hashing: RandomState,
    shards: Vec<Mutex<Vec<[Row; WAYS]>>>,
}

impl Limiter {
    /// Without anything counted.
    pub fn new(config: Config) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(vec![Default::default(); PLACES])).collect();
        Self { config, hashing: RandomState::new(), shards }
    }

    /// Charges an answer to the client's network. `answer` tells answers apart; `now_ms` is a clock that never goes back.
    pub fn judge(&self, client: IpAddr, answer: u64, now_ms: u64) -> Verdict {
        let client = client.to_canonical();
        if self.config.exempt_networks.iter().any(|network| network.contains(&client)) {
            return Verdict::Answer;
        }
        let network = counted_network(client);
        // Both are charged whatever the other says.
        let same = self.charge(self.hashing.hash_one((network, answer)), self.config.same_per_second, now_ms);
        let all = self.charge(self.hashing.hash_one(network), self.config.all_per_second, now_ms);
        let Some(held_back) = same.or(all) else { return Verdict::Answer };
        match self.config.truncate_every {
            0 => Verdict::Silence,
            every if held_back.is_multiple_of(every) => Verdict::Truncate,
            _ => Verdict::Silence,
        }
    }

    /// Takes an answer from an account. When it is in debt: how many were held back in a row, this one included.
    fn charge(&self, hash: u64, per_second: u32, now_ms: u64) -> Option<u32> {
        if per_second == 0 {
            return None;
        }
        let tag = hash.max(1);
        let shard = &self.shards[tag as usize % SHARDS];
        let mut places = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut places[(tag >> 32) as usize % PLACES];
        let rate = i64::from(per_second);
        let index = place.iter().position(|row| row.tag == tag).unwrap_or_else(|| {
            // The longest unused one makes room: who is being flooded now stays.
            let (oldest, _) = place.iter().enumerate().min_by_key(|(_, row)| row.at_ms).unwrap_or((0, &place[0]));
            place[oldest] = Row { tag, at_ms: now_ms, balance: rate * 1000, held_back: 0 };
            oldest
        });
        let row = &mut place[index];
        // A second's worth at most is saved up; a window's worth at most is owed.
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(row.at_ms)).unwrap_or(i64::MAX);
        let earned = rate.saturating_mul(elapsed_ms);
        let least = -rate * 1000 * i64::from(self.config.window_seconds);
        row.balance = (row.balance.saturating_add(earned).min(rate * 1000) - 1000).max(least);
        row.at_ms = row.at_ms.max(now_ms);
        if row.balance >= 0 {
            row.held_back = 0;
            return None;
        }
        row.held_back = row.held_back.wrapping_add(1);
        Some(row.held_back)
    }
}

/// Whom an answer is charged to: 24 bits of an IPv4 address, 56 of IPv6.
fn counted_network(client: IpAddr) -> IpAddr {
    match network_of(client) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        v6 => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(change: impl FnOnce(&mut Config)) -> Limiter {
        let mut config = Config {
            same_per_second: 10,
            all_per_second: 30,
            truncate_every: 3,
            exempt_networks: vec!["198.51.100.0/24".parse().unwrap()],
            ..Config::default()
        };
        change(&mut config);
        Limiter::new(config)
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn answered(limiter: &Limiter, client: IpAddr, answer: u64, at_ms: u64, times: usize) -> usize {
        (0..times).filter(|_| limiter.judge(client, answer, at_ms) == Verdict::Answer).count()
    }

    #[test]
    fn the_same_answer_goes_so_often_to_a_network() {
        let limiter = limiter(|_| {});
        assert_eq!(answered(&limiter, client(1), 1, 0, 8) + answered(&limiter, client(200), 1, 0, 8), 10);
        assert_eq!(answered(&limiter, IpAddr::from([192, 0, 3, 1]), 1, 0, 5), 5, "another network");
        assert_eq!(answered(&limiter, client(1), 2, 0, 5), 5, "another answer");
        // Held back by the six that were too many, then a second's worth again.
        assert_eq!(answered(&limiter, client(1), 1, 600, 1), 0);
        assert_eq!(answered(&limiter, client(1), 1, 60_000, 20), 10);
    }

    #[test]
    fn all_answers_together_are_limited_too() {
        let limiter = limiter(|_| {});
        let answered = (0..100).filter(|answer| limiter.judge(client(1), *answer, 0) == Verdict::Answer).count();
        assert_eq!(answered, 30);
    }

    #[test]
    fn a_resolver_that_is_held_back_is_sent_to_tcp_now_and_then() {
        let limiter = limiter(|_| {});
        answered(&limiter, client(1), 1, 0, 10);
        let verdicts: Vec<_> = (0..6).map(|_| limiter.judge(client(1), 1, 0)).collect();
        use Verdict::{Silence, Truncate};
        assert_eq!(verdicts, [Silence, Silence, Truncate, Silence, Silence, Truncate]);
    }

    #[test]
    fn a_debt_is_bounded_by_the_window() {
        let limiter = limiter(|config| config.window_seconds = 2);
        answered(&limiter, client(1), 1, 0, 100_000);
        assert_eq!(answered(&limiter, client(1), 1, 1_900, 1), 0);
        assert_eq!(answered(&limiter, client(1), 1, 4_500, 1), 1);
    }

    #[test]
    fn what_is_exempt_or_without_limit() {
        let limits = limiter(|_| {});
        assert_eq!(answered(&limits, IpAddr::from([198, 51, 100, 7]), 1, 0, 1000), 1000);
        let limits = limiter(|config| (config.same_per_second, config.all_per_second) = (0, 0));
        assert_eq!(answered(&limits, client(1), 1, 0, 1000), 1000);
        assert_eq!(Limiter::new(Config::default()).judge([127, 3, 2, 1].into(), 1, 0), Verdict::Answer);
    }

    /// A flood under a million forged addresses neither grows the table nor frees the one who floods.
    #[test]
    fn the_table_is_bounded() {
        let limiter = limiter(|_| {});
        let mut freed = 0;
        for n in 0..200_000_u32 {
            let forged = IpAddr::from((n << 8).to_be_bytes());
            limiter.judge(forged, 1, u64::from(n) / 100);
            if n > 1000 {
                freed += usize::from(limiter.judge(client(1), 1, u64::from(n) / 100) == Verdict::Answer);
            }
        }
        // Two seconds of ten answers, and the first second's worth.
        assert!(freed <= 30, "{freed}");
    }
}
