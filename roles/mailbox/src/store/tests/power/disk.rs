//! A disk whose power fails, as POSIX allows it to behave, made of the record of what a process did to it (`record.c`).
//!
//! What was fsynced is there. Of what was not, anything may be: of a file's writes any of them, the last one torn between two
//! sectors; of a directory's changes the first few, for file systems keep those in order. A file's name is there once its
//! directory was fsynced, whatever was done about the file itself.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// What a disk writes at once, in bytes.
const SECTOR: usize = 512;

/// One thing that the process did.
pub enum Event {
    Create { path: PathBuf, inode: u64 },
    MakeDirectory(PathBuf),
    Write { inode: u64, offset: u64, bytes: Vec<u8> },
    Truncate { inode: u64, length: u64 },
    Sync { inode: u64 },
    SyncDirectory(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Link { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
}

/// Reads what `record.c` wrote.
pub fn read_record(mut record: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut from = PathBuf::new();
    while !record.is_empty() {
        let (head, rest) = record.split_at(21);
        let number = |place: usize| u64::from_ne_bytes(head[place..place + 8].try_into().unwrap());
        let (inode, number) = (number(1), number(9));
        let length = u32::from_ne_bytes(head[17..].try_into().unwrap()) as usize;
        let (bytes, rest) = rest.split_at(length);
        record = rest;
        let path = || PathBuf::from(std::str::from_utf8(bytes).unwrap());
        events.push(match head[0] {
            b'C' => Event::Create { path: path(), inode },
            b'D' => Event::MakeDirectory(path()),
            b'W' => Event::Write { inode, offset: number, bytes: bytes.to_vec() },
            b'T' => Event::Truncate { inode, length: number },
            b'S' => Event::Sync { inode },
            b'Y' => Event::SyncDirectory(path()),
            b'F' => {
                from = path();
                continue;
            }
            b'R' => Event::Rename { from: from.clone(), to: path() },
            b'L' => Event::Link { from: from.clone(), to: path() },
            b'U' => Event::Remove(path()),
            kind => panic!("the record has something of kind {kind}"),
        });
    }
    events
}

/// A file, whatever it is called.
#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => write(content, *offset, bytes),
            Self::Truncate(length) => content.resize(*length as usize, 0),
        }
    }
}

fn write(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = offset as usize;
    content.resize(content.len().max(start + bytes.len()), 0);
    content[start..start + bytes.len()].copy_from_slice(bytes);
}

#[derive(Clone, Copy)]
enum Entry {
    File(usize),
    Directory,
}

enum Naming {
    Set(PathBuf, Entry),
    Remove(PathBuf),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Set(path, entry) => drop(names.insert(path.clone(), *entry)),
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

/// The disk.
#[derive(Default)]
pub struct Disk {
    contents: Vec<Content>,
    inodes: HashMap<u64, usize>,
    /// As the process sees them.
    names: HashMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    /// By directory, in their order.
    pending: HashMap<PathBuf, Vec<Naming>>,
}

impl Disk {
    /// What the process does next.
    pub fn happen(&mut self, event: &Event) {
        match event {
            Event::Create { path, inode } => {
                self.inodes.insert(*inode, self.contents.len());
                self.contents.push(Content::default());
                self.set(path, Entry::File(self.contents.len() - 1));
            }
            Event::MakeDirectory(path) => self.set(path, Entry::Directory),
            Event::Write { inode, offset, bytes } => {
                self.content(*inode).pending.push(Change::Write(*offset, bytes.clone()));
            }
            Event::Truncate { inode, length } => self.content(*inode).pending.push(Change::Truncate(*length)),
            Event::Sync { inode } => {
                let Content { durable, pending } = self.content(*inode);
                pending.drain(..).for_each(|change| change.apply(durable));
            }
            Event::SyncDirectory(path) => {
                self.pending.remove(path).into_iter().flatten().for_each(|naming| naming.apply(&mut self.durable));
            }
            Event::Rename { from, to } => {
                let entry = self.names[from];
                assert!(matches!(entry, Entry::File(_)), "{} is renamed: that is not simulated", from.display());
                // Two directories are two changes: it may be there under both names.
                self.set(to, entry);
                self.remove(from);
            }
            Event::Link { from, to } => self.set(to, self.names[from]),
            Event::Remove(path) => self.remove(path),
        }
    }

    fn content(&mut self, inode: u64) -> &mut Content {
        &mut self.contents[self.inodes[&inode]]
    }

