//! A zone: what each of its names holds, at one moment. Everything else speaks of it: `content` computes it,
//! [`crate::answer`] answers out of it, it is signed, and it is handed to secondaries.
//!
//! Names are absolute and in lower case, so that the map's order is the canonical one (RFC 4034 §6.1).

use std::collections::BTreeMap;

use estafeta_core::SiteName;
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
}
