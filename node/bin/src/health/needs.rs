//! Whether the roles that this node's own roles need answer it.
//!
//! A role that is down for everyone makes nobody else not ready: that would take half a cluster out of DNS for one
//! failure, and help nobody. So silence counts only while the members say that some node of the role is ready: then
//! others reach it and this node does not, and whoever comes is served better elsewhere. Mailbox nodes count by their
//! store groups, because none stands in for another. What is not heard of by gossip is not known to be ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use estafeta_core::members::{Candidate, Members, MembersView};
use estafeta_core::{NodeName, RoleName, StoreGroup};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Config;
use super::probes::{Probes, gather};

/// How often they are asked: so many intervals. Whoever uses them for mail notices sooner.
const INTERVALS: u32 = 2;

/// The nodes of one role that stand in for each other.
type Peers = (RoleName, Option<StoreGroup>);

/// What is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    /// When one last answered, or when they were first asked.
    last: Instant,
    /// What came since then in place of an answer.
    error: String,
    /// Whose turn it is.
    turn: usize,
}

/// The needed roles under watch.
pub struct Needed {
    config: Config,
    probes: Arc<Probes>,
    members: MembersView,
    wanted: Mutex<BTreeMap<RoleName, Vec<RoleName>>>,
    heard: Mutex<BTreeMap<Peers, Heard>>,
}

impl Needed {
    /// Nothing is needed yet.
    pub fn new(config: Config, probes: Arc<Probes>, members: MembersView) -> Self {
        Self { config, probes, members, wanted: Mutex::default(), heard: Mutex::default() }
    }

    /// A role of this node needs these.
    pub fn by(&self, role: &RoleName, needs: &[RoleName]) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.get(role).is_none_or(|known| known != needs) {
            wanted.insert(role.clone(), needs.to_vec());
        }
    }

    /// Whether each of these roles answers this node, or is not to be had by anyone.
    pub fn answers(&self, roles: &[RoleName], now: Instant) -> Result<(), String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = heard.iter().find(|((role, _), heard)| {
            roles.contains(role) && now.duration_since(heard.last) >= self.config.need_timeout()
        });
        let Some(((role, group), heard)) = silent else { return Ok(()) };
        let group = group.as_ref().map(|group| format!(" of store group {group}")).unwrap_or_default();
        Err(format!(
            "no {role} node{group} answers this one, and others find one ready ({}): see the network between them",
            heard.error
        ))
    }

    /// Asks them in turn, for ever.
    pub async fn ask(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.config.interval() * INTERVALS).await;
            self.ask_once().await;
        }
    }

    /// One round.
    pub async fn ask_once(&self) {
        let began = Instant::now();
        let mut asked = JoinSet::new();
        for (peers, candidate) in self.turn(began) {
            let probes = self.probes.clone();
            asked.spawn(async move {
                let answer = probes.ask(candidate.clone()).await;
                (peers, answer.map_err(|why| format!("{}: {why}", candidate.node)))
            });
        }
        let answers = gather(asked).await;
        let now = Instant::now();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for (peers, answer) in answers {
            let Some(heard) = heard.get_mut(&peers) else { continue };
            match answer {
                Ok(()) => heard.last = now,
                Err(why) => heard.error = why,
            }
        }
    }

    /// Whom to ask now, one of each kind. Who is not to be had any more is forgotten.
    fn turn(&self, now: Instant) -> Vec<(Peers, Candidate)> {
        let wanted: BTreeSet<RoleName> = {
            let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.values().flatten().cloned().collect()
        };
        let mut ready = ready(&self.members.current(), &self.probes.remote().node, &wanted);
        for candidates in ready.values_mut() {
            candidates.retain(|one| self.probes.knows(&one.endpoint.role, &one.endpoint.service));
        }
        ready.retain(|_, candidates| !candidates.is_empty());
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|peers, _| ready.contains_key(peers));
        let next = ready.into_iter().map(|(peers, mut candidates)| {
            let heard =
                heard.entry(peers.clone()).or_insert_with(|| Heard { last: now, error: String::new(), turn: 0 });
            heard.turn = heard.turn.wrapping_add(1);
            (peers, candidates.swap_remove(heard.turn % candidates.len()))
        });
        next.collect()
    }
}

/// The endpoints of these roles on other nodes that were heard of and are ready. A role that is ready on this node
/// itself is not asked of others.
fn ready(members: &Members, own: &NodeName, roles: &BTreeSet<RoleName>) -> BTreeMap<Peers, Vec<Candidate>> {
    let mine = members.get(own);
    let mut ready = BTreeMap::<Peers, Vec<Candidate>>::new();
    for role in roles {
        let others =
            members.iter().filter(|member| &member.name != own && !member.version.is_empty() && member.is_ready(role));
        for member in others {
            let group = member.store_group.clone().filter(|_| *role == RoleName::MAILBOX);
            if mine.is_some_and(|mine| mine.is_ready(role) && (group.is_none() || mine.store_group == group)) {
                continue;
            }
            let endpoints = member.endpoints.iter().filter(|endpoint| &endpoint.role == role);
            let candidates =
                endpoints.map(|endpoint| Candidate { node: member.name.clone(), endpoint: endpoint.clone() });
            ready.entry((role.clone(), group)).or_default().extend(candidates);
        }
    }
    ready
}
