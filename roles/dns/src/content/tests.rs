//! Known zones and the invariant that a choice never comes out empty.

use std::collections::BTreeMap;

use estafeta_core::ServiceName;
use estafeta_core::members::Endpoint;
use estafeta_net::section::Section;
use proptest::prelude::*;

use super::*;
use crate::zonefile;

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

const EDGE: [(&str, u16); 3] = [("smtp", 25), ("submissions", 465), ("submission", 587)];
const ACCESS: [(&str, u16); 4] = [("imaps", 993), ("imap", 143), ("pop3s", 995), ("pop3", 110)];

/// Two of each of the roles that DNS names.
pub(crate) fn cluster(ready: [bool; 4]) -> Members {
    Members::new(vec![
        member("dns1", RoleName::DNS, "192.0.2.1", &[("dns", 53)], true),
        member("edge1", RoleName::EDGE, "192.0.2.11", &EDGE, ready[0]),
        member("edge2", RoleName::EDGE, "192.0.2.12", &EDGE, ready[1]),
        member("access1", RoleName::ACCESS, "192.0.2.21", &ACCESS, ready[2]),
        member("access2", RoleName::ACCESS, "2001:db8::22", &ACCESS, ready[3]),
    ])
}

/// The same at two sites, the first of each role in the north.
fn sited(ready: [bool; 4]) -> Members {
    let at_site = |mut member: Member| {
        let site = if member.name.as_str().ends_with('1') { "north" } else { "south" };
        member.site = Some(site.parse().unwrap());
        member
    };
    Members::new(cluster(ready).iter().cloned().map(at_site).collect())
}

pub(crate) fn config(text: &str) -> Config {
    let config: Config = Section::parse(text).unwrap().read().unwrap();
    config.check().unwrap();
    config
}

fn example(members: &Members, config_text: &str, file: &str) -> (Zone, BTreeSet<String>) {
    let config = config(config_text);
    let (sites, settings) = (Sites::new(&config.sites), Settings::default());
    let origin = Name::from_ascii("example.edu.").unwrap();
    let mut notes = BTreeSet::new();
    let sources = Sources { config: &config, sites: &sites, settings: &settings, members };
    let zone = zone(&origin, sources, &zonefile::read(file, &origin).unwrap(), &mut notes);
    (zone, notes)
}

fn shown(zone: &Zone, name: &str) -> Vec<String> {
    let name = Name::parse(name, Some(&zone.origin)).unwrap();
    let name = if name.is_root() { zone.origin.clone() } else { name };
    let of_set = |set: &RecordSet| -> Vec<String> {
        let show = |datum: &Datum| format!("{} {} {}", set.ttl_seconds, set.kind, datum.data);
        set.data.iter().map(show).map(|text| text.replace(".example.edu.", "")).collect()
    };
    zone.names.get(&name).map(|sets| sets.iter().flat_map(of_set).collect()).unwrap_or_default()
}

#[test]
fn a_whole_cluster() {
    let (zone, _) = example(&cluster([true; 4]), "", "");
    assert_eq!(
        shown(&zone, "example.edu."),
        [
            "300 SOA dns1 hostmaster 0 3600 600 604800 30",
            "300 NS dns1",
            "300 MX 10 mx",
            "300 MX 20 edge1",
            "300 MX 20 edge2",
            "300 TXT v=spf1 ip4:192.0.2.11 ip4:192.0.2.12 -all",
        ]
    );
    assert_eq!(shown(&zone, "mx"), ["30 A 192.0.2.11", "30 A 192.0.2.12"]);
    assert_eq!(shown(&zone, "smtp"), ["30 A 192.0.2.11", "30 A 192.0.2.12"]);
    assert_eq!(shown(&zone, "imap"), ["30 A 192.0.2.21", "30 AAAA 2001:db8::22"]);
    assert_eq!(shown(&zone, "pop"), ["30 A 192.0.2.21", "30 AAAA 2001:db8::22"]);
    assert_eq!(shown(&zone, "edge2"), ["300 A 192.0.2.12"]);
    assert_eq!(shown(&zone, "access2"), ["300 AAAA 2001:db8::22"]);
    assert_eq!(shown(&zone, "_dmarc"), ["300 TXT v=DMARC1; p=none"]);
    for (name, server) in [
        ("_imaps", "993 imap"),
        ("_imap", "143 imap"),
        ("_pop3s", "995 pop"),
        ("_pop3", "110 pop"),
        ("_submissions", "465 smtp"),
        ("_submission", "587 smtp"),
    ] {
        assert_eq!(shown(&zone, &format!("{name}._tcp")), [format!("30 SRV 0 1 {server}")]);
    }
    let tcp = Name::from_ascii("_tcp.example.edu.").unwrap();
    assert_eq!(zone.names.get(&tcp), Some(&vec![]), "an empty non-terminal exists");
}

