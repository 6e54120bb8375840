//! Membership, running: gossip in, the view out into [`MembersView`]. What decides is in [`crate::view`], pure; what is
//! said between nodes in [`crate::gossip`].
//!
//! Invariants: who is enrolled is the configuration's nodes and those that joined, without those that were shut out;
//! without a gossip key nobody is judged, and everyone enrolled counts as ready; a panic in the gossip of one node ends
//! that gossip, which begins anew, and never the node.

mod config;
mod load;
mod metered;
mod running;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use estafeta_core::members::{Members, MembersView};
use estafeta_core::settings::{Settings, SettingsView};
use estafeta_core::{NodeName, RoleName};
use tokio::net::UdpSocket;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::gossip::description::Unreached;
use crate::gossip::identity::Identity;
pub use crate::view::standing::{Change, NodeStanding, RoleStanding, Standing};
pub use config::Config;

/// How many changes a slow reader may fall behind.
const EVENTS: usize = 1024;

/// How long the result of a probe counts: whoever probes no more says nothing more.
const PROBE_COUNTS: Duration = Duration::from_secs(10);

/// How many probes are remembered.
const PROBES: usize = 4096;

/// What membership needs of the node.
pub struct Beginning {
    /// The thresholds.
    pub config: Config,
    /// This node.
    pub node: NodeName,
    /// Its certificate and key.
    pub identity: Identity,
    /// The socket for gossip, bound; none where this node does not gossip: then nobody is judged.
    pub socket: Option<UdpSocket>,
    /// Who is enrolled by configuration, this node included.
    pub enrolled: Members,
    /// Where the view goes. This node's own entry in it is what it says of itself.
    pub members: MembersView,
    /// Where keys, joined nodes and those that were shut out come from.
    pub settings: SettingsView,
    /// Where the snapshot is kept.
    pub snapshot: PathBuf,
    /// The version of the program.
    pub version: &'static str,
}

/// Membership of this node. Cheap to clone.
#[derive(Clone)]
pub struct Membership(Arc<Shared>);

struct Shared {
    node: NodeName,
    identity: ArcSwap<Identity>,
    enrolled: ArcSwap<Members>,
    probes: Mutex<BTreeMap<(NodeName, RoleName), Probed>>,
    targets: ArcSwap<Vec<NodeName>>,
    standings: ArcSwap<Vec<NodeStanding>>,
    events: broadcast::Sender<Change>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The last result of a probe.
struct Probed {
    at: Instant,
    result: Result<(), String>,
}

impl Membership {
    /// Starts it. The first view is there when this returns: that of the snapshot, or everyone enrolled as ready.
    pub fn start(beginning: Beginning) -> Self {
        metered::describe();
        let shared = Arc::new(Shared {
            node: beginning.node.clone(),
            identity: ArcSwap::from_pointee(beginning.identity),
            enrolled: ArcSwap::from_pointee(beginning.enrolled),
            probes: Mutex::default(),
            targets: ArcSwap::default(),
            standings: ArcSwap::default(),
            events: broadcast::channel(EVENTS).0,
            task: Mutex::default(),
        });
        let running = running::Running::begin(
            shared.clone(),
            running::Outside {
                config: beginning.config,
                socket: beginning.socket.map(Arc::new),
                members: beginning.members,
                settings: beginning.settings,
                snapshot: beginning.snapshot,
                version: beginning.version,
            },
        );
        *shared.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(running.run()));
        Self(shared)
    }

    /// Takes over who is enrolled by configuration from now on.
    pub fn enrol(&self, enrolled: Members) {
        self.0.enrolled.store(Arc::new(enrolled));
    }

    /// Takes over a renewed certificate and its key.
    pub fn identify(&self, identity: Identity) {
        self.0.identity.store(Arc::new(identity));
    }

    /// Takes what a probe of another node's role from here has shown; an error says in a few words what came instead of
    /// an answer.
    pub fn probed(&self, node: &NodeName, role: &RoleName, result: Result<(), String>) {
        let mut probes = self.0.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if probes.len() >= PROBES {
            probes.retain(|_, probed| probed.at.elapsed() < PROBE_COUNTS);
        }
        if probes.len() < PROBES {
            probes.insert((node.clone(), role.clone()), Probed { at: Instant::now(), result });
        }
    }

    /// Whom this node is to probe: each node is probed by a few others, and all agree by whom.
    pub fn probe_targets(&self) -> Vec<NodeName> {
        self.0.targets.load().as_ref().clone()
    }

    /// Every change from now on. A reader that falls far behind misses some, and is told how many.
    pub fn events(&self) -> broadcast::Receiver<Change> {
        self.0.events.subscribe()
    }

    /// How every enrolled node stands now, this node first.
    pub fn standings(&self) -> Vec<NodeStanding> {
        self.0.standings.load().as_ref().clone()
    }

    /// Stops gossiping. The others notice by the silence, unless this node has drained.
    pub fn stop(&self) {
        if let Some(task) = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Shared {
    /// Whom this node cannot reach, by its probes of late.
    fn complaints(&self) -> Vec<Unreached> {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let complaint = |((node, role), probed): (&(NodeName, RoleName), &Probed)| {
            let why = probed.result.as_ref().err().filter(|_| probed.at.elapsed() < PROBE_COUNTS)?;
            Some(Unreached { node: node.clone(), role: role.clone(), why: why.clone() })
        };
        probes.iter().filter_map(complaint).collect()
    }
}

/// Who is enrolled: those of the configuration, those that joined, without those that were shut out. What the
/// configuration says of a node goes before what it said when it joined; `own` always is enrolled.
pub fn enrolled(configured: &Members, settings: &Settings, own: &NodeName) -> Members {
    let joined = settings.nodes.iter().filter(|joined| configured.get(&joined.name).is_none());
    let all = configured.iter().chain(joined);
    let stays = all.filter(|member| &member.name == own || !settings.shut_out.nodes.contains(&member.name));
    Members::new(stays.cloned().collect())
}

#[cfg(test)]
mod tests;
