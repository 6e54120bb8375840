//! Whether a role is ready, decided from the results of its checks: quick to leave, slower to come back. Pure.

use std::time::Duration;

use estafeta_core::members::Readiness;
use tokio::time::Instant;

/// How long a reason stands before another one takes its place: reasons are gossiped.
const REASON_STANDS: Duration = Duration::from_secs(10);

/// A role's readiness and what speaks against it.
#[derive(Debug)]
pub struct Judgement {
    fail_after: u32,
    pass_after: u32,
    readiness: Readiness,
    /// How many results in a row spoke against the readiness.
    contrary: u32,
    /// Whether the role has just started: then one success is enough.
    fresh: bool,
    /// Since when the reason stands.
    since: Instant,
}

impl Judgement {
    /// Not ready, for the reason that it has only just begun.
    pub fn new(fail_after: u32, pass_after: u32, now: Instant) -> Self {
        let readiness = Readiness::NotReady("it is starting".into());
        Self { fail_after, pass_after, readiness, contrary: 0, fresh: true, since: now }
    }

    /// What is decided.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Whether the last result speaks against a readiness that stands: it is worth asking again soon.
    pub fn is_in_doubt(&self) -> bool {
        self.readiness == Readiness::Ready && self.contrary > 0
    }

    /// Takes a result into account.
    pub fn note(&mut self, result: Result<(), String>, now: Instant) {
        match (result, &self.readiness) {
            (Ok(()), Readiness::Ready) => self.contrary = 0,
            (Ok(()), Readiness::NotReady(_)) => {
                self.contrary += 1;
                if self.fresh || self.contrary >= self.pass_after {
                    self.decide(Readiness::Ready, now);
                }
            }
            (Err(why), Readiness::Ready) => {
                self.contrary += 1;
                if self.contrary >= self.fail_after {
                    self.decide(Readiness::NotReady(why), now);
                }
            }
            (Err(why), Readiness::NotReady(_)) => {
                let first = std::mem::take(&mut self.fresh);
                self.contrary = 0;
                if first || now.duration_since(self.since) >= REASON_STANDS {
                    self.decide(Readiness::NotReady(why), now);
                }
            }
        }
    }

    /// The role does not run: no check can say otherwise until it does.
    pub fn fail(&mut self, why: String, now: Instant) {
        self.decide(Readiness::NotReady(why), now);
    }

    /// The role was told to rest. When it runs again, it starts as for the first time.
    pub fn rest(&mut self, why: String, now: Instant) {
        self.decide(Readiness::NotReady(why), now);
        self.fresh = true;
    }

    fn decide(&mut self, readiness: Readiness, now: Instant) {
        *self = Self { readiness, contrary: 0, fresh: false, since: now, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a role is after each of these results: `+` is a success, any other letter a failure with that reason.
    fn course(results: &str) -> String {
        let start = Instant::now();
        let mut judgement = Judgement::new(2, 3, start);
        let mut course = String::new();
        for (second, result) in results.chars().enumerate() {
            let result = if result == '+' { Ok(()) } else { Err(result.to_string()) };
            judgement.note(result, start + Duration::from_secs(second as u64));
            course.push_str(match judgement.readiness() {
                Readiness::Ready if judgement.is_in_doubt() => "?",
                Readiness::Ready => "+",
                Readiness::NotReady(why) => why,
            });
        }
        course
    }

    #[tokio::test]
    async fn a_role_leaves_quickly_and_comes_back_slowly() {
        assert_eq!(course("+"), "+", "one success is enough at the start");
        assert_eq!(course("a+++"), "aaa+", "but not after a failure");
        assert_eq!(course("+a+a+"), "+?+?+", "single failures are not believed");
        assert_eq!(course("+aa+++"), "+?aaa+");
        assert_eq!(course("+aa++b+++"), "+?aaaaaa+", "a failure starts the count anew");
    }

    #[tokio::test]
    async fn a_reason_stands_for_a_while() {
        assert_eq!(course("+aabbbbbbbbbbb"), "+?aaaaaaaaaabb");
    }

    #[tokio::test]
    async fn a_role_that_fails_is_out_at_once_and_comes_back_as_after_any_failure() {
        let now = Instant::now();
        let mut judgement = Judgement::new(2, 3, now);
        judgement.note(Ok(()), now);
        judgement.fail("panic".into(), now);
        assert_eq!(judgement.readiness(), &Readiness::NotReady("panic".into()));
        judgement.note(Ok(()), now);
        judgement.note(Ok(()), now);
        assert_ne!(judgement.readiness(), &Readiness::Ready);
        judgement.note(Ok(()), now);
        assert_eq!(judgement.readiness(), &Readiness::Ready);
        judgement.rest("drained".into(), now);
        assert_eq!(judgement.readiness(), &Readiness::NotReady("drained".into()));
        judgement.note(Ok(()), now);
        assert_eq!(judgement.readiness(), &Readiness::Ready);
    }
}
