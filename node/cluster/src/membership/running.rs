//! The loop: ten times a second it says what is new of this node, takes what was heard, looks, and publishes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use estafeta_core::NodeName;
use estafeta_core::members::{Member, Members, MembersView};
use estafeta_core::settings::{Settings, SettingsView};
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;

use super::{Config, Shared, enrolled, load, metered};
use crate::gossip::description::{Believed, Description, Saying, certificate};
use crate::gossip::identity::Unbelieved;
use crate::gossip::seal::Keys;
use crate::gossip::transport::Sealed;
use crate::snapshot::Snapshot;
use crate::view::{Now, View};

const TICK: Duration = Duration::from_millis(100);

/// A tick that comes this much too late shows that the process did not run.
const STALL: Duration = Duration::from_millis(500);

/// How often the load is looked at, and those who are silent are spoken to.
const SELDOM: Duration = Duration::from_secs(1);
const LOAD: Duration = Duration::from_secs(5);

/// How many silent nodes are spoken to at a time.
const CALLS: usize = 3;

/// What separates clusters that share a network; the key does so already.
const CLUSTER: &str = "estafeta";

const DESCRIPTION: &str = "description";
const CERTIFICATE: &str = "certificate";

/// What the loop is given.
pub struct Outside {
    pub config: Config,
    pub socket: Option<Arc<UdpSocket>>,
    pub members: MembersView,
    pub settings: SettingsView,
    pub snapshot: PathBuf,
    pub version: &'static str,
}

pub struct Running {
    shared: Arc<Shared>,
    outside: Outside,
    view: View,
    keys: Arc<ArcSwap<Keys>>,
    settings: Option<Arc<Settings>>,
    believed: BTreeMap<NodeName, Believed>,
    gossip: Option<Gossip>,
    snapshot: Snapshot,
    sequence: u64,
    last_seldom: Option<Instant>,
    last_load: Option<Instant>,
}

/// chitchat, running, and what this node said there last.
struct Gossip {
    handle: ChitchatHandle,
    ended: std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
    boot: u64,
    said: Option<Description>,
    certificate: String,
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}

