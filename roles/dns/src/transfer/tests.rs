//! Requests as secondaries send them, and what they are answered.

use std::collections::BTreeMap;

use estafeta_net::section::Section;
use hickory_proto::rr::rdata::SOA;

use super::tsig::{Awaiting, sign_request};
use super::version::Version;
use super::version::tests::{name, zone};
use super::*;

const NOW: u64 = 1_800_000_000;

fn access() -> Access {
    let config: Config = Section::parse(
        "keys = [\n{ name = 'one', secret = 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0' },\n{ name = 'two', secret = 'dHdvdHdvdHdvdHdvdHdvdHdvdHdv' }]\n\
         allow = ['192.0.2.0/24']\n\
         secondaries = [{ address = '192.0.2.1', key = 'one', zones = ['demo.test'] }]\n",
    )
    .unwrap()
    .read()
    .unwrap();
    config.check().unwrap();
    config.access().unwrap()
}

/// Shows version 3 of demo.test, which came out of 1 and 2.
fn transfer() -> Transfer {
    let transfer = Transfer::new(Arc::new(access()), || NOW);
    let version = |serial, hosts| Arc::new(Version::of(zone("demo.test.", serial, hosts)).unwrap());
    let shown = Shown::first(version(1, 1)).next(version(2, 2)).next(version(3, 4));
    transfer.shown.replace(BTreeMap::from([(name("demo.test."), shown)]));
    transfer
}

fn question(zone: &str, kind: RecordType, serial: Option<u32>) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name(zone), kind));
    if let Some(serial) = serial {
        let soa = SOA::new(name("ns1.demo.test."), name("hostmaster.demo.test."), serial, 1, 1, 1, 1);
        message.add_authority(Record::from_rdata(name(zone), 0, RData::SOA(soa)));
    }
    message.to_vec().unwrap()
}

fn signed(request: Vec<u8>, key: usize) -> (Vec<u8>, Awaiting) {
    sign_request(request, &access().keys[key], NOW).unwrap()
}

fn client() -> SocketAddr {
    "192.0.2.9:4000".parse().unwrap()
}

/// The response codes, and the SOA serials and other owners in the answers, of a signed request.
fn asked(transfer: &Transfer, request: Vec<u8>, over: Transport) -> (Vec<ResponseCode>, Vec<String>) {
    let (request, mut awaiting) = signed(request, 0);
    let messages = match transfer.take(&request, client(), over, |_| panic!("no ordinary question")) {
        Taken::Answer(message) => vec![message],
        Taken::Transfer(outgoing) => outgoing.map(Result::unwrap).collect(),
        _ => panic!("nothing was answered"),
    };
    assert!(messages.iter().all(|message| awaiting.verifies(message)), "every message is signed");
    let messages: Vec<Message> = messages.iter().map(|message| Message::from_vec(message).unwrap()).collect();
    let said = |record: &Record| match &record.data {
        RData::SOA(soa) => soa.serial.to_string(),
        _ => record.name.to_ascii(),
    };
    let answers = messages.iter().flat_map(|message| &message.answers).map(said).collect();
    (messages.iter().map(|message| message.metadata.response_code).collect(), answers)
}

#[test]
fn a_secondary_has_the_whole_zone() {
    let (codes, said) = asked(&transfer(), question("Demo.Test.", RecordType::AXFR, None), Transport::Tcp);
    assert_eq!(codes, [ResponseCode::NoError]);
    assert_eq!((said.len(), said[0].as_str(), said[said.len() - 1].as_str()), (9, "3", "3"));
}

#[test]
fn differences_are_sent_where_they_are_known() {
    let ixfr = |serial, over| asked(&transfer(), question("demo.test.", RecordType::IXFR, serial), over);
    let said = ixfr(Some(2), Transport::Tcp).1;
    assert_eq!(said, ["3", "2", "3", "host2.demo.test.", "host3.demo.test.", "3"]);
    assert_eq!(ixfr(Some(1), Transport::Tcp).1[..3], ["3", "1", "2"]);
    assert_eq!(ixfr(Some(0), Transport::Tcp).1.len(), 9, "what is not known any more is sent whole");
    assert_eq!(ixfr(Some(3), Transport::Tcp).1, ["3"]);
    assert_eq!(ixfr(Some(9), Transport::Tcp).1, ["3"], "who is ahead is told so");
    assert_eq!(ixfr(Some(1), Transport::Udp).1, ["3"], "over UDP, to come again over TCP");
    assert_eq!(ixfr(None, Transport::Tcp).0, [ResponseCode::FormErr]);
    let (codes, _) = asked(&transfer(), question("demo.test.", RecordType::AXFR, None), Transport::Udp);
    assert_eq!(codes, [ResponseCode::FormErr]);
}

