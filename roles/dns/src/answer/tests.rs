//! Known answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use estafeta_core::members::Members;
use estafeta_core::settings::Settings;

use super::*;
use crate::config::Config;
use crate::content::policy::text_data;
use crate::content::tests::{cluster, config};
use crate::files::ZoneFiles;
use crate::zonefile;

/// Whoever asks without a site, at a turn.
pub(crate) fn asker(turn: usize) -> Asker {
    Asker { turn, client: [198, 51, 100, 1].into(), subnet: None }
}

/// The zones demo.test and example.edu of some members, with what is written by hand in demo.test.
pub(crate) fn zones_with(config: &Config, members: &Members, file: &str) -> Zones {
    let domains = ["demo.test", "example.edu"].map(|domain| domain.parse().unwrap()).to_vec();
    let origin = Name::from_ascii("demo.test.").unwrap();
    let held = BTreeMap::from([(origin.clone(), Arc::new(zonefile::read(file, &origin).unwrap()))]);
    let files = ZoneFiles { held, ..ZoneFiles::default() };
    let mut zones = Zones::new(config, &Settings { version: 1, domains, ..Settings::default() }, members, &files);
    for zone in zones.live.values_mut() {
        *zone = Arc::new(Zone::clone(zone).with_serial(7));
    }
    zones
}

/// The zones demo.test and example.edu of the test cluster.
pub(crate) fn zones(ready: [bool; 4]) -> Zones {
    zones_with(&Config::default(), &cluster(ready), "")
}

fn ask(name: &str, kind: RecordType, turn: usize) -> Answer {
    let question = Query::query(Name::from_ascii(name).unwrap(), kind);
    answer(&zones([true; 4]), &question, &asker(turn))
}

fn shown(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data))
        .collect()
}

#[test]
fn addresses_take_turns() {
    let first = ask("mx.demo.test.", RecordType::A, 0);
    assert_eq!(shown(&first.answers), ["mx.demo.test. 30 A 192.0.2.11", "mx.demo.test. 30 A 192.0.2.12"]);
    assert!(first.authoritative && first.authorities.is_empty() && first.additionals.is_empty());
    let second = ask("mx.demo.test.", RecordType::A, 1);
    assert_eq!(shown(&second.answers), ["mx.demo.test. 30 A 192.0.2.12", "mx.demo.test. 30 A 192.0.2.11"]);
    assert_eq!(ask("mx.demo.test.", RecordType::A, 2), first);
}

#[test]
fn exchanges_come_with_their_addresses_each_host_once() {
    let answer = ask("example.edu.", RecordType::MX, 0);
    assert_eq!(
        shown(&answer.answers),
        [
            "example.edu. 300 MX 10 mx.example.edu.",
            "example.edu. 300 MX 20 edge1.example.edu.",
            "example.edu. 300 MX 20 edge2.example.edu.",
        ]
    );
    assert_eq!(
        shown(&answer.additionals),
        [
            "mx.example.edu. 30 A 192.0.2.11",
            "mx.example.edu. 30 A 192.0.2.12",
            "edge1.example.edu. 300 A 192.0.2.11",
            "edge2.example.edu. 300 A 192.0.2.12",
        ]
    );
}

#[test]
fn servers_and_name_servers() {
    let srv = ask("_imaps._tcp.demo.test.", RecordType::SRV, 0);
    assert_eq!(shown(&srv.answers), ["_imaps._tcp.demo.test. 30 SRV 0 1 993 imap.demo.test."]);
    assert_eq!(shown(&srv.additionals), ["imap.demo.test. 30 A 192.0.2.21", "imap.demo.test. 30 AAAA 2001:db8::22"]);
    let ns = ask("demo.test.", RecordType::NS, 0);
    assert_eq!(shown(&ns.answers), ["demo.test. 300 NS dns1.demo.test."]);
    assert_eq!(shown(&ns.additionals), ["dns1.demo.test. 300 A 192.0.2.1"]);
}

#[test]
fn negative_answers_carry_the_authority() {
    let soa = ["demo.test. 30 SOA dns1.demo.test. hostmaster.demo.test. 7 3600 600 604800 30"];
    for (name, kind, code) in [
        ("nobody.demo.test.", RecordType::A, ResponseCode::NXDomain),
        ("a.mx.demo.test.", RecordType::A, ResponseCode::NXDomain),
        ("_tcp.demo.test.", RecordType::SRV, ResponseCode::NoError),
        ("_tcp.demo.test.", RecordType::ANY, ResponseCode::NoError),
        ("mx.demo.test.", RecordType::AAAA, ResponseCode::NoError),
        ("mx.demo.test.", RecordType::SOA, ResponseCode::NoError),
        ("demo.test.", RecordType::A, ResponseCode::NoError),
        // One label that looks like two is not them.
        ("_imaps\\._tcp.demo.test.", RecordType::SRV, ResponseCode::NXDomain),
    ] {
        let answer = ask(name, kind, 0);
        assert_eq!((answer.code, answer.authoritative), (code, true), "{name} {kind}");
        assert!(answer.answers.is_empty(), "{name} {kind}");
        assert_eq!(shown(&answer.authorities), soa, "{name} {kind}");
    }
}