impl Running {
    pub fn begin(shared: Arc<Shared>, outside: Outside) -> Self {
        let (snapshot, kept) = Snapshot::open(&outside.snapshot);
        let view = View::new(outside.config.clone(), shared.node.clone(), &kept, now());
        outside.members.change(&shared.node, |own| own.version = outside.version.to_owned());
        let mut running = Self {
            shared,
            outside,
            view,
            keys: Arc::default(),
            settings: None,
            believed: BTreeMap::new(),
            gossip: None,
            snapshot,
            sequence: 0,
            last_seldom: None,
            last_load: None,
        };
        running.take_settings();
        running.publish(now());
        running
    }

    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            ticks.tick().await;
            let away = last.elapsed().saturating_sub(TICK);
            last = Instant::now();
            if away > STALL {
                metered::stalled(away);
                tracing::warn!(
                    seconds = away.as_secs_f64(),
                    "this process did not run for a while (stopped, or its machine was, or is overloaded): nobody is judged by that time"
                );
                self.view.excuse(away);
            }
            self.take_settings();
            self.keep_gossiping().await;
            let now = now();
            self.look_after_load(now.instant);
            self.speak(now).await;
            self.listen(now).await;
            self.publish(now);
            self.seldom(now.instant);
        }
    }

    /// Who is enrolled now.
    fn enrolled(&self) -> Members {
        let settings = self.settings.clone().unwrap_or_default();
        enrolled(&self.shared.enrolled.load(), &settings, &self.shared.node)
    }

    fn own(&self) -> Member {
        let known = self.outside.members.current().get(&self.shared.node).cloned();
        known.unwrap_or_else(|| Member::named(self.shared.node.clone()))
    }

    fn take_settings(&mut self) {
        let settings = self.outside.settings.current();
        if self.settings.as_ref().is_some_and(|known| Arc::ptr_eq(known, &settings)) {
            return;
        }
        let known = self.settings.replace(settings.clone());
        if known.as_ref().is_none_or(|known| known.gossip_keys != settings.gossip_keys) {
            self.keys.store(Arc::new(Keys::new(&settings.gossip_keys)));
            let ids: Vec<u32> = settings.gossip_keys.iter().map(|key| key.id).collect();
            tracing::info!(?ids, "the gossip keys as the settings have them");
        }
        if known.is_some_and(|known| known.shut_out != settings.shut_out) {
            // Everyone proves themselves anew.
            self.believed.clear();
        }
    }

    /// Starts gossip when there is a key, and again when it has ended.
    async fn keep_gossiping(&mut self) {
        if let Some(gossip) = &mut self.gossip {
            let ended = tokio::select! { biased; ended = &mut gossip.ended => Some(ended), () = std::future::ready(()) => None };
            let Some(ended) = ended else { return };
            metered::restarted();
            let cause = ended.err().map_or_else(String::new, |error| error.to_string());
            tracing::error!(%cause, "gossip has ended and begins anew: when this goes on, report it with the lines before");
            self.gossip = None;
        }
        let Some(socket) = self.outside.socket.clone().filter(|_| !self.keys.load().is_empty()) else { return };
        match self.begin_gossip(socket).await {
            Ok(gossip) => {
                self.gossip = Some(gossip);
                self.view.listen(Instant::now());
            }
            Err(error) => tracing::error!(%error, "gossip cannot begin, and is tried again"),
        }
    }

    async fn begin_gossip(&mut self, socket: Arc<UdpSocket>) -> anyhow::Result<Gossip> {
        let boot = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let bound = socket.local_addr()?;
        let own = self.own();
        let address = own.gossip.unwrap_or(bound);
        let transport = Sealed {
            socket,
            keys: self.keys.clone(),
            node: self.shared.node.clone(),
            boot,
            skew: Duration::from_secs(self.outside.config.clock_skew_seconds),
        };
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(self.shared.node.as_str(), boot, address),
            cluster_id: CLUSTER.into(),
            gossip_interval: self.outside.config.interval(),
            listen_addr: bound,
            seed_nodes: Vec::new(),
            // This decides only whom chitchat speaks to; who is alive is decided in the view.
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: 8.0,
                sampling_window_size: 100,
                max_interval: Duration::from_secs(5),
                initial_interval: self.outside.config.interval(),
                dead_node_grace_period: Duration::from_secs(600),
            },
            marked_for_deletion_grace_period: Duration::from_secs(600),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let handle = spawn_chitchat(config, Vec::new(), &transport).await?;
        let ended = Box::pin(handle.termination_watcher());
        Ok(Gossip { handle, ended, boot, said: None, certificate: String::new() })
    }

    /// Says what is new of this node.
    async fn speak(&mut self, now: Now) {
        let own = self.own();
        let Some(gossip) = &mut self.gossip else { return };
        let (member, cannot_reach) = (own, self.shared.complaints());
        let mut said =
            Description { sequence: 0, member, cannot_reach, cannot_hear: self.view.cannot_hear(now.instant) };
        let identity = self.shared.identity.load_full();
        let certificate = certificate(&identity);
        if gossip.certificate == certificate && gossip.said.as_ref() == Some(&said) {
            return;
        }
        let unnumbered = said.clone();
        self.sequence += 1;
        said.sequence = self.sequence;
        let Some(text) = said.seal(&identity, gossip.boot) else {
            tracing::error!("what this node says of itself is too large to be told: it has too many endpoints");
            gossip.said = Some(unnumbered);
            return;
        };
        gossip
            .handle
            .with_chitchat(|chitchat| {
                let state = chitchat.self_node_state();
                state.set(CERTIFICATE, &certificate);
                state.set(DESCRIPTION, &text);
            })
            .await;
        gossip.said = Some(unnumbered);
        gossip.certificate = certificate;
    }

    /// Takes what was heard of each enrolled node.
    async fn listen(&mut self, now: Now) {
        let Some(gossip) = &self.gossip else { return };
        let chitchat = gossip.handle.chitchat();
        let chitchat = chitchat.lock().await;
        let identity = self.shared.identity.load_full();
        let settings = self.settings.clone().unwrap_or_default();
        for (id, state) in chitchat.node_states() {
            let Ok(name) = id.node_id.parse::<NodeName>() else { continue };
            self.view.hear(&name, id.generation_id, state.heartbeat().into(), now.instant);
            if self.view.speaking(&name) != Some(id.generation_id) {
                continue;
            }
            let (Some(certificate), Some(text)) = (state.get(CERTIFICATE), state.get(DESCRIPTION)) else { continue };
            let saying = Saying { name: &name, boot: id.generation_id, certificate, text };
            let believed = self.believed.entry(name.clone()).or_default();
            match believed.hear(&identity, &settings.shut_out, saying, now.wall) {
                Ok(true) => {
                    if let Some(said) = &believed.said {
                        self.view.describe(&name, id.generation_id, said.clone());
                    }
                }
                Ok(false) => {}
                Err(why) => Self::disbelieve(&name, why),
            }
        }
    }

    fn disbelieve(node: &NodeName, why: Unbelieved) {
        metered::unbelieved(why);
        tracing::debug!(%node, %why, "what is gossiped of this node is not believed");
    }

    /// Looks, and lets everyone know.
    fn publish(&mut self, now: Now) {
        let (enrolled, own) = (self.enrolled(), self.own());
        self.believed.retain(|name, _| enrolled.get(name).is_some());
        let (others, changes) = self.view.look(&enrolled, &own, &self.shared.complaints(), now);
        for change in changes {
            metered::changed(&change);
            let _ = self.shared.events.send(change);
        }
        let known = self.outside.members.current();
        if !others.iter().eq(known.iter().filter(|member| member.name != self.shared.node)) {
            self.snapshot.change(&others);
            self.outside.members.enrol(others, &self.shared.node);
        }
        self.shared.standings.store(Arc::new(self.view.standings(&own, now.instant)));
    }

    fn look_after_load(&mut self, now: Instant) {
        if self.last_load.is_some_and(|last| now.saturating_duration_since(last) < LOAD) {
            return;
        }
        self.last_load = Some(now);
        if let Some(load) = load::now().filter(|load| self.own().load != *load) {
            self.outside.members.change(&self.shared.node, |own| own.load = load);
        }
    }

    /// What need not be done ten times a second.
    fn seldom(&mut self, now: Instant) {
        if self.last_seldom.is_some_and(|last| now.saturating_duration_since(last) < SELDOM) {
            return;
        }
        self.last_seldom = Some(now);
        self.shared.targets.store(Arc::new(self.view.probe_targets(now)));
        metered::standings(&self.shared.standings.load());
        if let Some(due) = self.snapshot.due(now) {
            tokio::task::spawn_blocking(|| due.write());
        }
        // chitchat speaks to those that it has heard of; the others must be called.
        let Some(gossip) = &self.gossip else { return };
        let members = self.outside.members.current();
        let is_silent = |node: &crate::view::standing::NodeStanding| {
            !node.own && node.last_heard_ms.is_none_or(|silence| silence > self.outside.config.silence_shortest_ms)
        };
        let mut silent: Vec<_> =
            self.shared.standings.load().iter().filter(|node| is_silent(node)).map(|node| node.node.clone()).collect();
        fastrand::shuffle(&mut silent);
        for address in silent.iter().take(CALLS).filter_map(|name| members.get(name)?.gossip) {
            let _ = gossip.handle.gossip(address);
        }
    }
}
