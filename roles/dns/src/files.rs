//! The zone files as they stand on disk: read at the start and whenever they change.
//!
//! A file that cannot be read leaves what was read of it before. A zone whose file could never be read is not answered
//! for at all (SERVFAIL): resolvers then ask another name server, while a zone without its written names would deny them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use estafeta_core::Domain;
use hickory_proto::rr::Name;

use crate::zone::absolute;
use crate::zonefile::{self, FILE_BYTES, Held};

/// How often the files are looked at.
pub const LOOK: Duration = Duration::from_secs(3);

/// What the zone files hold, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneFiles {
    /// By zone.
    pub held: BTreeMap<Name, Arc<Held>>,
    /// Zones whose file was never read.
    pub lacking: BTreeSet<Name>,
}

/// What tells one state of a file from another.
type Stamp = Option<(SystemTime, u64)>;

/// The zone files as of now, always the newest that could be read.
pub struct FilesView {
    files: Vec<(Name, PathBuf)>,
    current: ArcSwap<ZoneFiles>,
    /// As they were when they were last read.
    stamps: Mutex<BTreeMap<PathBuf, Stamp>>,
}

impl FilesView {
    /// The files of these zones. They are not read before [`FilesView::look`].
    pub fn new(files: &BTreeMap<Domain, PathBuf>) -> Self {
        let files: Vec<(Name, PathBuf)> = files.iter().map(|(zone, path)| (absolute(zone), path.clone())).collect();
        let lacking = files.iter().map(|(zone, _)| zone.clone()).collect();
        let current = ArcSwap::from_pointee(ZoneFiles { lacking, ..ZoneFiles::default() });
        Self { files, current, stamps: Mutex::default() }
    }

    /// What they hold now.
    pub fn current(&self) -> Arc<ZoneFiles> {
        self.current.load_full()
    }

    /// Reads the files that have changed since the last time.
    pub fn look(&self) {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        for (zone, path) in &self.files {
            let stamp = fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len()))).ok();
            if stamps.insert(path.clone(), stamp) == Some(stamp) {
                continue;
            }
            match read(path, zone) {
                Ok(held) => {
                    tracing::info!(%zone, file = %path.display(), names = held.len(), "zone file read");
                    let mut files = ZoneFiles::clone(&self.current());
                    files.lacking.remove(zone);
                    files.held.insert(zone.clone(), Arc::new(held));
                    self.current.store(Arc::new(files));
                }
                Err(why) => {
                    let kept = match self.current().lacking.contains(zone) {
                        true => "until it is mended, questions about the zone are answered SERVFAIL",
                        false => "what was read before goes on being served",
                    };
                    tracing::error!(%zone, "zone file {}: {why}; {kept}", path.display());
                }
            }
        }
    }
}

fn read(path: &Path, zone: &Name) -> Result<Held, String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut text = String::new();
    // One byte more than is taken tells a file that is too long.
    let read =
        file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_BYTES) {
        return Err(format!("is larger than {FILE_BYTES} bytes"));
    }
    zonefile::read(&text, zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_leaves_what_was_read_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("example.edu.zone");
        let view = FilesView::new(&BTreeMap::from([("example.edu".parse().unwrap(), path.clone())]));
        let zone = Name::from_ascii("example.edu.").unwrap();
        view.look();
        assert!(view.current().lacking.contains(&zone), "there is no file");
        fs::write(&path, "www A 192.0.2.80\n").unwrap();
        view.look();
        assert_eq!((view.current().lacking.len(), view.current().held[&zone].len()), (0, 1));
        let good = view.current();
        fs::write(&path, "www A 192.0.2.80\nmail A nonsense\n").unwrap();
        view.look();
        assert!(Arc::ptr_eq(&good, &view.current()));
        view.look();
        fs::write(&path, "www A 192.0.2.80\nmail A 192.0.2.81\n").unwrap();
        view.look();
        assert_eq!(view.current().held[&zone].len(), 2);
    }
}
