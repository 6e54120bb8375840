//! The zones that this node answers for.
//!
//! Served are each mail domain of the settings (unless the configuration says otherwise), the zones that the
//! configuration adds, such as the cluster's own domain, those of its zone files, and the reverse zones. Of zones inside
//! each other the longest is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use estafeta_core::members::{Member, Members, MembersView};
use estafeta_core::settings::{Settings, SettingsView};
use estafeta_net::drain::Drain;
use hickory_proto::rr::{Name, RecordType};

use crate::config::Config;
use crate::content::{self, Sources, enrolled_only, reverse};
use crate::dnssec::KeyRing;
use crate::files::{FilesView, LOOK, ZoneFiles};
use crate::sites::Sites;
use crate::zone::{Choice, Zone, absolute};
use crate::zonefile::{self, Held};

/// The zones at one moment: a value, never changed in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zones {
    /// What is answered: it follows readiness. By the zone's name.
    pub live: BTreeMap<Name, Arc<Zone>>,
    /// The same zones for those who keep them, name servers elsewhere: all enrolled nodes, whatever their readiness, and
    /// nothing in turn. Their serial numbers are 0: whoever hands them out gives them one.
    pub transferred: BTreeMap<Name, Arc<Zone>>,
    /// The sites.
    pub sites: Sites,
    /// Zones that should be served, and whose file cannot be read.
    lacking: BTreeSet<Name>,
    /// What of the written records has no place, in words for whoever wrote them.
    pub notes: BTreeSet<String>,
}

impl Zones {
    /// The zones of a cluster, with serial number 0.
    pub fn new(config: &Config, settings: &Settings, members: &Members, files: &ZoneFiles) -> Self {
        let sites = Sites::new(&config.sites);
        let (fixed, mut notes) = fixed(config, files);
        let kinds = kinds(config, settings, &fixed);
        let all = |members: &Members, notes: &mut BTreeSet<String>| -> BTreeMap<Name, Zone> {
            let sources = Sources { config, sites: &sites, settings, members };
            let served = kinds.iter().filter(|(name, _)| !files.lacking.contains(*name));
            served.map(|(name, kind)| (name.clone(), kind.zone(name, sources, &fixed, notes))).collect()
        };
        let live = all(members, &mut notes);
        let transferred = all(&enrolled_only(members), &mut notes);
        let shared =
            |zones: BTreeMap<Name, Zone>| zones.into_iter().map(|(name, zone)| (name, Arc::new(zone))).collect();
        Self {
            live: shared(live),
            transferred: shared(transferred.into_iter().map(|(name, zone)| (name, kept_elsewhere(zone))).collect()),
            sites,
            lacking: files.lacking.clone(),
            notes,
        }
    }

    /// The zone that a name belongs to: of zones inside each other the longest.
    pub fn find(&self, name: &Name) -> Option<(&Name, &Arc<Zone>)> {
        ancestors(name).find_map(|suffix| self.live.get_key_value(&suffix))
    }

    /// The zone that answers a question: to DS the one above, when it is ours too (RFC 4035 §3.1.4.1).
    pub fn find_for(&self, name: &Name, kind: RecordType) -> Option<&Arc<Zone>> {
        let above = || {
            let (origin, _) = self.find(name).filter(|(origin, _)| kind == RecordType::DS && **origin == *name)?;
            (!origin.is_root()).then(|| self.find(&origin.base_name())).flatten()
        };
        above().or_else(|| self.find(name)).map(|(_, zone)| zone)
    }

    /// Whether a name belongs to a zone that should be served and cannot be.
    pub fn lacks(&self, name: &Name) -> bool {
        !self.lacking.is_empty() && ancestors(name).any(|suffix| self.lacking.contains(&suffix))
    }

    /// With the keys of the zones that are signed among their records.
    fn with_keys(mut self, keys: &KeyRing) -> Self {
        for zone in self.live.values_mut().chain(self.transferred.values_mut()) {
            if keys.of(&zone.origin).is_some() {
                keys.dress(Arc::make_mut(zone));
            }
        }
        self
    }

