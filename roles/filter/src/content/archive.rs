//! Zip archives, unpacked entry by entry and within bounds. What comes out is looked at and forgotten; only an archive
//! in an archive is held in memory, of bounded size.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::budget::{Budget, NESTED_ARCHIVE_BYTES, Overrun, RATIO, RATIO_BYTES};

/// How much of an entry's beginning is shown, in bytes.
pub const PREFIX_BYTES: usize = 256;

/// The most bytes of a path inside archives that are kept, for a log line.
const PATH_BYTES: usize = 200;

/// What could not be looked into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opaque {
    /// Something is encrypted.
    pub encrypted: bool,
    /// Something is damaged, or packed by a method that we do not know.
    pub unreadable: bool,
}

/// Whether a file is a zip archive, or ends in one as those do that unpack themselves.
pub fn is_archive(bytes: &[u8]) -> bool {
    // The end record stands within its own 22 bytes and a comment of at most 65,535 (APPNOTE.TXT §4.3.16).
    begins_archive(bytes)
        || super::search::find(&bytes[bytes.len().saturating_sub(22 + 65_535)..], b"PK\x05\x06").is_some()
}

/// The local header of a first entry, or the end record of an empty archive.
fn begins_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// Shows the path and the first [`PREFIX_BYTES`] of every file in an archive and in the archives in it.
pub fn walk(
    archive: &[u8],
    name: &str,
    budget: &mut Budget,
    show: &mut dyn FnMut(&str, &[u8]),
) -> Result<Opaque, Overrun> {
    let mut opaque = Opaque::default();
    unpack(archive, name, 0, budget, &mut opaque, show)?;
    Ok(opaque)
}

fn unpack(
    packed: &[u8],
    path: &str,
    depth: usize,
    budget: &mut Budget,
    opaque: &mut Opaque,
    show: &mut dyn FnMut(&str, &[u8]),
) -> Result<(), Overrun> {
    budget.archive(depth)?;
    // Entries that overlap, and end records that lie, make a reader go over the same bytes again and again.
    let meter = Cell::new(4 * packed.len() as u64 + 65_536);
    let Ok(mut archive) = ZipArchive::new(Metered { bytes: Cursor::new(packed), left: &meter }) else {
        opaque.unreadable = true;
        return Ok(());
    };
    budget.entries(archive.len())?;
    meter.set(2 * packed.len() as u64 + 64 * archive.len() as u64);
    for index in 0..archive.len() {
        let mut entry = match archive.by_index(index) {
            Ok(entry) if entry.is_dir() => continue,
            Ok(entry) => entry,
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => {
                opaque.encrypted = true;
                continue;
            }
            Err(_) => {
                opaque.unreadable = true;
                continue;
            }
        };
        let path = shortened(&format!("{path}/{}", entry.name()));
        let packed_bytes = entry.compressed_size().min(packed.len() as u64);
        let file = match read(&mut entry, packed_bytes, budget)? {
            (file, true) => file,
            (_, false) if meter.get() == 0 => return Err(Overrun::ArchiveBytes),
            (file, false) => {
                opaque.unreadable = true;
                file
            }
        };
        drop(entry);
        show(&path, &file[..file.len().min(PREFIX_BYTES)]);
        if begins_archive(&file) {
            unpack(&file, &path, depth + 1, budget, opaque, show)?;
        }
    }
    Ok(())
}

/// Unpacks an entry and keeps its beginning, or all of it when it is an archive; says whether all could be read.
fn read(entry: &mut impl Read, packed_bytes: u64, budget: &mut Budget) -> Result<(Vec<u8>, bool), Overrun> {
    let mut chunk = [0; 16 * 1024];
    let mut kept = Vec::new();
    let mut unpacked = 0u64;
    loop {
        let chunk = match entry.read(&mut chunk) {
            Ok(0) => return Ok((kept, true)),
            Ok(count) => &chunk[..count],
            Err(_) => return Ok((kept, false)),
        };
        budget.unpacked(chunk.len())?;
        unpacked += chunk.len() as u64;
        if unpacked > RATIO_BYTES && unpacked / RATIO > packed_bytes {
            return Err(Overrun::Ratio);
        }
        if kept.len() < PREFIX_BYTES || begins_archive(&kept) {
            if unpacked > NESTED_ARCHIVE_BYTES {
                return Err(Overrun::ArchiveBytes);
            }
            kept.extend_from_slice(chunk);
        }
    }
}

fn shortened(path: &str) -> String {
    path.chars().filter(|character| !character.is_control()).take(PATH_BYTES).collect()
}

/// A reader of bytes that gives at most so many of them, however often it is sent back.
struct Metered<'m> {
    bytes: Cursor<&'m [u8]>,
    left: &'m Cell<u64>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        let Some(left) = self.left.get().checked_sub(count as u64) else {
            self.left.set(0);
            return Err(io::Error::other("the archive makes its reader go over the same bytes again and again"));
        };
        self.left.set(left);
        Ok(count)
    }
}