#[test]
fn others_are_refused() {
    let transfer = transfer();
    let refused = |request: &[u8], from: &str| {
        let from = SocketAddr::new(from.parse().unwrap(), 4000);
        match transfer.take(request, from, Transport::Tcp, |_| panic!("no ordinary question")) {
            Taken::Answer(message) => Message::from_vec(&message).unwrap().metadata.response_code,
            _ => panic!("not refused"),
        }
    };
    let axfr = |zone| question(zone, RecordType::AXFR, None);
    assert_eq!(refused(&signed(axfr("demo.test."), 1).0, "192.0.2.1"), ResponseCode::Refused, "another key");
    assert_eq!(refused(&signed(axfr("other.test."), 0).0, "192.0.2.1"), ResponseCode::Refused, "another zone");
    assert_eq!(refused(&signed(axfr("demo.test."), 0).0, "198.51.100.1"), ResponseCode::Refused, "another network");
    let mut forged = signed(axfr("demo.test."), 0).0;
    let last = forged.len() - 10;
    forged[last] ^= 1;
    assert_eq!(refused(&forged, "192.0.2.1"), ResponseCode::NotAuth);
    let unsigned = transfer.take(&axfr("demo.test."), client(), Transport::Tcp, |_| None);
    assert!(matches!(unsigned, Taken::No), "without a key it is refused where every such question is");
}

#[test]
fn what_has_no_version_yet_fails_and_too_many_wait() {
    let transfer = transfer();
    let axfr = || question("demo.test.", RecordType::AXFR, None);
    let all: Vec<_> =
        (0..TRANSFERS).map(|_| transfer.take(&signed(axfr(), 0).0, client(), Transport::Tcp, |_| None)).collect();
    assert!(all.iter().all(|taken| matches!(taken, Taken::Transfer(_))));
    assert_eq!(asked(&transfer, axfr(), Transport::Tcp).0, [ResponseCode::ServFail]);
    drop(all);
    assert_eq!(asked(&transfer, axfr(), Transport::Tcp).0, [ResponseCode::NoError]);
    transfer.shown.replace(BTreeMap::new());
    assert_eq!(asked(&transfer, axfr(), Transport::Tcp).0, [ResponseCode::ServFail]);
}

#[test]
fn an_ordinary_question_that_is_signed_is_answered_and_signed() {
    let transfer = transfer();
    let plain = question("demo.test.", RecordType::SOA, None);
    let (request, awaiting) = signed(plain.clone(), 0);
    let answered = |over, length| {
        let taken = transfer.take(&request, client(), over, |bare| {
            assert_eq!(bare, plain);
            let mut response = Message::from_vec(&refused(bare, ResponseCode::NoError).unwrap()).unwrap();
            for text in vec![b'x'; length].chunks(200) {
                let data = RData::TXT(hickory_proto::rr::rdata::TXT::from_bytes(vec![text]));
                response.add_answer(Record::from_rdata(name("demo.test."), 1, data));
            }
            response.to_vec().ok()
        });
        let Taken::Answer(message) = taken else { panic!("not answered") };
        assert!(awaiting.clone().verifies(&message));
        message
    };
    assert!(answered(Transport::Tcp, 900).len() > 900);
    let short = answered(Transport::Udp, 400);
    assert!(short.len() < 300 && short[2] & 2 == 2, "cut, and it says so");
    assert!(matches!(transfer.take(&plain, client(), Transport::Udp, |_| None), Taken::No));
    assert!(matches!(transfer.take(&request, client(), Transport::Udp, |_| None), Taken::Silence));
}

#[test]
fn a_response_gets_no_response() {
    let mut request = signed(question("demo.test.", RecordType::AXFR, None), 0).0;
    request[2] |= 0x80;
    // Its signature covers that bit.
    assert!(matches!(transfer().take(&request, client(), Transport::Tcp, |_| None), Taken::Silence));
}
