//! Known packets, and properties over random ones.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use hickory_proto::op::{Edns, Message, MessageType, OpCode};
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{A, SRV, TXT};
use proptest::prelude::*;

use super::*;
use crate::answer::tests::{zones, zones_with};
use crate::config::{Config, Site};
use crate::content::tests::cluster;
use crate::limit;
use crate::zone::{Choice, Datum, RecordSet, Zone};

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, payload: u16, version: u8) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_version(version).set_dnssec_ok(true);
    message.set_edns(edns);
    message
}

/// A question with EDNS options, by code and value.
fn with_options(name: &str, kind: RecordType, options: &[(u16, &[u8])]) -> Message {
    let mut message = with_edns(query(name, kind), 1232, 0);
    let edns = message.edns.as_mut().unwrap();
    for (code, value) in options {
        edns.options_mut().insert(EdnsOption::Unknown(*code, value.to_vec()));
    }
    message
}

fn set(kind: RecordType, data: impl Iterator<Item = RData>) -> Vec<RecordSet> {
    let data = data.map(|data| Datum { data, site: None, weight: 1 }).collect();
    vec![RecordSet { kind, ttl_seconds: 1, choice: Choice::InTurn, data }]
}

/// The test zones and a name with so many addresses and texts that it does not fit a datagram.
fn crowded() -> Zones {
    let mut zones = zones([true; 4]);
    let name = |name: &str| Name::from_ascii(name).unwrap();
    let zone = zones.live.get_mut(&name("demo.test.")).unwrap();
    let mut crowded = Zone::clone(zone);
    let text = |n: usize| RData::TXT(TXT::new(vec![format!("{n:0>100}")]));
    crowded.names.insert(name("much.demo.test."), set(RecordType::TXT, (0..30).map(text)));
    let address = |n: u8| RData::A(A(Ipv4Addr::new(192, 0, 2, n)));
    crowded.names.insert(name("crowd.demo.test."), set(RecordType::A, (0..200).map(address)));
    let server = |n: u16| RData::SRV(SRV::new(0, 1, n, name("crowd.demo.test.")));
    crowded.names.insert(name("_crowd._tcp.demo.test."), set(RecordType::SRV, (0..8).map(server)));
    *zone = Arc::new(crowded);
    zones
}

fn responder(limits: limit::Config) -> Responder {
    Responder::new(Limiter::new(limits), Secrets::own().unwrap(), None, "dns1")
}

fn at(elapsed_ms: u64) -> Moment {
    Moment { time: SystemTime::UNIX_EPOCH, unix_seconds: 1_800_000_000 + (elapsed_ms / 1000) as u32, elapsed_ms }
}

fn client(transport: Transport) -> Client {
    Client { address: [198, 51, 100, 7].into(), transport }
}

/// Answers at the first turn, with nothing ready.
fn respond(request: &[u8], transport: Transport, zones: &Zones) -> Option<(Said, Vec<u8>)> {
    let mut message = Vec::new();
    let responder = responder(limit::Config::default());
    let said = responder.respond(request, &client(transport), at(0), zones, None, &mut message)?;
    Some((said, message))
}

fn exchange(request: &Message, transport: Transport) -> (Message, usize) {
    let (_, bytes) = respond(&request.to_vec().unwrap(), transport, &crowded()).unwrap();
    (Message::from_vec(&bytes).unwrap(), bytes.len())
}

#[test]
fn header_and_question_come_back() {
    let mut request = query("MX.Demo.Test.", RecordType::A);
    request.metadata.recursion_desired = true;
    request.metadata.checking_disabled = true;
    let (response, bytes) = exchange(&request, Transport::Udp);
    assert_eq!(response.metadata.id, 77);
    assert!(
        response.metadata.authoritative && response.metadata.recursion_desired && response.metadata.checking_disabled
    );
    assert!(!response.metadata.recursion_available && !response.metadata.truncation);
    assert!(response.queries[0].name().eq_case(request.queries[0].name()), "the case is kept");
    assert_eq!(response.answers.len(), 2);
    assert_eq!(response.edns, None);
    // Twelve bytes of header, the question, and two answers whose names are pointers (RFC 1035 §4.1.4).
    assert_eq!(bytes, 12 + (14 + 4) + 2 * (2 + 10 + 4));
}