impl Seek for Metered<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(position)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::content::Limits;
    use proptest::prelude::*;
    use std::io::Write;
    use std::time::Duration;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// An archive of these files.
    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn limits() -> Limits {
        Limits { archive_depth: 3, archive_entries: 10, archive_bytes: 4 * 1024 * 1024, time: Duration::from_secs(60) }
    }

    /// Paths and beginnings.
    type Files = Vec<(String, Vec<u8>)>;

    fn shown(bytes: &[u8]) -> Result<(Files, Opaque), Overrun> {
        let mut files = Vec::new();
        let mut show = |path: &str, prefix: &[u8]| files.push((path.to_owned(), prefix.to_vec()));
        let opaque = walk(bytes, "top", &mut Budget::new(&limits(), bytes.len()), &mut show)?;
        Ok((files, opaque))
    }

    #[test]
    fn files_and_archives_in_archives_are_shown() {
        let inner = archive(&[("b.txt", b"inner")]);
        let outer = archive(&[("a.txt", b"outer"), ("dir/in.zip", &inner)]);
        let (files, opaque) = shown(&outer).unwrap();
        let files: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(files, ["top/a.txt", "top/dir/in.zip", "top/dir/in.zip/b.txt"]);
        assert_eq!(opaque, Opaque::default());
        assert!(is_archive(&outer) && is_archive(&[b"MZ executable".as_slice(), &outer].concat()) && !is_archive(b"P"));
    }

    #[test]
    fn bombs_are_found_by_each_bound() {
        let zeros = vec![0; 2 * 1024 * 1024];
        assert_eq!(shown(&archive(&[("zeros", &zeros)])), Err(Overrun::Ratio));
        let mut nested = archive(&[("a", b"a")]);
        for _ in 0..3 {
            nested = archive(&[("nested.zip", &nested)]);
        }
        assert_eq!(shown(&nested), Err(Overrun::ArchiveDepth));
        let names: Vec<String> = (0..11).map(|index| index.to_string()).collect();
        let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
        assert_eq!(shown(&archive(&many)), Err(Overrun::ArchiveEntries));
        // Not compressible, so that the ratio stays low.
        let mut noise = 1u32;
        let noise: Vec<u8> = (0..5 * 1024 * 1024)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        assert_eq!(shown(&archive(&[("noise", &noise)])), Err(Overrun::ArchiveBytes));
    }

    #[test]
    fn entries_that_overlap_do_not_multiply_the_work() {
        // Every record of the central directory points to the one local header.
        let single = archive(&[("a", &[7; 5000])]);
        let directory = single.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        let end = single.windows(4).position(|bytes| bytes == b"PK\x05\x06").unwrap();
        let mut forged = single[..directory].to_vec();
        for index in 0..10u8 {
            let mut record = single[directory..end].to_vec();
            record[46] = b'a' + index;
            forged.extend_from_slice(&record);
        }
        let mut record = single[end..].to_vec();
        record[8..12].copy_from_slice(&[10, 0, 10, 0]);
        record[12..16].copy_from_slice(&u32::try_from(10 * (end - directory)).unwrap().to_le_bytes());
        forged.extend_from_slice(&record);
        let (files, _) = shown(&forged).unwrap();
        assert_eq!(files.len(), 10);
        // Without a bound on what is read, ten times an archive of megabytes would be gone over.
        let meter = Cell::new(5);
        let mut metered = Metered { bytes: Cursor::new(b"0123456789"), left: &meter };
        assert!(metered.read(&mut [0; 6]).is_err());
        assert_eq!(meter.get(), 0);
    }

    #[test]
    fn what_is_damaged_is_said() {
        let mut cut = archive(&[("a.txt", b"hello hello hello hello")]);
        cut.truncate(cut.len() - 10);
        assert_eq!(shown(&cut).unwrap(), (vec![], Opaque { encrypted: false, unreadable: true }));
        let mut wrong = archive(&[("a.txt", b"hello")]);
        // A flag of the general purpose bits, in both headers: encrypted (APPNOTE.TXT §4.4.4).
        let directory = wrong.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        wrong[6] |= 1;
        wrong[directory + 8] |= 1;
        assert_eq!(shown(&wrong).unwrap(), (vec![], Opaque { encrypted: true, unreadable: false }));
    }

    proptest! {
        #[test]
        fn a_damaged_archive_never_panics(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..20), cut in any::<proptest::sample::Index>()) {
            let mut bytes = archive(&[("a.txt", b"hello"), ("in.zip", &archive(&[("b", b"there there there")]))]);
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let _ = shown(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = shown(&bytes);
        }
    }
}