    fn set(&mut self, path: &Path, entry: Entry) {
        self.names.insert(path.to_owned(), entry);
        self.pending.entry(path.parent().unwrap().to_owned()).or_default().push(Naming::Set(path.to_owned(), entry));
    }

    fn remove(&mut self, path: &Path) {
        self.names.remove(path);
        self.pending.entry(path.parent().unwrap().to_owned()).or_default().push(Naming::Remove(path.to_owned()));
    }

    /// What a process that starts after a power cut at this moment finds; `root` becomes `to`.
    pub fn after_power_cut(&self, random: &mut fastrand::Rng, root: &Path, to: &Path) {
        let mut names = self.durable.clone();
        let mut directories: Vec<_> = self.pending.keys().collect();
        directories.sort();
        for directory in directories {
            let pending = &self.pending[directory];
            pending.iter().take(random.usize(0..=pending.len())).for_each(|naming| naming.apply(&mut names));
        }
        // A directory comes before what is in it.
        for (path, entry) in &names {
            let there = to.join(path.strip_prefix(root).unwrap());
            // SQLite's shared memory is made anew by whoever opens the database first.
            if !there.parent().unwrap().is_dir() || path.to_string_lossy().ends_with("-shm") {
                continue;
            }
            match entry {
                Entry::Directory => fs::create_dir(there).unwrap(),
                Entry::File(number) => fs::write(there, self.contents[*number].after_power_cut(random)).unwrap(),
            }
        }
    }
}

impl Content {
    fn after_power_cut(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut content = self.durable.clone();
        // Often none or all of it; else some.
        let likely = match random.u8(0..4) {
            0 => 0.0,
            1 => 1.0,
            _ => random.f64(),
        };
        let mut kept: Vec<&Change> = self.pending.iter().filter(|_| random.f64() < likely).collect();
        let last = kept.pop();
        kept.into_iter().for_each(|change| change.apply(&mut content));
        match last {
            Some(Change::Write(offset, bytes)) if random.bool() => {
                let sectors = random.usize(0..=bytes.len() / SECTOR);
                write(&mut content, *offset, &bytes[..sectors * SECTOR]);
            }
            Some(change) => change.apply(&mut content),
            None => {}
        }
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let path = |name: &str| PathBuf::from("/r").join(name);
        vec![
            Event::MakeDirectory(path("d")),
            Event::SyncDirectory(path("")),
            Event::Create { path: path("d/new"), inode: 1 },
            Event::Write { inode: 1, offset: 0, bytes: vec![b'a'; 2000] },
            Event::Sync { inode: 1 },
            Event::Write { inode: 1, offset: 0, bytes: vec![b'b'; 2000] },
            Event::Rename { from: path("d/new"), to: path("d/name") },
            Event::SyncDirectory(path("d")),
        ]
    }

    /// What a hundred power cuts leave of the file, after the first so many events.
    fn found(count: usize, name: &str) -> Vec<Option<Vec<u8>>> {
        let mut disk = Disk::default();
        events().iter().take(count).for_each(|event| disk.happen(event));
        let after = |seed| {
            let to = tempfile::tempdir().unwrap();
            disk.after_power_cut(&mut fastrand::Rng::with_seed(seed), Path::new("/r"), to.path());
            fs::read(to.path().join(name)).ok()
        };
        (0..100).map(after).collect()
    }

    #[test]
    fn what_was_synced_is_there_and_of_the_rest_anything_may_be() {
        let sometimes = |found: &[Option<Vec<u8>>], what: &dyn Fn(&Option<Vec<u8>>) -> bool| {
            let count = found.iter().filter(|one| what(one)).count();
            count > 0 && count < found.len()
        };
        let fresh = found(4, "d/new");
        assert!(sometimes(&fresh, &Option::is_none));
        assert!(sometimes(&fresh, &|one| one.as_deref() == Some(b"")));
        assert!(sometimes(&fresh, &|one| one.as_ref().is_some_and(|bytes| bytes.len() == 1024)));
        let synced = found(5, "d/new");
        assert!(sometimes(&synced, &Option::is_none));
        assert!(synced.iter().flatten().all(|bytes| *bytes == [b'a'; 2000]));
        let renamed = found(8, "d/name");
        assert!(renamed.iter().all(|one| one.as_ref().is_some_and(|bytes| bytes.len() == 2000)));
        assert!(sometimes(&renamed, &|one| one
            .as_ref()
            .is_some_and(|bytes| bytes.starts_with(b"b") && bytes.ends_with(b"a"))));
        assert!(found(8, "d/new").iter().all(Option::is_none));
    }
}