#[test]
fn the_authority_itself_and_any() {
    let soa = ask("demo.test.", RecordType::SOA, 0);
    assert_eq!(shown(&soa.answers), ["demo.test. 300 SOA dns1.demo.test. hostmaster.demo.test. 7 3600 600 604800 30"]);
    assert!(soa.authorities.is_empty());
    let any = ask("demo.test.", RecordType::ANY, 0);
    assert_eq!(shown(&any.answers), ["demo.test. 300 NS dns1.demo.test."], "one set of records, not all");
}

#[test]
fn case_is_ignored_and_kept() {
    let answer = ask("iMaP.DEMO.test.", RecordType::A, 0);
    assert!(answer.answers[0].name.eq_case(&Name::from_ascii("iMaP.DEMO.test.").unwrap()));
}

#[test]
fn what_is_not_ours_is_refused() {
    let refused = Answer::refusal(ResponseCode::Refused);
    assert_eq!(ask("example.com.", RecordType::A, 0), refused);
    assert_eq!(ask("test.", RecordType::NS, 0), refused);
    assert_eq!(ask(".", RecordType::NS, 0), refused);
    assert_eq!(ask("demo.test.", RecordType::AXFR, 0), refused);
    let mut question = Query::query(Name::from_ascii("demo.test.").unwrap(), RecordType::TXT);
    question.set_query_class(DNSClass::CH);
    assert_eq!(answer(&zones([true; 4]), &question, &asker(0)), refused);
}

#[test]
fn a_zone_whose_file_is_lacking_fails() {
    let files = ZoneFiles { lacking: [Name::from_ascii("demo.test.").unwrap()].into(), ..ZoneFiles::default() };
    let settings = Settings { domains: vec!["demo.test".parse().unwrap()], ..Settings::default() };
    let zones = Zones::new(&Config::default(), &settings, &cluster([true; 4]), &files);
    let question = Query::query(Name::from_ascii("mx.demo.test.").unwrap(), RecordType::A);
    assert_eq!(answer(&zones, &question, &asker(0)), Answer::refusal(ResponseCode::ServFail));
}

#[test]
fn a_long_text_is_cut_into_strings() {
    let text = "x".repeat(600);
    let RData::TXT(txt) = text_data(&text) else { panic!("no TXT") };
    assert_eq!(txt.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 255, 90]);
    assert_eq!(txt.txt_data.concat(), text.as_bytes());
}

#[test]
fn a_name_too_long_for_its_zone_is_left_out() {
    let domain = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(57)].join(".");
    let settings = Settings { version: 1, domains: vec![domain.parse().unwrap()], ..Settings::default() };
    let zones = Zones::new(&Config::default(), &settings, &cluster([true; 4]), &ZoneFiles::default());
    let question = Query::query(Name::from_ascii(format!("{domain}.")).unwrap(), RecordType::MX);
    let answer = answer(&zones, &question, &asker(0));
    assert_eq!(answer.answers.len(), 1, "mx. still fits, edge1. and edge2. do not: {answer:?}");
}

/// What is written by hand in demo.test, and asked for.
const WRITTEN: &str = "www A 192.0.2.80\nalias CNAME www\nalias2 CNAME alias\nlost CNAME nobody\nfar CNAME www.example.org.\n\
    round CNAME about\nabout CNAME round\n*.wild TXT \"any\"\nhost.wild A 192.0.2.81\n*.star CNAME www\n\
    cs NS ns.cs\ncs NS ns.example.org.\nns.cs A 192.0.2.90\ncs DS 7 13 2 \
    0123456789012345678901234567890123456789012345678901234567890123\nin.cs CNAME www.cs\n";

fn written(name: &str, kind: RecordType) -> (ResponseCode, bool, Vec<String>, Vec<String>, Vec<String>) {
    let question = Query::query(Name::from_ascii(format!("{name}.demo.test.")).unwrap(), kind);
    let zones = zones_with(&Config::default(), &cluster([true; 4]), WRITTEN);
    let answer = answer(&zones, &question, &asker(0));
    let short = |records| shown(records).into_iter().map(|text| text.replace(".demo.test.", "")).collect::<Vec<_>>();
    (answer.code, answer.authoritative, short(&answer.answers), short(&answer.authorities), short(&answer.additionals))
}

