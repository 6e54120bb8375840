//! Keeps one role running: a failure or a panic withdraws what it provides, and it starts anew with back-off while the
//! other roles go on. A role of a drained node rests: it holds its ports and refuses who comes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafeta_core::{Failure, Reason, RoleName};
use estafeta_net::drain::Drain;
use estafeta_net::role::{Context, Plan, Running};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::health::Watched;
use crate::wiring::Locals;

/// The first wait before a failed role starts anew; doubled each time, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A role that ran this long without failing is forgiven what was before.
const FORGIVEN: Duration = Duration::from_secs(300);

/// A role that is open, or waits for somebody else, and is not yet served.
pub struct Supervisor {
    role: RoleName,
    plan: Arc<dyn Plan>,
    context: Context,
    locals: Locals,
    watched: Watched,
    opened: Result<Running, Failure>,
}

/// What a role shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Serve.
    Serve,
    /// Finish what runs within this time, and rest.
    Rest(Duration),
    /// Finish what runs within this time, and end.
    End(Duration),
}

/// Where a role is told to rest or to serve. Cheap to clone.
#[derive(Clone)]
pub struct Reins {
    wanted: watch::Sender<Wanted>,
    rests: watch::Receiver<bool>,
    drain: Arc<Mutex<Drain>>,
}

impl Reins {
    /// The role finishes what runs, at most within `deadline`, then refuses who comes.
    pub fn rest(&self, deadline: Duration) {
        self.want(Wanted::Rest(deadline));
    }

    /// The role serves again.
    pub fn serve(&self) {
        self.want(Wanted::Serve);
    }

    fn want(&self, wanted: Wanted) {
        // Whoever was told to end does nothing else any more.
        self.wanted.send_if_modified(|now| {
            let changes = !matches!(now, Wanted::End(_)) && *now != wanted;
            if changes {
                *now = wanted;
            }
            changes
        });
    }

    /// Whether it was told to rest, or to end.
    pub fn is_held(&self) -> bool {
        *self.wanted.borrow() != Wanted::Serve
    }

    /// Whether it rests.
    pub fn rests(&self) -> bool {
        *self.rests.borrow()
    }

    /// How many conversations it has had for longer than `age`.
    pub fn conversations(&self, age: Duration) -> usize {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner).conversations(age)
    }
}

/// A role under supervision.
pub struct Supervised {
    /// Its name.
    pub name: RoleName,
    reins: Reins,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Where it is told to rest or to serve.
    pub fn reins(&self) -> Reins {
        self.reins.clone()
    }

    /// Drains the role and waits for its end, at most `deadline` and a little.
    pub async fn stop(self, deadline: Duration) {
        self.reins.want(Wanted::End(deadline));
        if let Err(error) = self.task.await {
            tracing::error!(role = %self.name, %error, "a bug: the supervision of this role has panicked");
        }
    }
}

impl Supervisor {
    /// Opens the role. Only what an operator must mend is an error, and ends the program: a role whose database, say, is
    /// away starts anew until it is there, like one that fails later.
    pub async fn open(
        role: RoleName,
        plan: Arc<dyn Plan>,
        mut context: Context,
        locals: Locals,
        watched: Watched,
    ) -> Result<Self, Failure> {
        context.drain = Drain::new();
        let opened = start(&plan, &context).await;
        match &opened {
            Ok(running) => locals.provide(&running.provides),
            Err(failure) if failure.reason == Reason::Unavailable => {}
            Err(failure) => return Err(failure.clone()),
        }
        Ok(Self { role, plan, context, locals, watched, opened })
    }

    /// Serves it from now on.
    pub fn run(self) -> Supervised {
        let (wanted, orders) = watch::channel(Wanted::Serve);
        let (resting, rests) = watch::channel(false);
        let drain = Arc::new(Mutex::new(self.context.drain.clone()));
        let name = self.role.clone();
        let reins = Reins { wanted, rests, drain: drain.clone() };
        Supervised { name, reins, task: tokio::spawn(self.keep(orders, resting, drain)) }
    }

