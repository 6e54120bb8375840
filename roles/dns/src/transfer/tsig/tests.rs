//! Known answers, every refusal, and any bytes.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{RData, TSigner};
use proptest::prelude::*;

use super::super::version::tests::name;
use super::*;

const NOW: u64 = 1_800_000_000;

fn key(name_of: &str, secret: &str) -> Key {
    Key::new(&name(name_of), TsigAlgorithm::HmacSha256, Secret::new(secret.into())).unwrap()
}

fn ours() -> Key {
    key("Transfer.Demo.Test", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
}

fn question() -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name("demo.test."), RecordType::AXFR));
    message.to_vec().unwrap()
}

fn signed() -> (Vec<u8>, Awaiting) {
    sign_request(question(), &ours(), NOW).unwrap()
}

fn refusal(message: &[u8], keys: &[Key], now_seconds: u64) -> Refusal {
    match verify(message, keys, now_seconds) {
        Verified::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The TSIG record of an answer, and its response code.
fn sealed(refusal: Refusal) -> (u16, Option<u16>, usize, Vec<u8>) {
    let mut message = Message::new(4711, MessageType::Response, OpCode::Query);
    message.metadata.response_code = refusal.code;
    let bytes = refusal.seal(message.to_vec().unwrap()).unwrap();
    let code = Message::from_vec(&bytes).unwrap().metadata.response_code;
    let found = find(&bytes).unwrap().map(|(signature, _)| signature);
    let (error, length) = (found.as_ref().map(|one| one.error), found.as_ref().map_or(0, |one| one.mac.len()));
    (code.into(), error, length, found.map(|one| one.other).unwrap_or_default())
}

#[test]
fn another_implementation_agrees() {
    // hickory-proto's own signer, on messages that are well-formed.
    let secret = b"01234567890123456789012345678901".to_vec();
    let theirs = TSigner::new(secret, TsigAlgorithm::HmacSha256, name("transfer.demo.test."), FUDGE_SECONDS).unwrap();
    let (request, _) = signed();
    let (mac, time, range) = theirs.verify_message_byte(&request, None, true).unwrap();
    assert_eq!((time, range), (NOW, NOW - 300..NOW + 300));
    // And the answer, of two messages.
    let Verified::Signed { request: bare, mut signer } = verify(&request, &[ours()], NOW) else { panic!() };
    assert_eq!(bare, question());
    let one = signer.seal(question(), NOW + 1).unwrap();
    let two = signer.seal(question(), NOW + 2).unwrap();
    let (first, ..) = theirs.verify_message_byte(&one, Some(&mac), true).unwrap();
    theirs.verify_message_byte(&two, Some(&first), false).unwrap();
    assert!(theirs.verify_message_byte(&two, Some(&first), true).is_err());
    // What they sign, we take.
    let message = Message::from_vec(&question()).unwrap();
    let (record, _) = theirs.sign_message(&message, NOW).unwrap();
    let mut message = message;
    message.set_signature(record);
    assert!(matches!(verify(&message.to_vec().unwrap(), &[ours()], NOW), Verified::Signed { .. }));
}

#[test]
fn a_signature_as_python_computes_it() {
    // hmac.new(key, message + variables, sha256) over the variables of RFC 8945 §4.3.3, written out by hand.
    let variables = [
        b"\x08transfer\x04demo\x04test\x00\x00\xff\x00\x00\x00\x00\x0bhmac-sha256\x00".as_slice(),
        &[0, 0, 0x6b, 0x49, 0xd2, 0x00, 0x01, 0x2c, 0, 0, 0, 0],
    ]
    .concat();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"01234567890123456789012345678901");
    let expected = aws_lc_rs::hmac::sign(&key, &[question(), variables].concat());
    let (signature, start) = find(&signed().0).unwrap().unwrap();
    assert_eq!((signature.mac.as_slice(), start), (expected.as_ref(), question().len()));
}

#[test]
fn an_answer_of_several_messages_is_verified_in_order() {
    let (request, awaiting) = signed();
    let Verified::Signed { mut signer, .. } = verify(&request, &[ours()], NOW) else { panic!() };
    let messages: Vec<Vec<u8>> = (0..3).map(|_| signer.seal(question(), NOW).unwrap()).collect();
    let mut right = awaiting.clone();
    assert!(messages.iter().all(|message| right.verifies(message)));
    let mut wrong = awaiting.clone();
    assert!(wrong.verifies(&messages[0]) && !wrong.verifies(&messages[2]), "one is missing");
    let mut changed = messages[0].clone();
    changed[3] ^= 1;
    assert!(!awaiting.clone().verifies(&changed) && !awaiting.clone().verifies(&question()));
}

#[test]
fn refusals_say_what_the_rfc_says() {
    let (request, _) = signed();
    assert!(matches!(verify(&question(), &[ours()], NOW), Verified::Unsigned));
    let (notauth, formerr) = (9, 1);
    let stranger = key("other.test.", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    assert_eq!(sealed(refusal(&request, &[stranger], NOW)), (notauth, Some(BADKEY), 0, vec![]));
    let wrong = key("transfer.demo.test.", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=");
    assert_eq!(sealed(refusal(&request, &[wrong], NOW)), (notauth, Some(BADSIG), 0, vec![]));
    for now in [NOW + 301, NOW - 301] {
        let (code, error, length, other) = sealed(refusal(&request, &[ours()], now));
        assert_eq!((code, error, length), (notauth, Some(BADTIME), 32), "signed, so that the client may believe it");
        assert_eq!(other, time(now));
    }
    assert!(matches!(verify(&request, &[ours()], NOW + 300), Verified::Signed { .. }));
    // RFC 8945 §5.1: the signature is the last record.
    let mut behind = request.clone();
    behind.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    behind[11] += 1;
    assert_eq!(sealed(refusal(&behind, &[ours()], NOW)), (formerr, None, 0, vec![]));
}

#[test]
fn truncated_signatures_are_refused() {
    let (signature, _) = find(&signed().0).unwrap().unwrap();
    let with = |length: usize| {
        let (mut message, mut signature) = (question(), signature.clone());
        signature.mac.resize(length, 0);
        signature.append(&mut message).unwrap();
        sealed(refusal(&message, &[ours()], NOW))
    };
    assert_eq!((with(16), with(31)), ((9, Some(BADTRUNC), 0, vec![]), (9, Some(BADTRUNC), 0, vec![])));
    for length in [0, 9, 15, 33] {
        assert_eq!(with(length), (1, None, 0, vec![]), "{length}");
    }
}

#[test]
fn a_client_may_believe_that_the_clocks_differ() {
    let (request, mut awaiting) = signed();
    let refusal = refusal(&request, &[ours()], NOW + 5000);
    let answer = refusal.seal(question()).unwrap();
    assert!(awaiting.verifies(&answer));
    assert!(
        matches!(&Message::from_vec(&answer).unwrap().signature.unwrap().data.error, Some(error) if u16::from(*error) == BADTIME)
    );
    let data: RData = Message::from_vec(&answer).unwrap().signature.unwrap().into_record_of_rdata().data;
    assert_eq!(data.record_type(), RecordType::TSIG);
}

#[test]
fn keys_are_checked_and_never_printed() {
    let new = |secret: &str| Key::new(&name("k."), TsigAlgorithm::HmacSha512, Secret::new(secret.into()));
    assert!(new("no base64!").is_err() && new("c2hvcnQ=").unwrap_err().contains("16 bytes"));
    assert!(new("MDEyMzQ1Njc4OTAx\nMjM0NTY3ODkwMTIz\n").is_ok(), "as openssl prints it, over several lines");
    assert!(!format!("{:?}", ours()).contains("MDEy"));
    assert!(may_be_signed(&signed().0) && !may_be_signed(&question()) && !may_be_signed(b""));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_unsigned(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let signed = matches!(verify(&bytes, &[ours()], NOW), Verified::Signed { .. });
        prop_assert!(!signed);
    }

    #[test]
    fn any_changed_byte_is_noticed(at in 0..200_usize, bit in 0..8_u32) {
        let (mut request, _) = signed();
        let at = at % request.len();
        request[at] ^= 1 << bit;
        if let Verified::Signed { request: bare, .. } = verify(&request, &[ours()], NOW) {
            // The number in the header is not signed but its original is; names have no case; the record's own class, time
            // to live and length are checked by reading it.
            prop_assert_eq!(&bare[2..], &question()[2..]);
        }
        // A cut message is never taken.
        let cut = matches!(verify(&request[..at], &[ours()], NOW), Verified::Signed { .. });
        prop_assert!(!cut);
    }
}
