//! The writer: one connection on a thread of its own, whose turns commit what waits in one transaction and one fsync.
//!
//! SQLite has one writer. PostgreSQL has several, an account's jobs always on the same one, so that a busy account does not
//! hold up those of the others.
//!
//! A turn begins with the first job that waits and takes those behind it, up to [`TURN_JOBS`] or [`TURN_TIME`]; while
//! it commits, the next turn's jobs gather. So a lonely job waits for nobody, and the busier it gets the more jobs share
//! an fsync. A job that fails is undone alone: where each runs in a savepoint, to there; on SQLite, where a savepoint costs a
//! copy of every page that a job changes, the whole turn is undone and runs again with savepoints, unless the job had changed
//! nothing yet. When the transaction itself fails (the commit, a deadlock with another writer, or SQLite gave all up for want of
//! room), each of its jobs runs again in a transaction of its own. Never after a commit whose outcome is unknown: its jobs may
//! be done.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use super::Observer;
use super::connection::{Connection, Fault};
use super::error::Error;
use super::lock::Lock;
use super::postgres::lane::Lane;
use super::query::query;
use crate::error::StorageError;

/// The most jobs of one turn.
const TURN_JOBS: usize = 1000;

/// A turn takes no further job after this long.
const TURN_TIME: Duration = Duration::from_millis(50);

/// The most jobs of one turn on PostgreSQL, where each statement is a question over the network. They are taken before the
/// first runs, and run in the order of their accounts, in which their locks are taken.
const TURN_JOBS_AWAY: usize = 100;

/// How long one job may take on PostgreSQL, and one commit there, its wait for the standby included.
const JOB_AWAY: Duration = Duration::from_secs(60);
const COMMIT_AWAY: Duration = Duration::from_secs(15);

/// For how many turns each job has a savepoint on SQLite after one had to be undone: where one fails, others follow.
const GUARDED_TURNS: u32 = 100;

/// How often a job is run that others stand in the way of.
const ATTEMPTS: u32 = 6;

/// How many jobs may wait; who comes then waits to get in line.
const QUEUE_JOBS: usize = 4096;

/// Jobs go in here. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Message>);

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// Where a writer writes.
pub(super) enum Home {
    /// A file, which is ours while the lock is held.
    File(Connection, Lock),
    /// A PostgreSQL, whose primary is found when the first turn begins. One of its writers has the lock.
    Away(Lane, Option<Lock>),
}

impl Writer {
    /// Starts the thread. It ends when the last clone is dropped or one is closed; the lock goes with it.
    /// With `background` it works while nothing else wants the processor.
    pub(super) fn start(
        home: Home,
        observer: Arc<dyn Observer>,
        label: &str,
        background: bool,
    ) -> Result<Self, StorageError> {
        let (sender, receiver) = mpsc::channel(QUEUE_JOBS);
        let failed = |error| StorageError::file("start the writer of", Path::new(label), error);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let label = label.to_owned();
        let (connection, lock, lane) = match home {
            Home::File(connection, lock) => (Some(connection), Some(lock), None),
            Home::Away(lane, lock) => (None, lock, Some(lane)),
        };
        let name = format!("{label}-writer");
        let turns = Turns { connection, lane, observer, label, guarded: 0 };
        let run = move || {
            if background {
                // On Linux this thread's alone. Lower can always be asked for.
                rustix::process::nice(19).ok();
            }
            let closed = runtime.block_on(turns.serve(receiver));
            drop(lock);
            if let Some(closed) = closed {
                // Nobody may wait for it any more.
                closed.send(()).ok();
            }
        };
        thread::Builder::new().name(name).spawn(run).map_err(failed)?;
        Ok(Self(sender))
    }

