//! A zone: what each of its names holds, at one moment. Everything else speaks of it: `content` computes it,
//! [`crate::answer`] answers out of it, it is signed, and it is handed to secondaries.
//!
//! Names are absolute and in lower case, so that the map's order is the canonical one (RFC 4034 §6.1).

use std::collections::BTreeMap;

use estafeta_core::{Domain, SiteName};
use hickory_proto::rr::{Name, RData, RecordType};

/// A zone at one moment: a value, never changed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub origin: Name,
    /// Its serial number (RFC 1982): never goes back, never names two contents.
    pub serial: u32,
    /// Its names, the origin among them. A name without record sets exists and is empty (RFC 8020 §2).
    pub names: BTreeMap<Name, Vec<RecordSet>>,
}

/// The records of one type that one name holds (RFC 2181 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet {
    /// The type.
    pub kind: RecordType,
    /// How long it may be kept, in seconds.
    pub ttl_seconds: u32,
    /// Whether an answer names a few of the data in turn, or all of them in their order.
    pub choice: Choice,
    /// The data; at least one.
    pub data: Vec<Datum>,
}

/// Which of a record set's data an answer names, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// All of them, as they stand. What is signed once and for all is of this kind.
    All,
    /// Beginning with another one at each turn; of addresses a bounded number, those of the nearest site alone. It
    /// follows readiness: what may not be named now is not there.
    InTurn,
}

/// One datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datum {
    /// What the record says.
    pub data: RData,
    /// Where what it names stands; none where that does not matter.
    pub site: Option<SiteName>,
    /// How often it comes first among its like: 1 for an even share.
    pub weight: u16,
}

impl Zone {
    /// The record set of a type at a name.
    pub fn set(&self, name: &Name, kind: RecordType) -> Option<&RecordSet> {
        self.names.get(name)?.iter().find(|set| set.kind == kind)
    }

    /// The same content with another serial number.
    pub fn with_serial(mut self, serial: u32) -> Self {
        self.serial = serial;
        let apex = self.names.get_mut(&self.origin).into_iter().flatten();
        for datum in apex.flat_map(|set| &mut set.data) {
            if let RData::SOA(authority) = &mut datum.data {
                authority.serial = serial;
            }
        }
        self
    }

    /// Whether both hold the same, whatever their serial numbers.
    pub fn holds_same(&self, other: &Self) -> bool {
        let alike = |a: &RecordSet, b: &RecordSet| match (a.kind, b.kind) {
            (RecordType::SOA, RecordType::SOA) => same_authority(a, b),
            _ => a == b,
        };
        self.origin == other.origin
            && self.names.len() == other.names.len()
            && self.names.iter().zip(&other.names).all(|((name, sets), (other_name, others))| {
                name == other_name && sets.len() == others.len() && sets.iter().zip(others).all(|(a, b)| alike(a, b))
            })
    }
}

/// Whether two SOA sets differ in their serial numbers at most.
fn same_authority(a: &RecordSet, b: &RecordSet) -> bool {
    let numbered_alike = |set: &RecordSet| {
        let mut set = set.clone();
        for datum in &mut set.data {
            if let RData::SOA(authority) = &mut datum.data {
                authority.serial = 0;
            }
        }
        set
    };
    numbered_alike(a) == numbered_alike(b)
}

impl Datum {
    /// A datum that is alike for everyone who asks.
    pub fn plain(data: RData) -> Self {
        Self { data, site: None, weight: 1 }
    }
}

/// A domain as DNS has it: absolute, in lower case and A-labels (RFC 5891 §4.4). Every [`Domain`] fits.
pub fn absolute(domain: &Domain) -> Name {
    // Labels of letters, digits, hyphens and underscores, 253 octets in all: nothing is lost here.
    let mut name = Name::from_ascii(domain.as_str()).unwrap_or_default();
    name.set_fqdn(true);
    name
}