#[test]
fn services_follow_readiness_and_what_others_cache_follows_enrolment() {
    let (zone, _) = example(&cluster([true, false, false, false]), "", "");
    assert_eq!(shown(&zone, "mx"), ["30 A 192.0.2.11"]);
    assert_eq!(shown(&zone, "example.edu.")[2..4], ["300 MX 10 mx", "300 MX 20 edge1"]);
    assert!(shown(&zone, "example.edu.")[4].contains("192.0.2.12"), "SPF names the edge that is down");
    assert_eq!(shown(&zone, "edge2"), ["300 A 192.0.2.12"]);
    assert_eq!(shown(&zone, "imap").len(), 2, "none is ready, so all are named");
    let all = example(&enrolled_only(&cluster([true, false, false, false])), "", "");
    assert_eq!(all, example(&cluster([true; 4]), "", ""), "who keeps the zone sees everyone");
}

#[test]
fn different_ports_are_told_apart_by_the_nodes_names() {
    let members = Members::new(vec![
        member("access1", RoleName::ACCESS, "127.0.10.1", &[("imaps", 10993)], true),
        member("access2", RoleName::ACCESS, "127.0.10.2", &[("imaps", 20993), ("imap", 20143)], true),
    ]);
    let (zone, _) = example(&members, "", "");
    assert_eq!(shown(&zone, "_imaps._tcp"), ["30 SRV 0 1 10993 access1", "30 SRV 0 1 20993 access2"]);
    assert_eq!(shown(&zone, "_imap._tcp"), ["30 SRV 0 1 20143 access2"], "imap. stands for a node without it too");
    assert!(shown(&zone, "example.edu.").ends_with(&["300 TXT v=spf1 -all".into()]));
    assert!(!zone.names.contains_key(&Name::from_ascii("mx.example.edu.").unwrap()), "nobody takes mail");
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
    let (zone, _) = example(&Members::new(vec![private, everywhere, inside, shadowed]), "", "");
    assert_eq!(shown(&zone, "edge1"), ["300 A 192.0.2.1"], "what is for nodes alone is not published");
    assert_eq!(shown(&zone, "mailbox1"), [""; 0], "an unspecified address is no answer");
    assert_eq!(shown(&zone, "mailbox2"), ["300 A 10.0.0.2"]);
    assert_eq!(shown(&zone, "imap"), ["30 A 192.0.2.9"], "the service name wins");
}

#[test]
fn exchanges_by_site() {
    let sites = "sites = [{ name = 'south' }, { name = 'north' }]";
    let (zone, _) = example(&sited([true; 4]), sites, "");
    assert_eq!(
        shown(&zone, "example.edu.")[2..6],
        ["300 MX 10 mx-south", "300 MX 20 mx-north", "300 MX 30 edge1", "300 MX 30 edge2"]
    );
    assert_eq!(shown(&zone, "mx-north"), ["30 A 192.0.2.11"]);
    assert_eq!(shown(&zone, "mx-south"), ["30 A 192.0.2.12"]);
    assert_eq!(shown(&zone, "mx").len(), 2);
    let (zone, _) = example(&sited([true, false, true, true]), sites, "");
    assert_eq!(shown(&zone, "example.edu.")[2..4], ["300 MX 10 mx-north", "300 MX 30 edge1"]);
    assert_eq!(shown(&zone, "mx-south"), ["30 A 192.0.2.11"], "who remembers the name is sent to who is ready");
    let (zone, _) = example(&sited([true; 4]), "", "");
    assert_eq!(shown(&zone, "example.edu.")[2], "300 MX 10 mx-north", "sites of nodes alone, in the order of names");
}

#[test]
fn policies() {
    let text = "name_servers = ['ns1.example.org']\nhostmaster = 'post.master@example.org'\nmta_sts = 'enforce'\n\
        outgoing_addresses = ['198.51.100.7', '2001:db8:9::/48']\nsender_policy_terms = ['include:_spf.example.org']\n\
        dmarc = 'v=DMARC1; p=reject'\ntls_reports = ['mailto:tls@example.edu']\nweb_names = ['autoconfig']\n\
        caa = ['0 issue \"letsencrypt.org\"']\n[dkim]\ns2026 = 'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAv5'\n\
        e2026 = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='";
    let text = text.replace("outgoing_addresses = ['198.51.100.7'", "outgoing_addresses = ['198.51.100.7/32'");
    let mut members = cluster([true; 4]).iter().cloned().collect::<Vec<_>>();
    members[0].endpoints.push(Endpoint {
        role: RoleName::ACCESS,
        service: ServiceName::fixed("https"),
        address: "192.0.2.30:443".parse().unwrap(),
    });
    let (zone, _) = example(&Members::new(members), &text, "");
    let apex = shown(&zone, "example.edu.");
    assert_eq!(apex[0], "300 SOA ns1.example.org. post\\.master.example.org. 0 3600 600 604800 30");
    assert_eq!(apex[1], "300 NS ns1.example.org.");
    assert_eq!(
        apex[5],
        "300 TXT v=spf1 ip4:192.0.2.11 ip4:192.0.2.12 ip4:198.51.100.7 ip6:2001:db8:9::/48 \
         include:_spf.example.org -all"
    );
    assert_eq!(apex[6], "300 CAA 0 issue \"letsencrypt.org\"");
    assert_eq!(shown(&zone, "_dmarc"), ["300 TXT v=DMARC1; p=reject"]);
    assert!(shown(&zone, "s2026._domainkey")[0].starts_with("300 TXT v=DKIM1; k=rsa; p=MII"));
    assert!(shown(&zone, "e2026._domainkey")[0].starts_with("300 TXT v=DKIM1; k=ed25519; p=11q"));
    assert_eq!(shown(&zone, "_smtp._tls"), ["300 TXT v=TLSRPTv1; rua=mailto:tls@example.edu"]);
    let id = shown(&zone, "_mta-sts");
    assert!(id[0].starts_with("300 TXT v=STSv1; id=") && id[0].len() == 20 + 32 + 1, "{id:?}");
    for name in ["webmail", "mta-sts", "autoconfig"] {
        assert_eq!(shown(&zone, name), ["30 A 192.0.2.30"], "{name}");
    }
    let (down, _) = example(&cluster([false, true, true, true]), &text, "");
    assert_eq!(shown(&down, "_mta-sts"), id, "a policy follows enrolment");
    assert!(shown(&down, "autoconfig").is_empty(), "nobody serves web pages there");
}