    /// See [`super::Database::run`].
    pub(super) async fn run<T, E, F>(&self, order: i64, job: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let pending = Pending { order, job, outcome: None, sender };
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
    /// Its place in a turn.
    fn order(&self) -> i64;

    /// Runs it once; says whether its work may be committed.
    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> Pin<Box<dyn Future<Output = bool> + 'a>>;

    /// Its work is not committed, and this is why. An answer that the job gave itself goes before.
    fn fail(&mut self, error: StorageError);

    /// Tells whoever waits.
    fn answer(self: Box<Self>);
}

struct Pending<F, T, E> {
    order: i64,
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
    fn order(&self) -> i64 {
        self.order
    }

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

/// How a job of several went.
enum Shared {
    /// The transaction holds what it did, or nothing of it.
    Well,
    /// It failed, and what it had changed is in the transaction.
    Badly,
}

struct Turns {
    /// None while a PostgreSQL is not connected.
    connection: Option<Connection>,
    lane: Option<Lane>,
    observer: Arc<dyn Observer>,
    label: String,
    /// For how many turns more each job has a savepoint. Always on PostgreSQL, where any error ends a transaction.
    guarded: u32,
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
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
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
        let mut take = |jobs: &mut Vec<Box<dyn Job>>, limit| match receiver.try_recv() {
            Ok(Message::Job(job)) => {
                jobs.push(job);
                jobs.len() < limit
            }
            Ok(Message::Close(sender)) => {
                closed = Some(sender);
                false
            }
            Err(_) => false,
        };
        let away = self.lane.is_some();
        if away {
            while take(&mut jobs, TURN_JOBS_AWAY) {}
            jobs.sort_by_key(|job| job.order());
        }
        let mut more = !away;
        self.guarded = self.guarded.saturating_sub(1);
        let together = loop {
            let mut together = self.begin().await.map(|()| Shared::Well);
            let mut run = 0;
            while matches!(together, Ok(Shared::Well)) && run < jobs.len() {
                together = self.share(&mut *jobs[run]).await;
                run += 1;
                if together.is_ok() && run == jobs.len() && more && started.elapsed() < TURN_TIME {
                    more = take(&mut jobs, TURN_JOBS);
                }
            }
            match together {
                Ok(Shared::Well) => break self.commit().await,
                Ok(Shared::Badly) => self.guarded = GUARDED_TURNS,
                Err(error) => break Err(error),
            }
            self.roll_back().await;
        };
        match together {
            Ok(()) => self.observer.committed(),
            Err(error) if error.ends_a_turn() => {
                tracing::warn!(database = self.label, jobs = jobs.len(), %error, "a turn failed");
                jobs.iter_mut().for_each(|job| job.fail(error.again()));
            }
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
        let mut jobs = jobs.iter_mut();
        while let Some(job) = jobs.next() {
            let mut attempt = 1;
            let alone = loop {
                match self.alone(&mut **job).await {
                    Err(StorageError::Contended) if attempt < ATTEMPTS => attempt += 1,
                    alone => break alone,
                }
            };
            match alone {
                Ok(()) => self.observer.committed(),
                Err(error) => {
                    job.fail(error.again());
                    // There is no database to run the others on.
                    if error.ends_a_turn() {
                        jobs.by_ref().for_each(|job| job.fail(error.again()));
                    }
                }
            }
        }
        self.roll_back().await;
    }

    /// One job in a transaction of its own.
    async fn alone(&mut self, job: &mut dyn Job) -> Result<(), StorageError> {
        self.roll_back().await;
        self.begin().await?;
        // What the job refuses itself, it answers itself.
        if self.run(job).await? { self.commit().await } else { Ok(()) }
    }

    /// One job of several in a transaction.
    async fn share(&mut self, job: &mut dyn Job) -> Result<Shared, StorageError> {
        if self.lane.is_some() || self.guarded > 0 {
            self.execute("SAVEPOINT job").await?;
            if !self.run(job).await? {
                self.execute("ROLLBACK TO job").await?;
            }
            self.execute("RELEASE job").await?;
            return Ok(Shared::Well);
        }
        let before = self.changes()?;
        let good = self.run(job).await?;
        // Also after a good one: what it did may be undone, with all before it.
        let after = self.changes()?;
        Ok(if good || before == after { Shared::Well } else { Shared::Badly })
    }

    /// How many rows were changed, in a transaction that SQLite has not ended by itself.
    fn changes(&self) -> Result<u64, StorageError> {
        let changes = self.connection.as_ref().and_then(Connection::changes);
        changes.ok_or_else(|| StorageError::Refused("SQLite gave the transaction up".to_owned()))
    }

