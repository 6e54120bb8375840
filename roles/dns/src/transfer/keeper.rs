//! Keeps this node's versions: looks at the zones and at the other dns nodes, decides ([`super::minting`]), and carries
//! out what was decided. One task, which alone changes what is held and shown.
//!
//! Invariant: what others hear of, and what secondaries are shown, is on disk before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use estafeta_core::members::{Candidate, Members, MembersView};
use estafeta_core::{Failure, NodeName};
use estafeta_net::drain::Drain;
use estafeta_net::tls::Tls;
use hickory_proto::rr::Name;
use tokio::task::JoinSet;

use super::between::{Heard, HeldView, ask};
use super::config::Access;
use super::files::{Files, Kept};
use super::minting::{Action, Electorate, Situation, before_all, decide, obstacle};
use super::notify::Notifier;
use super::shown::{Shown, ShownView};
use super::version::{Digest, Mark, Version, content_digest};
use super::{DNS_TRANSFER, FACT, now_seconds};
use crate::dnssec::Signer;
use crate::dnssec::chain::is_signed;
use crate::zone::Zone;
use crate::zones::{Given, ZonesView};

/// How often it looks.
const TICK: Duration = Duration::from_millis(200);

/// How long what another node said is believed to be all, when nothing says that it has changed.
const LISTEN_AGAIN: Duration = Duration::from_secs(3);

/// And how long while a version waits for the others to hold it.
const LISTEN_SOON: Duration = Duration::from_millis(500);

/// How long a node that could not be asked is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How often it is looked whether signatures grow old.
const SIGNATURES_AGAIN: Duration = Duration::from_secs(10);

/// How long after a failure to write, or to make a version, it is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long a change may wait to be shown before it is said why; and how long until that is said again.
const PATIENCE: Duration = Duration::from_secs(30);
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// The most zones of which versions are held: a bound against a node that has gone mad.
const ZONES_LIMIT: usize = 20_000;

/// What it needs.
pub(super) struct Surroundings {
    pub node: NodeName,
    pub members: MembersView,
    pub tls: Arc<Tls>,
    pub zones: Arc<ZonesView>,
    pub signer: Arc<Signer>,
    pub access: Arc<Access>,
    pub held: HeldView,
    pub shown: ShownView,
    pub notifier: Notifier,
}

/// See the module.
pub(super) struct Keeper {
    around: Surroundings,
    files: Files,
    held: BTreeMap<Name, Arc<Version>>,
    shown: BTreeMap<Name, Shown>,
    peers: BTreeMap<NodeName, Peer>,
    zones: BTreeMap<Name, Known>,
    asking: JoinSet<(NodeName, Result<Heard, String>)>,
    serial_before_all: u32,
}

/// Another dns node.
#[derive(Default)]
struct Peer {
    /// What it was last heard to hold; nothing before it was heard.
    marks: Option<BTreeMap<Name, Mark>>,
    /// What it said in the members when it was asked.
    fact: Option<String>,
    is_asked: bool,
    heard: Option<Instant>,
    failing: bool,
}

/// What is remembered of a zone so that it is not computed again.
#[derive(Default)]
struct Known {
    content: Option<(Arc<Zone>, Option<Digest>)>,
    signatures_looked_at: Option<(Mark, Instant)>,
    grows_old: bool,
    not_before: Option<Instant>,
    waiting: Option<Instant>,
    said: Option<Instant>,
}

