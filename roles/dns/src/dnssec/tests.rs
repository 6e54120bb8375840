//! Answers signed and proved, checked as a validating resolver does it, with hickory's verifying code; whole zones by
//! Debian's `ldns-verify-zone`.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{PublicKey, TBS};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordData, RecordType};

use super::key::Key;
use super::ring::Book;
use super::signer::NXNAME;
use super::timeline::{Stage, ZoneKeys};
use super::{DnssecConfig, KeyRing, Signer, chain, signer};
use crate::answer::{Answer, answer};
use crate::zone::{Choice, Datum, RecordSet, Zone};
use crate::zones::Zones;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A zone with an alias, a wildcard, names that are empty, and cuts with and without a DS.
fn zone() -> Zone {
    use RecordType::{A, CNAME, DS, MX, NS, SOA, SRV, TXT};
    let mut zone = Zone { origin: name("demo.test."), serial: 7, names: Default::default() };
    for (owner, kind, text) in [
        ("demo.test.", SOA, "dns1.demo.test. hostmaster.demo.test. 7 3600 600 604800 30"),
        ("demo.test.", NS, "dns1.demo.test."),
        ("demo.test.", MX, "10 MX.demo.test."),
        ("demo.test.", MX, "20 edge1.demo.test."),
        ("demo.test.", TXT, "v=spf1"),
        ("dns1.demo.test.", A, "192.0.2.53"),
        ("mx.demo.test.", A, "192.0.2.2"),
        ("mx.demo.test.", A, "192.0.2.1"),
        ("alias.demo.test.", CNAME, "mx.demo.test."),
        ("lost.demo.test.", CNAME, "nobody.demo.test."),
        ("_tcp.demo.test.", TXT, ""),
        ("_imaps._tcp.demo.test.", SRV, "0 1 993 mx.demo.test."),
        ("*.wild.demo.test.", TXT, "wild"),
        ("wild.demo.test.", TXT, ""),
        ("open.demo.test.", NS, "ns.open.demo.test."),
        ("ns.open.demo.test.", A, "192.0.2.99"),
        ("safe.demo.test.", NS, "dns1.demo.test."),
        ("safe.demo.test.", DS, "12345 13 2 B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17"),
    ] {
        let sets = zone.names.entry(name(owner)).or_default();
        if text.is_empty() {
            continue;
        }
        let datum = Datum::plain(RData::try_from_str(kind, text).unwrap());
        match sets.iter_mut().find(|set| set.kind == kind) {
            Some(set) => set.data.push(datum),
            None => sets.push(RecordSet { kind, ttl_seconds: 300, choice: Choice::All, data: vec![datum] }),
        }
    }
    zone
}

fn signer_with(keys: Option<ZoneKeys>) -> Signer {
    let ring = KeyRing::new(DnssecConfig { zones: vec!["demo.test".parse().unwrap()], ..Default::default() });
    if let Some(keys) = keys {
        ring.replace(Book { generation: 1, zones: [("demo.test.".to_owned(), keys)].into() });
    }
    Signer::new(ring)
}

fn one_key() -> ZoneKeys {
    ZoneKeys { stage: Stage::Settled, ..ZoneKeys::first(Key::generate(0).unwrap(), 0) }
}

/// A server with one zone, live or signed as a whole.
struct Server {
    signer: Signer,
    zone: Arc<Zone>,
    zones: Zones,
}

impl Server {
    fn live() -> Self {
        let signer = signer_with(Some(one_key()));
        let mut zone = zone();
        signer.ring().dress(&mut zone);
        Self::of(signer, zone)
    }

    fn presigned() -> Self {
        let signer = signer_with(Some(one_key()));
        let zone = signer.presign(&zone(), now());
        Self::of(signer, zone)
    }

    fn of(signer: Signer, zone: Zone) -> Self {
        let zone = Arc::new(zone);
        let mut zones = Zones::default();
        zones.live.insert(zone.origin.clone(), zone.clone());
        Self { signer, zone, zones }
    }

    fn ask(&self, asked: &str, kind: RecordType) -> Answer {
        let question = Query::query(name(asked), kind);
        let plain = answer(&self.zones, &question, &crate::answer::tests::asker(0));
        let signed = self.signer.sign(&self.zone, &question, plain, now());
        self.verify(&signed);
        signed
    }