    /// Runs a job; says whether its work may be committed. An error when the transaction is lost, whatever the job says.
    async fn run(&mut self, job: &mut dyn Job) -> Result<bool, StorageError> {
        let connection = self.connection.as_mut().ok_or(StorageError::Closed)?;
        if self.lane.is_none() {
            return Ok(job.run(connection).await);
        }
        let Ok(good) = tokio::time::timeout(JOB_AWAY, job.run(connection)).await else {
            self.connection = None;
            return Err(StorageError::Away("a job took too long".into()));
        };
        match connection.take_fault() {
            None => Ok(good),
            Some(Fault::Again) => Err(StorageError::Contended),
            Some(Fault::Lost) => {
                self.connection = None;
                Err(StorageError::Contended)
            }
        }
    }

    async fn begin(&mut self) -> Result<(), StorageError> {
        let Some(lane) = &mut self.lane else { return self.execute("BEGIN IMMEDIATE").await };
        for attempt in 1.. {
            let known = self.connection.is_some();
            if !known {
                self.connection = Some(lane.connect().await?);
            }
            let Some(connection) = &mut self.connection else { break };
            let begun = async {
                query("BEGIN").execute(connection).await?;
                lane.permit(connection).await
            };
            match tokio::time::timeout(COMMIT_AWAY, begun).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(StorageError::NoStandby)) => {
                    self.roll_back().await;
                    return Err(StorageError::NoStandby);
                }
                // A connection that was lost while nobody wrote: another one.
                Ok(Err(_)) if known && attempt == 1 => self.connection = None,
                Ok(Err(error)) => {
                    self.connection = None;
                    return Err(StorageError::Away(error.to_string()));
                }
                Err(_) => {
                    self.connection = None;
                    return Err(StorageError::Away("it does not begin a transaction in time".into()));
                }
            }
        }
        Err(StorageError::Closed)
    }

    async fn commit(&mut self) -> Result<(), StorageError> {
        let Some(lane) = &mut self.lane else { return self.execute("COMMIT").await };
        let connection = self.connection.as_mut().ok_or(StorageError::Closed)?;
        let notices = self.observer.notices();
        let witnessed = tokio::time::timeout(COMMIT_AWAY, lane.witness(connection, notices)).await;
        if !matches!(witnessed, Ok(Ok(()))) {
            let lost = witnessed.is_err() || connection.take_fault() == Some(Fault::Lost);
            if lost {
                self.connection = None;
            }
            return Err(StorageError::Contended);
        }
        let committed = tokio::time::timeout(COMMIT_AWAY, query("COMMIT").execute(connection)).await;
        match committed {
            Ok(Ok(_)) => {
                lane.acknowledge();
                Ok(())
            }
            // A constraint that is looked at now, or a deadlock: it is known to be undone.
            Ok(Err(error @ Error::Postgres(sqlx::Error::Database(_)))) if Fault::of(&error) != Some(Fault::Lost) => {
                match connection.take_fault() {
                    Some(Fault::Again) => Err(StorageError::Contended),
                    _ => Err(error.into()),
                }
            }
            _ => {
                self.connection = None;
                Err(StorageError::Unknown)
            }
        }
    }

    /// Ends a transaction that may or may not be open: SQLite ends it by itself on some errors.
    async fn roll_back(&mut self) {
        if self.connection.is_none() {
            return;
        }
        match tokio::time::timeout(COMMIT_AWAY, self.execute("ROLLBACK")).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(database = self.label, %error, "no transaction to roll back"),
            Err(_) => self.connection = None,
        }
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), StorageError> {
        let connection = self.connection.as_mut().ok_or(StorageError::Closed)?;
        let executed = query(statement).execute(connection).await;
        match connection.take_fault() {
            None => {
                executed?;
                Ok(())
            }
            Some(Fault::Again) => Err(StorageError::Contended),
            Some(Fault::Lost) => {
                self.connection = None;
                Err(StorageError::Contended)
            }
        }
    }
}