    /// With each zone's serial number: what `given` says, or one that grows with each change of what is answered. Zones
    /// that are as they were before are the very same; what others keep signed is answered as they answer it.
    fn numbered(mut self, before: Option<&Self>, given: &Serials, now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // RFC 1982: serial numbers are 32 bits; the clock's lower half will do until it wraps.
        let clock = u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or_default();
        for (name, zone) in &mut self.live {
            let known = before.and_then(|before| before.live.get(name));
            let same = known.filter(|known| known.holds_same(zone));
            if let Some(signed) = given.get(name).and_then(|given| given.signed.as_ref()) {
                *zone = signed.clone();
                continue;
            }
            let serial = match (given.get(name), same, known) {
                (Some(given), _, _) => given.serial,
                (None, Some(same), _) => same.serial,
                (None, None, Some(known)) => clock.max(known.serial.wrapping_add(1)),
                (None, None, None) => clock,
            };
            match same {
                Some(same) if same.serial == serial => *zone = same.clone(),
                _ => *zone = Arc::new(Zone::clone(zone).with_serial(serial)),
            }
        }
        for (name, zone) in &mut self.transferred {
            let known = before.and_then(|before| before.transferred.get(name)).filter(|known| *known == zone);
            if let Some(known) = known {
                *zone = known.clone();
            }
        }
        self
    }
}

/// A zone as it is kept elsewhere: nothing in it takes turns, and one order stands for all.
fn kept_elsewhere(mut zone: Zone) -> Zone {
    for set in zone.names.values_mut().flatten() {
        set.choice = Choice::All;
        for datum in &mut set.data {
            (datum.site, datum.weight) = (None, 1);
        }
    }
    zone
}

/// A name and all above it, but for the root.
fn ancestors(name: &Name) -> impl Iterator<Item = Name> {
    std::iter::successors(Some(name.clone()), |name| Some(name.base_name())).take_while(|name| !name.is_root())
}

/// What kind of zone is served.
enum Kind {
    /// A mail zone.
    Mail,
    /// One that others wrote.
    Foreign,
    /// The reverse zone of a network.
    Reverse(ipnet::IpNet),
}

impl Kind {
    fn zone(
        &self,
        name: &Name,
        sources: Sources<'_>,
        fixed: &BTreeMap<Name, Held>,
        notes: &mut BTreeSet<String>,
    ) -> Zone {
        let nothing = Held::new();
        let fixed = fixed.get(name).unwrap_or(&nothing);
        match self {
            Self::Mail => content::zone(name, sources, fixed, notes),
            Self::Foreign => content::foreign_zone(name, sources, fixed, notes),
            Self::Reverse(network) => reverse::zone(network, name, sources, fixed, notes),
        }
    }
}

/// Which zones are served.
fn kinds(config: &Config, settings: &Settings, fixed: &BTreeMap<Name, Held>) -> BTreeMap<Name, Kind> {
    let mail_domains = if config.mail_domains { settings.domains.as_slice() } else { &[] };
    let mut kinds: BTreeMap<Name, Kind> =
        config.zones.iter().chain(mail_domains).map(|domain| (absolute(domain), Kind::Mail)).collect();
    for network in &config.reverse_zones {
        if let Ok(name) = reverse::reverse_zone(network) {
            kinds.entry(name).or_insert(Kind::Reverse(*network));
        }
    }
    for name in fixed.keys().cloned().chain(config.zone_files.keys().map(absolute)) {
        kinds.entry(name).or_insert(Kind::Foreign);
    }
    kinds
}

/// What was written by hand, by zone: files, and the configuration's own records.
fn fixed(config: &Config, files: &ZoneFiles) -> (BTreeMap<Name, Held>, BTreeSet<String>) {
    let mut fixed: BTreeMap<Name, Held> =
        files.held.iter().map(|(name, held)| (name.clone(), Held::clone(held))).collect();
    let mut notes = BTreeSet::new();
    for record in &config.records {
        let placed = record
            .read()
            .and_then(|(name, set)| zonefile::add(fixed.entry(absolute(&record.zone)).or_default(), name, set));
        notes.extend(placed.err());
    }
    (fixed, notes)
}

/// The serial numbers of zones that others keep: they are given, not counted here.
pub type Serials = BTreeMap<Name, Given>;

/// What is given of a zone that others keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its serial number.
    pub serial: u32,
    /// All of it, when it is signed: what others answer out of their copy cannot be told apart from what we answer.
    pub signed: Option<Arc<Zone>>,
}

/// Those serial numbers as of now: cheap to clone, always the newest.
#[derive(Debug, Clone, Default)]
pub struct SerialsView(Arc<ArcSwap<Serials>>);

impl SerialsView {
    /// The numbers now.
    pub fn current(&self) -> Arc<Serials> {
        self.0.load_full()
    }

    /// Takes over new ones.
    pub fn replace(&self, serials: Serials) {
        if **self.0.load() != serials {
            self.0.store(Arc::new(serials));
        }
    }
}

/// Always the newest zones, computed again when what they are computed from has changed.
pub struct ZonesView {
    config: Config,
    settings: SettingsView,
    members: MembersView,
    files: FilesView,
    serials: SerialsView,
    keys: KeyRing,
    computed: ArcSwapOption<Computed>,
    computing: Mutex<()>,
}

