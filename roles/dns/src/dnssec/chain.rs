//! Zones signed as a whole, with their chain of NSEC (RFC 4035 §2), and answers out of them: as every secondary of the
//! zone gives them, which has no keys.
//!
//! Record sets of type RRSIG stand one for each covered set, with its TTL (RFC 4034 §3), so a name has several of them.

use std::collections::BTreeMap;

use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordData, RecordType};

use super::names;
use super::online::Signing;
use super::signer::{is_negative, last_name, negative_ttl_seconds, own_sets, referral};
use crate::answer::Answer;
use crate::zone::{Choice, Datum, RecordSet, Zone};

/// Whether a zone has been signed as a whole.
pub fn is_signed(zone: &Zone) -> bool {
    zone.set(&zone.origin, RecordType::NSEC).is_some()
}

/// A zone without what signing adds.
pub fn bare(zone: &Zone) -> Zone {
    let mut bare = zone.clone();
    for sets in bare.names.values_mut() {
        sets.retain(|set| !matches!(set.kind, RecordType::RRSIG | RecordType::NSEC));
    }
    bare
}

/// The zone of `signing`, which has its keys in it, with its chain and all signatures.
pub fn signed(signing: &Signing<'_>) -> Result<Zone, String> {
    let mut zone = signing.zone.clone();
    for (name, nsec) in links(signing.zone)? {
        if let Some(sets) = zone.names.get_mut(&name) {
            sets.push(nsec);
        }
    }
    for (name, sets) in &mut zone.names {
        if names::is_below_cut(signing.zone, name) {
            continue;
        }
        let cut = names::is_cut(signing.zone, name);
        let mut signatures = Vec::new();
        // RFC 4035 §2.2: at a cut, what is not the child's.
        for set in sets.iter().filter(|set| !cut || matches!(set.kind, RecordType::DS | RecordType::NSEC)) {
            let data = set.data.iter().map(|datum| &datum.data).collect();
            let made = signing.signatures_of(name, set.kind, set.ttl_seconds, data)?;
            signatures.push(RecordSet {
                kind: RecordType::RRSIG,
                ttl_seconds: set.ttl_seconds,
                choice: Choice::All,
                data: made.into_iter().map(|record| Datum::plain(record.data)).collect(),
            });
        }
        sets.extend(signatures);
    }
    Ok(zone)
}

/// The NSEC of each name that has one: not of glue, nor of names that are empty (RFC 4035 §2.3).
fn links(zone: &Zone) -> Result<BTreeMap<Name, RecordSet>, String> {
    let soa = zone.set(&zone.origin, RecordType::SOA).ok_or("it has no SOA record")?;
    let ttl_seconds = negative_ttl_seconds(soa.data.iter().map(|datum| (&datum.data, soa.ttl_seconds)));
    let ttl_seconds = ttl_seconds.ok_or("its SOA record says nothing")?;
    let linked: Vec<&Name> = zone
        .names
        .iter()
        .filter(|(name, sets)| !sets.is_empty() && !names::is_below_cut(zone, name))
        .map(|(name, _)| name)
        .collect();
    let following = linked.iter().skip(1).copied().chain([&zone.origin]);
    let link = |(name, next): (&&Name, &Name)| {
        let nsec = NSEC::new(next.clone(), names::kinds(zone, name));
        let data = vec![Datum::plain(RData::DNSSEC(DNSSECRData::NSEC(nsec)))];
        ((*name).clone(), RecordSet { kind: RecordType::NSEC, ttl_seconds, choice: Choice::All, data })
    };
    Ok(linked.iter().zip(following).map(link).collect())
}

/// Whether a signed zone's signatures hold for long enough: all by the key with this tag or, over keys, by it among
/// others, and none with less than a third of its time left.
pub fn holds(zone: &Zone, signing_tag: u16, now_seconds: u64, validity_seconds: u32) -> bool {
    let enough = |signature: &RRSIG| {
        let left = u64::from(signature.input().sig_expiration.get()).saturating_sub(now_seconds);
        left > u64::from(validity_seconds) / 3
    };
    let signatures = zone.names.values().flatten().filter(|set| set.kind == RecordType::RRSIG);
    is_signed(zone)
        && signatures.into_iter().all(|set| {
            let of_set = set.data.iter().filter_map(|datum| RRSIG::try_borrow(&datum.data));
            of_set.clone().all(enough) && of_set.into_iter().any(|signature| signature.input().key_tag == signing_tag)
        })
}