    async fn keep(
        mut self,
        mut orders: watch::Receiver<Wanted>,
        resting: watch::Sender<bool>,
        drain: Arc<Mutex<Drain>>,
    ) {
        let mut wait = FIRST_WAIT;
        let mut first = Some(self.opened);
        loop {
            let began = Instant::now();
            let opened = match first.take() {
                Some(opened) => opened,
                None => {
                    self.context.drain = Drain::new();
                    *drain.lock().unwrap_or_else(PoisonError::into_inner) = self.context.drain.clone();
                    let opened = start(&self.plan, &self.context).await;
                    if let Ok(running) = &opened {
                        self.locals.provide(&running.provides);
                        tracing::info!(role = %self.role, "started anew");
                    }
                    opened
                }
            };
            let cause = match opened {
                Err(failure) => Some(failure.to_string()),
                Ok(running) => {
                    self.watched.runs(&running.provides);
                    let mut run = tokio::spawn(running.run);
                    tokio::select! {
                        ended = &mut run => Some(cause(ended)),
                        deadline = leave(&mut orders) => {
                            self.watched.leaves();
                            let left = self.context.drain.finish(deadline).await;
                            if left > 0 {
                                tracing::warn!(role = %self.role, conversations = left, "cut off at the drain's deadline");
                            }
                            let _ = tokio::time::timeout(Duration::from_secs(5), &mut run).await;
                            run.abort();
                            self.locals.withdraw();
                            None
                        }
                    }
                }
            };
            if let Some(cause) = cause {
                self.locals.withdraw();
                self.watched.fails(cause.as_str());
                self.context.drain.finish(Duration::ZERO).await;
                if began.elapsed() > FORGIVEN {
                    wait = FIRST_WAIT;
                }
                metrics::counter!("estafeta_role_failures_total", "role" => self.role.to_string()).increment(1);
                tracing::error!(role = %self.role, cause, wait_seconds = wait.as_secs(), "the role has failed; it starts anew after the wait");
                let left = tokio::time::timeout(wait, leave(&mut orders)).await.is_ok();
                wait = (wait * 2).min(LONGEST_WAIT);
                if !left {
                    continue;
                }
            }
            if !rest(&self.role, &self.context, &self.watched, &mut orders, &resting).await {
                return;
            }
            wait = FIRST_WAIT;
        }
    }
}

/// Completes when the role shall not serve any more, with the time that it has to finish what runs.
async fn leave(orders: &mut watch::Receiver<Wanted>) -> Duration {
    match orders.wait_for(|wanted| *wanted != Wanted::Serve).await.as_deref() {
        Ok(Wanted::Rest(deadline) | Wanted::End(deadline)) => *deadline,
        _ => Duration::ZERO,
    }
}

