//! The messages of a zone transfer (RFC 5936 §2.2, RFC 1995 §4): one after the other as the other side takes them, so
//! that a large zone is never in memory twice.

use std::collections::VecDeque;
use std::sync::Arc;

use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, Query};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use tokio::sync::OwnedSemaphorePermit;

use super::shown::Difference;
use super::tsig::{SIGNATURE_BYTES, Signer};
use super::version::{Records, Version};

/// When a message is full, in bytes: what compression can point into (RFC 1035 §4.1.4), and no more.
const MESSAGE_BYTES: usize = 16_384;

/// The largest message, without its signature.
const MESSAGE_LIMIT_BYTES: usize = u16::MAX as usize - SIGNATURE_BYTES;

/// The records of a transfer, in their order.
#[allow(clippy::large_enum_variant, reason = "one a transfer")]
pub enum Sequence {
    /// The whole zone: its SOA first and last (RFC 5936 §2.2).
    Whole {
        /// The SOA record.
        soa: Record,
        /// The rest.
        records: Records,
        /// How many times the SOA has been sent.
        sent: u8,
    },
    /// Records that were chosen: differences (RFC 1995 §4), or the SOA alone (§2).
    Chosen(VecDeque<Record>),
}

impl Sequence {
    /// A whole zone. None for a version without an SOA record, of which there is none.
    pub fn whole(version: &Version) -> Option<Self> {
        Some(Self::Whole { soa: version.start_of_authority()?, records: version.records(), sent: 0 })
    }

    /// The differences that lead to a version (RFC 1995 §4): its SOA, then for each difference the old SOA and what is
    /// gone, the new SOA and what is new; its SOA again.
    pub fn differences(soa: &Record, differences: &[Arc<Difference>]) -> Self {
        let of_one = |difference: &Arc<Difference>| {
            let removed = std::iter::once(difference.from.clone()).chain(difference.removed.clone());
            removed.chain([difference.to.clone()]).chain(difference.added.clone()).collect::<Vec<_>>()
        };
        let first = std::iter::once(soa.clone());
        Self::Chosen(first.chain(differences.iter().flat_map(of_one)).chain([soa.clone()]).collect())
    }
}

impl Iterator for Sequence {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        match self {
            Self::Chosen(records) => records.pop_front(),
            Self::Whole { soa, sent: sent @ 0, .. } => {
                *sent = 1;
                Some(soa.clone())
            }
            Self::Whole { soa, records, sent } => records.next().or_else(|| {
                *sent += 1;
                (*sent == 2).then(|| soa.clone())
            }),
        }
    }
}

/// A transfer that is under way: an iterator over the bytes of its messages.
pub struct Outgoing {
    metadata: Metadata,
    /// Said in the first message (RFC 5936 §2.2.2).
    question: Option<Query>,
    edns: Option<Edns>,
    sequence: Sequence,
    /// What did not fit into the message before.
    left: Option<Record>,
    signer: Option<Signer>,
    now_seconds: fn() -> u64,
    /// Held as long as the transfer is under way.
    _place: Option<OwnedSemaphorePermit>,
}

impl Outgoing {
    /// The answer to `question`.
    pub fn new(
        metadata: Metadata,
        question: Query,
        edns: Option<Edns>,
        sequence: Sequence,
        signer: Option<Signer>,
        now_seconds: fn() -> u64,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let question = Some(question);
        Self { metadata, question, edns, sequence, left: None, signer, now_seconds, _place: place }
    }

    /// The next message without its signature; nothing at the end, and `Err` when a record fits no message.
    fn message(&mut self) -> Result<Option<Vec<u8>>, Overlong> {
        let mut bytes = Vec::with_capacity(MESSAGE_BYTES + 1024);
        let mut encoder = BinEncoder::new(&mut bytes);
        let mut counts = HeaderCounts::default();
        let place = encoder.place::<Header>().map_err(|_| Overlong)?;
        if let Some(question) = self.question.take() {
            question.emit(&mut encoder).map_err(|_| Overlong)?;
            counts.queries = 1;
        }
        while let Some(record) = self.left.take().or_else(|| self.sequence.next()) {
            let before = encoder.offset();
            let written = record.emit(&mut encoder);
            let is_full = encoder.offset() > if counts.answers == 0 { MESSAGE_LIMIT_BYTES } else { MESSAGE_BYTES };
            if written.is_ok() && !is_full {
                counts.answers += 1;
                continue;
            }
            if counts.answers == 0 {
                tracing::error!(name = %record.name, kind = %record.record_type(), "this record is too long for any message: secondaries cannot have the zone; shorten it");
                return Err(Overlong);
            }
            encoder.set_offset(before);
            encoder.trim();
            self.left = Some(record);
            break;
        }
        if counts.answers == 0 {
            return Ok(None);
        }
        if let Some(edns) = self.edns.take() {
            Record::from(&edns).emit(&mut encoder).map_err(|_| Overlong)?;
            counts.additionals = 1;
        }
        place.replace(&mut encoder, Header { metadata: self.metadata, counts }).map_err(|_| Overlong)?;
        Ok(Some(bytes))
    }
}

