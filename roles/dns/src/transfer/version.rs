//! A version of a zone: the serial number, the digest and the content that secondaries are handed.
//!
//! Invariant: a [`Mark`] says all: two versions with one mark hold the same records, byte for byte in their canonical
//! form (RFC 4034 §6).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use crate::zone::{Choice, Datum, RecordSet, Zone};

/// How many bytes of a BLAKE3 hash are a digest: enough that nobody finds two contents with the same one.
const DIGEST_BYTES: usize = 16;

/// What a content is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; DIGEST_BYTES]);

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&blake3::hash(bytes))
    }

    fn from_hash(hash: &blake3::Hash) -> Self {
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&hash.as_bytes()[..DIGEST_BYTES]);
        Self(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no digest: it takes {} hexadecimal digits", 2 * DIGEST_BYTES);
        let bytes = from_hexadecimal(text).ok_or_else(wrong)?;
        Ok(Self(bytes.try_into().map_err(|_| wrong())?))
    }
}

/// Bytes out of hexadecimal digits.
pub(super) fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// What names a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Its serial number.
    pub serial: u32,
    /// Its digest.
    pub digest: Digest,
}

impl Mark {
    /// Whether its serial number comes after another one (RFC 1982 §3.2).
    pub fn is_after(&self, serial: u32) -> bool {
        is_after(self.serial, serial)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.serial, self.digest)
    }
}

/// Whether one serial number comes after another (RFC 1982 §3.2); of two that are half the circle apart neither does.
pub fn is_after(one: u32, other: u32) -> bool {
    (1..1 << 31).contains(&one.wrapping_sub(other))
}

/// A version: a value, never changed in place.
#[derive(Debug, PartialEq, Eq)]
pub struct Version {
    /// What names it.
    pub mark: Mark,
    /// The digest of what it says: without the serial number and without what signing adds, so that whoever mints the
    /// next one can tell whether anything has changed.
    pub content: Digest,
    /// Its records.
    pub zone: Arc<Zone>,
}

impl Version {
    /// The version that a zone is. None for one without an SOA record at its origin, which cannot be transferred.
    pub fn of(zone: Zone) -> Option<Self> {
        zone.set(&zone.origin, RecordType::SOA)?;
        let mark = Mark { serial: zone.serial, digest: digest(&zone, true)? };
        Some(Self { mark, content: digest(&zone, false)?, zone: Arc::new(zone) })
    }

    /// The SOA record.
    pub fn start_of_authority(&self) -> Option<Record> {
        let set = self.zone.set(&self.zone.origin, RecordType::SOA)?;
        Some(Record::from_rdata(self.zone.origin.clone(), set.ttl_seconds, set.data.first()?.data.clone()))
    }

    /// Every record but the SOA, in the canonical order of their names.
    pub fn records(&self) -> Records {
        Records { zone: self.zone.clone(), last: None, waiting: VecDeque::new() }
    }
}

/// Walks through a version's records and holds on to nothing but the version.
pub struct Records {
    zone: Arc<Zone>,
    last: Option<Name>,
    waiting: VecDeque<Record>,
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.waiting.is_empty() {
            let from = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let (name, sets) = self.zone.names.range((from, Bound::Unbounded)).next()?;
            let is_start = |set: &&RecordSet| set.kind == RecordType::SOA && name == &self.zone.origin;
            for set in sets.iter().filter(|set| !is_start(set)) {
                let records = set.data.iter();
                let records =
                    records.map(|datum| Record::from_rdata(name.clone(), set.ttl_seconds, datum.data.clone()));
                self.waiting.extend(records);
            }
            self.last = Some(name.clone());
        }
        self.waiting.pop_front()
    }
}

/// The digest of what a zone says, whatever its serial number and its signatures.
pub fn content_digest(zone: &Zone) -> Option<Digest> {
    digest(zone, false)
}

