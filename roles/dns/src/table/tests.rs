//! Known tables and the invariant that a choice never comes out empty.

use std::collections::BTreeMap;

use estafeta_core::ServiceName;
use estafeta_core::members::{Endpoint, Readiness};
use proptest::prelude::*;

use super::*;

const TTL: TimesToLive = TimesToLive { service_seconds: 30, stable_seconds: 300 };

/// A member with one role and the services `name:port` at one address.
pub(crate) fn member(
    name: &str,
    role: RoleName,
    address: &str,
    services: &[(&'static str, u16)],
    ready: bool,
) -> Member {
    let readiness = if ready { Readiness::Ready } else { Readiness::NotReady("test".into()) };
    let address: IpAddr = address.parse().unwrap();
    let endpoint = |(service, port): &(&'static str, u16)| Endpoint {
        role: role.clone(),
        service: ServiceName::fixed(service),
        address: SocketAddr::new(address, *port),
    };
    Member {
        roles: BTreeMap::from([(role.clone(), readiness)]),
        endpoints: services.iter().map(endpoint).collect(),
        ..Member::named(name.parse().unwrap())
    }
}

/// Two of each of the roles that DNS names.
pub(crate) fn cluster(ready: [bool; 4]) -> Members {
    let edge = [("smtp", 25), ("submissions", 465), ("submission", 587)];
    let access = [("imaps", 993), ("imap", 143), ("pop3s", 995), ("pop3", 110)];
    Members::new(vec![
        member("dns1", RoleName::DNS, "192.0.2.1", &[("dns", 53)], true),
        member("edge1", RoleName::EDGE, "192.0.2.11", &edge, ready[0]),
        member("edge2", RoleName::EDGE, "192.0.2.12", &edge, ready[1]),
        member("access1", RoleName::ACCESS, "192.0.2.21", &access, ready[2]),
        member("access2", RoleName::ACCESS, "2001:db8::22", &access, ready[3]),
    ])
}

fn shown(table: &Table, name: &str) -> Vec<String> {
    let name = if name.is_empty() { Name::root() } else { Name::from_ascii(format!("{name}.")).unwrap() };
    let show = |entry: &Entry| match &entry.datum {
        Datum::Address(address) => format!("{} {address}", entry.ttl_seconds),
        Datum::NameServer(host) => format!("{} NS {host}", entry.ttl_seconds),
        Datum::Exchange(preference, host) => format!("{} MX {preference} {host}", entry.ttl_seconds),
        Datum::Server(port, host) => format!("{} SRV {port} {host}", entry.ttl_seconds),
        Datum::Text(text) => format!("{} TXT {text}", entry.ttl_seconds),
    };
    table.get(&name).map(|entries| entries.iter().map(show).collect()).unwrap_or_default()
}

#[test]
fn a_whole_cluster() {
    let table = table(&cluster([true; 4]), &TTL);
    assert_eq!(
        shown(&table, ""),
        [
            "300 NS dns1.",
            "300 MX 10 mx.",
            "300 MX 20 edge1.",
            "300 MX 20 edge2.",
            "300 TXT v=spf1 ip4:192.0.2.11 ip4:192.0.2.12 -all",
        ]
    );
    assert_eq!(shown(&table, "mx"), ["30 192.0.2.11", "30 192.0.2.12"]);
    assert_eq!(shown(&table, "smtp"), ["30 192.0.2.11", "30 192.0.2.12"]);
    assert_eq!(shown(&table, "imap"), ["30 192.0.2.21", "30 2001:db8::22"]);
    assert_eq!(shown(&table, "pop"), ["30 192.0.2.21", "30 2001:db8::22"]);
    assert_eq!(shown(&table, "edge2"), ["300 192.0.2.12"]);
    assert_eq!(shown(&table, "access2"), ["300 2001:db8::22"]);
    for (name, server) in [
        ("_imaps", "993 imap"),
        ("_imap", "143 imap"),
        ("_pop3s", "995 pop"),
        ("_pop3", "110 pop"),
        ("_submissions", "465 smtp"),
        ("_submission", "587 smtp"),
    ] {
        assert_eq!(shown(&table, &format!("{name}._tcp")), [format!("30 SRV {server}.")]);
    }
    let tcp = Name::from_ascii("_tcp.").unwrap();
    assert_eq!(table.get(&tcp), Some(&vec![]), "an empty non-terminal exists");
}

#[test]
fn services_follow_readiness_and_what_others_cache_follows_enrolment() {
    let table = table(&cluster([true, false, false, false]), &TTL);
    assert_eq!(shown(&table, "mx"), ["30 192.0.2.11"]);
    assert_eq!(shown(&table, "")[1..3], ["300 MX 10 mx.", "300 MX 20 edge1."]);
    assert!(shown(&table, "")[3].contains("192.0.2.12"), "SPF names the edge that is down");
    assert_eq!(shown(&table, "edge2"), ["300 192.0.2.12"]);
    assert_eq!(shown(&table, "imap").len(), 2, "none is ready, so all are named");
}

#[test]
fn different_ports_are_told_apart_by_the_nodes_names() {
    let members = Members::new(vec![
        member("access1", RoleName::ACCESS, "127.0.10.1", &[("imaps", 10993)], true),
        member("access2", RoleName::ACCESS, "127.0.10.2", &[("imaps", 20993), ("imap", 20143)], true),
    ]);
    let table = table(&members, &TTL);
    assert_eq!(shown(&table, "_imaps._tcp"), ["30 SRV 10993 access1.", "30 SRV 20993 access2."]);
    assert_eq!(shown(&table, "_imap._tcp"), ["30 SRV 20143 access2."], "imap. stands for a node without it too");
    assert!(shown(&table, "").ends_with(&["300 TXT v=spf1 -all".into()]));
    assert!(!table.contains_key(&Name::from_ascii("mx.").unwrap()), "nobody takes mail, so there is no mx");
}

#[test]
fn names_of_nodes() {
    let mut private = member("edge1", RoleName::EDGE, "192.0.2.1", &[("smtp", 25)], true);
    private.endpoints.push(Endpoint {
        role: RoleName::MAILBOX,
        service: ServiceName::fixed("lmtp"),
        address: "10.0.0.1:24".parse().unwrap(),
    });
    let everywhere = member("mailbox1", RoleName::MAILBOX, "0.0.0.0", &[("lmtp", 24)], true);
    let inside = member("mailbox2", RoleName::MAILBOX, "10.0.0.2", &[("lmtp", 24)], true);
    let shadowed = member("imap", RoleName::ACCESS, "192.0.2.9", &[("imaps", 993)], true);
    let table = table(&Members::new(vec![private, everywhere, inside, shadowed]), &TTL);
    assert_eq!(shown(&table, "edge1"), ["300 192.0.2.1"], "what is for nodes alone is not published");
    assert_eq!(shown(&table, "mailbox1"), [""; 0], "an unspecified address is no answer");
    assert_eq!(shown(&table, "mailbox2"), ["300 10.0.0.2"]);
    assert_eq!(shown(&table, "imap"), ["30 192.0.2.9"], "the service name wins");
}

proptest! {
    #[test]
    fn no_choice_is_empty_while_a_member_exists(ready in any::<[bool; 4]>()) {
        let members = cluster(ready);
        let table = table(&members, &TTL);
        let ready_or_all = |a: bool, b: bool| if a == b { 2 } else { 1 };
        prop_assert_eq!(shown(&table, "mx").len(), ready_or_all(ready[0], ready[1]));
        prop_assert_eq!(shown(&table, "imap").len(), ready_or_all(ready[2], ready[3]));
        for name in ["smtp", "pop", "_imaps._tcp", "_submissions._tcp", "edge1", "access2"] {
            prop_assert!(!shown(&table, name).is_empty());
        }
        for (entry, host) in table.values().flatten().filter_map(|entry| Some((entry, entry.datum.host()?))) {
            prop_assert!(table.get(host).is_some_and(|found| !found.is_empty()), "{:?} leads nowhere", entry);
        }
    }
}
