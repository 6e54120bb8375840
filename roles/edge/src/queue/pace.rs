//! When a recipient is tried again, when its sender is told of the delay, and when it is given up (RFC 5321 §4.5.4.1).

use std::time::Duration;

use super::Destination;
use crate::config::QueueConfig;

/// How the pauses grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Before the first new attempt.
    pub shortest: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Pace {
    /// The pause after `attempts` attempts, the one that has just failed included; `chance` is from 0 to 1 and spreads
    /// what failed together, so that it does not come again together.
    pub fn pause(&self, attempts: u32, chance: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let pause = self.shortest.saturating_mul(doubled).min(self.longest);
        pause.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0))
    }
}

/// All about time that the queue is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paces {
    /// Other people's servers.
    pub servers: Pace,
    /// Mailboxes of our own.
    pub mailboxes: Pace,
    /// When the sender is told that a letter is late; none for never.
    pub warn_after: Option<Duration>,
    /// When a letter is given up.
    pub give_up_after: Duration,
}

impl Paces {
    /// As configured.
    pub fn of(config: &QueueConfig) -> Self {
        let pace =
            |shortest, longest| Pace { shortest: Duration::from_secs(shortest), longest: Duration::from_secs(longest) };
        Self {
            servers: pace(config.retry_shortest_seconds, config.retry_longest_seconds),
            mailboxes: pace(config.mailbox_retry_shortest_seconds, config.mailbox_retry_longest_seconds),
            warn_after: (config.warn_after_seconds > 0).then(|| Duration::from_secs(config.warn_after_seconds)),
            give_up_after: Duration::from_secs(config.give_up_after_seconds),
        }
    }

    /// The pace of a destination.
    pub fn of_destination(&self, destination: &Destination) -> &Pace {
        match destination {
            Destination::Group(_) => &self.mailboxes,
            Destination::Domain(_) => &self.servers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pace = Pace { shortest: Duration::from_secs(300), longest: Duration::from_secs(4 * 3600) };
        let middles: Vec<u64> = (1..=8).map(|attempts| pace.pause(attempts, 0.5).as_secs()).collect();
        assert_eq!(middles, [300, 600, 1200, 2400, 4800, 9600, 14400, 14400]);
        assert_eq!(pace.pause(1, 0.0).as_secs(), 240);
        assert_eq!(pace.pause(1, 1.0).as_secs(), 360);
        assert_eq!(pace.pause(u32::MAX, 0.5).as_secs(), 14400);
    }
}