/// A record fits no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlong;

impl std::fmt::Display for Overlong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a record fits no message")
    }
}

impl std::error::Error for Overlong {}

impl Iterator for Outgoing {
    type Item = Result<Vec<u8>, Overlong>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = match self.message() {
            Ok(message) => message?,
            Err(overlong) => return Some(Err(overlong)),
        };
        Some(match &mut self.signer {
            Some(signer) => signer.seal(message, (self.now_seconds)()).ok_or(Overlong),
            None => Ok(message),
        })
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode};
    use hickory_proto::rr::rdata::TXT;
    use hickory_proto::rr::{RData, RecordType};

    use super::super::version::from_records;
    use super::super::version::tests::{name, zone};
    use super::*;

    fn transfer(sequence: Sequence) -> Vec<Message> {
        let metadata = Metadata::new(7, MessageType::Response, OpCode::Query);
        let question = Query::query(name("demo.test."), RecordType::AXFR);
        let outgoing = Outgoing::new(metadata, question, Some(Edns::new()), sequence, None, || 0, None);
        outgoing.map(|message| Message::from_vec(&message.unwrap()).unwrap()).collect()
    }

    fn texts(count: u16, length: usize) -> Version {
        let base = Version::of(zone("demo.test.", 7, 1)).unwrap();
        let texts = (0..count).map(|index| {
            let strings = vec![b"x".repeat(250); length / 250];
            let data = TXT::from_bytes(strings.iter().map(Vec::as_slice).collect());
            Record::from_rdata(name(&format!("t{index}.demo.test.")), 60, RData::TXT(data))
        });
        let records = base.start_of_authority().into_iter().chain(base.records()).chain(texts).collect();
        Version::of(from_records(&name("demo.test."), records).unwrap()).unwrap()
    }

    #[test]
    fn a_large_zone_goes_in_several_messages_that_are_read_again() {
        let version = texts(400, 500);
        let messages = transfer(Sequence::whole(&version).unwrap());
        assert!(messages.len() > 12, "{}", messages.len());
        assert!(messages.iter().all(|message| message.to_vec().unwrap().len() <= MESSAGE_BYTES + 11));
        let first_alone: Vec<_> =
            messages.iter().map(|message| (message.queries.len(), message.edns.is_some())).collect();
        assert_eq!(first_alone[0], (1, true));
        assert!(first_alone[1..].iter().all(|one| *one == (0, false)));
        let mut records: Vec<_> = messages.into_iter().flat_map(|message| message.answers).collect();
        let last = records.pop().unwrap();
        assert_eq!((records[0].record_type(), &last), (RecordType::SOA, &records[0]));
        assert_eq!(Version::of(from_records(&name("demo.test."), records).unwrap()).unwrap(), version);
    }

    #[test]
    fn a_long_record_has_a_message_of_its_own() {
        let messages = transfer(Sequence::whole(&texts(2, 60_000)).unwrap());
        assert!(messages.iter().any(|message| message.answers.len() == 1 && message.to_vec().unwrap().len() > 60_000));
        let records: usize = messages.iter().map(|message| message.answers.len()).sum();
        assert_eq!(records, texts(2, 60_000).records().count() + 2);
    }

    #[test]
    fn differences_stand_between_their_starts() {
        use super::super::shown::Shown;
        let version = |serial, hosts| Arc::new(Version::of(zone("demo.test.", serial, hosts)).unwrap());
        let shown = Shown::first(version(1, 1)).next(version(2, 2)).next(version(3, 1));
        let soa = shown.version.start_of_authority().unwrap();
        let messages = transfer(Sequence::differences(&soa, &shown.since(1).unwrap()));
        let said: Vec<String> = messages[0]
            .answers
            .iter()
            .map(|record| match &record.data {
                RData::SOA(soa) => soa.serial.to_string(),
                _ => record.name.to_ascii(),
            })
            .collect();
        assert_eq!(said, ["3", "1", "2", "host1.demo.test.", "2", "host1.demo.test.", "3", "3"]);
    }
}
