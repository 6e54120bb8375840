//! Signatures over record sets, each made once and kept while it is fresh: a bounded cache.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use hickory_proto::dnssec::Algorithm;
use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG, SigInput};
use hickory_proto::rr::{Name, RData, Record, RecordType, SerialNumber};
use quick_cache::sync::Cache;

use super::canonical;
use super::key::Key;

/// How many signatures are kept: about 300 bytes each.
const KEPT: usize = 16_384;

/// How long before its making a signature begins to hold, in seconds: for resolvers whose clocks are late.
const BACKDATED_SECONDS: u64 = 7_200;

/// Says what the metrics mean.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "estafeta_dns_signatures_total",
        "DNSSEC signatures in answers: made for this one, or kept from an earlier one."
    );
}

/// A set of records: what one signature covers.
pub struct Signable<'a> {
    /// Whose zone it is.
    pub origin: &'a Name,
    /// Its name.
    pub owner: &'a Name,
    /// Its type.
    pub kind: RecordType,
    /// Its time to live, in seconds.
    pub ttl_seconds: u32,
    /// Its data, in any order.
    pub data: Vec<&'a RData>,
}

struct Kept {
    signature: RRSIG,
    renew_seconds: u64,
}

/// The signatures that are kept.
pub struct Signatures {
    kept: Cache<[u8; 32], Arc<Kept>>,
    validity_seconds: u64,
}

impl Signatures {
    /// None yet; each will hold for `validity_seconds` and be renewed when half of that is over.
    pub fn new(validity_seconds: u32) -> Self {
        Self { kept: Cache::new(KEPT), validity_seconds: validity_seconds.into() }
    }

    /// The signature of a set by a key, as a record; an error says why it cannot be made, which is a bug.
    pub fn of(&self, set: &Signable<'_>, key: &Key, now_seconds: u64) -> Result<Record, String> {
        let data = canonical::data(set.data.iter().copied()).map_err(|error| error.to_string())?;
        let name = fingerprint(set, key, &data);
        let record = |signature: &RRSIG| {
            let data = RData::DNSSEC(DNSSECRData::RRSIG(signature.clone()));
            Record::from_rdata(set.owner.clone(), set.ttl_seconds, data)
        };
        if let Some(kept) = self.kept.get(&name).filter(|kept| now_seconds < kept.renew_seconds) {
            metrics::counter!("estafeta_dns_signatures_total", "from" => "kept").increment(1);
            return Ok(record(&kept.signature));
        }
        // Spread, so that what was signed at once is not renewed at once.
        let spread_seconds = fastrand::u64(0..=self.validity_seconds / 16);
        let expires_seconds = now_seconds + self.validity_seconds - spread_seconds;
        let input = SigInput {
            type_covered: set.kind,
            algorithm: Algorithm::ECDSAP256SHA256,
            num_labels: set.owner.num_labels(),
            original_ttl: set.ttl_seconds,
            sig_expiration: serial(expires_seconds),
            sig_inception: serial(now_seconds.saturating_sub(BACKDATED_SECONDS)),
            key_tag: key.tag,
            signer_name: set.origin.clone(),
        };
        let bytes = canonical::to_be_signed(&input, set.owner, &data).map_err(|error| error.to_string())?;
        let signature = RRSIG::from_sig(input, key.sign(&bytes)?);
        metrics::counter!("estafeta_dns_signatures_total", "from" => "made").increment(1);
        let made = record(&signature);
        let renew_seconds = now_seconds + self.validity_seconds / 2 - spread_seconds;
        self.kept.insert(name, Arc::new(Kept { signature, renew_seconds }));
        Ok(made)
    }
}

