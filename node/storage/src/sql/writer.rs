//! The writer: one connection on a thread of its own, whose turns commit what waits in one transaction and one fsync.
//!
//! A turn begins with the first job that waits and takes those behind it, up to [`TURN_JOBS`] or [`TURN_TIME`]; while
//! it commits, the next turn's jobs gather. So a lonely job waits for nobody, and the busier it gets the more jobs share
//! an fsync. Each job runs in a savepoint, so that one which fails is undone alone. When the transaction itself fails
//! (the commit, or SQLite gave all up for want of room), each of its jobs runs again in a transaction of its own.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use super::AfterCommit;
use super::connection::Connection;
use super::lock::Lock;
use super::query::query;
use crate::error::StorageError;

/// The most jobs of one turn.
const TURN_JOBS: usize = 1000;

/// A turn takes no further job after this long.
const TURN_TIME: Duration = Duration::from_millis(50);

/// How many jobs may wait; who comes then waits to get in line.
const QUEUE_JOBS: usize = 4096;

/// Jobs go in here. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Message>);

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread. It ends when the last clone is dropped or one is closed; the lock goes with it.
    pub(super) fn start(
        connection: Connection,
        lock: Lock,
        after_commit: AfterCommit,
        path: &Path,
    ) -> Result<Self, StorageError> {
        let (sender, receiver) = mpsc::channel(QUEUE_JOBS);
        let failed = |error| StorageError::file("start the writer of", path, error);
        let runtime = runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let label = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let turns = Turns { connection, after_commit, label: label.clone() };
        let run = move || {
            let closed = runtime.block_on(turns.serve(receiver));
            drop(lock);
            if let Some(closed) = closed {
                // Nobody may wait for it any more.
                closed.send(()).ok();
            }
        };
        thread::Builder::new().name(format!("{label}-writer")).spawn(run).map_err(failed)?;
        Ok(Self(sender))
    }

    /// See [`super::Database::run`].
    pub(super) async fn run<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let pending = Pending { job, outcome: None, sender };
        self.0.send(Message::Job(Box::new(pending))).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }

    /// Commits what waits, closes the connection and gives the lock up.
    pub(super) async fn close(&self) {
        let (sender, closed) = oneshot::channel();
        if self.0.send(Message::Close(sender)).await.is_ok() {
            closed.await.ok();
        }
    }
}

/// A job and whoever waits for it.
trait Job: Send {
    /// Runs it once; says whether its work may be committed.
    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> Pin<Box<dyn Future<Output = bool> + 'a>>;

    /// Its work is not committed, and this is why. An answer that the job gave itself goes before.
    fn fail(&mut self, error: StorageError);

    /// Tells whoever waits.
    fn answer(self: Box<Self>);
}

struct Pending<F, T, E> {
    job: F,
    outcome: Option<Result<T, E>>,
    sender: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Pending<F, T, E>
where
    F: AsyncFnMut(&mut Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<StorageError> + Send,
{
    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            let outcome = match unwinding((self.job)(connection)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(StorageError::Panicked.into()),
            };
            let good = outcome.is_ok();
            self.outcome = Some(outcome);
            good
        })
    }

    fn fail(&mut self, error: StorageError) {
        if !matches!(self.outcome, Some(Err(_))) {
            self.outcome = Some(Err(error.into()));
        }
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // Whoever asked may have gone away; the work is done all the same.
            self.sender.send(outcome).ok();
        }
    }
}

/// The outcome of a future, or its panic: one bad job must not end the writer.
async fn unwinding<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = Box::pin(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

struct Turns {
    connection: Connection,
    after_commit: AfterCommit,
    label: String,
}

impl Turns {
    /// Takes turns until it is told to close or nobody is left who could send. Gives back whom to tell.
    async fn serve(mut self, mut receiver: mpsc::Receiver<Message>) -> Option<oneshot::Sender<()>> {
        let mut closed = None;
        while let Some(message) = receiver.recv().await {
            match message {
                Message::Job(job) => closed = self.turn(job, &mut receiver).await.or(closed),
                Message::Close(sender) => closed = Some(sender),
            }
            if closed.is_some() {
                // What waits already is still done; nothing gets in line any more.
                receiver.close();
            }
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(database = self.label, %error, "the database did not close cleanly; it recovers when it is opened");
        }
        closed
    }

    /// One turn: `first` and what waits behind it.
    async fn turn(
        &mut self,
        first: Box<dyn Job>,
        receiver: &mut mpsc::Receiver<Message>,
    ) -> Option<oneshot::Sender<()>> {
        let started = Instant::now();
        let mut closed = None;
        let mut jobs = vec![first];
        let mut together = self.begin().await;
        let mut run = 0;
        while together.is_ok() && run < jobs.len() {
            together = self.savepoint(&mut *jobs[run]).await;
            run += 1;
            if together.is_ok()
                && run == jobs.len()
                && run < TURN_JOBS
                && started.elapsed() < TURN_TIME
                && closed.is_none()
            {
                match receiver.try_recv() {
                    Ok(Message::Job(job)) => jobs.push(job),
                    Ok(Message::Close(sender)) => closed = Some(sender),
                    Err(_) => {}
                }
            }
        }
        if together.is_ok() {
            together = self.execute("COMMIT").await;
        }
        match together {
            Ok(()) => (self.after_commit)(),
            Err(error) => self.one_by_one(&mut jobs, error).await,
        }
        metrics::histogram!("estafeta_database_turn_seconds", "database" => self.label.clone())
            .record(started.elapsed());
        metrics::histogram!("estafeta_database_turn_jobs", "database" => self.label.clone()).record(jobs.len() as f64);
        jobs.into_iter().for_each(Job::answer);
        closed
    }

    /// Each job in a transaction of its own, after the one for all failed with `error`.
    async fn one_by_one(&mut self, jobs: &mut [Box<dyn Job>], error: StorageError) {
        tracing::warn!(database = self.label, jobs = jobs.len(), %error, "a commit failed; its jobs run again one by one");
        metrics::counter!("estafeta_database_commit_failures_total", "database" => self.label.clone()).increment(1);
        for job in jobs {
            self.roll_back().await;
            let alone = async {
                self.begin().await?;
                // What the job refuses itself, it answers itself.
                if job.run(&mut self.connection).await { self.execute("COMMIT").await } else { Ok(()) }
            };
            match alone.await {
                Ok(()) => (self.after_commit)(),
                Err(error) => job.fail(error),
            }
        }
        self.roll_back().await;
    }

    async fn savepoint(&mut self, job: &mut dyn Job) -> Result<(), StorageError> {
        self.execute("SAVEPOINT job").await?;
        if !job.run(&mut self.connection).await {
            self.execute("ROLLBACK TO job").await?;
        }
        self.execute("RELEASE job").await
    }

    async fn begin(&mut self) -> Result<(), StorageError> {
        self.execute("BEGIN IMMEDIATE").await
    }

    /// Ends a transaction that may or may not be open: SQLite ends it by itself on some errors.
    async fn roll_back(&mut self) {
        if let Err(error) = self.execute("ROLLBACK").await {
            tracing::debug!(database = self.label, %error, "no transaction to roll back");
        }
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), StorageError> {
        query(statement).execute(&mut self.connection).await?;
        Ok(())
    }
}
