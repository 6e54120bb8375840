//! The zones that this node answers for, and the one table that all of them hold.
//!
//! Served are each mail domain of the settings (unless the configuration says otherwise) and the zones that the
//! configuration adds, such as the cluster's own domain. Of zones inside each other the longest is asked.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use estafeta_core::Domain;
use estafeta_core::members::{Members, MembersView};
use estafeta_core::settings::{Settings, SettingsView};
use hickory_proto::rr::Name;

use crate::config::{Config, TimesToLive};
use crate::table::{Table, table};

/// The zones at one moment: a value, never changed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones {
    origins: BTreeSet<Name>,
    /// What each of them holds.
    pub table: Table,
    /// How long data may be kept.
    pub ttl: TimesToLive,
    /// The serial number of every zone: it grows with each change of what they hold.
    pub serial: u32,
}

impl Zones {
    /// The zones of a cluster, with serial number 0.
    pub fn new(config: &Config, settings: &Settings, members: &Members) -> Self {
        let mail_domains = if config.mail_domains { settings.domains.as_slice() } else { &[] };
        let domains = config.zones.iter().chain(mail_domains);
        let origins = domains.filter_map(origin).collect();
        let ttl = config.times_to_live();
        Self { origins, table: table(members, &ttl), ttl, serial: 0 }
    }

    /// The zone that a name belongs to, and the name relative to it.
    pub fn find(&self, name: &Name) -> Option<(&Name, Name)> {
        let mut suffix = name.clone();
        let mut labels = 0;
        loop {
            if let Some(origin) = self.origins.get(&suffix) {
                let relative = Name::from_labels(name.iter().take(labels)).ok()?;
                return Some((origin, relative));
            }
            if suffix.is_root() {
                return None;
            }
            suffix = suffix.base_name();
            labels += 1;
        }
    }
}

/// A domain as DNS has it: absolute, and in A-labels where it has other letters (RFC 5891 §4.4).
fn origin(domain: &Domain) -> Option<Name> {
    let parsed = Name::from_str_relaxed(domain.as_str());
    let name = parsed.inspect_err(|error| tracing::warn!(%domain, %error, "not served: it is no name for DNS")).ok()?;
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    Some(name)
}

/// Always the newest zones, computed again when the members or the settings have changed.
pub struct ZonesView {
    config: Config,
    settings: SettingsView,
    members: MembersView,
    computed: RwLock<Option<Computed>>,
}

#[derive(Clone)]
struct Computed {
    version: u64,
    members: Arc<Members>,
    zones: Arc<Zones>,
}

impl ZonesView {
    /// Zones that follow these views.
    pub fn new(config: Config, settings: SettingsView, members: MembersView) -> Self {
        Self { config, settings, members, computed: RwLock::default() }
    }

    /// The zones now.
    pub fn current(&self) -> Arc<Zones> {
        let members = self.members.current();
        let settings = self.settings.current();
        let fresh = |computed: &Option<Computed>| {
            let of_these = |c: &&Computed| c.version == settings.version && Arc::ptr_eq(&c.members, &members);
            computed.as_ref().filter(of_these).map(|c| c.zones.clone())
        };
        if let Some(zones) = fresh(&self.computed.read().unwrap_or_else(PoisonError::into_inner)) {
            return zones;
        }
        let mut computed = self.computed.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(zones) = fresh(&computed) {
            return zones;
        }
        let new = Zones::new(&self.config, &settings, &members);
        let before = computed.as_ref().map(|computed| computed.zones.as_ref());
        let zones = Arc::new(numbered(new, before, SystemTime::now()));
        *computed = Some(Computed { version: settings.version, members, zones: zones.clone() });
        zones
    }
}

