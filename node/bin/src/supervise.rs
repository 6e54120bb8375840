//! Keeps one role running: a failure or a panic withdraws what it provides, and it starts anew with back-off while the
//! other roles go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use estafeta_core::members::Readiness;
use estafeta_core::{Failure, RoleName};
use estafeta_net::drain::Drain;
use estafeta_net::role::{Context, Plan, Running};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::wiring::Locals;

/// The first wait before a failed role starts anew; doubled each time, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A role that ran this long without failing is forgiven what was before.
const FORGIVEN: Duration = Duration::from_secs(300);

/// A role that is open and not yet served.
pub struct Supervisor {
    role: RoleName,
    plan: Arc<dyn Plan>,
    context: Context,
    locals: Locals,
    running: Running,
}

/// A role under supervision.
pub struct Supervised {
    /// Its name.
    pub name: RoleName,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Drains the role and waits for its end, at most `deadline` and a little.
    pub async fn stop(self, deadline: Duration) {
        let _ = self.stop.send(deadline);
        if let Err(error) = self.task.await {
            tracing::error!(role = %self.name, %error, "a bug: the supervision of this role has panicked");
        }
    }
}

impl Supervisor {
    /// Opens the role: the first start, whose failure ends the program.
    pub async fn open(
        role: RoleName,
        plan: Arc<dyn Plan>,
        mut context: Context,
        locals: Locals,
    ) -> Result<Self, Failure> {
        context.drain = Drain::new();
        let running = start(&plan, &context).await?;
        locals.provide(&running.provides);
        Ok(Self { role, plan, context, locals, running })
    }

    /// Serves it from now on.
    pub fn run(self) -> Supervised {
        let (stop, stopped) = oneshot::channel();
        let name = self.role.clone();
        Supervised { name, stop, task: tokio::spawn(self.keep(stopped)) }
    }

    async fn keep(mut self, mut stopped: oneshot::Receiver<Duration>) {
        let mut wait = FIRST_WAIT;
        let mut running = Some(self.running);
        loop {
            let began = Instant::now();
            let cause = match running.take() {
                Some(running) => {
                    self.context.members.change(&self.context.node, |member| {
                        member.roles.insert(self.role.clone(), Readiness::Ready);
                    });
                    let mut run = tokio::spawn(running.run);
                    tokio::select! {
                        ended = &mut run => cause(ended),
                        deadline = &mut stopped => {
                            let left = self.context.drain.finish(deadline.unwrap_or_default()).await;
                            if left > 0 {
                                tracing::warn!(role = %self.role, conversations = left, "cut off at the drain's deadline");
                            }
                            let _ = tokio::time::timeout(Duration::from_secs(5), &mut run).await;
                            run.abort();
                            self.locals.withdraw();
                            return;
                        }
                    }
                }
                None => {
                    self.context.drain = Drain::new();
                    match start(&self.plan, &self.context).await {
                        Ok(started) => {
                            self.locals.provide(&started.provides);
                            tracing::info!(role = %self.role, "started anew");
                            running = Some(started);
                            continue;
                        }
                        Err(failure) => failure.to_string(),
                    }
                }
            };
            self.locals.withdraw();
            self.context.members.change(&self.context.node, |member| {
                member.roles.insert(self.role.clone(), Readiness::NotReady(cause.clone()));
            });
            self.context.drain.finish(Duration::ZERO).await;
            if began.elapsed() > FORGIVEN {
                wait = FIRST_WAIT;
            }
            metrics::counter!("estafeta_role_failures_total", "role" => self.role.to_string()).increment(1);
            tracing::error!(role = %self.role, cause, wait_seconds = wait.as_secs(), "the role has failed; it starts anew after the wait");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = &mut stopped => return,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Starts the role in a task of its own, so that a panic is a failure like any other.
async fn start(plan: &Arc<dyn Plan>, context: &Context) -> Result<Running, Failure> {
    let (plan, context) = (plan.clone(), context.clone());
    match tokio::spawn(async move { plan.start(context).await }).await {
        Ok(started) => started,
        Err(error) => Err(Failure::internal(format_args!("a bug: {error}"))),
    }
}

fn cause(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "it ended without being asked to".into(),
        Ok(Err(failure)) => failure.to_string(),
        Err(error) => format!("a bug: {error}"),
    }
}