impl Keeper {
    /// With what the files hold. Shows at once what was shown before.
    pub fn open(around: Surroundings, files: Files) -> Result<Self, Failure> {
        let (mut held, mut shown) = (BTreeMap::new(), BTreeMap::new());
        for (kept, version) in files.load()? {
            let (origin, version) = (version.zone.origin.clone(), Arc::new(version));
            match kept {
                Kept::Held => drop(held.insert(origin, version)),
                Kept::Shown => drop(shown.insert(origin, Shown::first(version))),
            }
        }
        // What was shown was held, whatever a crash between two files has left.
        for (origin, shown) in &shown {
            let before =
                held.get(origin).is_none_or(|held: &Arc<Version>| shown.version.mark.is_after(held.mark.serial));
            if before {
                held.insert(origin.clone(), shown.version.clone());
            }
        }
        let (peers, zones, asking) = Default::default();
        let serial_before_all = before_all(now_seconds());
        let keeper = Self { around, files, held, shown, peers, zones, asking, serial_before_all };
        keeper.publish_held();
        keeper.publish_shown();
        Ok(keeper)
    }

    /// Works until the drain begins.
    pub async fn run(mut self, drain: Drain) {
        loop {
            tokio::select! {
                () = drain.begun() => return,
                Some(answer) = self.asking.join_next() => match answer {
                    Ok((node, answer)) => self.listen(&node, answer).await,
                    Err(error) => tracing::error!(%error, "a bug: asking another dns node has ended; please report it"),
                },
                () = tokio::time::sleep(TICK) => {}
            }
            let members = self.around.members.current();
            self.ask_others(&members);
            self.look(&Electorate::of(&members)).await;
        }
    }

    /// Asks each other dns node that has something new to say, or has said nothing for a while.
    fn ask_others(&mut self, members: &Members) {
        let own = &self.around.node;
        let others: Vec<_> = members.iter().filter(|member| &member.name != own).collect();
        self.peers.retain(|node, _| others.iter().any(|member| &member.name == node));
        let shows = |(origin, held): (&Name, &Arc<Version>)| {
            self.shown.get(origin).is_some_and(|shown| shown.version.mark == held.mark)
        };
        let pause = if self.held.iter().all(shows) { LISTEN_AGAIN } else { LISTEN_SOON };
        for member in others {
            let Some(endpoint) = member.endpoints.iter().find(|endpoint| endpoint.service == DNS_TRANSFER) else {
                continue;
            };
            let peer = self.peers.entry(member.name.clone()).or_default();
            let fact = member.facts.get(FACT);
            let pause = if peer.failing { ASK_AGAIN } else { pause };
            let is_due = peer.heard.is_none_or(|heard| heard.elapsed() >= pause);
            if peer.is_asked || !(is_due || (!peer.failing && fact != peer.fact.as_ref())) {
                continue;
            }
            (peer.is_asked, peer.fact) = (true, fact.cloned());
            let candidate = Candidate { node: member.name.clone(), endpoint: endpoint.clone() };
            let known = self.held.iter().map(|(origin, version)| (origin.clone(), version.mark.serial)).collect();
            let tls = self.around.tls.clone();
            self.asking.spawn(async move {
                let heard = ask(&tls, &candidate, &known, ZONES_LIMIT).await;
                (candidate.node, heard)
            });
        }
    }

