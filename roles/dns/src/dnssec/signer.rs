//! Signs answers: the one face of this part towards the packets. Pure but for the cache of signatures.
//!
//! A zone that is not handed to secondaries is signed as it is answered ([`super::online`]); one that is comes signed,
//! with its chain of NSEC, and is answered out of that ([`super::chain`]), here as by its secondaries.

use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordData, RecordType};

use super::ring::KeyRing;
use super::signatures::Signatures;
use super::{chain, names, online};
use crate::answer::Answer;
use crate::zone::{RecordSet, Zone};

/// The type that says in a proof that its name does not exist (RFC 9824 §3.1).
pub const NXNAME: RecordType = RecordType::Unknown(128);

/// Signs what is answered.
pub struct Signer {
    ring: KeyRing,
    signatures: Signatures,
}

impl Signer {
    /// With these keys.
    pub fn new(ring: KeyRing) -> Self {
        let signatures = Signatures::new(ring.config().signature_seconds);
        Self { ring, signatures }
    }

    /// The keys.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Adds to an answer out of `zone` what a client needs that asked for DNSSEC: signatures, and proofs of what is not
    /// there. An answer out of a zone that is not signed stays as it is; what cannot be signed becomes SERVFAIL, because
    /// such a client takes it for forged.
    pub fn sign(&self, zone: &Zone, question: &Query, answer: Answer, now: SystemTime) -> Answer {
        if !matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return answer;
        }
        let signed = if chain::is_signed(zone) {
            chain::prove(zone, question, answer)
        } else if let Some(keys) = self.ring.of(&zone.origin) {
            let signing =
                online::Signing { zone, keys: &keys, signatures: &self.signatures, now_seconds: seconds(now) };
            signing.sign(question, answer)
        } else if self.ring.signs(&zone.origin) && !self.ring.is_known() {
            Err("this node has not got the keys of its zones yet: its directory must be reached once".to_owned())
        } else {
            Ok(answer)
        };
        signed.unwrap_or_else(|error| {
            tracing::warn!(zone = %zone.origin, %question, %error, "answered SERVFAIL: it cannot be signed");
            Answer::refusal(ResponseCode::ServFail)
        })
    }

    /// A zone with everything signed and its chain of NSEC, to be handed to secondaries; as it is when it is not to be
    /// signed or has no keys yet. Signatures that are fresh are used again, so that little changes from one version to
    /// the next.
    pub fn presign(&self, zone: &Zone, now: SystemTime) -> Zone {
        let mut zone = chain::bare(zone);
        self.ring.dress(&mut zone);
        let Some(keys) = self.ring.of(&zone.origin) else { return zone };
        let signing =
            online::Signing { zone: &zone, keys: &keys, signatures: &self.signatures, now_seconds: seconds(now) };
        match chain::signed(&signing) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!(zone = %zone.origin, %error, "a bug: this zone cannot be signed and is handed out as it is");
                zone
            }
        }
    }

    /// Whether a zone that [`Signer::presign`] made must be made anew: its signatures grow old, or its keys changed.
    pub fn needs_resign(&self, zone: &Zone, now: SystemTime) -> bool {
        let Some(keys) = self.ring.of(&zone.origin) else {
            // Without keys it cannot be signed; not to be signed, it must not be.
            return chain::is_signed(zone) && !self.ring.signs(&zone.origin);
        };
        let wanted = self.ring.sets(&zone.origin);
        // In any order: a version that was read from a file or taken over has its own.
        let same = |wanted: &RecordSet, held: &RecordSet| {
            wanted.ttl_seconds == held.ttl_seconds
                && wanted.data.len() == held.data.len()
                && wanted.data.iter().all(|datum| held.data.contains(datum))
        };
        let dressed = wanted.iter().all(|set| zone.set(&zone.origin, set.kind).is_some_and(|held| same(set, held)));
        !dressed || !chain::holds(zone, keys.signing().tag, seconds(now), self.ring.config().signature_seconds)
    }
}

/// Seconds since 1970.
pub fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The name that an answer speaks of last: the question's, or where its aliases lead to.
pub fn last_name(question: &Query, answers: &[Record]) -> Name {
    let mut last = question.name().clone();
    // Each alias leads on at most once: a loop ends with the records.
    for _ in answers {
        let alias =
            answers.iter().filter(|record| record.name == last).find_map(|record| CNAME::try_borrow(&record.data));
        match alias {
            Some(alias) if question.query_type() != RecordType::CNAME => last = alias.0.clone(),
            _ => break,
        }
    }
    last.to_lowercase()
}

/// The record sets of a section that are this zone's own, as (name, type), each once, in their order.
pub fn own_sets(zone: &Zone, records: &[Record]) -> Vec<(Name, RecordType)> {
    let mut sets: Vec<(Name, RecordType)> = Vec::new();
    for record in records {
        let (name, kind) = (&record.name, record.record_type());
        let ours = zone.origin.zone_of(name) && !names::is_below_cut(zone, name);
        let signable = kind != RecordType::RRSIG && !(kind == RecordType::NS && names::is_cut(zone, name));
        if ours && signable && !sets.iter().any(|(other, of)| other == name && *of == kind) {
            sets.push((name.clone(), kind));
        }
    }
    sets
}

/// The cut that an answer refers to, if it is a referral, at once or after aliases.
pub fn referral(zone: &Zone, answer: &Answer) -> Option<Name> {
    let servers = |record: &&Record| record.record_type() == RecordType::NS && names::is_cut(zone, &record.name);
    answer.authorities.iter().find(servers).map(|record| record.name.to_lowercase())
}

/// Whether an answer says that something is not there: then its authority section has the SOA (RFC 2308 §2).
pub fn is_negative(answer: &Answer) -> bool {
    answer.authorities.iter().any(|record| record.record_type() == RecordType::SOA)
}

/// How long proofs of what is not there may be kept (RFC 9077 §3): the smaller of the SOA's TTL and of its last field.
pub fn negative_ttl_seconds<'a>(soa: impl IntoIterator<Item = (&'a RData, u32)>) -> Option<u32> {
    soa.into_iter().find_map(|(data, ttl_seconds)| match data {
        RData::SOA(soa) => Some(ttl_seconds.min(soa.minimum)),
        _ => None,
    })
}
