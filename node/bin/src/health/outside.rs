//! What this node sees of others from outside: one that gossips well and cannot be reached is found so.
//!
//! Bounded: whom to ask is chosen by whoever knows how many there are, each role of a node is asked at one endpoint a
//! round, in turn, and not while an answer of it is waited for; no more than [`AT_ONCE`] are asked at the same moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::members::{Candidate, Member, MembersView};
use estafeta_core::{NodeName, RoleName};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::Config;
use super::probes::Probes;

/// How many probes run at the same moment.
const AT_ONCE: usize = 16;

/// By how much a probe may outlast its own limit; past it this node was away, and judges nobody by it.
const STALL: Duration = Duration::from_millis(500);

/// Whom this node watches, and whom it tells what it sees.
pub trait Watch: Send + Sync + 'static {
    /// The nodes to probe now: a few, chosen so that each node is probed by some.
    fn targets(&self) -> Vec<NodeName>;

    /// What a probe of a role saw.
    fn probed(&self, node: &NodeName, role: &RoleName, result: Result<(), String>);
}

/// The probes of other nodes.
pub struct Outside<W> {
    config: Config,
    probes: Arc<Probes>,
    members: MembersView,
    watch: W,
    /// How often each role was asked: which of its endpoints is next.
    turns: HashMap<(NodeName, RoleName), usize>,
    /// Who is being asked.
    waiting: HashSet<(NodeName, RoleName)>,
    asked: JoinSet<Answered>,
    room: Arc<Semaphore>,
}

/// What a probe saw, and how long it took.
struct Answered {
    candidate: Candidate,
    result: Result<(), String>,
    took: Duration,
}

impl<W: Watch> Outside<W> {
    /// Nobody was asked yet.
    pub fn new(config: Config, probes: Arc<Probes>, members: MembersView, watch: W) -> Self {
        Self {
            config,
            probes,
            members,
            watch,
            turns: HashMap::new(),
            waiting: HashSet::new(),
            asked: JoinSet::new(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Asks, round after round, for ever.
    pub async fn run(mut self) {
        let mut rounds = tokio::time::interval(self.config.interval());
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => self.ask(),
                Some(ended) = self.asked.join_next() => match ended {
                    Ok(answered) => self.tell(answered),
                    Err(error) => {
                        tracing::error!(%error, "a bug: a probe broke");
                        // Which one is not known.
                        self.waiting.clear();
                    }
                },
            }
        }
    }

    /// Asks who is to be asked now, spread over half the interval, so that nodes which started together do not all ask at
    /// the same moment.
    fn ask(&mut self) {
        for candidate in self.candidates() {
            if !self.waiting.insert((candidate.node.clone(), candidate.endpoint.role.clone())) {
                continue;
            }
            let (probes, room) = (self.probes.clone(), self.room.clone());
            let later = self.config.interval().mul_f64(fastrand::f64() / 2.0);
            self.asked.spawn(async move {
                tokio::time::sleep(later).await;
                let _place = room.acquire().await;
                let began = Instant::now();
                let result = probes.ask(candidate.clone()).await;
                Answered { candidate, result, took: began.elapsed() }
            });
        }
    }

    fn tell(&mut self, answered: Answered) {
        let Answered { candidate: Candidate { node, endpoint }, result, took } = answered;
        let role = endpoint.role;
        self.waiting.remove(&(node.clone(), role.clone()));
        if took > self.config.timeout() + STALL {
            tracing::debug!(%node, %role, milliseconds = took.as_millis(), "this node was away while it probed another");
            return;
        }
        if let Err(why) = &result {
            tracing::debug!(%node, %role, why, "a probe failed");
            let (node, role) = (node.to_string(), role.to_string());
            metrics::counter!("estafeta_probe_failures_total", "node" => node, "role" => role).increment(1);
        }
        self.watch.probed(&node, &role, result);
    }

    /// One endpoint of each role of each target.
    fn candidates(&mut self) -> Vec<Candidate> {
        let members = self.members.current();
        let targets = self.watch.targets();
        self.turns.retain(|(node, _), _| targets.contains(node));
        let mut candidates = Vec::new();
        for member in targets.iter().filter_map(|node| members.get(node)) {
            for role in member.roles.keys() {
                candidates.extend(self.next(member, role));
            }
        }
        candidates
    }

    fn next(&mut self, member: &Member, role: &RoleName) -> Option<Candidate> {
        let of_role = member.endpoints.iter().filter(|endpoint| &endpoint.role == role);
        let known: Vec<_> = of_role.filter(|endpoint| self.probes.knows(role, &endpoint.service)).collect();
        let turn = self.turns.entry((member.name.clone(), role.clone())).or_default();
        *turn = turn.wrapping_add(1);
        let endpoint = known.get(turn.checked_rem(known.len())?)?;
        Some(Candidate { node: member.name.clone(), endpoint: (*endpoint).clone() })
    }
}