/// An answer out of a signed zone with its signatures and proofs; an error says what is missing.
pub fn prove(zone: &Zone, question: &Query, mut answer: Answer) -> Result<Answer, String> {
    let proofs = Proofs { zone };
    let name = last_name(question, &answer.answers);
    let mut wanted: Vec<Name> = Vec::new();
    if let Some(cut) = referral(zone, &answer) {
        match zone.set(&cut, RecordType::DS) {
            Some(set) => answer.authorities.extend(records(&cut, set)),
            None => wanted.extend(proofs.covering(&cut)),
        }
    } else {
        answer.additionals.clear();
    }
    if is_negative(&answer) {
        match names::source(zone, &name) {
            // RFC 4035 §3.1.3.1, and §3.1.3.4 where a wildcard stands for the name.
            Some(source) => wanted.extend([proofs.covering(&name), proofs.covering(&source)].into_iter().flatten()),
            None => {
                // RFC 4035 §3.1.3.2: neither the name nor a wildcard for it.
                answer.code = ResponseCode::NXDomain;
                let wildcard = names::wildcard_at(&names::closest_encloser(zone, &name));
                wanted.extend(proofs.covering(&name));
                wanted.extend(wildcard.and_then(|wildcard| proofs.covering(&wildcard)));
            }
        }
    }
    for (owner, _) in own_sets(zone, &answer.answers) {
        // RFC 4035 §3.1.3.3: a wildcard stood for the name, which itself is not there.
        if !zone.names.contains_key(&owner) {
            wanted.extend(proofs.covering(&owner));
        }
    }
    let asked = &answer.answers;
    wanted
        .retain(|owner| !asked.iter().any(|record| record.name == *owner && record.record_type() == RecordType::NSEC));
    wanted.sort();
    wanted.dedup();
    for owner in wanted {
        let set = zone.set(&owner, RecordType::NSEC).ok_or("its chain is broken")?;
        answer.authorities.extend(records(&owner, set));
    }
    for section in [&mut answer.answers, &mut answer.authorities] {
        let signatures = proofs.over(section)?;
        section.extend(signatures);
    }
    Ok(answer)
}

struct Proofs<'a> {
    zone: &'a Zone,
}

impl Proofs<'_> {
    /// The owner of the NSEC that speaks of a name: its own, or the last one before it.
    fn covering(&self, name: &Name) -> Option<Name> {
        let until = self.zone.names.range(..=name);
        until.rev().find(|(_, sets)| sets.iter().any(|set| set.kind == RecordType::NSEC)).map(|(name, _)| name.clone())
    }

    /// The signatures over the record sets of a section.
    fn over(&self, section: &[Record]) -> Result<Vec<Record>, String> {
        let mut signatures = Vec::new();
        for (owner, kind) in own_sets(self.zone, section) {
            let source = names::source(self.zone, &owner).ok_or_else(|| format!("{owner} is not in it"))?;
            // The covered set's TTL is what is said here, which may be less than what was signed (RFC 4035 §5.3.3).
            let said = section.iter().find(|record| record.name == owner && record.record_type() == kind);
            let ttl_seconds = said.map_or(0, |record| record.ttl);
            let of_source = self.zone.names.get(&source).into_iter().flatten();
            let data = of_source.filter(|set| set.kind == RecordType::RRSIG).flat_map(|set| &set.data);
            let covers = |data: &RData| RRSIG::try_borrow(data).is_some_and(|rrsig| rrsig.input().type_covered == kind);
            let before = signatures.len();
            signatures.extend(
                data.filter(|datum| covers(&datum.data))
                    .map(|datum| Record::from_rdata(owner.clone(), ttl_seconds, datum.data.clone())),
            );
            if signatures.len() == before {
                return Err(format!("{owner} {kind} has no signature"));
            }
        }
        Ok(signatures)
    }
}

fn records<'a>(owner: &'a Name, set: &'a RecordSet) -> impl Iterator<Item = Record> + 'a {
    set.data.iter().map(|datum| Record::from_rdata(owner.clone(), set.ttl_seconds, datum.data.clone()))
}