/// A zone out of the records of a transfer, the SOA among them. The error says what is wrong with them.
pub fn from_records(origin: &Name, records: Vec<Record>) -> Result<Zone, String> {
    let mut names: BTreeMap<Name, Vec<RecordSet>> = BTreeMap::new();
    let mut serial = None;
    for record in records {
        let mut name = record.name.to_lowercase();
        name.set_fqdn(true);
        if !origin.zone_of(&name) {
            return Err(format!("{name} is not under {origin}"));
        }
        if let RData::SOA(soa) = &record.data
            && (&name != origin || serial.replace(soa.serial).is_some())
        {
            return Err(format!("{origin} has more than one SOA record, or one below its origin"));
        }
        let datum = Datum::plain(record.data);
        let (kind, sets) = (datum.data.record_type(), names.entry(name).or_default());
        // RFC 4034 §3: signatures may be kept as long as what they cover, so those of one name differ in that.
        let belongs =
            |set: &&mut RecordSet| set.kind == kind && (kind != RecordType::RRSIG || set.ttl_seconds == record.ttl);
        match sets.iter_mut().find(belongs) {
            Some(set) => set.data.push(datum),
            None => {
                sets.push(RecordSet { kind, ttl_seconds: record.ttl, choice: Choice::All, data: vec![datum] });
            }
        }
    }
    let serial = serial.ok_or_else(|| format!("{origin} has no SOA record"))?;
    with_empty_names(origin, &mut names);
    Ok(Zone { origin: origin.clone(), serial, names })
}

/// Adds the names that exist only because names below them do (RFC 8020 §2).
fn with_empty_names(origin: &Name, names: &mut BTreeMap<Name, Vec<RecordSet>>) {
    let missing: Vec<Name> = names
        .keys()
        .flat_map(|name| std::iter::successors(Some(name.clone()), |name| (name != origin).then(|| name.base_name())))
        .filter(|name| origin.zone_of(name) && !names.contains_key(name))
        .collect();
    names.extend(missing.into_iter().map(|name| (name, Vec::new())));
}

/// The digest over the canonical records in canonical order; `whole`: with the serial number and what signing adds.
/// None for records that have no wire form, which is a bug of whoever made them.
fn digest(zone: &Zone, whole: bool) -> Option<Digest> {
    let mut hash = blake3::Hasher::new();
    for (name, sets) in &zone.names {
        let mut records = Vec::new();
        for set in sets.iter().filter(|set| whole || !is_added_by_signing(set.kind)) {
            for datum in &set.data {
                records.push(canonical(name, set.ttl_seconds, &datum.data, whole)?);
            }
        }
        records.sort_unstable();
        for record in &records {
            hash.update(&u64::try_from(record.len()).ok()?.to_be_bytes());
            hash.update(record);
        }
    }
    Some(Digest::from_hash(&hash.finalize()))
}

/// What makes a record itself, its time to live included: hickory's equality takes no notice of that.
pub(super) fn canonical_record(record: &Record) -> Option<Vec<u8>> {
    canonical(&record.name, record.ttl, &record.data, true)
}

fn is_added_by_signing(kind: RecordType) -> bool {
    use RecordType::{CDNSKEY, CDS, DNSKEY, NSEC, NSEC3, NSEC3PARAM, RRSIG};
    matches!(kind, RRSIG | NSEC | NSEC3 | NSEC3PARAM | DNSKEY | CDS | CDNSKEY)
}