/// Gives zones their serial number: that of the zones before while they hold the same, else the time in seconds since
/// 1970, as RFC 1982 §2 and common practice allow, and always more than before. So it never goes back, not even over a
/// restart.
fn numbered(new: Zones, before: Option<&Zones>, now: SystemTime) -> Zones {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Serial numbers wrap around by design (RFC 1982 §3).
    let serial = (seconds & u64::from(u32::MAX)) as u32;
    let serial = match before {
        Some(before) if before.origins == new.origins && before.table == new.table => before.serial,
        Some(before) => serial.max(before.serial.wrapping_add(1)),
        None => serial,
    };
    Zones { serial, ..new }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use estafeta_core::RoleName;

    use super::*;
    use crate::table::tests::member;

    fn zones(domains: &[&str]) -> Zones {
        let settings = Settings {
            version: 1,
            domains: domains.iter().map(|d| d.parse().unwrap()).collect(),
            ..Settings::default()
        };
        Zones::new(&Config::default(), &settings, &Members::default())
    }

    fn found(zones: &Zones, name: &str) -> Option<(String, String)> {
        let name = Name::from_ascii(name).unwrap();
        zones.find(&name).map(|(origin, relative)| (origin.to_ascii(), relative.to_ascii()))
    }

    #[test]
    fn the_longest_zone_is_found_whatever_the_case() {
        let zones = zones(&["demo.test", "sub.demo.test", "correo.españa.test"]);
        let some = |origin: &str, relative: &str| Some((origin.to_owned(), relative.to_owned()));
        assert_eq!(found(&zones, "demo.test."), some("demo.test.", "."));
        assert_eq!(found(&zones, "_imaps._TCP.Demo.Test."), some("demo.test.", "_imaps._TCP."));
        assert_eq!(found(&zones, "a.sub.demo.test."), some("sub.demo.test.", "a."));
        assert_eq!(found(&zones, "mx.correo.xn--espaa-rta.test."), some("correo.xn--espaa-rta.test.", "mx."));
        assert_eq!(found(&zones, "test."), None);
        assert_eq!(found(&zones, "xdemo.test."), None);
        assert_eq!(found(&zones, "."), None);
    }

    #[test]
    fn configuration_decides_which_zones_are_served() {
        let settings = Settings { version: 1, domains: vec!["mail.test".parse().unwrap()], ..Settings::default() };
        let config = Config { zones: vec!["extra.test".parse().unwrap()], mail_domains: false, ..Config::default() };
        let zones = Zones::new(&config, &settings, &Members::default());
        assert!(found(&zones, "extra.test.").is_some());
        assert_eq!(found(&zones, "mail.test."), None);
    }

    #[test]
    fn serial_numbers_grow_with_changes_alone_and_never_go_back() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let first = numbered(zones(&["a.test"]), None, at(1000));
        assert_eq!(first.serial, 1000);
        assert_eq!(numbered(zones(&["a.test"]), Some(&first), at(2000)).serial, 1000);
        let second = numbered(zones(&["b.test"]), Some(&first), at(900));
        assert_eq!(second.serial, 1001, "the clock went back, the serial number does not");
        assert_eq!(numbered(zones(&["a.test"]), Some(&second), at(3000)).serial, 3000);
    }

    #[test]
    fn the_view_follows_members_and_settings() {
        let edge = member("edge1", RoleName::EDGE, "192.0.2.1", &[("smtp", 25)], true);
        let (settings, members) = (SettingsView::default(), MembersView::new(Members::new(vec![edge])));
        let view = ZonesView::new(Config::default(), settings.clone(), members.clone());
        assert_eq!(found(&view.current(), "late.test."), None);
        settings.replace(Settings { version: 1, domains: vec!["late.test".parse().unwrap()], ..Settings::default() });
        assert!(found(&view.current(), "late.test.").is_some());
        let before = view.current();
        assert!(Arc::ptr_eq(&before, &view.current()), "nothing changed, nothing is computed");
        let edge1 = "edge1".parse().unwrap();
        members.change(&edge1, |member| member.draining = true);
        assert_eq!(*view.current(), *before, "nobody else takes mail, so the draining edge is still named");
        members.change(&edge1, |member| member.endpoints.clear());
        assert!(view.current().serial > before.serial);
    }
}
