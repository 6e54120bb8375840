//! When a role that was gone is named again: quick to leave, slower to come back, slower each time.

use std::time::{Duration, Instant};

use crate::membership::Config;

/// How often one role of a node has gone lately, and since when it is well again.
#[derive(Debug, Clone, Default)]
pub struct Comeback {
    wait: Duration,
    well_since: Option<Instant>,
    gone: Option<Instant>,
}

impl Comeback {
    /// It went. What it must wait when it is well again doubles, unless it had stayed for long.
    pub fn leave(&mut self, config: &Config, now: Instant) {
        let soon = self.gone.is_some_and(|last| now.saturating_duration_since(last) < config.forgiven_after());
        self.wait = if soon { (self.wait * 2).min(config.return_longest()) } else { config.return_after() };
        self.wait = self.wait.max(config.return_after());
        self.gone = Some(now);
        self.well_since = None;
    }

    /// It is not well: waiting begins anew.
    pub fn ill(&mut self) {
        self.well_since = None;
    }

    /// It is well. Gives how long it has to stay so before it is named again: nothing when it may be now.
    pub fn well(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.well_since.get_or_insert(now);
        let left = self.wait.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_takes_longer_until_it_is_forgiven() {
        let config = Config::default();
        let mut now = Instant::now();
        let mut comeback = Comeback::default();
        assert_eq!(comeback.well(now), None);
        let mut waits = Vec::new();
        for _ in 0..8 {
            comeback.leave(&config, now);
            waits.push(comeback.well(now).unwrap().as_millis());
            now += Duration::from_secs(100);
            assert_eq!(comeback.well(now), None);
        }
        assert_eq!(waits, [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        now += config.forgiven_after();
        comeback.leave(&config, now);
        assert_eq!(comeback.well(now), Some(config.return_after()));
        now += Duration::from_millis(1500);
        assert_eq!(comeback.well(now), Some(Duration::from_millis(500)));
        comeback.ill();
        assert_eq!(comeback.well(now), Some(config.return_after()));
    }
}
