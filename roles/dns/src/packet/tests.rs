//! Known packets, and properties over random ones.

use std::net::IpAddr;

use hickory_proto::rr::{DNSClass, Name};
use proptest::prelude::*;

use super::*;
use crate::answer::tests::zones;
use crate::table::{Datum, Entry};

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

/// The test zones and a name with so many addresses and texts that it does not fit a datagram.
fn crowded() -> Zones {
    let mut zones = zones([true; 4]);
    let text = |n: usize| Entry { ttl_seconds: 1, datum: Datum::Text(format!("{n:0>100}")) };
    let name = |name: &str| Name::from_ascii(name).unwrap();
    zones.table.insert(name("much."), (0..30).map(text).collect());
    let address = |n: u8| Entry { ttl_seconds: 1, datum: Datum::Address(IpAddr::from([192, 0, 2, n])) };
    zones.table.insert(name("crowd."), (0..200).map(address).collect());
    let server = |n: u16| Entry { ttl_seconds: 1, datum: Datum::Server(n, name("crowd.")) };
    zones.table.insert(name("_crowd._tcp."), (0..8).map(server).collect());
    zones
}

fn exchange(request: &Message, transport: Transport) -> (Message, usize) {
    let response = respond(&request.to_vec().unwrap(), transport, &crowded(), |_| 0).unwrap();
    (Message::from_vec(&response.bytes).unwrap(), response.bytes.len())
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
        assert_eq!(respond(silent, Transport::Udp, &crowded(), |_| 0), None);
    }
    // A question cut off behind its header, and one that claims 65,535 questions.
    for claimed in [1_u16, u16::MAX] {
        let mut bytes = vec![0, 77, 0, 0];
        bytes.extend(claimed.to_be_bytes());
        bytes.extend([0; 6]);
        let response = respond(&bytes, Transport::Udp, &crowded(), |_| 0).unwrap();
        assert_eq!((response.code, response.bytes.len()), (ResponseCode::FormErr, 12));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn datagrams_of_any_bytes_are_survived_and_answers_bounded(
        request in prop_oneof![mangled(), prop::collection::vec(any::<u8>(), 0..600)],
        turn in any::<usize>(),
    ) {
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Some(response) = respond(&request, transport, &crowded(), |_| turn) {
                let limit = if transport == Transport::Udp { usize::from(UDP_BYTES) } else { 65_535 };
                prop_assert!(response.bytes.len() <= limit);
                prop_assert_eq!(&response.bytes[..2], &request[..2], "the id comes back");
                prop_assert!(response.bytes[2] & 0x80 != 0, "it is a response");
                prop_assert!(Message::from_vec(&response.bytes).is_ok());
            }
        }
    }
}
