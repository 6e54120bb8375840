//! The thresholds of membership: `[membership]` of the configuration.

use std::time::Duration;

use serde::Deserialize;

/// How soon a node is taken for gone, and how soon it is named again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often this node gossips, in milliseconds.
    pub interval_ms: u64,
    /// A node is taken for gone when it has been silent for this many times its usual pause.
    pub silence_factor: u32,
    /// However short its pauses are, not before it has been silent this long, in milliseconds.
    pub silence_shortest_ms: u64,
    /// And however long they are, once it has been silent this long, in milliseconds.
    pub silence_longest_ms: u64,
    /// How long after the start of this node those that it has not heard of yet stand as it last knew them, in
    /// milliseconds.
    pub patience_ms: u64,
    /// How long a node that was gone must be well before it is named again, in milliseconds; doubled with each time that
    /// it goes again soon after.
    pub return_after_ms: u64,
    /// The most that this grows to, in milliseconds.
    pub return_longest_ms: u64,
    /// How long it must stay before the times that it went are forgotten, in seconds.
    pub forgiven_after_seconds: u64,
    /// When over half of a role vanishes within this time, in milliseconds, this node suspects itself.
    pub window_ms: u64,
    /// How many nodes probe each node from outside.
    pub probers: usize,
    /// How far the clocks of two nodes may be apart, in seconds: what is older than this is taken for a replay.
    pub clock_skew_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval_ms: 200,
            silence_factor: 8,
            silence_shortest_ms: 1000,
            silence_longest_ms: 2000,
            patience_ms: 10_000,
            return_after_ms: 2000,
            return_longest_ms: 60_000,
            forgiven_after_seconds: 600,
            window_ms: 10_000,
            probers: 3,
            clock_skew_seconds: 30,
        }
    }
}

impl Config {
    /// What cannot work, in words for whoever wrote it.
    pub fn check(&self) -> Result<(), String> {
        if self.interval_ms < 20 || self.interval_ms > 10_000 {
            return Err("interval_ms must be from 20 to 10000".into());
        }
        if self.silence_shortest_ms < 2 * self.interval_ms {
            return Err(
                "silence_shortest_ms must be twice interval_ms or more: else every lost packet is a death".into()
            );
        }
        if self.silence_longest_ms < self.silence_shortest_ms {
            return Err("silence_longest_ms must not be below silence_shortest_ms".into());
        }
        if self.return_longest_ms < self.return_after_ms {
            return Err("return_longest_ms must not be below return_after_ms".into());
        }
        if self.clock_skew_seconds == 0 || self.probers == 0 || self.silence_factor == 0 {
            return Err("silence_factor, probers and clock_skew_seconds must be above 0".into());
        }
        Ok(())
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }

    pub(crate) fn return_after(&self) -> Duration {
        Duration::from_millis(self.return_after_ms)
    }

    pub(crate) fn return_longest(&self) -> Duration {
        Duration::from_millis(self.return_longest_ms)
    }

    pub(crate) fn forgiven_after(&self) -> Duration {
        Duration::from_secs(self.forgiven_after_seconds)
    }

    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    pub(crate) fn silence(&self) -> (u32, Duration, Duration) {
        let (shortest, longest) = (self.silence_shortest_ms, self.silence_longest_ms);
        (self.silence_factor, Duration::from_millis(shortest), Duration::from_millis(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_work_and_nonsense_is_refused() {
        assert_eq!(Config::default().check(), Ok(()));
        let broken: [fn(&mut Config); 5] = [
            |config| config.interval_ms = 0,
            |config| config.silence_shortest_ms = 300,
            |config| config.silence_longest_ms = 10,
            |config| config.return_longest_ms = 1,
            |config| config.probers = 0,
        ];
        for breakage in broken {
            let mut config = Config::default();
            breakage(&mut config);
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