#[test]
fn what_was_written_by_hand() {
    let file = "@ TXT \"google-site-verification=x\"\n@ TXT \"v=spf1 a -all\"\n@ MX 5 old.example.edu.\n\
        @ NS ns.example.org.\nwww A 192.0.2.80\nimap A 192.0.2.99\nsmtp CNAME www\nweb CNAME www\n\
        _dmarc TXT \"v=DMARC1; p=quarantine\"\nedge1 TXT \"rack 7\"\na.b.c A 192.0.2.81\n";
    let (zone, notes) = example(&cluster([true; 4]), "", file);
    let apex = shown(&zone, "example.edu.");
    assert_eq!(apex.len(), 7, "{apex:?}");
    assert_eq!(apex[6], "300 TXT google-site-verification=x");
    assert_eq!(shown(&zone, "www"), ["3600 A 192.0.2.80"]);
    assert_eq!(shown(&zone, "web"), ["3600 CNAME www"]);
    assert_eq!(shown(&zone, "imap"), ["30 A 192.0.2.21", "30 AAAA 2001:db8::22"]);
    assert_eq!(shown(&zone, "_dmarc"), ["3600 TXT v=DMARC1; p=quarantine"]);
    assert_eq!(shown(&zone, "edge1"), ["300 A 192.0.2.11", "3600 TXT rack 7"]);
    assert!(zone.names.contains_key(&Name::from_ascii("b.c.example.edu.").unwrap()));
    let said: Vec<&str> = notes.iter().map(|note| note.split(':').next().unwrap()).collect();
    assert_eq!(
        said,
        ["example.edu. MX", "example.edu. NS", "example.edu. TXT", "imap.example.edu. A", "smtp.example.edu. CNAME"]
    );
}

#[test]
fn busy_nodes_weigh_less() {
    let mut members = cluster([true; 4]).iter().cloned().collect::<Vec<_>>();
    members.iter_mut().filter(|member| member.name.as_str() == "edge1").for_each(|member| member.load = 90);
    let weights = |text: &str| {
        let (zone, _) = example(&Members::new(members.clone()), text, "");
        let mx = Name::from_ascii("mx.example.edu.").unwrap();
        zone.set(&mx, RecordType::A).unwrap().data.iter().map(|datum| datum.weight).collect::<Vec<_>>()
    };
    assert_eq!(weights("weighted = true"), [1, 10]);
    assert_eq!(weights(""), [1, 1]);
    assert_eq!([0, 5, 50, 99, 400].map(services::weight), [10, 10, 5, 1, 1]);
}

proptest! {
    #[test]
    fn no_choice_is_empty_while_a_member_exists(ready in any::<[bool; 4]>(), at_sites in any::<bool>()) {
        let members = if at_sites { sited(ready) } else { cluster(ready) };
        let (zone, _) = example(&members, "", "");
        let ready_or_all = |a: bool, b: bool| if a == b { 2 } else { 1 };
        prop_assert_eq!(shown(&zone, "mx").len(), ready_or_all(ready[0], ready[1]));
        prop_assert_eq!(shown(&zone, "imap").len(), ready_or_all(ready[2], ready[3]));
        for name in ["smtp", "pop", "_imaps._tcp", "_submissions._tcp", "edge1", "access2"] {
            prop_assert!(!shown(&zone, name).is_empty());
        }
        for datum in zone.names.values().flatten().flat_map(|set| &set.data) {
            let host = match &datum.data {
                RData::NS(server) => &server.0,
                RData::MX(exchange) => &exchange.exchange,
                RData::SRV(server) => &server.target,
                _ => continue,
            };
            prop_assert!(zone.names.get(host).is_some_and(|found| !found.is_empty()), "{:?} leads nowhere", datum);
        }
    }
}
