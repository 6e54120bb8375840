//! What follows from an attempt: who is done, who waits on and how long, and what the sender is told.
//!
//! Invariant: each recipient of the job is decided, postponed or replaced; a sender is told of every recipient that is
//! given up, in a report kept by the same transaction that forgets the recipient; a letter without a sender is never
//! reported about (RFC 5321 §6.1).

use std::time::{Duration, SystemTime};

use estafeta_core::DeliveryId;
use estafeta_core::delivery::Answer;

use super::{Fate, Job, Letter, Paces, Waiting};
use crate::report::{self, Reported, Reporter};

/// One recipient that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postponed {
    /// Its number in the letter.
    pub number: i64,
    /// When.
    pub next_attempt: SystemTime,
    /// Why.
    pub answer: Answer,
}

/// What to write down after an attempt.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The letter.
    pub letter: DeliveryId,
    /// The recipients that are gone.
    pub decided: Vec<i64>,
    /// The recipients that are tried again.
    pub postponed: Vec<Postponed>,
    /// The recipients that came in the place of others.
    pub added: Vec<Waiting>,
    /// Whether the sender is told now that the letter is late.
    pub warned: bool,
    /// What the sender is told.
    pub reports: Vec<Letter>,
}

/// What came of writing it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The letter had no recipients left.
    pub is_gone: bool,
}

impl Settlement {
    /// Draws the conclusions of an attempt that ended at `now`. `fates` are those of the job's recipients, in order.
    pub fn of(job: &Job, fates: Vec<Fate>, paces: &Paces, reporter: &Reporter, now: SystemTime) -> Self {
        let age = now.duration_since(job.arrived).unwrap_or(Duration::ZERO);
        let mut settlement = Self {
            letter: job.id,
            decided: Vec::new(),
            postponed: Vec::new(),
            added: Vec::new(),
            warned: false,
            reports: Vec::new(),
        };
        let (mut failed, mut late) = (Vec::new(), Vec::new());
        for (recipient, fate) in job.recipients.iter().zip(fates) {
            let number = recipient.number;
            let reported = |answer| Reported { recipient: recipient.waiting.original.clone(), answer };
            match fate {
                Fate::Done => settlement.decided.push(number),
                Fate::Replaced(others) => {
                    settlement.decided.push(number);
                    settlement.added.extend(others);
                }
                Fate::Never(answer) => {
                    settlement.decided.push(number);
                    failed.push(reported(answer));
                }
                Fate::Later(answer) if age >= paces.give_up_after => {
                    settlement.decided.push(number);
                    // RFC 3463 §3.5: X.4.7 delivery time expired.
                    let text = format!("tried for too long; the last answer was: {answer}");
                    failed.push(reported(Answer { code: 554, status: "5.4.7".to_owned(), text }));
                }
                Fate::Later(answer) => {
                    let attempts = recipient.attempts.saturating_add(1);
                    let pause = paces.of_destination(&job.destination).pause(attempts, fastrand::f64());
                    late.push(reported(answer.clone()));
                    settlement.postponed.push(Postponed { number, next_attempt: now + pause, answer });
                }
            }
        }
        settlement.warned = !job.warned && !late.is_empty() && paces.warn_after.is_some_and(|after| age >= after);
        if !failed.is_empty() {
            settlement.reports.extend(reporter.report(report::Kind::Failed, job.about(), &failed, now));
        }
        if settlement.warned {
            let until = job.arrived + paces.give_up_after;
            settlement.reports.extend(reporter.report(report::Kind::Delayed { until }, job.about(), &late, now));
        }
        settlement
    }
}

impl Job {
    fn about(&self) -> report::About<'_> {
        report::About { id: self.id, sender: self.sender.as_ref(), message: &self.message, arrived: self.arrived }
    }
}