struct Computed {
    settings: Arc<Settings>,
    members: Arc<Members>,
    files: Arc<ZoneFiles>,
    serials: Arc<Serials>,
    keys_generation: u64,
    /// What of the members the zones depend on.
    seen: Members,
    zones: Arc<Zones>,
}

impl ZonesView {
    /// Zones that follow these views.
    pub fn new(config: Config, settings: SettingsView, members: MembersView) -> Self {
        let files = FilesView::new(&config.zone_files);
        let keys = KeyRing::new(config.dnssec.clone());
        let (serials, computed, computing) = Default::default();
        Self { config, settings, members, files, serials, keys, computed, computing }
    }

    /// The keys of signed zones, which somebody must look after.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Reads the zone files that have changed.
    pub async fn read_files(self: &Arc<Self>) {
        let view = self.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || view.files.look()).await {
            tracing::error!(%error, "a bug: the zone files were not read; please report it");
        }
    }

    /// Looks after the zone files until the drain begins.
    pub async fn watch_files(self: Arc<Self>, drain: Drain) {
        loop {
            tokio::select! {
                () = drain.begun() => return,
                () = tokio::time::sleep(LOOK) => self.read_files().await,
            }
        }
    }

    /// Where the serial numbers of zones that others keep are put.
    pub fn serials(&self) -> &SerialsView {
        &self.serials
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The settings.
    pub fn settings(&self) -> &SettingsView {
        &self.settings
    }

    /// The members.
    pub fn members(&self) -> &MembersView {
        &self.members
    }

    /// The zones now.
    pub fn current(&self) -> Arc<Zones> {
        let (members, settings) = (self.members.current(), self.settings.current());
        let (files, serials) = (self.files.current(), self.serials.current());
        let keys_generation = self.keys.generation();
        let fresh = |computed: &Computed| {
            Arc::ptr_eq(&computed.members, &members)
                && Arc::ptr_eq(&computed.settings, &settings)
                && Arc::ptr_eq(&computed.files, &files)
                && Arc::ptr_eq(&computed.serials, &serials)
                && computed.keys_generation == keys_generation
        };
        if let Some(computed) = self.computed.load().as_deref().filter(|computed| fresh(computed)) {
            return computed.zones.clone();
        }
        let _computing = self.computing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.computed.load_full();
        if let Some(computed) = before.as_deref().filter(|computed| fresh(computed)) {
            return computed.zones.clone();
        }
        let seen = self.seen(&members);
        let zones = match before.as_deref() {
            // Members speak every second; mostly they say what they said before.
            Some(before)
                if before.seen == seen
                    && (Arc::ptr_eq(&before.settings, &settings) || before.settings.domains == settings.domains)
                    && Arc::ptr_eq(&before.files, &files)
                    && Arc::ptr_eq(&before.serials, &serials)
                    && before.keys_generation == keys_generation =>
            {
                before.zones.clone()
            }
            before => {
                let before = before.map(|before| before.zones.as_ref());
                let new = Zones::new(&self.config, &settings, &seen, &files).with_keys(&self.keys);
                for note in new.notes.iter().filter(|note| before.is_none_or(|before| !before.notes.contains(*note))) {
                    tracing::warn!("a record of the configuration or of a zone file is not served as written: {note}");
                }
                Arc::new(new.numbered(before, &serials, SystemTime::now()))
            }
        };
        let computed = Computed { settings, members, files, serials, keys_generation, seen, zones: zones.clone() };
        self.computed.store(Some(Arc::new(computed)));
        zones
    }

    /// What of the members the zones depend on; the rest changes all the time.
    fn seen(&self, members: &Members) -> Members {
        let essential = |member: &Member| Member {
            roles: member.roles.keys().map(|role| (role.clone(), readiness(member, role))).collect(),
            endpoints: member.endpoints.clone(),
            site: member.site.clone(),
            // In steps: what weighs alike is alike.
            load: if self.config.weighted { member.load.min(105) / 10 * 10 } else { 0 },
            draining: member.draining,
            ..Member::named(member.name.clone())
        };
        Members::new(members.iter().map(essential).collect())
    }
}

/// A role's readiness without its reason.
fn readiness(member: &Member, role: &estafeta_core::RoleName) -> estafeta_core::members::Readiness {
    use estafeta_core::members::Readiness;
    match member.roles.get(role) {
        Some(Readiness::Ready) => Readiness::Ready,
        _ => Readiness::NotReady(String::new()),
    }
}

#[cfg(test)]
mod tests;
