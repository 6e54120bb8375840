//! What one role of this node proves about itself: checked every interval while it runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::RoleName;
use estafeta_core::members::{Candidate, Endpoint, MembersView, Readiness};
use estafeta_net::role::{Health as Proves, Needs};
use estafeta_net::sockets::Sockets;
use estafeta_storage::disk::Disk;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Config;
use super::judgement::Judgement;
use super::needs::Needed;
use super::probes::{Probes, bounded, gather};

/// How soon a role that is in doubt is checked again: this part of the interval.
const DOUBT: u32 = 4;

/// By how much a round may outlast its own limits. Past it this node has been away or has had no time, and what it found
/// says nothing about the role.
const STALL: Duration = Duration::from_millis(500);

/// What the supervisor says of a role.
#[derive(Clone)]
pub enum Condition {
    /// It is not started yet.
    Starting,
    /// It runs, and this is to be checked.
    Running(Subject),
    /// It does not run, and this is why.
    Failed(String),
    /// It was told to rest, for this reason; after that it starts as for the first time.
    Resting(String),
    /// It finishes what runs: nobody listens any more, and nothing is checked.
    Leaving,
}

/// What there is to be checked of a role that runs.
#[derive(Clone)]
pub struct Subject {
    /// What it proves itself.
    pub health: Option<Arc<dyn Proves>>,
    /// What it cannot do without.
    pub needs: Needs,
}

/// The checks of one role.
pub struct Checks {
    pub role: RoleName,
    pub config: Config,
    pub data: PathBuf,
    pub sockets: Arc<Sockets>,
    pub probes: Arc<Probes>,
    pub needed: Arc<Needed>,
    pub members: MembersView,
}

impl Checks {
    /// Checks until nobody can say anything new of the role's condition.
    pub async fn run(self, mut conditions: watch::Receiver<Condition>) {
        let mut judgement = Judgement::new(self.config.fail_after, self.config.pass_after, Instant::now());
        // Every start begins so: no news for a log.
        self.say(judgement.readiness());
        let mut disk = Disk::of(self.data.clone(), self.config.free_bytes, self.config.disk_timeout());
        loop {
            let condition = conditions.borrow_and_update().clone();
            let turn = async {
                match condition {
                    Condition::Running(subject) => {
                        self.needed.by(&self.role, &subject.needs.roles);
                        let result = self.round(&subject, &mut disk).await;
                        if let Some(result) = result {
                            judgement.note(result, Instant::now());
                        }
                        self.publish(judgement.readiness());
                        let wait = self.config.interval();
                        tokio::time::sleep(if judgement.is_in_doubt() { wait / DOUBT } else { wait }).await;
                    }
                    Condition::Failed(why) => {
                        judgement.fail(bounded(&why), Instant::now());
                        self.publish(judgement.readiness());
                        std::future::pending().await
                    }
                    Condition::Resting(why) => {
                        judgement.rest(bounded(&why), Instant::now());
                        self.publish(judgement.readiness());
                        std::future::pending().await
                    }
                    Condition::Starting | Condition::Leaving => std::future::pending().await,
                }
            };
            tokio::select! {
                () = turn => {}
                changed = conditions.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One check of everything. None when this node was away meanwhile.
    async fn round(&self, subject: &Subject, disk: &mut Disk) -> Option<Result<(), String>> {
        let began = Instant::now();
        let patience = self.config.timeout();
        let proof = async {
            let Some(health) = &subject.health else { return Ok(()) };
            let limited = tokio::time::timeout(patience, health.check()).await;
            limited.unwrap_or_else(|_| Err(format!("its own check has not ended within {} ms", patience.as_millis())))
        };
        let written = async { if subject.needs.disk { disk.check(patience).await } else { Ok(()) } };
        let (listeners, proof, written) = tokio::join!(self.listeners(), proof, written);
        let took = began.elapsed();
        metrics::histogram!("estafeta_health_check_seconds", "role" => self.role.to_string()).record(took);
        if took > patience + STALL {
            tracing::debug!(role = %self.role, milliseconds = took.as_millis(), "this node was away during a check");
            return None;
        }
        let needed = self.needed.answers(&subject.needs.roles, Instant::now());
        let why: Vec<String> = [written, proof, listeners, needed].into_iter().filter_map(Result::err).collect();
        Some(if why.is_empty() { Ok(()) } else { Err(bounded(&why.join("; "))) })
    }

    /// Asks every listener of the role, all at once.
    async fn listeners(&self) -> Result<(), String> {
        let bound = self.sockets.addresses().map_err(|error| format!("its sockets: {error}"))?;
        let mut asked = JoinSet::new();
        for (service, address) in bound {
            let endpoint = Endpoint { role: self.role.clone(), service, address: reachable(address) };
            let candidate = Candidate { node: self.probes.remote().node.clone(), endpoint };
            let probes = self.probes.clone();
            asked.spawn(async move { probes.ask(candidate).await });
        }
        let answers = gather(asked).await;
        let why: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
        if why.is_empty() { Ok(()) } else { Err(why.join("; ")) }
    }

    fn publish(&self, readiness: &Readiness) {
        if self.say(readiness) {
            match readiness {
                Readiness::Ready => tracing::info!(role = %self.role, "ready"),
                Readiness::NotReady(why) => tracing::warn!(role = %self.role, why, "not ready"),
            }
        }
    }

    /// Tells the members and the metrics; whether that is new.
    fn say(&self, readiness: &Readiness) -> bool {
        let ready = f64::from(u8::from(*readiness == Readiness::Ready));
        metrics::gauge!("estafeta_ready", "role" => self.role.to_string()).set(ready);
        let own = &self.probes.remote().node;
        if self.members.current().get(own).and_then(|member| member.roles.get(&self.role)) == Some(readiness) {
            return false;
        }
        self.members.change(own, |member| {
            member.roles.insert(self.role.clone(), readiness.clone());
        });
        true
    }
}

/// Where a listener is reached from this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = if bound.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    if bound.ip().is_unspecified() { SocketAddr::new(loopback, bound.port()) } else { bound }
}