/// Refuses who comes until the role shall serve again. False when it shall end.
async fn rest(
    role: &RoleName,
    context: &Context,
    watched: &Watched,
    orders: &mut watch::Receiver<Wanted>,
    resting: &watch::Sender<bool>,
) -> bool {
    if !matches!(*orders.borrow(), Wanted::End(_)) {
        watched.rests(format!("drained; it serves again after: estafeta node resume {}", context.node));
        if let Err(error) = context.sockets.close() {
            tracing::warn!(%role, %error, "who connects waits now, because the listeners cannot be closed");
        }
        resting.send_replace(true);
    }
    let wanted = match orders.wait_for(|wanted| !matches!(wanted, Wanted::Rest(_))).await {
        Ok(wanted) => *wanted,
        Err(_) => Wanted::End(Duration::ZERO),
    };
    resting.send_replace(false);
    if wanted != Wanted::Serve {
        return false;
    }
    if let Err(error) = context.sockets.open() {
        tracing::error!(%role, %error, "the listeners cannot be opened again: restart the node");
    }
    true
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
    use estafeta_core::members::{MembersView, Readiness};
    use estafeta_net::role::{Provides, Remote};
    use estafeta_net::tls::{Tls, TlsFiles};
    use serde_json::Value;

    use super::*;
    use crate::health::{self, Health};
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

    /// Everything that a role is handed, and its watch.
    fn handed(members: &MembersView) -> (Context, Watched) {
        let context = Context {
            node: "me".parse().unwrap(),
            hostname: "me".into(),
            data: "/nonexistent".into(),
            sockets: Arc::default(),
            tls: Arc::new(Tls::load(TlsFiles::default()).unwrap()),
            contracts: contracts(),
            members: members.clone(),
            settings: Default::default(),
            issuer: None,
            drain: Drain::new(),
        };
        let remote = Remote { node: context.node.clone(), hostname: "me".into(), tls: context.tls.clone() };
        let health = Health::new(health::Config::default(), &[], remote, members.clone());
        let watched = health.watch(RoleName::EDGE, context.data.clone(), Arc::default());
        (context, watched)
    }

    /// What it needs is away at its first start, and there at its second.
    struct Waits(Shaky, Reason);

    #[async_trait]
    impl Plan for Waits {
        async fn start(&self, context: Context) -> Result<Running, Failure> {
            if self.0.starts.load(Ordering::Relaxed) == 0 {
                self.0.starts.store(3, Ordering::Relaxed);
                return Err(Failure { reason: self.1, ..Failure::unavailable("the database is away") });
            }
            self.0.start(context).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_whose_database_is_away_at_the_start_waits_for_it() {
        let members = members("me", RoleName::EDGE);
        let (context, watched) = handed(&members);
        let locals = Locals::default();
        let plan = Arc::new(Waits(Shaky::default(), Reason::Unavailable));
        let opening = Supervisor::open(RoleName::EDGE, plan, context, locals.clone(), watched).await;
        let role = opening.ok().unwrap().run();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(readiness(&members), Readiness::NotReady("the database is away".into()));
        assert!(!locals.provides_administration());
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(readiness(&members) == Readiness::Ready && locals.provides_administration());
        role.stop(Duration::from_secs(5)).await;

        // What an operator must mend is told at once.
        let (context, watched) = handed(&members);
        let plan = Arc::new(Waits(Shaky::default(), Reason::Internal));
        let refused = Supervisor::open(RoleName::EDGE, plan, context, locals, watched).await.err();
        assert_eq!(refused.unwrap().to_string(), "the database is away");
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_fails_starts_anew_after_longer_and_longer() {
        let members = members("me", RoleName::EDGE);
        let (context, watched) = handed(&members);
        let locals = Locals::default();
        let plan = Arc::new(Shaky::default());
        let opening = Supervisor::open(RoleName::EDGE, plan.clone(), context, locals.clone(), watched);
        let supervisor = opening.await.unwrap();
        assert!(locals.provides_administration());
        let began = tokio::time::Instant::now();
        let role = supervisor.run();
        // Waits of 1, 2 and 4 seconds stand between the four starts.
        tokio::time::sleep(Duration::from_millis(6_500)).await;
        assert_eq!(plan.starts.load(Ordering::Relaxed), 3);
        assert!(matches!(readiness(&members), Readiness::NotReady(_)) && !locals.provides_administration());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(plan.starts.load(Ordering::Relaxed), 4);
        assert!(began.elapsed() < Duration::from_secs(8));
        // After a failure it has to prove itself for a while.
        assert!(readiness(&members) != Readiness::Ready && locals.provides_administration());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(readiness(&members), Readiness::Ready);
        // It rests and serves again, as often as it is told to.
        let reins = role.reins();
        for start in 5..7 {
            reins.rest(Duration::from_secs(5));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(reins.rests() && !locals.provides_administration());
            assert!(matches!(readiness(&members), Readiness::NotReady(why) if why.contains("node resume me")));
            reins.serve();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!reins.rests() && locals.provides_administration() && readiness(&members) == Readiness::Ready);
            assert_eq!(plan.starts.load(Ordering::Relaxed), start);
        }
        role.stop(Duration::from_secs(5)).await;
        assert!(!locals.provides_administration());
    }
}
