//! The queue's workers: who is tried when, so many at a time, no destination at the cost of another.
//!
//! Invariants: at most `concurrency` workers run for other people's servers, and as many for mailboxes of our own, which
//! wait for no server that does not answer; at most `destination_concurrency` for one destination, and those with the
//! fewest are served first; a worker gives its place up after [`BATCH_LETTERS`]; once the drain begins, no letter is
//! taken any more.

mod jobs;
mod mailboxes;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use estafeta_storage::StorageError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use jobs::Jobs;

use crate::edge::Edge;
use crate::outgoing::{answer, fate_of};
use crate::queue::{Destination, Fate};

/// How many letters a worker tries before others may have its place.
const BATCH_LETTERS: usize = 50;
/// How long to wait for more before the queue is looked through again: a burst of letters is looked at once.
const GATHER: Duration = Duration::from_millis(20);
/// The longest between two looks.
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);
/// The pause after the database failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Runs workers until the drain begins. Workers that are at it then finish their letter.
pub async fn run(edge: Arc<Edge>) {
    let room = || Arc::new(Semaphore::new(edge.config.queue.concurrency.min(Semaphore::MAX_PERMITS)));
    let (abroad, at_home) = (room(), room());
    let dispatcher = Dispatcher { abroad, at_home, running: Running::default(), edge };
    let drain = dispatcher.edge.drain.clone();
    while !drain.has_begun() {
        let pause = match dispatcher.start_workers().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = dispatcher.edge.queue.changed() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(pause) => {}
            () = drain.begun() => {}
        }
    }
}

/// How many workers each destination has.
type Running = Arc<Mutex<HashMap<Destination, usize>>>;

struct Dispatcher {
    edge: Arc<Edge>,
    /// Places for other people's servers.
    abroad: Arc<Semaphore>,
    /// Places for what stays in the cluster.
    at_home: Arc<Semaphore>,
    running: Running,
}

impl Dispatcher {
    /// Starts what may be started; says how long nothing more is due.
    async fn start_workers(&self) -> Result<Duration, StorageError> {
        let (queue, now) = (&self.edge.queue, SystemTime::now());
        let most = self.edge.config.queue.destination_concurrency;
        let mut due = queue.due(now).await?;
        // The sort is stable: among equals, what is due longest goes first.
        due.sort_by_key(|due| self.workers_for(&due.destination));
        // One worker for each before anybody gets a second one.
        let mut started = true;
        while started {
            started = false;
            for due in &due {
                if self.workers_for(&due.destination) < due.letters.min(most) {
                    // A worker that leaves has all of this looked at again.
                    let Ok(place) = self.room(&due.destination).try_acquire_owned() else { continue };
                    self.start_worker(due.destination.clone(), place);
                    started = true;
                }
            }
        }
        let next = queue.next_due(now).await?;
        let pause = next.map(|next| next.duration_since(now).unwrap_or_default());
        Ok(pause.unwrap_or(LOOK_AT_LEAST).min(LOOK_AT_LEAST))
    }

    fn room(&self, destination: &Destination) -> Arc<Semaphore> {
        match destination {
            Destination::Domain(domain) if !self.edge.is_ours(domain) => self.abroad.clone(),
            Destination::Domain(_) | Destination::Group(_) => self.at_home.clone(),
        }
    }

    fn workers_for(&self, destination: &Destination) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(destination).copied().unwrap_or(0)
    }

    fn start_worker(&self, destination: Destination, place: OwnedSemaphorePermit) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner).entry(destination.clone()).or_default() += 1;
        let leaving =
            Leaving { running: self.running.clone(), edge: self.edge.clone(), destination: destination.clone() };
        let jobs = Jobs::new(self.edge.clone(), destination, BATCH_LETTERS);
        self.edge.drain.spawn("queue worker", async move {
            let _place = place;
            let _leaving = leaving;
            work(jobs).await;
        });
    }
}

/// Tries a destination's letters one after the other.
async fn work(mut jobs: Jobs) {
    let edge = jobs.edge().clone();
    // Once the destination cannot be reached, the letters behind share the answer and not the wait. Only that: for good
    // each letter is given up by itself.
    let mut unreachable: Option<Fate> = None;
    while let Some(job) = jobs.next().await {
        if job.is_lost {
            tracing::error!(id = %job.id, "the body of a queued message has gone from the disk");
            let fates = job.all(&Fate::Never(answer(554, "5.3.0", "the message was lost on its way".to_owned())));
            jobs.settle(job, fates).await;
            continue;
        }
        if let Some(fate) = &unreachable {
            let fates = job.all(fate);
            jobs.settle(job, fates).await;
            continue;
        }
        match &job.destination.clone() {
            Destination::Group(_) => {
                let fates = mailboxes::deliver(&edge, &job).await;
                jobs.settle(job, fates).await;
            }
            Destination::Domain(domain) if edge.is_ours(domain) => {
                let fates = mailboxes::resolve(&edge, &job).await;
                jobs.settle(job, fates).await;
            }
            Destination::Domain(domain) => {
                if let Err((job, answer)) = edge.outgoing.send(domain, job, &mut jobs).await {
                    tracing::info!(id = %job.id, domain, %answer, "a domain cannot be reached");
                    let fate = fate_of(answer);
                    let fates = job.all(&fate);
                    jobs.settle(*job, fates).await;
                    unreachable = Some(fate).filter(|fate| matches!(fate, Fate::Later(_)));
                }
            }
        }
    }
}

/// Gives a worker's place back, also after a panic.
struct Leaving {
    running: Running,
    edge: Arc<Edge>,
    destination: Destination,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.destination) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.destination);
            }
        }
        drop(running);
        self.edge.queue.wake();
    }
}
