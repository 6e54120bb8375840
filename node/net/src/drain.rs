//! Drain: stop being chosen, finish what is running, stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::panic::CatchPanic;

/// The drain of one role, shared by its listeners and conversations.
#[derive(Clone, Default)]
pub struct Drain {
    begun: CancellationToken,
    forced: CancellationToken,
    running: TaskTracker,
    conversations: Arc<Conversations>,
}

/// When each conversation began, by the order in which they did.
#[derive(Default)]
struct Conversations(Mutex<(u64, BTreeMap<u64, Instant>)>);

impl Conversations {
    fn enter(self: &Arc<Self>) -> Entered {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 += 1;
        let number = held.0;
        held.1.insert(number, Instant::now());
        Entered { number, conversations: self.clone() }
    }
}

/// A conversation that goes on until this is dropped.
struct Entered {
    number: u64,
    conversations: Arc<Conversations>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut held = self.conversations.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.1.remove(&self.number);
    }
}

impl Drain {
    /// A drain that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops accepting and asks every conversation to end at its next command.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Completes when it begins. Cancel-safe.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Runs a task that the drain waits for. A panic in it ends it alone: it is counted and logged.
    pub fn spawn(&self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let forced = self.forced.clone();
        // Made here, where it moves into a box of its own: the block below would keep room for it twice.
        let guarded = CatchPanic::new(what, task);
        self.running.spawn(async move {
            tokio::select! {
                () = guarded => {}
                () = forced.cancelled() => {}
            }
        });
    }

    /// As [`Drain::spawn`], for a conversation with somebody outside: [`Drain::conversations`] counts it.
    pub fn converse(&self, task: impl Future<Output = ()> + Send + 'static) {
        let entered = self.conversations.enter();
        // A block that awaits what it has captured keeps room for it twice; and of conversations there are many.
        let task = Box::pin(task);
        self.spawn("conversation", async move {
            task.await;
            drop(entered);
        });
    }

    /// How many conversations have gone on for longer than `age`.
    pub fn conversations(&self, age: Duration) -> usize {
        let held = self.conversations.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.1.values().take_while(|began| began.elapsed() > age).count()
    }

    /// Begins, waits for what runs, and cuts off what still runs after `deadline`. Gives how many tasks were cut off.
    pub async fn finish(&self, deadline: Duration) -> usize {
        self.begin();
        self.running.close();
        if tokio::time::timeout(deadline, self.running.wait()).await.is_ok() {
            return 0;
        }
        let left = self.running.len();
        self.forced.cancel();
        // What was cut off ends at its next await; a task that computes for ever must not hold the node.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.running.wait()).await;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conversations_are_counted_until_they_end_even_by_a_panic() {
        let drain = Drain::new();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        drain.converse(async { drop(ended.await) });
        drain.converse(async { panic!("as the test wants") });
        drain.spawn("housekeeping", std::future::pending());
        assert!(drain.conversations(Duration::from_secs(60)) == 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(drain.conversations(Duration::ZERO), 1);
        end.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(drain.conversations(Duration::ZERO), 0);
    }
}