#[test]
fn datagrams_are_bounded_and_say_so() {
    let much = query("much.demo.test.", RecordType::TXT);
    for (request, limit) in [
        (much.clone(), 512),
        (with_edns(much.clone(), 100, 0), 512),
        (with_edns(much.clone(), 900, 0), 900),
        (with_edns(much.clone(), 4096, 0), 1232),
    ] {
        let (response, bytes) = exchange(&request, Transport::Udp);
        assert!(bytes <= limit && response.metadata.truncation && response.answers.is_empty());
        assert_eq!(response.edns.is_some(), request.edns.is_some());
    }
    let (response, bytes) = exchange(&much, Transport::Tcp);
    assert!(bytes > 1232 && !response.metadata.truncation && response.answers.len() == 30);
}

#[test]
fn what_is_additional_is_left_out_without_a_word() {
    let (response, bytes) = exchange(&query("_crowd._tcp.demo.test.", RecordType::SRV), Transport::Udp);
    assert!(bytes <= 512 && !response.metadata.truncation);
    assert_eq!((response.answers.len(), response.additionals.len()), (8, 0));
    let (response, _) = exchange(&query("_crowd._tcp.demo.test.", RecordType::SRV), Transport::Tcp);
    assert_eq!((response.answers.len(), response.additionals.len()), (8, 16));
}

#[test]
fn a_crowd_of_addresses_fits_the_smallest_datagram() {
    let (response, bytes) = exchange(&query("crowd.demo.test.", RecordType::A), Transport::Udp);
    assert!(bytes <= 512 && !response.metadata.truncation);
    assert_eq!(response.answers.len(), 16);
}

#[test]
fn edns_is_answered_with_edns() {
    let (response, _) = exchange(&with_edns(query("demo.test.", RecordType::MX), 4096, 0), Transport::Udp);
    let edns = response.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
    let (response, _) = exchange(&with_edns(query("demo.test.", RecordType::MX), 4096, 1), Transport::Udp);
    assert_eq!(
        u16::from(response.metadata.response_code),
        u16::from(ResponseCode::BADVERS),
        "BADSIG has the same number"
    );
    assert_eq!(response.edns.unwrap().version(), 0);
    assert!(response.answers.is_empty());
}

#[test]
fn refusals() {
    let code = |request: &Message| exchange(request, Transport::Udp).0.metadata.response_code;
    assert_eq!(code(&query("example.com.", RecordType::A)), ResponseCode::Refused);
    assert_eq!(code(&query("nobody.demo.test.", RecordType::A)), ResponseCode::NXDomain);
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), ResponseCode::Refused);
    for op_code in [OpCode::Notify, OpCode::Update, OpCode::Status] {
        let mut request = query("demo.test.", RecordType::SOA);
        request.metadata.op_code = op_code;
        let (response, _) = exchange(&request, Transport::Udp);
        assert_eq!((response.metadata.response_code, response.metadata.op_code), (ResponseCode::NotImp, op_code));
    }
    let mut two = query("demo.test.", RecordType::A);
    two.add_query(Query::query(Name::root(), RecordType::A));
    assert_eq!(code(&two), ResponseCode::FormErr);
    assert_eq!(code(&Message::new(77, MessageType::Query, OpCode::Query)), ResponseCode::FormErr);
}

#[test]
fn no_request_no_answer() {
    let response = Message::new(77, MessageType::Response, OpCode::Query).to_vec().unwrap();
    for silent in [&[][..], &[0; 11], &response] {
        assert_eq!(respond(silent, Transport::Udp, &crowded()), None);
    }
    // A question cut off behind its header, and one that claims 65,535 questions.
    for claimed in [1_u16, u16::MAX] {
        let mut bytes = vec![0, 77, 0, 0];
        bytes.extend(claimed.to_be_bytes());
        bytes.extend([0; 6]);
        let (said, message) = respond(&bytes, Transport::Udp, &crowded()).unwrap();
        assert_eq!((said.code, message.len()), (ResponseCode::FormErr, 12));
    }
}

