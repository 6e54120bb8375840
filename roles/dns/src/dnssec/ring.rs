//! The keys of every zone, as this node knows them, ready for use.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{Name, RData, RecordType};
use serde::{Deserialize, Serialize};

use super::config::DnssecConfig;
use super::key::Key;
use super::timeline::ZoneKeys;
use crate::zone::{Choice, Datum, RecordSet, Zone, absolute};

/// The keys of all zones as they are kept, with the settings and in each node's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// Grows by one with each change; 0 before the first.
    pub generation: u64,
    /// The keys by the zone's name, absolute and in lower case.
    pub zones: BTreeMap<String, ZoneKeys>,
}

/// The keys of one zone.
#[derive(Debug)]
pub struct OpenKeys {
    /// As they are kept.
    pub kept: ZoneKeys,
    /// Ready for use, in the same order; at least one.
    pub keys: Vec<Key>,
}

impl OpenKeys {
    /// These keys, opened; an error says which one cannot be.
    pub fn open(kept: &ZoneKeys) -> Result<Self, String> {
        let keys = kept.keys.iter().map(Key::open).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err("there is no key".into());
        }
        Ok(Self { kept: kept.clone(), keys })
    }

    /// The key that signs the content.
    pub fn signing(&self) -> &Key {
        &self.keys[self.kept.signing().min(self.keys.len() - 1)]
    }

    /// The key whose DS should stand at the parent, if any may.
    pub fn delegated(&self) -> Option<&Key> {
        self.keys.get(self.kept.delegated()?)
    }
}

/// All keys at one moment.
#[derive(Debug, Default)]
struct Keys {
    book: Book,
    zones: BTreeMap<Name, Arc<OpenKeys>>,
    known: bool,
}

/// The keys as of now: cheap to clone, always the newest that this node knows.
#[derive(Debug, Clone)]
pub struct KeyRing {
    config: Arc<DnssecConfig>,
    signed: Arc<Vec<Name>>,
    keys: Arc<ArcSwap<Keys>>,
}

impl KeyRing {
    /// A ring without a key.
    pub fn new(config: DnssecConfig) -> Self {
        let signed = config.zones.iter().map(absolute).collect();
        Self { config: Arc::new(config), signed: Arc::new(signed), keys: Arc::default() }
    }

    /// The section of the configuration.
    pub fn config(&self) -> &DnssecConfig {
        &self.config
    }

    /// Whether any zone is to be signed.
    pub fn is_used(&self) -> bool {
        self.config.all || !self.signed.is_empty()
    }

    /// Whether a zone is to be signed.
    pub fn signs(&self, origin: &Name) -> bool {
        self.config.all || self.signed.contains(origin)
    }

    /// Whether the book was ever read: before that, nobody here can say that a zone has no keys.
    pub fn is_known(&self) -> bool {
        self.keys.load().known
    }

    /// The zones that are to be signed and have keys.
    pub fn zones(&self) -> Vec<Name> {
        self.keys.load().zones.keys().filter(|origin| self.signs(origin)).cloned().collect()
    }

    /// The book.
    pub fn book(&self) -> Book {
        self.keys.load().book.clone()
    }

    /// The book's number; with it everything that is computed from keys changes.
    pub fn generation(&self) -> u64 {
        self.keys.load().book.generation
    }

    /// The keys of a zone that is to be signed.
    pub fn of(&self, origin: &Name) -> Option<Arc<OpenKeys>> {
        if !self.signs(origin) {
            return None;
        }
        self.keys.load().zones.get(origin).cloned()
    }

    /// Whether a zone is to be signed and has no keys here, yet or because they were never read.
    pub fn lacks_keys_of(&self, origin: &Name) -> bool {
        self.signs(origin) && self.of(origin).is_none()
    }

    /// Takes over a book. A zone whose keys cannot be opened is logged, and keeps those it had.
    pub fn replace(&self, book: Book) {
        let before = self.keys.load_full();
        let mut zones = BTreeMap::new();
        for (zone, kept) in &book.zones {
            let Ok(mut origin) = Name::from_ascii(zone) else { continue };
            origin.set_fqdn(true);
            let known = before.zones.get(&origin).filter(|open| open.kept == *kept).cloned();
            let open = known.map(Ok).unwrap_or_else(|| OpenKeys::open(kept).map(Arc::new));
            match open {
                Ok(open) => drop(zones.insert(origin, open)),
                Err(error) => {
                    tracing::error!(%zone, %error, "the kept keys of this zone cannot be used: restore the directory's database from a backup");
                    if let Some(old) = before.zones.get(&origin) {
                        zones.insert(origin, old.clone());
                    }
                }
            }
        }
        self.keys.store(Arc::new(Keys { book, zones, known: true }));
    }

    /// The record sets that keys add to a zone's own name: DNSKEY, and CDS and CDNSKEY once the parent may have them
    /// (RFC 7344 §4.1, RFC 8078 §3).
    pub fn sets(&self, origin: &Name) -> Vec<RecordSet> {
        let Some(open) = self.of(origin) else { return vec![] };
        let set = |kind, data: Vec<DNSSECRData>| RecordSet {
            kind,
            ttl_seconds: self.config.dnskey_ttl_seconds,
            choice: Choice::All,
            data: data.into_iter().map(|data| Datum::plain(RData::DNSSEC(data))).collect(),
        };
        let keys = open.keys.iter().map(|key| DNSSECRData::DNSKEY(key.record.clone())).collect();
        let mut sets = vec![set(RecordType::DNSKEY, keys)];
        if let Some((wanted, cds)) = open.delegated().and_then(|key| Some((key, key.cds(origin).ok()?))) {
            sets.push(set(RecordType::CDS, vec![DNSSECRData::CDS(cds)]));
            sets.push(set(RecordType::CDNSKEY, vec![DNSSECRData::CDNSKEY(wanted.cdnskey())]));
        }
        sets
    }

    /// Puts these record sets into a zone, in place of those that were there. They change with
    /// [`KeyRing::generation`] alone.
    pub fn dress(&self, zone: &mut Zone) {
        let sets = self.sets(&zone.origin);
        let apex = zone.names.entry(zone.origin.clone()).or_default();
        apex.retain(|set| !matches!(set.kind, RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY));
        apex.extend(sets);
    }
}
