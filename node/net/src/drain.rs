//! Drain: stop being chosen, finish what is running, stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::panic::CatchPanic;

/// The drain of one role, shared by its listeners and conversations.
#[derive(Clone, Default)]
pub struct Drain {
    begun: CancellationToken,
    forced: CancellationToken,
    running: TaskTracker,
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
        self.running.spawn(async move {
            let guarded = CatchPanic::new(what, task);
            tokio::select! {
                () = guarded => {}
                () = forced.cancelled() => {}
            }
        });
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