    /// Every record set of ours has a signature, and every signature is right.
    fn verify(&self, answer: &Answer) {
        let keys = self.signer.ring().of(&self.zone.origin).unwrap();
        for section in [&answer.answers, &answer.authorities] {
            for (owner, kind) in signer::own_sets(&self.zone, section) {
                let over = |record: &&Record| {
                    record.name == owner
                        && RRSIG::try_borrow(&record.data).is_some_and(|s| s.input().type_covered == kind)
                };
                let signatures: Vec<_> = section.iter().filter(over).collect();
                assert!(!signatures.is_empty(), "{owner} {kind} is not signed: {section:#?}");
                for signature in signatures {
                    let signature = RRSIG::try_borrow(&signature.data).unwrap();
                    let tbs = TBS::from_input(&owner, DNSClass::IN, signature.input(), section.iter()).unwrap();
                    let key = keys.keys.iter().find(|key| key.tag == signature.input().key_tag).unwrap();
                    assert!(key.record.public_key().verify(tbs.as_ref(), signature.sig()).is_ok(), "{owner} {kind}");
                    let (from, until) = (signature.input().sig_inception.get(), signature.input().sig_expiration.get());
                    assert!(u64::from(from) < NOW - 3600 && u64::from(until) > NOW + 86_400);
                }
            }
        }
    }
}

/// The proofs in an answer, as (owner, next, types).
fn proofs(answer: &Answer) -> Vec<(String, String, Vec<RecordType>)> {
    let of = |record: &Record| {
        let nsec = NSEC::try_borrow(&record.data)?;
        Some((record.name.to_ascii(), nsec.next_domain_name().to_ascii(), nsec.type_bit_maps().collect()))
    };
    answer.answers.iter().chain(&answer.authorities).filter_map(of).collect()
}

fn kinds(records: &[Record]) -> Vec<RecordType> {
    let mut kinds: Vec<_> = records.iter().map(Record::record_type).collect();
    kinds.dedup();
    kinds
}

const ENDS: [RecordType; 2] = [RecordType::RRSIG, RecordType::NSEC];

fn with_ends(kinds: &[RecordType]) -> Vec<RecordType> {
    let mut kinds = [kinds, &ENDS].concat();
    kinds.sort();
    kinds
}

#[test]
fn what_is_there_is_signed_live() {
    let server = Server::live();
    let mx = server.ask("demo.test.", RecordType::MX);
    assert_eq!(kinds(&mx.answers), [RecordType::MX, RecordType::RRSIG]);
    assert!(mx.additionals.is_empty(), "what nobody needs is not said");
    let keys = server.ask("demo.test.", RecordType::DNSKEY);
    assert_eq!(kinds(&keys.answers), [RecordType::DNSKEY, RecordType::RRSIG]);
    assert_eq!(kinds(&server.ask("demo.test.", RecordType::CDS).answers), [RecordType::CDS, RecordType::RRSIG]);
    let alias = server.ask("alias.demo.test.", RecordType::A);
    let covered: Vec<_> =
        alias.answers.iter().filter_map(|r| RRSIG::try_borrow(&r.data)).map(|s| s.input().type_covered).collect();
    assert_eq!(covered, [RecordType::CNAME, RecordType::A]);
    // Whoever asks for any name under a wildcard gets it signed as its own.
    let wild = server.ask("x.wild.demo.test.", RecordType::TXT);
    assert_eq!(RRSIG::try_borrow(&wild.answers[1].data).unwrap().input().num_labels, 4);
    assert_eq!(kinds(&server.ask("mx.demo.test.", RecordType::RRSIG).answers), [RecordType::RRSIG]);
}

