//! How long a client may still take: bounds on a conversation as a whole, since one that sends a byte now and then is
//! never silent and would hold its place for ever.
//!
//! Invariants: between two messages there is a bound that nothing extends but bytes that keep coming; a message may take
//! as long as its bytes do at the slowest speed allowed; past the session's bound no new message is waited for, while
//! one that has begun may still come in.

use std::time::Duration;

use tokio::time::Instant;

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// For a session in all, but for the message that has begun by then.
    pub session: Duration,
    /// From one step to the next: from the greeting or the last message to MAIL, and from MAIL to the message's end.
    pub step: Duration,
    /// How fast bytes have to come for a step to take longer.
    pub slowest_bytes_per_second: u64,
}

/// How much longer a transaction may take for each recipient: for us to look it up, above all.
const RECIPIENT: Duration = Duration::from_secs(5);

/// How far a client has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pace: Pace,
    began: Instant,
    step_began: Instant,
    /// What had come in when the step began.
    bytes_before: u64,
}

impl Progress {
    /// A session that begins at `now`.
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, began: now, step_began: now, bytes_before: 0 }
    }

    /// A transaction began or ended; so many bytes had come in by then.
    pub fn next_step(&mut self, received_bytes: u64, now: Instant) {
        (self.step_began, self.bytes_before) = (now, received_bytes);
    }

    /// How long the client may still take, who has sent `received_bytes`, and who in an open transaction has named so
    /// many recipients.
    pub fn left(&self, received_bytes: u64, transaction: Option<usize>, now: Instant) -> Duration {
        let bytes = received_bytes.saturating_sub(self.bytes_before);
        let recipients = u32::try_from(transaction.unwrap_or(0)).unwrap_or(u32::MAX);
        let sending = Duration::from_secs(bytes / self.pace.slowest_bytes_per_second.max(1));
        let step = self.pace.step.saturating_add(sending).saturating_add(RECIPIENT.saturating_mul(recipients));
        let left = step.saturating_sub(now - self.step_began);
        match transaction {
            Some(_) => left,
            None => left.min(self.pace.session.saturating_sub(now - self.began)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const PACE: Pace = Pace { session: seconds(1000), step: seconds(100), slowest_bytes_per_second: 10 };

    #[test]
    fn only_bytes_and_steps_give_more_time() {
        let start = Instant::now();
        let mut progress = Progress::new(PACE, start);
        assert_eq!(progress.left(0, None, start), seconds(100));
        assert_eq!(progress.left(9, None, start + seconds(99)), seconds(1), "a drip is nothing");
        assert_eq!(progress.left(0, None, start + seconds(101)), Duration::ZERO);
        progress.next_step(50, start + seconds(90));
        assert_eq!(progress.left(50, Some(0), start + seconds(90)), seconds(100));
        assert_eq!(progress.left(1050, Some(0), start + seconds(90)), seconds(200));
        assert_eq!(progress.left(50, Some(2), start + seconds(90)), seconds(110));
    }

    #[test]
    fn a_session_ends_behind_its_last_message() {
        let start = Instant::now();
        let mut progress = Progress::new(PACE, start);
        progress.next_step(0, start + seconds(950));
        assert_eq!(progress.left(0, None, start + seconds(960)), seconds(40));
        assert_eq!(progress.left(0, Some(0), start + seconds(960)), seconds(90));
        assert_eq!(progress.left(10_000, None, start + seconds(1001)), Duration::ZERO);
    }
}