/// What tells a signed set from every other.
fn fingerprint(set: &Signable<'_>, key: &Key, data: &[Vec<u8>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for name in [set.origin, set.owner] {
        for label in name.iter() {
            context.update(&[label.len() as u8]);
            context.update(&label.to_ascii_lowercase());
        }
        context.update(&[0]);
    }
    context.update(&u16::from(set.kind).to_be_bytes());
    context.update(&set.ttl_seconds.to_be_bytes());
    context.update(hickory_proto::dnssec::PublicKey::public_bytes(key.record.public_key()));
    for data in data {
        context.update(&(data.len() as u32).to_be_bytes());
        context.update(data);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// RFC 4034 §3.1.5: seconds since 1970, in serial number arithmetic.
fn serial(seconds: u64) -> SerialNumber {
    SerialNumber::new((seconds & u64::from(u32::MAX)) as u32)
}

#[cfg(test)]
mod tests {
    use hickory_proto::dnssec::PublicKey;
    use hickory_proto::rr::rdata::{MX, TXT};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn key() -> Key {
        Key::open(&Key::generate(0).unwrap()).unwrap()
    }

    fn signature(record: &Record) -> &RRSIG {
        let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data else { panic!("{record}") };
        signature
    }

    /// Hickory's own idea of what is signed, made with another hand, agrees with ours.
    #[test]
    fn what_is_signed_verifies_by_another_code() {
        let (origin, owner, key) = (name("demo.test."), name("A.demo.test."), key());
        let signatures = Signatures::new(86_400);
        let sets = [
            vec![RData::MX(MX::new(20, name("B.demo.test."))), RData::MX(MX::new(10, name("c.demo.test.")))],
            vec![RData::TXT(TXT::new(vec!["zz".into()])), RData::TXT(TXT::new(vec!["a".into(), "b".into()]))],
        ];
        for data in &sets {
            let kind = data[0].record_type();
            let set = Signable { origin: &origin, owner: &owner, kind, ttl_seconds: 300, data: data.iter().collect() };
            let made = signatures.of(&set, &key, 1_000_000_000).unwrap();
            assert_eq!((made.ttl, &made.name), (300, &owner));
            let records: Vec<Record> =
                data.iter().map(|data| Record::from_rdata(owner.clone(), 300, data.clone())).collect();
            let input = signature(&made).input();
            let tbs =
                hickory_proto::dnssec::TBS::from_input(&owner, hickory_proto::rr::DNSClass::IN, input, records.iter())
                    .unwrap();
            assert!(key.record.public_key().verify(tbs.as_ref(), signature(&made).sig()).is_ok(), "{kind}");
        }
    }

    #[test]
    fn a_signature_is_kept_whatever_the_order_until_half_its_time() {
        let (origin, key) = (name("demo.test."), key());
        let data = [1, 2, 3].map(|last| RData::A(hickory_proto::rr::rdata::A::new(192, 0, 2, last)));
        let signatures = Signatures::new(86_400);
        let of = |order: [usize; 3], ttl_seconds, key: &Key, now| {
            let data = order.iter().map(|index| &data[*index]).collect();
            let set = Signable { origin: &origin, owner: &origin, kind: RecordType::A, ttl_seconds, data };
            signature(&signatures.of(&set, key, now).unwrap()).clone()
        };
        let start = 1_000_000_000;
        let first = of([0, 1, 2], 30, &key, start);
        assert_eq!(first, of([2, 0, 1], 30, &key, start + 30_000));
        assert_ne!(first, of([0, 1, 2], 31, &key, start));
        assert_ne!(first, of([0, 1, 2], 30, &self::key(), start));
        let later = of([0, 1, 2], 30, &key, start + 43_200);
        assert_ne!(first, later);
        for (signature, now) in [(&first, start), (&later, start + 43_200)] {
            let input = signature.input();
            assert_eq!(u64::from(input.sig_inception.get()), now - BACKDATED_SECONDS);
            let validity = u64::from(input.sig_expiration.get()) - now;
            assert!((86_400 * 15 / 16..=86_400).contains(&validity), "{validity}");
        }
    }
}
