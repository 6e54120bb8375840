//! How one node is heard: the pauses between the growths of its heartbeat, and when its silence has lasted too long.
//!
//! An accrual failure detector (Hayashibara et al., 2004) in its simplest form: silence is measured in the node's usual
//! pauses, within bounds. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::membership::Config;

/// How many pauses are remembered.
const PAUSES: usize = 64;

/// What is heard of one node.
#[derive(Debug, Clone, Default)]
pub struct Hearing {
    /// The start of the node whose heartbeat grew last, and the heartbeats of each start that is known.
    beats: Vec<(u64, u64)>,
    speaking: Option<u64>,
    last: Option<Instant>,
    pauses: VecDeque<Duration>,
}

/// How many starts of a node are watched at a time.
const BOOTS: usize = 4;

impl Hearing {
    /// Takes the heartbeat of a start of the node. The first one that is known of a start may be hearsay about somebody
    /// who is gone: only growth is life.
    pub fn hear(&mut self, boot: u64, heartbeat: u64, now: Instant) {
        match self.beats.iter_mut().find(|(known, _)| *known == boot) {
            Some((_, known)) if heartbeat > *known => *known = heartbeat,
            Some(_) => return,
            None => {
                if self.beats.len() >= BOOTS {
                    self.beats.remove(0);
                }
                self.beats.push((boot, heartbeat));
                return;
            }
        }
        if self.speaking != Some(boot) {
            self.speaking = Some(boot);
            self.pauses.clear();
        } else if let Some(last) = self.last {
            if self.pauses.len() >= PAUSES {
                self.pauses.pop_front();
            }
            self.pauses.push_back(now.saturating_duration_since(last));
        }
        self.last = Some(now);
    }

    /// The start of the node that is speaking.
    pub fn speaking(&self) -> Option<u64> {
        self.speaking
    }

    /// How long the node has been silent; none when it was never heard.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        self.last.map(|last| now.saturating_duration_since(last))
    }

    /// Whether the node is heard: it spoke, and its silence has not lasted too long.
    pub fn is_heard(&self, config: &Config, now: Instant) -> bool {
        self.silence(now).is_some_and(|silence| silence <= self.allowed(config))
    }

    /// How long it may be silent.
    fn allowed(&self, config: &Config) -> Duration {
        let (factor, shortest, longest) = config.silence();
        let usual = match u32::try_from(self.pauses.len()) {
            Ok(0) | Err(_) => return longest,
            Ok(count) => self.pauses.iter().sum::<Duration>() / count,
        };
        (usual * factor).clamp(shortest, longest)
    }

    /// This node itself was away for so long: that is nobody else's silence.
    pub fn excuse(&mut self, away: Duration) {
        self.last = self.last.and_then(|last| last.checked_add(away));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn growth_is_life_and_silence_is_measured_in_pauses() {
        let config = Config::default();
        let start = Instant::now();
        let mut hearing = Hearing::default();
        hearing.hear(1, 100, start);
        hearing.hear(1, 100, start + ms(10));
        hearing.hear(1, 99, start + ms(20));
        assert!(!hearing.is_heard(&config, start + ms(20)));
        for beat in 1..50 {
            hearing.hear(1, 100 + beat, start + ms(150 * beat));
        }
        let last = start + ms(150 * 49);
        assert!(hearing.is_heard(&config, last + ms(1200)));
        assert!(!hearing.is_heard(&config, last + ms(1201)));
        hearing.excuse(ms(5000));
        assert!(hearing.is_heard(&config, last + ms(6200)));
    }

    #[test]
    fn a_restarted_node_is_heard_by_its_new_start_whatever_its_clock_says() {
        let config = Config::default();
        let start = Instant::now();
        let mut hearing = Hearing::default();
        hearing.hear(500, 1, start);
        hearing.hear(500, 2, start + ms(100));
        assert_eq!(hearing.speaking(), Some(500));
        hearing.hear(400, 1, start + ms(9000));
        hearing.hear(500, 2, start + ms(9000));
        assert!(!hearing.is_heard(&config, start + ms(9000)));
        hearing.hear(400, 2, start + ms(9100));
        assert_eq!(hearing.speaking(), Some(400));
        assert!(hearing.is_heard(&config, start + ms(9100)));
    }
}
