//! One record of the configuration, in the form of zone files.

use estafeta_core::Domain;
use hickory_proto::rr::{Name, RecordType};
use serde::Deserialize;

use crate::zone::{RecordSet, absolute};
use crate::zonefile;

/// A record as `[[dns.records]]` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedRecord {
    /// The zone that it stands in.
    pub zone: Domain,
    /// Its name, relative to the zone; `@` or nothing for the zone itself, `*` first for a wildcard.
    #[serde(default)]
    pub name: String,
    /// Its type: `A`, `TXT`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// How long it may be kept, in seconds. Default: 3600.
    #[serde(default = "an_hour")]
    pub ttl_seconds: u32,
    /// What it says, as a zone file has it (RFC 1035 §5.1): a host without a final dot is one of the zone; texts stand in
    /// quotes.
    pub value: String,
}

fn an_hour() -> u32 {
    3600
}

impl FixedRecord {
    /// The record, or what is wrong with it.
    pub fn read(&self) -> Result<(Name, RecordSet), String> {
        let origin = absolute(&self.zone);
        let name = if self.name.is_empty() { "@" } else { &self.name };
        let shown = match name {
            "@" => format!("{} {}", self.zone, self.kind),
            relative if relative.ends_with('.') => format!("{relative} {}", self.kind),
            relative => format!("{relative}.{} {}", self.zone, self.kind),
        };
        let entry = format!("{name} {} IN {} {}", self.ttl_seconds.min(MOST_TTL_SECONDS), self.kind, self.value);
        // A line break would begin another record, which nobody would see here.
        if [name, &self.kind, &self.value].iter().any(|part| part.contains(char::is_control)) {
            return Err(format!("records: {shown}: a control character stands in it"));
        }
        match zonefile::entry(&entry, &origin) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(format!("records: {shown}: nothing is said")),
            Err(why) => Err(format!("records: {shown}: {why}")),
        }
    }
}

/// The longest time that a record may be kept (RFC 2181 §8).
pub const MOST_TTL_SECONDS: u32 = 0x7FFF_FFFF;

/// Whether a record of this type may be given: those that say who has authority and the signatures are made here.
pub fn may_stand(kind: RecordType) -> bool {
    !matches!(
        kind,
        RecordType::SOA
            | RecordType::RRSIG
            | RecordType::DNSKEY
            | RecordType::NSEC
            | RecordType::NSEC3
            | RecordType::NSEC3PARAM
            | RecordType::OPT
            | RecordType::TSIG
            | RecordType::ANY
            | RecordType::AXFR
            | RecordType::IXFR
            | RecordType::ZERO
    )
}
