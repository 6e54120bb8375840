//! The letters of one destination as one worker takes them, and how it settles them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estafeta_net::drain::Drain;

use crate::edge::Edge;
use crate::queue::{Destination, Fate, Job, Settlement};

/// How often it is tried to write down what became of a letter.
const SETTLE_ATTEMPTS: u32 = 5;
/// The pause between.
const SETTLE_PAUSE: Duration = Duration::from_secs(1);

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
                tokio::time::sleep(SETTLE_PAUSE).await;
                None
            }
        }
    }

    /// Writes down what became of a letter's recipients.
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
        for attempt in 1..=SETTLE_ATTEMPTS {
            match edge.queue.settle(settlement.clone()).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(id = %job.id, %error, attempt, "cannot write down what became of a message");
                    tokio::time::sleep(SETTLE_PAUSE).await;
                }
            }
        }
        // The letter is tried again. Mailboxes know its id; a foreign server may get it twice.
    }
}
