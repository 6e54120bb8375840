//! What secondaries are shown: for each zone a version, and how the last few came out of each other (RFC 1995).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hickory_proto::rr::{Name, Record};

use super::version::{Version, canonical_record};

/// How many differences are kept of a zone. Who is further behind gets the whole zone.
const DIFFERENCES: usize = 20;

/// How many records the kept differences of a zone may have in all: beyond that, the whole zone is hardly longer.
const DIFFERENCE_RECORDS: usize = 10_000;

/// How one version came out of the one before.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The SOA record of the version before.
    pub from: Record,
    /// The SOA record of the version.
    pub to: Record,
    /// What the version before had beside its SOA and the version has not.
    pub removed: Vec<Record>,
    /// What is new in the version.
    pub added: Vec<Record>,
}

/// The version of a zone that is shown, and what led to it, the oldest first.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The version.
    pub version: Arc<Version>,
    differences: VecDeque<Arc<Difference>>,
}

impl Shown {
    /// A version of which nothing older is known.
    pub fn first(version: Arc<Version>) -> Self {
        Self { version, differences: VecDeque::new() }
    }

    /// The next version.
    pub fn next(&self, version: Arc<Version>) -> Self {
        let Some(difference) = difference(&self.version, &version) else { return Self::first(version) };
        let mut differences = self.differences.clone();
        differences.push_back(Arc::new(difference));
        let records = |differences: &VecDeque<Arc<Difference>>| -> usize {
            differences.iter().map(|difference| difference.removed.len() + difference.added.len()).sum()
        };
        while differences.len() > DIFFERENCES || records(&differences) > DIFFERENCE_RECORDS {
            differences.pop_front();
        }
        Self { version, differences }
    }

    /// The differences that lead from a serial number to this version; none when they are not known any more.
    pub fn since(&self, serial: u32) -> Option<Vec<Arc<Difference>>> {
        let is_from = |difference: &Arc<Difference>| matches!(&difference.from.data, hickory_proto::rr::RData::SOA(soa) if soa.serial == serial);
        let first = self.differences.iter().position(is_from)?;
        Some(self.differences.iter().skip(first).cloned().collect())
    }
}

/// None for a version without an SOA record, of which there is none.
fn difference(before: &Version, after: &Version) -> Option<Difference> {
    let old: HashSet<_> = before.records().map(|record| canonical_record(&record)).collect();
    let new: HashSet<_> = after.records().map(|record| canonical_record(&record)).collect();
    Some(Difference {
        from: before.start_of_authority()?,
        to: after.start_of_authority()?,
        removed: before.records().filter(|record| !new.contains(&canonical_record(record))).collect(),
        added: after.records().filter(|record| !old.contains(&canonical_record(record))).collect(),
    })
}

/// The versions that are shown, by zone: cheap to clone, always the newest.
#[derive(Debug, Clone, Default)]
pub struct ShownView(Arc<ArcSwap<BTreeMap<Name, Shown>>>);

impl ShownView {
    /// All of them now. The same allocation as long as nothing changes.
    pub fn current(&self) -> Arc<BTreeMap<Name, Shown>> {
        self.0.load_full()
    }

    /// The one of a zone.
    pub fn of(&self, origin: &Name) -> Option<Shown> {
        self.0.load().get(origin).cloned()
    }

    /// Shows these from now on.
    pub(super) fn replace(&self, shown: BTreeMap<Name, Shown>) {
        self.0.store(Arc::new(shown));
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::tests::zone;
    use super::*;

    fn version(serial: u32, hosts: u8) -> Arc<Version> {
        Arc::new(Version::of(zone("demo.test.", serial, hosts)).unwrap())
    }

    #[test]
    fn differences_lead_from_one_version_to_the_next() {
        let shown = Shown::first(version(1, 2)).next(version(2, 4)).next(version(5, 3));
        let since = shown.since(1).unwrap();
        let counts: Vec<_> = since.iter().map(|one| (one.removed.len(), one.added.len())).collect();
        assert_eq!(counts, [(0, 2), (1, 0)]);
        assert_eq!(shown.since(2).unwrap().len(), 1);
        assert!(shown.since(5).is_none() && shown.since(3).is_none());
        assert_eq!(since[1].removed[0].name.to_ascii(), "host3.demo.test.");
    }

    #[test]
    fn a_changed_time_to_live_is_a_difference() {
        let mut longer = zone("demo.test.", 2, 1);
        longer.names.values_mut().flatten().for_each(|set| set.ttl_seconds = 999);
        let longer = Arc::new(Version::of(longer).unwrap());
        let shown = Shown::first(version(1, 1)).next(longer.clone());
        assert_eq!(shown.since(1).unwrap()[0].added.len(), longer.records().count());
    }

    #[test]
    fn only_the_last_differences_are_kept() {
        let mut shown = Shown::first(version(1, 0));
        for serial in 2..100 {
            shown = shown.next(version(serial, 0));
        }
        assert_eq!(shown.since(79).unwrap().len(), DIFFERENCES);
        assert!(shown.since(78).is_none());
    }
}
