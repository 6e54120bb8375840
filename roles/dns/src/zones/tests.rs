//! Which zones, with which serial numbers, computed when.

use std::time::Duration;

use estafeta_core::RoleName;

use super::*;
use crate::content::tests::{cluster, config, member};

fn settings(domains: &[&str]) -> Settings {
    Settings {
        version: 1,
        domains: domains.iter().map(|domain| domain.parse().unwrap()).collect(),
        ..Settings::default()
    }
}

fn zones(domains: &[&str]) -> Zones {
    Zones::new(&Config::default(), &settings(domains), &Members::default(), &ZoneFiles::default())
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn found(zones: &Zones, text: &str) -> Option<String> {
    zones.find(&name(text)).map(|(origin, _)| origin.to_ascii())
}

#[test]
fn the_longest_zone_is_found_whatever_the_case() {
    let zones = zones(&["demo.test", "sub.demo.test", "correo.españa.test"]);
    let some = |origin: &str| Some(origin.to_owned());
    assert_eq!(found(&zones, "demo.test."), some("demo.test."));
    assert_eq!(found(&zones, "_imaps._TCP.Demo.Test."), some("demo.test."));
    assert_eq!(found(&zones, "a.sub.demo.test."), some("sub.demo.test."));
    assert_eq!(found(&zones, "mx.correo.xn--espaa-rta.test."), some("correo.xn--espaa-rta.test."));
    assert_eq!(found(&zones, "test."), None);
    assert_eq!(found(&zones, "xdemo.test."), None);
    assert_eq!(found(&zones, "."), None);
    let asked = |kind| zones.find_for(&name("sub.demo.test."), kind).unwrap().origin.to_ascii();
    assert_eq!((asked(RecordType::DS), asked(RecordType::NS)), ("demo.test.".into(), "sub.demo.test.".into()));
}

#[test]
fn configuration_decides_which_zones_are_served() {
    let config = config(
        "zones = ['extra.test']\nmail_domains = false\nreverse_zones = ['192.0.2.0/24']\n\
         zone_files = { 'cs.test' = '/x', 'lacking.test' = '/y' }\n\
         records = [{ zone = 'more.test', name = 'www', type = 'A', value = '192.0.2.80' }]",
    );
    let files =
        ZoneFiles { held: [(name("cs.test."), Arc::default())].into(), lacking: [name("lacking.test.")].into() };
    let zones = Zones::new(&config, &settings(&["mail.test"]), &cluster([true; 4]), &files);
    let served: Vec<String> = zones.live.keys().map(Name::to_ascii).collect();
    assert_eq!(served, ["2.0.192.in-addr.arpa.", "cs.test.", "extra.test.", "more.test."]);
    assert_eq!(zones.live.len(), zones.transferred.len());
    assert!(zones.lacks(&name("www.lacking.test.")) && !zones.lacks(&name("www.mail.test.")));
    let shown = |zone: &str, owner: &str, kind| {
        let set = zones.live[&name(zone)].set(&name(owner), kind);
        set.map(|set| set.data.iter().map(|datum| datum.data.to_string()).collect::<Vec<_>>()).unwrap_or_default()
    };
    let reverse = "2.0.192.in-addr.arpa.";
    assert_eq!(shown(reverse, "11.2.0.192.in-addr.arpa.", RecordType::PTR), ["edge1.extra.test."]);
    assert_eq!(shown(reverse, reverse, RecordType::NS), ["dns1.extra.test."]);
    assert_eq!(shown("more.test.", "www.more.test.", RecordType::A), ["192.0.2.80"]);
    assert_eq!(
        shown("more.test.", "more.test.", RecordType::MX),
        [""; 0],
        "of a foreign zone we say whose it is alone"
    );
}

#[test]
fn zones_kept_elsewhere_hold_everyone_and_take_no_turns() {
    let domain = settings(&["demo.test"]);
    let of = |ready| Zones::new(&Config::default(), &domain, &cluster(ready), &ZoneFiles::default());
    let (some, all) = (of([true, false, true, true]), of([true; 4]));
    assert_ne!(some.live, all.live);
    assert_eq!(some.transferred, all.transferred);
    let zone = &some.transferred[&name("demo.test.")];
    assert!(zone.names.values().flatten().all(|set| set.choice == Choice::All));
    assert_eq!(zone.set(&name("mx.demo.test."), RecordType::A).unwrap().data.len(), 2);
}

#[test]
fn serial_numbers_grow_with_changes_alone_and_never_go_back() {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let with = |ready| {
        Zones::new(&Config::default(), &settings(&["a.test", "b.test"]), &cluster(ready), &ZoneFiles::default())
    };
    let serial = |zones: &Zones| zones.live[&name("a.test.")].serial;
    let none = Serials::new();
    let first = with([true; 4]).numbered(None, &none, at(1000));
    assert_eq!(serial(&first), 1000);
    let same = with([true; 4]).numbered(Some(&first), &none, at(2000));
    assert_eq!(serial(&same), 1000);
    assert!(Arc::ptr_eq(&same.live[&name("a.test.")], &first.live[&name("a.test.")]));
    let second = with([false, true, true, true]).numbered(Some(&first), &none, at(900));
    assert_eq!(serial(&second), 1001, "the clock went back, the serial number does not");
    assert_eq!(serial(&with([true; 4]).numbered(Some(&second), &none, at(3000))), 3000);
    let given = Serials::from([(name("a.test."), Given { serial: 77, signed: None })]);
    let third = with([true; 4]).numbered(Some(&second), &given, at(4000));
    assert_eq!((serial(&third), third.live[&name("b.test.")].serial), (77, 4000));
    let authority = third.live[&name("a.test.")].set(&name("a.test."), RecordType::SOA).unwrap();
    assert!(authority.data[0].data.to_string().contains(" 77 "));
}

#[test]
fn the_view_follows_members_and_settings() {
    let edge = member("edge1", RoleName::EDGE, "192.0.2.1", &[("smtp", 25)], true);
    let (settings, members) = (SettingsView::default(), MembersView::new(Members::new(vec![edge])));
    let view = ZonesView::new(Config::default(), settings.clone(), members.clone());
    assert_eq!(found(&view.current(), "late.test."), None);
    settings.replace(self::settings(&["late.test"]));
    assert!(found(&view.current(), "late.test.").is_some());
    let before = view.current();
    assert!(Arc::ptr_eq(&before, &view.current()), "nothing changed, nothing is computed");
    let edge1 = "edge1".parse().unwrap();
    members.change(&edge1, |member| {
        member.load = 70;
        member.version = "2".into();
    });
    assert!(Arc::ptr_eq(&before, &view.current()), "nothing changed that a zone speaks of");
    members.change(&edge1, |member| member.draining = true);
    assert_eq!(*view.current(), *before, "nobody else takes mail, so the draining edge is still named");
    members.change(&edge1, |member| member.endpoints.clear());
    let serial = |zones: &Zones| zones.live[&name("late.test.")].serial;
    assert!(serial(&view.current()) > serial(&before));
    view.serials().replace(Serials::from([(name("late.test."), Given { serial: 5, signed: None })]));
    assert_eq!(serial(&view.current()), 5);
}
