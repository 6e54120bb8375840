//! The letters of one destination as one worker takes them, and how it settles them.
//!
//! Invariant: a letter that was tried stays claimed until it is written down what became of it, however long the disk is
//! full: nobody gets it twice from this process. The worker's place is kept as well, so that no more is sent than can be
//! written down.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estafeta_net::drain::Drain;

use crate::edge::Edge;
use crate::queue::{Destination, Fate, Job, Pace, Settlement};

/// The pause after the queue could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// The pauses until it can be written down what became of a letter.
const SETTLE_PACE: Pace = Pace { shortest: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// A worker's letters.
pub struct Jobs {
    edge: Arc<Edge>,
    destination: Destination,
    left: usize,
}

impl Jobs {
    /// At most `left` letters for a destination.
    pub fn new(edge: Arc<Edge>, destination: Destination, left: usize) -> Self {
        Self { edge, destination, left }
    }

    /// What all parts of the role share.
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// When to stop.
    pub fn drain(&self) -> &Drain {
        &self.edge.drain
    }

    /// The next letter; none when none is due, the worker has had its share, or the node drains.
    pub async fn next(&mut self) -> Option<Job> {
        if self.left == 0 || self.edge.drain.has_begun() {
            return None;
        }
        self.left -= 1;
        match self.edge.queue.take(&self.destination, SystemTime::now()).await {
            Ok(job) => job,
            Err(error) => {
                tracing::error!(destination = %self.destination, %error, "the queue cannot be read");
                // The place is kept meanwhile, so that nobody tries at full speed.
                tokio::time::sleep(READ_PAUSE).await;
                None
            }
        }
    }

    /// Writes down what became of a letter's recipients. Does not return before it could, or the process ends.
    pub async fn settle(&self, job: Job, fates: Vec<Fate>) {
        let (edge, now) = (&self.edge, SystemTime::now());
        let done = fates.iter().filter(|fate| **fate == Fate::Done).count();
        if done > 0 {
            let to = if matches!(job.destination, Destination::Group(_)) { "mailbox" } else { "server" };
            metrics::counter!("estafeta_edge_delivered_total", "to" => to).increment(done as u64);
            metrics::histogram!("estafeta_edge_delay_seconds", "to" => to)
                .record(job.arrived.elapsed().unwrap_or_default());
        }
        let settlement = Settlement::of(&job, fates, &edge.paces, &edge.reporter, now);
        let mut attempts = 0_u32;
        while let Err(error) = edge.queue.settle(settlement.clone()).await {
            attempts = attempts.saturating_add(1);
            tracing::error!(id = %job.id, %error, attempts, "cannot write down what became of a message");
            tokio::time::sleep(SETTLE_PACE.pause(attempts, fastrand::f64())).await;
        }
    }
}
