//! What is kept on disk of a zone's versions: the one that this node holds and the one that it shows, a file each.
//!
//! A file is a zone file whose data are in the generic form (RFC 3597 §5): exact for every type, and readable by any
//! name server. Its first line says the serial number and the digest. A file is written beside its place, fsynced and
//! renamed, and the directory fsynced, before anybody hears of the version. A file that does not hold what its first
//! line says is not used; the node does not start, for a serial number may stand behind it that must not come again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use estafeta_core::Failure;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict};

use super::version::{Mark, Version, from_hexadecimal, from_records};

/// How a file begins.
const TITLE: &str = "; a version of a zone: ";

/// Which of a zone's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The version that this node holds.
    Held,
    /// The one that it shows.
    Shown,
}

impl Kept {
    fn extension(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Shown => "shown",
        }
    }
}

/// The directory of the versions.
#[derive(Debug, Clone)]
pub struct Files(PathBuf);

impl Files {
    /// Opens the directory, and makes it when it is not there.
    pub fn open(directory: PathBuf) -> Result<Self, Failure> {
        let failed = |error| failure("make the directory", &directory, error);
        fs::create_dir_all(&directory).map_err(failed)?;
        if let Some(parent) = directory.parent() {
            synchronise(parent).map_err(failed)?;
        }
        Ok(Self(directory))
    }

    /// Everything that is there.
    pub fn load(&self) -> Result<Vec<(Kept, Version)>, Failure> {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(|error| failure("read", &self.0, error))? {
            let path = entry.map_err(|error| failure("read", &self.0, error))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let kept = [Kept::Held, Kept::Shown].into_iter().find(|kept| Some(kept.extension()) == extension);
            // What a crash left half written has another ending.
            let Some(kept) = kept else { continue };
            let text = fs::read_to_string(&path).map_err(|error| failure("read", &path, error))?;
            let version = read(&text).map_err(|why| {
                Failure::internal(format!(
                    "{}: {why}. It holds a zone's serial number, which must not go back: restore it; or remove it when \
                     the other dns nodes have theirs, and this node takes over what they hold",
                    path.display()
                ))
            })?;
            versions.push((kept, version));
        }
        Ok(versions)
    }

    /// Writes a version durably in place of the one before.
    pub fn write(&self, kept: Kept, version: &Version) -> Result<(), Failure> {
        let path = self.0.join(file_name(&version.zone.origin, kept));
        let beside = path.with_extension("new");
        let text = text(version).map_err(|error| failure("write", &path, error))?;
        File::create(&beside)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| synchronise(&self.0))
            .map_err(|error| failure("write", &path, error))
    }
}

fn failure(what: &str, path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::internal(format!("cannot {what} {}: {error}", path.display()))
}

fn synchronise(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The zone's name, in letters that every file system takes, and short enough for each.
fn file_name(origin: &Name, kept: Kept) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '=' };
    let text = written(&origin.to_lowercase());
    let name: String = text.trim_end_matches('.').chars().map(plain).take(100).collect();
    // Names that differ in what was left out differ in this.
    let digest = super::version::Digest::of(text.as_bytes()).to_string();
    format!("{name}.{}.{}", &digest[..8], kept.extension())
}

/// A name as zone files have it (RFC 1035 §5.1): every name, and each in one way only.
fn written(name: &Name) -> String {
    let letter = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => char::from(byte).to_string(),
        byte => format!("\\{byte:03}"),
    };
    let label = |label: &[u8]| label.iter().map(|byte| letter(*byte)).chain([".".to_owned()]).collect::<String>();
    if name.is_root() { ".".to_owned() } else { name.iter().map(label).collect() }
}

