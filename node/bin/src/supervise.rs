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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use estafeta_core::administration::Administration;
    use estafeta_core::members::MembersView;
    use estafeta_net::role::Provides;
    use estafeta_net::tls::{Tls, TlsFiles};
    use serde_json::Value;

    use super::*;
    use crate::wiring::testing::{contracts, members};

    /// Panics at its first run, fails at its second, cannot start the third time, then runs.
    #[derive(Default)]
    struct Shaky {
        starts: AtomicUsize,
    }

    struct Offer;

    #[async_trait]
    impl Administration for Offer {
        async fn perform(&self, _: &str, _: Value) -> Result<Value, Failure> {
            Ok(Value::Null)
        }
    }

    #[async_trait]
    impl Plan for Shaky {
        async fn start(&self, context: Context) -> Result<Running, Failure> {
            let start = self.starts.fetch_add(1, Ordering::Relaxed);
            if start == 2 {
                return Err(Failure::internal("as the test wants"));
            }
            let provides = Provides { administration: Some(Arc::new(Offer)), ..Provides::default() };
            let run = Box::pin(async move {
                match start {
                    0 => panic!("as the test wants"),
                    1 => Err(Failure::internal("as the test wants")),
                    _ => {
                        context.drain.begun().await;
                        Ok(())
                    }
                }
            });
            Ok(Running { provides, run })
        }
    }

    fn readiness(members: &MembersView) -> Readiness {
        members.current().get(&"me".parse().unwrap()).unwrap().roles[&RoleName::EDGE].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_fails_starts_anew_after_longer_and_longer() {
        let members = members("me", RoleName::EDGE);
        let context = Context {
            node: "me".parse().unwrap(),
            hostname: "me".into(),
            data: "/nonexistent".into(),
            sockets: Arc::default(),
            tls: Arc::new(Tls::load(TlsFiles::default()).unwrap()),
            contracts: contracts(),
            members: members.clone(),
            settings: Default::default(),
            drain: Drain::new(),
        };
        let locals = Locals::default();
        let plan = Arc::new(Shaky::default());
        let supervisor = Supervisor::open(RoleName::EDGE, plan.clone(), context, locals.clone()).await.unwrap();
        assert!(locals.provides_administration());
        let began = tokio::time::Instant::now();
        let role = supervisor.run();
        // Waits of 1, 2 and 4 seconds stand between the four starts.
        tokio::time::sleep(Duration::from_millis(6_500)).await;
        assert_eq!(plan.starts.load(Ordering::Relaxed), 3);
        assert!(matches!(readiness(&members), Readiness::NotReady(_)) && !locals.provides_administration());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(plan.starts.load(Ordering::Relaxed), 4);
        assert!(readiness(&members) == Readiness::Ready && locals.provides_administration());
        assert!(began.elapsed() < Duration::from_secs(8));
        role.stop(Duration::from_secs(5)).await;
        assert!(!locals.provides_administration());
    }
}
