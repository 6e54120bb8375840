//! Answers signed as they are given, for zones that follow the cluster from second to second, and compact denial of
//! existence (RFC 9824): what is not there is proved at its own name, by one signature.

use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::key::Key;
use super::names;
use super::ring::OpenKeys;
use super::signatures::{Signable, Signatures};
use super::signer::{NXNAME, is_negative, last_name, negative_ttl_seconds, own_sets, referral};
use crate::answer::Answer;
use crate::zone::Zone;

/// What signing takes.
pub struct Signing<'a> {
    /// The zone.
    pub zone: &'a Zone,
    /// Its keys.
    pub keys: &'a OpenKeys,
    /// The signatures that were made before.
    pub signatures: &'a Signatures,
    /// The time, in seconds since 1970.
    pub now_seconds: u64,
}

impl Signing<'_> {
    /// The answer with its signatures and proofs; an error says why it cannot be signed.
    pub fn sign(&self, question: &Query, mut answer: Answer) -> Result<Answer, String> {
        match question.query_type() {
            // RFC 9824 §3.5: nobody may ask for it.
            NXNAME => return Ok(Answer::refusal(ResponseCode::FormErr)),
            RecordType::RRSIG if is_negative(&answer) => return self.one_signature(question, answer),
            _ => {}
        }
        if let Some(cut) = referral(self.zone, &answer) {
            // RFC 4035 §3.1.4: whether what is below the cut is signed, the DS says, or the proof that there is none.
            let below = match self.zone.set(&cut, RecordType::DS) {
                Some(set) => {
                    let records = set.data.iter().map(|datum| (cut.clone(), set.ttl_seconds, datum.data.clone()));
                    records.map(|(name, ttl, data)| Record::from_rdata(name, ttl, data)).collect()
                }
                None => vec![self.denial(&cut, names::kinds(self.zone, &cut), self.negative_ttl_seconds(&answer))],
            };
            answer.authorities.extend(below);
        } else {
            // Whoever validates asks for the hosts' addresses itself: here they would only make the answer long.
            answer.additionals.clear();
        }
        if is_negative(&answer) {
            self.deny(question, &mut answer);
        }
        for section in [&mut answer.answers, &mut answer.authorities] {
            let signatures = self.over(section)?;
            section.extend(signatures);
        }
        Ok(answer)
    }

    /// Adds the proof that something is not there: at its own name, as if it were there and had nothing else.
    fn deny(&self, question: &Query, answer: &mut Answer) {
        let name = last_name(question, &answer.answers);
        let kinds = match names::source(self.zone, &name) {
            Some(source) => names::kinds(self.zone, &source),
            // RFC 9824 §3.1: the name itself does not exist; its proof says so, and the code does not.
            None => vec![RecordType::RRSIG, RecordType::NSEC, NXNAME],
        };
        answer.code = ResponseCode::NoError;
        let denial = self.denial(&name, kinds, self.negative_ttl_seconds(answer));
        if question.query_type() == RecordType::NSEC {
            answer.authorities.clear();
            answer.answers.push(denial);
        } else {
            answer.authorities.push(denial);
        }
    }

    fn denial(&self, name: &Name, kinds: Vec<RecordType>, ttl_seconds: u32) -> Record {
        // RFC 9824 §2: nothing between the name and the next one. The one name without a next one ends the order.
        let next = names::successor(name).unwrap_or_else(|| self.zone.origin.clone());
        Record::from_rdata(name.clone(), ttl_seconds, RData::DNSSEC(DNSSECRData::NSEC(NSEC::new(next, kinds))))
    }

    fn negative_ttl_seconds(&self, answer: &Answer) -> u32 {
        let said = answer.authorities.iter().map(|record| (&record.data, record.ttl));
        let soa = self.zone.set(&self.zone.origin, RecordType::SOA);
        let held = soa.into_iter().flat_map(|set| set.data.iter().map(|datum| (&datum.data, set.ttl_seconds)));
        negative_ttl_seconds(said.chain(held)).unwrap_or_default()
    }

    /// To a question for signatures themselves, that of one of the name's record sets: as RFC 8482 §4.1 has it for ANY.
    fn one_signature(&self, question: &Query, mut answer: Answer) -> Result<Answer, String> {
        let name = last_name(question, &answer.answers);
        let source = names::source(self.zone, &name);
        let set = source.and_then(|source| {
            let ours = names::kinds(self.zone, &source);
            self.zone.names.get(&source)?.iter().find(|set| ours.contains(&set.kind) && set.kind != RecordType::NS)
        });
        let Some(set) = set else {
            self.deny(question, &mut answer);
            let signatures = self.over(&answer.authorities)?;
            answer.authorities.extend(signatures);
            return Ok(answer);
        };
        let records: Vec<Record> = set
            .data
            .iter()
            .map(|datum| Record::from_rdata(name.clone(), set.ttl_seconds, datum.data.clone()))
            .collect();
        answer.answers.extend(self.over(&records)?);
        answer.authorities.clear();
        Ok(answer)
    }

    /// The signatures over the record sets of a section.
    fn over(&self, records: &[Record]) -> Result<Vec<Record>, String> {
        let mut signatures = Vec::new();
        for (name, kind) in own_sets(self.zone, records) {
            let set = records.iter().filter(|record| record.name == name && record.record_type() == kind);
            let ttl_seconds = set.clone().map(|record| record.ttl).min().unwrap_or_default();
            let data = set.map(|record| &record.data).collect();
            signatures.extend(self.signatures_of(&name, kind, ttl_seconds, data)?);
        }
        Ok(signatures)
    }

    /// The signatures of one record set: of keys by each of them, of everything else by the one that signs.
    pub fn signatures_of(
        &self,
        owner: &Name,
        kind: RecordType,
        ttl_seconds: u32,
        data: Vec<&RData>,
    ) -> Result<Vec<Record>, String> {
        let set = Signable { origin: &self.zone.origin, owner, kind, ttl_seconds, data };
        let sign = |key: &Key| self.signatures.of(&set, key, self.now_seconds);
        match kind {
            // RFC 7344 §4.1: by a key that the parent's DS names, whichever that is now.
            RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY => self.keys.keys.iter().map(sign).collect(),
            _ => Ok(vec![sign(self.keys.signing())?]),
        }
    }
}