    /// Takes over what another node said.
    async fn listen(&mut self, node: &NodeName, answer: Result<Heard, String>) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.is_asked = false;
        match answer {
            Ok(heard) => {
                (peer.failing, peer.heard) = (false, Some(Instant::now()));
                peer.marks = Some(heard.marks);
                for version in heard.newer {
                    let origin = &version.zone.origin;
                    let held = self.held.get(origin);
                    if held.is_none_or(|held| version.mark.is_after(held.mark.serial)) {
                        tracing::info!(zone = %origin, serial = version.mark.serial, %node, "a new version is taken over");
                        self.hold(version).await;
                    }
                }
            }
            Err(why) => {
                let first = !std::mem::replace(&mut peer.failing, true);
                peer.heard = Some(Instant::now());
                if first {
                    tracing::info!(%node, why, "this dns node cannot be asked for its zones' versions; it is tried again");
                }
            }
        }
    }

    /// Decides for every zone.
    async fn look(&mut self, electorate: &Electorate) {
        self.give_serials();
        let zones = self.around.zones.current();
        let concerned = zones.transferred.keys().filter(|origin| self.around.access.concerns(origin));
        let origins: BTreeSet<Name> = concerned.chain(self.held.keys()).cloned().collect();
        let own = self.around.node.clone();
        for origin in origins {
            let content = zones.transferred.get(&origin).filter(|_| self.around.access.concerns(&origin)).cloned();
            // Minting, then showing what was minted, is the most that one look can lead to.
            for _ in 0..2 {
                let others = self.others(&origin, electorate);
                let is_due = self.is_due(&origin, content.as_ref()).await;
                let situation = Situation {
                    own: &own,
                    electorate,
                    held: self.held.get(&origin).map(|held| held.mark),
                    shown: self.shown.get(&origin).map(|shown| shown.version.mark),
                    others: &others,
                    is_due,
                    now_seconds: now_seconds(),
                };
                let action = decide(&situation);
                self.say_what_hinders(&origin, &situation);
                match action {
                    Some(Action::Mint(serial)) => self.mint(&origin, content.as_ref(), serial).await,
                    Some(Action::Show) => self.show(&origin).await,
                    Some(Action::TakeOver(node)) => {
                        if let Some(peer) = self.peers.get_mut(&node).filter(|peer| !peer.failing) {
                            peer.heard = None;
                        }
                        break;
                    }
                    None => break,
                }
            }
        }
    }

    /// What the other dns nodes hold of a zone, those that have been heard.
    fn others(&self, origin: &Name, electorate: &Electorate) -> BTreeMap<NodeName, Option<Mark>> {
        let heard = self.peers.iter().filter(|(node, _)| electorate.enrolled.contains(*node));
        heard.filter_map(|(node, peer)| Some((node.clone(), peer.marks.as_ref()?.get(origin).copied()))).collect()
    }

    /// Whether a version must be made of this content.
    async fn is_due(&mut self, origin: &Name, content: Option<&Arc<Zone>>) -> bool {
        let known = self.zones.entry(origin.clone()).or_default();
        let Some(content) = content else { return false };
        if known.not_before.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let digest = match &known.content {
            Some((of, digest)) if Arc::ptr_eq(of, content) => *digest,
            _ => {
                let zone = content.clone();
                let digest = aside(move || content_digest(&zone)).await.flatten();
                known.content = Some((content.clone(), digest));
                digest
            }
        };
        let Some(held) = self.held.get(origin) else { return true };
        if digest != Some(held.content) {
            return true;
        }
        let looked = known.signatures_looked_at;
        if looked.is_none_or(|(mark, at)| mark != held.mark || at.elapsed() > SIGNATURES_AGAIN) {
            known.signatures_looked_at = Some((held.mark, Instant::now()));
            let (signer, zone) = (self.around.signer.clone(), held.zone.clone());
            let grows_old = aside(move || signer.needs_resign(&zone, SystemTime::now())).await;
            known.grows_old = grows_old.unwrap_or_default();
        }
        known.grows_old
    }

    async fn mint(&mut self, origin: &Name, content: Option<&Arc<Zone>>, serial: u32) {
        let Some(content) = content.cloned() else { return };
        let signer = self.around.signer.clone();
        let made = aside(move || {
            let zone = Zone::clone(&content).with_serial(serial);
            Version::of(signer.presign(&zone, SystemTime::now()))
        });
        match made.await.flatten() {
            Some(version) => {
                tracing::info!(zone = %origin, serial, "a new version is made");
                metrics::counter!("estafeta_dns_versions_minted_total").increment(1);
                self.hold(version).await;
            }
            None => {
                tracing::error!(zone = %origin, "a bug: this zone has no form for a transfer; please report it");
                self.wait(origin);
            }
        }
    }

    /// Holds a version: on disk, then for the others to hear of.
    async fn hold(&mut self, version: Version) {
        let version = Arc::new(version);
        let origin = version.zone.origin.clone();
        if self.held.len() >= ZONES_LIMIT && !self.held.contains_key(&origin) {
            tracing::error!(zone = %origin, "versions of {ZONES_LIMIT} zones are held already: this one is not taken on");
            return self.wait(&origin);
        }
        if self.write(Kept::Held, &version).await {
            self.held.insert(origin, version);
            self.publish_held();
        }
    }

    /// Shows the version held: on disk, then to secondaries.
    async fn show(&mut self, origin: &Name) {
        let Some(version) = self.held.get(origin).cloned() else { return };
        if !self.write(Kept::Shown, &version).await {
            return;
        }
        let (before, shown) = (self.shown.get(origin).cloned(), version.clone());
        let next = aside(move || match before {
            Some(before) => before.next(shown),
            None => Shown::first(shown),
        });
        let Some(next) = next.await else { return };
        self.shown.insert(origin.clone(), next);
        self.publish_shown();
        tracing::info!(zone = %origin, serial = version.mark.serial, "secondaries are given this version from now on");
        self.around.notifier.announce(&version);
    }

    /// Whether it is on disk.
    async fn write(&mut self, kept: Kept, version: &Arc<Version>) -> bool {
        let (files, writing) = (self.files.clone(), version.clone());
        let error = match aside(move || files.write(kept, &writing)).await {
            Some(Ok(())) => return true,
            Some(Err(failure)) => failure.to_string(),
            None => "a bug, which was logged".to_owned(),
        };
        tracing::error!(zone = %version.zone.origin, error, "a version cannot be kept, so secondaries stay with the one they have: mend the disk; it is tried again");
        self.wait(&version.zone.origin);
        false
    }

    fn wait(&mut self, origin: &Name) {
        self.zones.entry(origin.clone()).or_default().not_before = Some(Instant::now() + AFTER_FAILURE);
    }

    /// The others hear of it through the members, and ask.
    fn publish_held(&self) {
        self.around.held.replace(self.held.clone());
        let Some(catalogue) = self.around.held.catalogue() else { return };
        let fact = catalogue.content.to_string();
        self.around.members.change(&self.around.node, |own| drop(own.facts.insert(FACT.to_owned(), fact.clone())));
    }

    fn publish_shown(&self) {
        self.around.shown.replace(self.shown.clone());
        self.give_serials();
    }

    /// Live answers say the serial number of the version that is shown; before there is one, a number before all.
    fn give_serials(&self) {
        let given = |origin: &Name| match self.shown.get(origin).map(|shown| &shown.version) {
            Some(version) => {
                let signed = is_signed(&version.zone).then(|| version.zone.clone());
                Given { serial: version.mark.serial, signed }
            }
            None => Given { serial: self.serial_before_all, signed: None },
        };
        let zones = self.around.zones.current();
        let concerned = zones.transferred.keys().filter(|origin| self.around.access.concerns(origin));
        self.around.zones.serials().replace(concerned.map(|origin| (origin.clone(), given(origin))).collect());
    }

    /// A change that is not shown for long has a cause that somebody can mend.
    fn say_what_hinders(&mut self, origin: &Name, situation: &Situation<'_>) {
        let known = self.zones.entry(origin.clone()).or_default();
        let is_settled = !situation.is_due && situation.held == situation.shown;
        if is_settled {
            (known.waiting, known.said) = (None, None);
            return;
        }
        let waiting = known.waiting.get_or_insert_with(Instant::now).elapsed();
        if waiting > PATIENCE && known.said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
            known.said = Some(Instant::now());
            tracing::warn!(zone = %origin, "secondaries stay with the version that they have: {}", obstacle(situation));
        }
    }
}

/// Does what takes long for a large zone where nobody waits behind it; none when it ended in a panic.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "a bug: work on a zone's version has ended; please report it"))
        .ok()
}