#[test]
fn what_is_not_there_is_denied_at_its_own_name_live() {
    let server = Server::live();
    for (asked, kind, source, expected) in [
        ("Nobody.demo.test.", RecordType::A, "nobody.demo.test.", vec![RecordType::RRSIG, RecordType::NSEC, NXNAME]),
        ("mx.demo.test.", RecordType::AAAA, "mx.demo.test.", with_ends(&[RecordType::A])),
        ("_tcp.demo.test.", RecordType::A, "_tcp.demo.test.", ENDS.to_vec()),
        ("x.wild.demo.test.", RecordType::A, "x.wild.demo.test.", with_ends(&[RecordType::TXT])),
        ("lost.demo.test.", RecordType::A, "nobody.demo.test.", vec![RecordType::RRSIG, RecordType::NSEC, NXNAME]),
        ("open.demo.test.", RecordType::DS, "open.demo.test.", with_ends(&[RecordType::NS])),
        ("mx.demo.test.", RecordType::NSEC, "mx.demo.test.", with_ends(&[RecordType::A])),
    ] {
        let said = server.ask(asked, kind);
        assert_eq!(said.code, ResponseCode::NoError, "{asked}");
        assert_eq!(proofs(&said), [(source.to_owned(), format!("\\000.{source}"), expected)], "{asked} {kind}");
        let ttl =
            said.authorities.iter().chain(&said.answers).find(|r| r.record_type() == RecordType::NSEC).unwrap().ttl;
        assert_eq!(ttl, 30, "{asked} {kind}");
    }
    assert_eq!(server.ask("demo.test.", NXNAME).code, ResponseCode::FormErr);
}

#[test]
fn a_referral_says_whether_what_is_below_is_signed() {
    for server in [Server::live(), Server::presigned()] {
        let open = server.ask("www.open.demo.test.", RecordType::A);
        assert!(!open.authoritative);
        assert_eq!(kinds(&open.authorities), [RecordType::NS, RecordType::NSEC, RecordType::RRSIG]);
        let (owner, _, types) = &proofs(&open)[0];
        assert_eq!((owner.as_str(), types), ("open.demo.test.", &with_ends(&[RecordType::NS])));
        assert_eq!(kinds(&open.additionals), [RecordType::A], "the glue is there and not signed");
        let safe = server.ask("www.safe.demo.test.", RecordType::A);
        assert_eq!(kinds(&safe.authorities), [RecordType::NS, RecordType::DS, RecordType::RRSIG]);
    }
}

#[test]
fn a_presigned_zone_answers_with_its_chain() {
    let server = Server::presigned();
    let mx = server.ask("demo.test.", RecordType::MX);
    assert_eq!(kinds(&mx.answers), [RecordType::MX, RecordType::RRSIG]);
    let owners = |answer: &Answer| proofs(answer).into_iter().map(|(owner, ..)| owner).collect::<Vec<_>>();
    let nobody = server.ask("nobody.demo.test.", RecordType::A);
    assert_eq!(nobody.code, ResponseCode::NXDomain);
    assert_eq!(owners(&nobody), ["demo.test.", "mx.demo.test."], "neither a wildcard nor the name");
    let nothing = server.ask("mx.demo.test.", RecordType::AAAA);
    assert_eq!((nothing.code, owners(&nothing)), (ResponseCode::NoError, vec!["mx.demo.test.".to_owned()]));
    let empty = server.ask("_tcp.demo.test.", RecordType::A);
    assert_eq!((empty.code, owners(&empty)), (ResponseCode::NoError, vec!["demo.test.".to_owned()]));
    let wild = server.ask("x.wild.demo.test.", RecordType::TXT);
    assert_eq!(RRSIG::try_borrow(&wild.answers[1].data).unwrap().input().num_labels, 3);
    assert_eq!(owners(&wild), ["*.wild.demo.test."], "the name itself is not there");
    let less = server.ask("x.wild.demo.test.", RecordType::A);
    assert_eq!((less.code, owners(&less)), (ResponseCode::NoError, vec!["*.wild.demo.test.".to_owned()]));
    let lost = server.ask("lost.demo.test.", RecordType::A);
    assert_eq!((lost.code, owners(&lost).len()), (ResponseCode::NXDomain, 2));
}