/// A request with some bytes changed, which comes further than random bytes.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        "demo.test.",
        "mx.demo.test.",
        "much.demo.test.",
        "_crowd._tcp.demo.test.",
        "example.edu.",
        ".",
    ]);
    let kinds = prop::sample::select(vec![
        RecordType::A,
        RecordType::MX,
        RecordType::TXT,
        RecordType::SRV,
        RecordType::ANY,
        RecordType::SOA,
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (names, kinds, any::<Option<u16>>(), changes).prop_map(|(name, kind, payload, changes)| {
        let request = query(name, kind);
        let request = if let Some(payload) = payload { with_edns(request, payload, 0) } else { request };
        let mut bytes = request.to_vec().unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes
    })
}

/// Every client's kind of cookie, network and question for what the node is called.
fn options() -> Vec<(u16, &'static [u8])> {
    vec![(10, &[1; 8]), (8, &[0, 1, 24, 0, 192, 0, 2]), (3, &[]), (11, &[]), (12, &[0; 7])]
}

#[test]
fn options_are_answered_where_they_make_sense() {
    let request = with_options("mx.demo.test.", RecordType::A, &options());
    let options = |transport| {
        let (message, bytes) = exchange(&request, transport);
        let option = |code| match message.edns.as_ref()?.option(EdnsCode::from(code))? {
            EdnsOption::Unknown(_, value) => Some(value.clone()),
            other => Some(Vec::try_from(other).unwrap()),
        };
        ([10, 8, 3, 11, 12].map(option), bytes)
    };
    let ([cookie, subnet, identifier, keepalive, padding], _) = options(Transport::Udp);
    assert_eq!((cookie.as_ref().unwrap().len(), &cookie.unwrap()[..9]), (24, &[1, 1, 1, 1, 1, 1, 1, 1, 1][..]));
    assert_eq!(subnet.unwrap(), [0, 1, 24, 0, 192, 0, 2]);
    assert_eq!((identifier.unwrap(), keepalive, padding), (b"dns1".to_vec(), None, None));
    let ([_, _, _, keepalive, padding], _) = options(Transport::Tcp);
    assert_eq!((keepalive, padding), (Some(vec![0, 100]), None));
    let ([_, _, _, keepalive, padding], bytes) = options(Transport::Tls);
    assert!(keepalive.is_some() && padding.is_some());
    assert_eq!(bytes, 468);
    let broken = with_options("mx.demo.test.", RecordType::A, &[(10, &[1; 9])]);
    assert_eq!(exchange(&broken, Transport::Udp).0.metadata.response_code, ResponseCode::FormErr);
}

/// The responses to the same requests, with and without a store of what is ready, are the same byte by byte.
#[test]
fn what_is_ready_is_what_would_be_made() {
    let zones = Arc::new(crowded());
    let made = responder(limit::Config::default());
    // Which names share a count of turns is drawn.
    let (secrets, hashing) = (made.secrets.clone(), made.hashing.clone());
    let stored = Responder { secrets, hashing, ..responder(limit::Config::default()) };
    let mut ready = ReadyAnswers::default();
    ready.refresh(&zones, 0, 0);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for round in 0..2 * TURNS {
        for (name, kind) in [
            ("mx.demo.test.", RecordType::A),
            ("MX.demo.TEST.", RecordType::A),
            ("demo.test.", RecordType::MX),
            ("demo.test.", RecordType::SOA),
            ("nobody.demo.test.", RecordType::A),
            ("much.demo.test.", RecordType::TXT),
            ("example.org.", RecordType::A),
        ] {
            let mut request = query(name, kind);
            request.metadata.id = round as u16;
            request.metadata.recursion_desired = round % 2 == 0;
            for request in [request.clone(), with_edns(request, 900, 0), with_options(name, kind, &options())] {
                let request = request.to_vec().unwrap();
                let client = client(Transport::Udp);
                let said = made.respond(&request, &client, at(round as u64 * 1000), &zones, None, &mut one);
                let again =
                    stored.respond(&request, &client, at(round as u64 * 1000), &zones, Some(&mut ready), &mut other);
                assert_eq!((said, &one), (again, &other), "{name} {kind}");
            }
        }
    }
}

#[test]
fn equals_take_turns_whatever_else_is_asked_meanwhile() {
    let (zones, responder) = (zones([true; 4]), responder(limit::Config::default()));
    let first = |name: &str, kind| {
        let mut message = Vec::new();
        let request = query(name, kind).to_vec().unwrap();
        responder.respond(&request, &client(Transport::Tcp), at(0), &zones, None, &mut message).unwrap();
        Message::from_vec(&message).unwrap().answers[0].data.to_string()
    };
    let firsts: Vec<String> = (0..4)
        .map(|_| {
            first("demo.test.", RecordType::NS);
            first("mx.demo.test.", RecordType::A)
        })
        .collect();
    assert!(firsts[0] != firsts[1] && firsts[0] == firsts[2] && firsts[1] == firsts[3], "{firsts:?}");
}

/// What goes over the limits: a resolver without a cookie is sent to TCP, one with half a cookie is given the other half,
/// and with that it is let through.
#[test]
fn limits_let_whoever_shows_a_cookie_through() {
    let limits = limit::Config { same_per_second: 1, truncate_every: 1, ..limit::Config::default() };
    let (zones, responder) = (zones([true; 4]), responder(limits));
    let mut message = Vec::new();
    let mut ask = |request: &Message, transport| {
        let request = request.to_vec().unwrap();
        let said = responder.respond(&request, &client(transport), at(0), &zones, None, &mut message).unwrap();
        (said, Message::from_vec(&message).unwrap())
    };
    let plain = query("mx.demo.test.", RecordType::A);
    assert_eq!(ask(&plain, Transport::Udp).1.answers.len(), 2);
    let (said, truncated) = ask(&plain, Transport::Udp);
    assert_eq!((said.verdict, truncated.metadata.truncation), (Verdict::Truncate, true));
    assert!(truncated.answers.is_empty() && truncated.metadata.authoritative);
    assert_eq!(ask(&plain, Transport::Tcp).1.answers.len(), 2, "over TCP there is no limit");
    let half = with_options("mx.demo.test.", RecordType::A, &[(10, &[7; 8])]);
    let (said, refused) = ask(&half, Transport::Udp);
    assert_eq!((u16::from(said.code), u16::from(refused.metadata.response_code)), (23, 23), "BADCOOKIE");
    let cookie = match refused.edns.unwrap().option(EdnsCode::Cookie).unwrap() {
        EdnsOption::Unknown(_, cookie) => cookie.clone(),
        other => panic!("{other:?}"),
    };
    let whole = with_options("mx.demo.test.", RecordType::A, &[(10, &cookie)]);
    for _ in 0..5 {
        assert_eq!(ask(&whole, Transport::Udp).1.answers.len(), 2);
    }
    let stolen = Client { address: [198, 51, 100, 8].into(), transport: Transport::Udp };
    let said = responder.respond(&whole.to_vec().unwrap(), &stolen, at(0), &zones, None, &mut Vec::new()).unwrap();
    assert_eq!(u16::from(said.code), 23, "a cookie is one address's");
}

#[test]
fn beyond_the_limits_nothing_is_sent() {
    let limits = limit::Config { same_per_second: 1, truncate_every: 0, ..limit::Config::default() };
    let (zones, responder) = (zones([true; 4]), responder(limits));
    let mut message = Vec::new();
    for (n, name) in ["a.demo.test.", "b.demo.test.", "c.demo.test."].iter().enumerate() {
        let request = query(name, RecordType::A).to_vec().unwrap();
        let said = responder.respond(&request, &client(Transport::Udp), at(0), &zones, None, &mut message).unwrap();
        // Names that do not exist count as one.
        assert_eq!((said.verdict == Verdict::Silence, message.is_empty()), (n > 0, n > 0));
    }
    for n in 0..3 {
        let mut request = query("demo.test.", RecordType::A).to_vec().unwrap();
        request.push(n);
        responder.respond(&request, &client(Transport::Udp), at(0), &zones, None, &mut message).unwrap();
        assert_eq!(message.is_empty(), n > 0, "malformed questions are answered as seldom");
    }
}

/// Clients near different sites never get each other's answers, and are told for whom else theirs is good.
#[test]
fn answers_that_are_ready_are_of_the_clients_own_site() {
    let site = |name: &str, network: &str| Site {
        name: name.parse().unwrap(),
        networks: vec![network.parse().unwrap()],
        next: vec![],
    };
    let config =
        Config { sites: vec![site("north", "10.1.0.0/16"), site("south", "10.2.0.0/16")], ..Config::default() };
    let mut zones = zones_with(&config, &cluster([true; 4]), "");
    let origin = Name::from_ascii("demo.test.").unwrap();
    let mut zone = Zone::clone(&zones.live[&origin]);
    let at_site = |n: u8, site: &str| Datum {
        data: RData::A(A(Ipv4Addr::new(192, 0, 2, n))),
        site: Some(site.parse().unwrap()),
        weight: 1,
    };
    let mut near = set(RecordType::A, std::iter::empty());
    near[0].data = vec![at_site(1, "north"), at_site(2, "south")];
    zone.names.insert(Name::from_ascii("near.demo.test.").unwrap(), near);
    zones.live.insert(origin, Arc::new(zone));
    let zones = Arc::new(zones);
    let responder = responder(limit::Config { same_per_second: 0, ..limit::Config::default() });
    let mut ready = ReadyAnswers::default();
    ready.refresh(&zones, 0, 0);
    for _ in 0..3 {
        for (client, subnet, expected, scope) in [
            ([10, 1, 0, 1], None, "192.0.2.1", 0),
            ([10, 2, 0, 1], None, "192.0.2.2", 0),
            ([10, 2, 0, 1], Some([0, 1, 24, 0, 10, 1, 7]), "192.0.2.1", 16),
            ([10, 1, 0, 1], Some([0, 1, 24, 0, 10, 2, 7]), "192.0.2.2", 16),
        ] {
            let request = match &subnet {
                Some(subnet) => with_options("near.demo.test.", RecordType::A, &[(8, subnet)]),
                None => query("near.demo.test.", RecordType::A),
            };
            let client = Client { address: client.into(), transport: Transport::Udp };
            let mut message = Vec::new();
            let request = request.to_vec().unwrap();
            responder.respond(&request, &client, at(0), &zones, Some(&mut ready), &mut message).unwrap();
            let response = Message::from_vec(&message).unwrap();
            let addresses: Vec<String> = response.answers.iter().map(|record| record.data.to_string()).collect();
            assert_eq!(addresses, [expected]);
            if subnet.is_some() {
                // Family, source and scope, 24 bits of address, at the packet's end.
                assert_eq!(message[message.len() - 4], scope);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_survived_and_answers_bounded(
        requests in prop::collection::vec(prop_oneof![mangled(), prop::collection::vec(any::<u8>(), 0..600)], 1..4),
    ) {
        static SHARED: LazyLock<(Responder, Arc<Zones>)> = LazyLock::new(|| {
            let limits = limit::Config { same_per_second: 0, all_per_second: 0, ..limit::Config::default() };
            (responder(limits), Arc::new(crowded()))
        });
        let (responder, zones) = &*SHARED;
        let (mut ready, mut message) = (ReadyAnswers::default(), Vec::new());
        for request in &requests {
            for transport in Transport::ALL {
                let ready = (transport == Transport::Udp).then_some(&mut ready);
                let said = responder.respond(request, &client(transport), at(0), zones, ready, &mut message);
                if said.is_none() {
                    continue;
                }
                let limit = if transport == Transport::Udp { usize::from(UDP_BYTES) } else { 65_535 };
                prop_assert!(message.len() <= limit);
                prop_assert_eq!(&message[..2], &request[..2], "the id comes back");
                prop_assert!(message[2] & 0x80 != 0, "it is a response");
                prop_assert!(Message::from_vec(&message).is_ok());
            }
        }
    }
}
