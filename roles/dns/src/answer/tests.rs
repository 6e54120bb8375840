//! Known answers.

use estafeta_core::settings::Settings;

use super::*;
use crate::config::Config;
use crate::table::tests::cluster;

/// The zones demo.test and example.edu of the test cluster.
pub(crate) fn zones(ready: [bool; 4]) -> Zones {
    let domains = ["demo.test", "example.edu"].map(|domain| domain.parse().unwrap()).to_vec();
    let mut zones =
        Zones::new(&Config::default(), &Settings { version: 1, domains, ..Settings::default() }, &cluster(ready));
    zones.serial = 7;
    zones
}

fn ask(name: &str, kind: RecordType, turn: usize) -> Answer {
    let question = Query::query(Name::from_ascii(name).unwrap(), kind);
    answer(&zones([true; 4]), &question, turn)
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
    assert_eq!(answer(&zones([true; 4]), &question, 0), refused);
}

#[test]
fn a_long_text_is_cut_into_strings() {
    let mut zones = zones([true; 4]);
    let text = "x".repeat(600);
    let entry = Entry { ttl_seconds: 1, datum: Datum::Text(text.clone()) };
    zones.table.insert(Name::from_ascii("long.").unwrap(), vec![entry]);
    let question = Query::query(Name::from_ascii("long.demo.test.").unwrap(), RecordType::TXT);
    let RData::TXT(txt) = &answer(&zones, &question, 0).answers[0].data else { panic!("no TXT") };
    assert_eq!(txt.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 255, 90]);
    assert_eq!(txt.txt_data.concat(), text.as_bytes());
}

#[test]
fn a_name_too_long_for_its_zone_is_left_out() {
    let domain = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(57)].join(".");
    let settings = Settings { version: 1, domains: vec![domain.parse().unwrap()], ..Settings::default() };
    let zones = Zones::new(&Config::default(), &settings, &cluster([true; 4]));
    let question = Query::query(Name::from_ascii(format!("{domain}.")).unwrap(), RecordType::MX);
    let answer = answer(&zones, &question, 0);
    assert_eq!(answer.answers.len(), 1, "mx. still fits, edge1. and edge2. do not: {answer:?}");
}