fn read_name(text: &str) -> Option<Name> {
    let label = |text: &str| -> Option<Vec<u8>> {
        let mut pieces = text.split('\\');
        let mut label = pieces.next()?.as_bytes().to_vec();
        for piece in pieces {
            let (number, rest) = piece.split_at_checked(3)?;
            label.push(number.parse().ok()?);
            label.extend_from_slice(rest.as_bytes());
        }
        Some(label)
    };
    let labels: Vec<Vec<u8>> = match text.strip_suffix('.')? {
        "" => Vec::new(),
        labels => labels.split('.').map(label).collect::<Option<_>>()?,
    };
    let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn text(version: &Version) -> io::Result<String> {
    let mut text = format!("{TITLE}{} {}\n", written(&version.zone.origin), version.mark);
    for record in version.start_of_authority().into_iter().chain(version.records()) {
        text += &line(&record).map_err(io::Error::other)?;
    }
    Ok(text)
}

fn line(record: &Record) -> Result<String, hickory_proto::ProtoError> {
    let mut data = Vec::new();
    let mut encoder = BinEncoder::new(&mut data);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.data.emit(&mut encoder)?;
    let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let kind = u16::from(record.record_type());
    Ok(format!("{} {} IN TYPE{kind} \\# {} {digits}\n", written(&record.name), record.ttl, data.len()))
}

fn read(text: &str) -> Result<Version, String> {
    let (title, lines) = text.split_once('\n').ok_or("it is empty")?;
    let wrong = || format!("its first line is not \"{TITLE}ZONE SERIAL:DIGEST\"");
    let (origin, mark) = title.strip_prefix(TITLE).and_then(|rest| rest.split_once(' ')).ok_or_else(wrong)?;
    let (serial, digest) = mark.split_once(':').ok_or_else(wrong)?;
    let mark = Mark { serial: serial.parse().map_err(|_| wrong())?, digest: digest.parse()? };
    let origin = read_name(origin).ok_or_else(wrong)?;
    let numbered = lines.lines().enumerate();
    let records = numbered
        .map(|(index, line)| record(line).ok_or_else(|| format!("line {} is no record", index + 2)))
        .collect::<Result<_, _>>()?;
    let version = Version::of(from_records(&origin, records)?).ok_or("it has no SOA record")?;
    if version.mark == mark { Ok(version) } else { Err("its records are not those that its first line names".into()) }
}

fn record(line: &str) -> Option<Record> {
    let [name, ttl, "IN", kind, "\\#", length, digits] = line.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let bytes = from_hexadecimal(digits)?;
    if bytes.len() != length.parse::<usize>().ok()? {
        return None;
    }
    let kind = RecordType::from(kind.strip_prefix("TYPE")?.parse::<u16>().ok()?);
    let mut decoder = BinDecoder::new(&bytes);
    let length = Restrict::new(u16::try_from(bytes.len()).ok()?);
    let data = RData::read(&mut decoder, kind, length).ok()?;
    let mut record = Record::from_rdata(read_name(name)?, ttl.parse().ok()?, data);
    record.dns_class = DNSClass::IN;
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::super::version::tests::{name, zone};
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path().join("versions")).unwrap();
        assert!(files.load().unwrap().is_empty());
        for (kept, serial) in [(Kept::Held, 7), (Kept::Held, 9), (Kept::Shown, 7)] {
            files.write(kept, &Version::of(zone("demo.test.", serial, 3)).unwrap()).unwrap();
        }
        let odd = Name::from_labels([&b"a b.c\\/\xff"[..], b"test"]).unwrap();
        let soa = Version::of(zone("test.", 1, 0)).unwrap().start_of_authority().unwrap();
        let odd_zone = from_records(&odd, vec![Record::from_rdata(odd.clone(), 1, soa.data)]).unwrap();
        files.write(Kept::Held, &Version::of(odd_zone).unwrap()).unwrap();
        fs::write(directory.path().join("versions/demo.test.00000000.new"), "half").unwrap();
        let mut loaded = files.load().unwrap();
        loaded.sort_by_key(|(_, version)| version.mark.serial);
        let serials: Vec<_> = loaded.iter().map(|(kept, version)| (*kept, version.mark.serial)).collect();
        assert_eq!(serials, [(Kept::Held, 1), (Kept::Shown, 7), (Kept::Held, 9)]);
        assert_eq!(loaded[2].1, Version::of(zone("demo.test.", 9, 3)).unwrap());
        assert_eq!(loaded[0].1.zone.origin, odd);
    }

    #[test]
    fn a_file_that_was_changed_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path().to_owned()).unwrap();
        files.write(Kept::Held, &Version::of(zone("demo.test.", 7, 3)).unwrap()).unwrap();
        let path = directory.path().join(file_name(&name("demo.test."), Kept::Held));
        let text = fs::read_to_string(&path).unwrap();
        for (from, to) in [("c0000201", "c0000299"), ("TYPE1 ", "TYPE "), ("demo.test. 7:", "demo.test. 8:")] {
            assert_ne!(text.replace(from, to), text);
            fs::write(&path, text.replace(from, to)).unwrap();
            let error = files.load().unwrap_err().to_string();
            assert!(error.contains("demo.test.") && error.contains("must not go back"), "{error}");
        }
    }

    #[test]
    fn file_names_are_plain_and_apart() {
        let slash = |letter: &[u8]| Name::from_labels([letter, b"test"]).unwrap();
        let one = file_name(&slash(b"a/b"), Kept::Held);
        assert!(one.starts_with("a=047b.test.") && one.ends_with(".held"), "{one}");
        assert_ne!(one, file_name(&slash(b"a=047b"), Kept::Held));
        let long = "x".repeat(60);
        let long = name(&format!("{long}.{long}.{long}."));
        assert!(file_name(&long, Kept::Shown).len() < 120);
    }
}
