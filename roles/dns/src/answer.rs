//! From a question to its answer: pure, and total. Which zone, which name, which records, in which order.

use std::net::IpAddr;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, MX, NS, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::table::{Datum, Entry};
use crate::zones::Zones;

/// The most addresses that one answer names, chosen in turn: so an answer of addresses fits 512 bytes, however many
/// nodes there are, and nobody has to ask again over TCP.
pub const ADDRESSES: usize = 16;

/// The longest character string of a TXT record, in bytes (RFC 1035 §3.3).
const TEXT_BYTES: usize = 255;

/// What is said to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub code: ResponseCode,
    /// Whether the name is in one of our zones.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section: the SOA of a negative answer.
    pub authorities: Vec<Record>,
    /// The additional section: the addresses of hosts named in the answer. It may be left out.
    pub additionals: Vec<Record>,
}

impl Answer {
    /// An answer without records.
    pub fn refusal(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: vec![], authorities: vec![], additionals: vec![] }
    }
}

/// Answers `question` out of `zones`; `turn` says which of several equals comes first.
pub fn answer(zones: &Zones, question: &Query, turn: usize) -> Answer {
    let kind = question.query_type();
    // Zone transfers are not offered (RFC 5936 §2.2.1), and there is no zone of another class than IN.
    if question.query_class() != DNSClass::IN || matches!(kind, RecordType::AXFR | RecordType::IXFR) {
        return Answer::refusal(ResponseCode::Refused);
    }
    let Some((origin, relative)) = zones.find(question.name()) else {
        return Answer::refusal(ResponseCode::Refused);
    };
    let negative = |code| Answer {
        code,
        authoritative: true,
        answers: vec![],
        // RFC 2308 §3, §5: the SOA's own TTL says how long it may be remembered.
        authorities: vec![start_of_authority(zones, origin, origin.clone(), zones.ttl.service_seconds)],
        additionals: vec![],
    };
    let Some(entries) = zones.table.get(&relative) else {
        return negative(ResponseCode::NXDomain);
    };
    if kind == RecordType::SOA && relative.is_root() {
        let soa = start_of_authority(zones, origin, question.name().clone(), zones.ttl.stable_seconds);
        return Answer {
            code: ResponseCode::NoError,
            authorities: vec![],
            answers: vec![soa],
            ..negative(ResponseCode::NoError)
        };
    }
    // RFC 8482 §4.1: to ANY, one of the name's record sets.
    let kind = match kind {
        RecordType::ANY => entries.first().map_or(kind, |entry| entry.datum.record_type()),
        kind => kind,
    };
    let chosen = in_turn(entries, kind, turn);
    if chosen.is_empty() {
        return negative(ResponseCode::NoError);
    }
    Answer {
        code: ResponseCode::NoError,
        authoritative: true,
        answers: chosen.iter().filter_map(|entry| record(question.name().clone(), origin, entry)).collect(),
        authorities: vec![],
        additionals: addresses_of_hosts(zones, origin, &chosen, turn),
    }
}

/// The entries of one type, beginning with another one at each turn.
fn in_turn(entries: &[Entry], kind: RecordType, turn: usize) -> Vec<&Entry> {
    let mut chosen: Vec<&Entry> = entries.iter().filter(|entry| entry.datum.record_type() == kind).collect();
    if !chosen.is_empty() {
        let first = turn % chosen.len();
        chosen.rotate_left(first);
    }
    if matches!(kind, RecordType::A | RecordType::AAAA) {
        chosen.truncate(ADDRESSES);
    }
    chosen
}

/// RFC 1035 §3.3.9, RFC 2782: what whoever reads these entries will ask next.
fn addresses_of_hosts(zones: &Zones, origin: &Name, entries: &[&Entry], turn: usize) -> Vec<Record> {
    let mut hosts: Vec<&Name> = Vec::new();
    for host in entries.iter().filter_map(|entry| entry.datum.host()) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let of_host = |host: &Name| -> Vec<Record> {
        let Some(owner) = absolute(host, origin) else { return vec![] };
        let entries = zones.table.get(host).map_or(&[][..], Vec::as_slice);
        let addresses = [RecordType::A, RecordType::AAAA].into_iter().flat_map(|kind| in_turn(entries, kind, turn));
        addresses.filter_map(|entry| record(owner.clone(), origin, entry)).collect()
    };
    hosts.into_iter().flat_map(of_host).collect()
}

/// The record of an entry. None when a host's name does not fit under this zone (RFC 1035 §3.1: 255 bytes).
fn record(owner: Name, origin: &Name, entry: &Entry) -> Option<Record> {
    let data = match &entry.datum {
        Datum::Address(IpAddr::V4(address)) => RData::A(A(*address)),
        Datum::Address(IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
        Datum::NameServer(host) => RData::NS(NS(absolute(host, origin)?)),
        Datum::Exchange(preference, host) => RData::MX(MX::new(*preference, absolute(host, origin)?)),
        Datum::Server(port, host) => RData::SRV(SRV::new(0, 1, *port, absolute(host, origin)?)),
        Datum::Text(text) => RData::TXT(TXT::from_bytes(text.as_bytes().chunks(TEXT_BYTES).collect())),
    };
    Some(Record::from_rdata(owner, entry.ttl_seconds, data))
}

/// RFC 1035 §3.3.13; RFC 2308 §4: the last field is how long negative answers may be kept.
fn start_of_authority(zones: &Zones, origin: &Name, owner: Name, ttl_seconds: u32) -> Record {
    let entries = zones.table.get(&Name::root()).map_or(&[][..], Vec::as_slice);
    let primary = entries.iter().find_map(|entry| match &entry.datum {
        Datum::NameServer(host) => absolute(host, origin),
        _ => None,
    });
    let responsible = origin.prepend_label(&b"hostmaster"[..]).unwrap_or_else(|_| origin.clone());
    let primary = primary.unwrap_or_else(|| origin.clone());
    let soa = SOA::new(primary, responsible, zones.serial, 3600, 600, 604_800, zones.ttl.service_seconds);
    Record::from_rdata(owner, ttl_seconds, RData::SOA(soa))
}

fn absolute(relative: &Name, origin: &Name) -> Option<Name> {
    relative.clone().append_domain(origin).ok()
}

#[cfg(test)]
pub(crate) mod tests;