#[test]
fn aliases_are_followed_within_the_zone() {
    let (code, _, answers, authorities, _) = written("alias2", RecordType::A);
    assert_eq!((code, authorities.len()), (ResponseCode::NoError, 0));
    assert_eq!(answers, ["alias2 3600 CNAME alias", "alias 3600 CNAME www", "www 3600 A 192.0.2.80"]);
    assert_eq!(written("alias", RecordType::CNAME).2, ["alias 3600 CNAME www"]);
    let (code, _, answers, authorities, _) = written("alias", RecordType::MX);
    assert_eq!((code, answers.len(), authorities.len()), (ResponseCode::NoError, 1, 1));
    let (code, _, answers, authorities, _) = written("lost", RecordType::A);
    assert_eq!((code, answers.len(), authorities.len()), (ResponseCode::NXDomain, 1, 1));
    let (code, _, answers, authorities, _) = written("far", RecordType::A);
    assert_eq!((code, answers.len(), authorities.len()), (ResponseCode::NoError, 1, 0));
    let (code, _, answers, _, _) = written("round", RecordType::A);
    assert!(code == ResponseCode::NoError && answers.len() <= 1 + ALIASES, "a circle comes to an end");
}

#[test]
fn wildcards_stand_for_what_is_not_there() {
    assert_eq!(written("a.wild", RecordType::TXT).2, ["a.wild 3600 TXT any"]);
    assert_eq!(written("b.a.wild", RecordType::TXT).2, ["b.a.wild 3600 TXT any"]);
    assert_eq!(written("a.wild", RecordType::A).0, ResponseCode::NoError);
    assert_eq!(written("host.wild", RecordType::TXT).2, [""; 0], "what exists is not stood for");
    assert_eq!(written("x.host.wild", RecordType::TXT).0, ResponseCode::NXDomain, "RFC 4592 §3.3.1: nor below it");
    assert_eq!(written("a.star", RecordType::A).2, ["a.star 3600 CNAME www", "www 3600 A 192.0.2.80"]);
}

#[test]
fn what_is_delegated_is_referred() {
    let servers = ["cs 3600 NS ns.cs", "cs 3600 NS ns.example.org."];
    for name in ["cs", "www.cs", "a.b.cs", "ns.cs", "in.cs"] {
        let (code, authoritative, answers, authorities, additionals) = written(name, RecordType::A);
        assert_eq!((code, authoritative, answers.len()), (ResponseCode::NoError, false, 0), "{name}");
        assert_eq!(authorities, servers, "{name}");
        assert_eq!(additionals, ["ns.cs 3600 A 192.0.2.90"], "{name}");
    }
    let (_, authoritative, answers, ..) = written("cs", RecordType::DS);
    assert!(authoritative && answers[0].starts_with("cs 3600 DS 7 "), "{answers:?}");
}

#[test]
fn sites_and_the_scope_of_an_answer() {
    let sites =
        "sites = [{ name = 'north', networks = ['10.1.0.0/16'] }, { name = 'south', networks = ['10.2.0.0/16'] }]";
    let at_site = |(n, mut member): (usize, estafeta_core::members::Member)| {
        member.site = Some(["north", "south"][n % 2].parse().unwrap());
        member
    };
    let members = Members::new(cluster([true; 4]).iter().cloned().enumerate().map(at_site).collect());
    let zones = zones_with(&config(sites), &members, "");
    let ask = |name: &str, kind, client: &str, subnet: Option<&str>| {
        let question = Query::query(Name::from_ascii(name).unwrap(), kind);
        let (client, subnet) = (client.parse().unwrap(), subnet.map(|subnet| subnet.parse().unwrap()));
        let answer = answer(&zones, &question, &Asker { turn: 0, client, subnet });
        (answer.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>(), answer.scope_prefix)
    };
    // dns1 north, edge1 south, edge2 north …
    let (mx, a) = ("mx.demo.test.", RecordType::A);
    assert_eq!(ask(mx, a, "10.1.0.1", None), (vec!["192.0.2.12".into()], None));
    assert_eq!(ask(mx, a, "10.1.0.1", Some("10.2.3.0/24")), (vec!["192.0.2.11".into()], Some(16)));
    assert_eq!(ask(mx, a, "198.51.100.1", None).0.len(), 2);
    assert_eq!(ask("edge1.demo.test.", a, "10.1.0.1", Some("10.2.3.0/24")).1, Some(0), "alike for everyone");
    let (exchanges, _) = ask("demo.test.", RecordType::MX, "10.2.0.1", None);
    assert!(exchanges.contains(&"10 mx-south.demo.test.".into()), "{exchanges:?}");
    assert!(exchanges.contains(&"20 mx-north.demo.test.".into()), "{exchanges:?}");
}