#[test]
fn a_presigned_zone_is_right_as_a_whole() {
    let server = Server::presigned();
    let mut text = String::new();
    for (owner, sets) in &server.zone.names {
        for (set, datum) in sets.iter().flat_map(|set| set.data.iter().map(move |datum| (set, datum))) {
            text += &format!("{owner} {} IN {} {}\n", set.ttl_seconds, set.kind, datum.data);
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let output = Command::new("ldns-verify-zone")
        .args(["-V", "2", "-t", "20270115080000"])
        .arg(file.path())
        .output()
        .expect("ldns-verify-zone, of Debian's package ldnsutils, is not installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{text}");
}

#[test]
fn a_presigned_zone_is_renewed_before_its_signatures_end_and_when_keys_change() {
    let server = Server::presigned();
    let later = |seconds| now() + Duration::from_secs(seconds);
    assert!(!server.signer.needs_resign(&server.zone, now()));
    assert!(!server.signer.needs_resign(&server.zone, later(7 * 86_400)));
    assert!(server.signer.needs_resign(&server.zone, later(10 * 86_400)));
    assert_eq!(server.signer.presign(&server.zone, later(3600)), *server.zone, "what is fresh is used again");
    let renewed = server.signer.presign(&server.zone, later(10 * 86_400));
    assert!(!server.signer.needs_resign(&renewed, later(10 * 86_400)));
    assert_eq!(chain::bare(&renewed), chain::bare(&server.zone));

    let mut rolling = server.signer.ring().of(&server.zone.origin).unwrap().kept.clone();
    rolling.keys.push(Key::generate(1).unwrap());
    for stage in [Stage::Announced, Stage::Switching] {
        rolling.stage = stage;
        let rolling = Book { generation: 2, zones: [("demo.test.".to_owned(), rolling.clone())].into() };
        server.signer.ring().replace(rolling);
        assert!(server.signer.needs_resign(&server.zone, now()), "{stage:?}");
        let mut signed = server.signer.presign(&server.zone, now());
        assert!(!server.signer.needs_resign(&signed, now()), "{stage:?}");
        signed.names.values_mut().flatten().for_each(|set| set.data.reverse());
        assert!(!server.signer.needs_resign(&signed, now()), "{stage:?}: in another order");
    }
    let unsigned = signer_with(None);
    assert!(!unsigned.needs_resign(&server.zone, now()), "a node that has lost its keys spoils nothing");
}

#[test]
fn a_node_without_the_keys_says_so_and_a_zone_that_is_not_signed_stays_as_it_is() {
    let lost = signer_with(None);
    let question = Query::query(name("demo.test."), RecordType::MX);
    let zones = Server::of(signer_with(None), zone()).zones;
    let plain = answer(&zones, &question, &crate::answer::tests::asker(0));
    assert_eq!(lost.sign(&zone(), &question, plain.clone(), now()).code, ResponseCode::ServFail);
    lost.ring().replace(Book::default());
    assert_eq!(lost.sign(&zone(), &question, plain.clone(), now()), plain, "its key is about to be made");
    let open = Signer::new(KeyRing::new(DnssecConfig::default()));
    assert_eq!(open.sign(&zone(), &question, plain.clone(), now()), plain);
}

#[test]
fn while_keys_roll_both_sign_the_keys_and_one_signs_the_rest() {
    let mut keys = one_key();
    keys.keys.push(Key::generate(1).unwrap());
    for (stage, signing) in [(Stage::Announced, 0), (Stage::Delegated, 0), (Stage::Switching, 1), (Stage::Switched, 1)]
    {
        keys.stage = stage;
        let signer = signer_with(Some(keys.clone()));
        let mut zone = zone();
        signer.ring().dress(&mut zone);
        let server = Server::of(signer, zone);
        let tags: Vec<u16> =
            server.signer.ring().of(&server.zone.origin).unwrap().keys.iter().map(|key| key.tag).collect();
        let by = |answer: &Answer| -> Vec<u16> {
            answer.answers.iter().filter_map(|r| RRSIG::try_borrow(&r.data)).map(|s| s.input().key_tag).collect()
        };
        assert_eq!(by(&server.ask("demo.test.", RecordType::DNSKEY)), tags, "{stage:?}");
        assert_eq!(by(&server.ask("demo.test.", RecordType::CDNSKEY)), tags, "{stage:?}");
        assert_eq!(by(&server.ask("demo.test.", RecordType::MX)), [tags[signing]], "{stage:?}");
        let cds = server.ask("demo.test.", RecordType::CDS).answers[0].clone();
        let RData::DNSSEC(DNSSECRData::CDS(cds)) = cds.data else { panic!("{cds}") };
        assert_eq!(cds.key_tag(), tags[usize::from(stage != Stage::Announced)], "{stage:?}");
    }
}
