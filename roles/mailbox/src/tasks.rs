//! Operations that take longer than anybody waits for one answer.
//!
//! Such an operation starts a task and answers, within [`WAIT`], either with what the task found or with how far it is and
//! the input to ask with again ([`CONTINUE`]). A task goes on when nobody asks, and ends with the role; its outcome is kept
//! for a while. There is at most one task of a kind at a time, or one for each account where they do not disturb each other: a
//! second one is refused, and so is the one that would be one too many ([`RUNNING`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use estafeta_core::administration::CONTINUE;
use estafeta_core::{Failure, Reason};
use estafeta_net::drain::Drain;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::store::Progress;

/// How long one answer is waited for.
const WAIT: Duration = Duration::from_secs(5);

/// How long an outcome is kept for whoever asks.
const KEPT: Duration = Duration::from_secs(3600);

/// The most outcomes that are kept.
const TASKS: usize = 16;

/// The most tasks that run at once: each may hold some 50 MB.
const RUNNING: usize = 8;

/// The tasks of this role. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    drain: Drain,
    tasks: Arc<Mutex<BTreeMap<u32, Task>>>,
}

#[derive(Clone)]
struct Task {
    kind: &'static str,
    /// Whose; empty for everybody's.
    subject: String,
    progress: watch::Receiver<Progress>,
    /// None while it runs.
    outcome: watch::Receiver<Option<Result<Value, Failure>>>,
    started: Instant,
}

impl Tasks {
    /// None yet. They end when the drain begins.
    pub fn new(drain: Drain) -> Self {
        Self { drain, tasks: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task, the only one of its kind, and gives its first answer. `work` is handed where to tell how far it is.
    pub async fn start<F>(
        &self,
        kind: &'static str,
        work: impl FnOnce(watch::Sender<Progress>) -> F,
    ) -> Result<Value, Failure>
    where
        F: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        self.start_for(kind, String::new(), work).await
    }

    /// The same for one that is the only one of its kind for `subject`.
    pub async fn start_for<F>(
        &self,
        kind: &'static str,
        subject: String,
        work: impl FnOnce(watch::Sender<Progress>) -> F,
    ) -> Result<Value, Failure>
    where
        F: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        let (telling, progress) = watch::channel(Progress::default());
        let (ending, outcome) = watch::channel(None);
        let id = fastrand::u32(1..);
        {
            let mut tasks = self.lock();
            let running = || tasks.iter().filter(|(_, task)| task.outcome.borrow().is_none());
            if let Some((id, _)) = running().find(|(_, task)| task.kind == kind && task.subject == subject) {
                let text = format!("{kind} runs already on this node: follow it with --task {id}");
                return Err(Failure::new(Reason::Busy, text));
            }
            if running().count() >= RUNNING {
                let text = format!("{RUNNING} tasks run already on this node: ask again when one has ended");
                return Err(Failure::new(Reason::Busy, text));
            }
            tasks.retain(|_, task| task.outcome.borrow().is_none() || task.started.elapsed() < KEPT);
            if tasks.len() >= TASKS {
                let oldest = tasks.iter().filter(|(_, task)| task.outcome.borrow().is_some());
                let oldest = oldest.min_by_key(|(_, task)| task.started).map(|(id, _)| *id);
                oldest.map(|id| tasks.remove(&id));
            }
            tasks.insert(id, Task { kind, subject, progress, outcome, started: Instant::now() });
        }
        let (work, drain) = (work(telling), self.drain.clone());
        self.drain.spawn(kind, async move {
            let outcome = tokio::select! {
                outcome = work => outcome,
                () = drain.begun() => Err(Failure::unavailable("the node stops: start it again afterwards")),
            };
            ending.send_replace(Some(outcome));
        });
        self.follow(id).await
    }

    /// The outcome of a task, or how far it is.
    pub async fn follow(&self, id: u32) -> Result<Value, Failure> {
        let task = self.lock().get(&id).cloned();
        let unknown = || Failure::new(Reason::NotFound, format!("there is no task {id} on this node"));
        let mut task = task.ok_or_else(unknown)?;
        let ended = tokio::time::timeout(WAIT, task.outcome.wait_for(Option::is_some)).await;
        if let Ok(Ok(outcome)) = ended
            && let Some(outcome) = &*outcome
        {
            return outcome.clone();
        }
        let Progress { done, of, found } = *task.progress.borrow();
        Ok(json!({ CONTINUE: { "task": id }, "done": done, "of": of, "found": found }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_is_followed_to_its_end_and_runs_once() {
        let tasks = Tasks::new(Drain::new());
        let work = |progress: watch::Sender<Progress>| async move {
            progress.send_modify(|progress| progress.of = 9);
            tokio::time::sleep(WAIT * 3 / 2).await;
            Ok(json!(["found"]))
        };
        let first = tasks.start("verification", work).await.unwrap();
        assert_eq!(first["of"], 9);
        let id = first[CONTINUE]["task"].as_u64().unwrap() as u32;
        assert_eq!(tasks.start("verification", work).await.unwrap_err().reason, Reason::Busy);
        assert_eq!(tasks.follow(id).await.unwrap(), json!(["found"]));
        assert_eq!(tasks.follow(id).await.unwrap(), json!(["found"]), "it is kept");
        assert_eq!(tasks.follow(id ^ 1).await.unwrap_err().reason, Reason::NotFound);
        assert!(tasks.start("verification", work).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_runs_for_each_subject_and_few_at_once() {
        let tasks = Tasks::new(Drain::new());
        let import = async |whose: usize| {
            let work = |_progress| std::future::pending();
            tasks.start_for("import", whose.to_string(), work).await.map_err(|failure| failure.to_string())
        };
        for whose in 0..RUNNING {
            import(whose).await.unwrap();
            if whose == 0 {
                assert!(import(0).await.unwrap_err().contains("follow it"));
            }
        }
        assert!(import(RUNNING).await.unwrap_err().contains("ask again"));
    }

    #[tokio::test]
    async fn a_task_ends_with_the_role() {
        let drain = Drain::new();
        let tasks = Tasks::new(drain.clone());
        drain.begin();
        let failure = tasks.start("x", |_progress| std::future::pending()).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Unavailable);
    }
}