/// RFC 4034 §6.2, but for the length of the data.
fn canonical(name: &Name, ttl_seconds: u32, data: &RData, whole: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::UncompressedLowercase);
    name.emit(&mut encoder).ok()?;
    encoder.emit_u16(data.record_type().into()).ok()?;
    encoder.emit_u32(ttl_seconds).ok()?;
    match data {
        RData::SOA(soa) if !whole => {
            let mut soa = soa.clone();
            soa.serial = 0;
            soa.emit(&mut encoder).ok()?;
        }
        data => data.emit(&mut encoder).ok()?,
    }
    Some(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::rr::rdata::{A, NS, SOA, TXT};

    use super::*;

    pub fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// A zone with `hosts` hosts.
    pub fn zone(origin: &str, serial: u32, hosts: u8) -> Zone {
        let origin = name(origin);
        let ns = origin.prepend_label("ns1").unwrap();
        let soa = SOA::new(ns.clone(), origin.prepend_label("hostmaster").unwrap(), serial, 3600, 600, 604_800, 30);
        let record = |name: &Name, data: RData| Record::from_rdata(name.clone(), 300, data);
        let mut records = vec![
            record(&origin, RData::SOA(soa)),
            record(&origin, RData::NS(NS(ns.clone()))),
            record(&origin.prepend_label("_dmarc").unwrap(), RData::TXT(TXT::new(vec!["v=DMARC1; p=none".into()]))),
        ];
        for host in 0..hosts {
            let name = origin.prepend_label(format!("host{host}")).unwrap();
            records.push(record(&name, RData::A(A(Ipv4Addr::new(192, 0, 2, host)))));
        }
        records.push(record(&ns, RData::A(A(Ipv4Addr::new(192, 0, 2, 53)))));
        from_records(&origin, records).unwrap()
    }

    #[test]
    fn a_mark_says_all_and_a_content_only_what_matters() {
        let one = Version::of(zone("demo.test.", 7, 3)).unwrap();
        let again = Version::of(zone("demo.test.", 900, 3).with_serial(7)).unwrap();
        assert_eq!(one, again);
        let later = Version::of(zone("demo.test.", 8, 3)).unwrap();
        assert_ne!(one.mark.digest, later.mark.digest);
        assert_eq!(one.content, later.content);
        assert_ne!(one.content, Version::of(zone("demo.test.", 7, 4)).unwrap().content);
        assert_eq!(one.mark.digest.to_string().parse::<Digest>().unwrap(), one.mark.digest);
        assert!("0123".parse::<Digest>().is_err() && "zz".parse::<Digest>().is_err());
    }

    #[test]
    fn serial_numbers_go_round() {
        assert!(is_after(2, 1) && !is_after(1, 2) && !is_after(1, 1));
        assert!(is_after(0, u32::MAX) && is_after(5, u32::MAX - 5) && !is_after(u32::MAX, 0));
        assert!(!is_after(1 << 31, 0) && !is_after(0, 1 << 31));
    }

    #[test]
    fn a_version_is_read_again_out_of_its_records() {
        let version = Version::of(zone("demo.test.", 7, 3)).unwrap();
        let records = version.start_of_authority().into_iter().chain(version.records()).collect();
        assert_eq!(Version::of(from_records(&name("demo.test."), records).unwrap()).unwrap(), version);
    }

    #[test]
    fn records_of_elsewhere_and_second_starts_are_refused() {
        let version = Version::of(zone("demo.test.", 7, 1)).unwrap();
        let soa = version.start_of_authority().unwrap();
        let origin = name("demo.test.");
        let elsewhere = Record::from_rdata(name("a.other.test."), 1, RData::A(A(Ipv4Addr::LOCALHOST)));
        assert!(from_records(&origin, vec![soa.clone(), elsewhere]).unwrap_err().contains("a.other.test"));
        assert!(from_records(&origin, vec![soa.clone(), soa]).is_err());
        assert!(from_records(&origin, vec![]).is_err());
    }

    #[test]
    fn names_between_exist_and_are_empty() {
        let deep = Record::from_rdata(name("a.b.demo.test."), 1, RData::A(A(Ipv4Addr::LOCALHOST)));
        let soa = Version::of(zone("demo.test.", 7, 0)).unwrap().start_of_authority().unwrap();
        let zone = from_records(&name("demo.test."), vec![soa, deep]).unwrap();
        assert_eq!(zone.names.get(&name("b.demo.test.")), Some(&vec![]));
        assert_eq!(zone.names.len(), 3);
    }
}
