//! The form of a backup: a directory, to which one backup after another is added.
//!
//! ```text
//! estafeta-backup.json          {"version":1}
//! bodies/ab/abcd…               a body, named by the BLAKE3 hash of its bytes; as a zstd frame with the ending .zst
//! accounts/UUID/1790000000.jsonl   an account at that moment, in seconds since 1970
//! ```
//!
//! A file of an account has one JSON object a line: who it is and all but its messages ([`Head`]), messages without their
//! bodies ([`Messages`]), and how many there were ([`End`]), without which it is not whole.
//!
//! Invariants: what has its name is whole and durable; a body is there before a file of an account names it; nothing that has
//! its name is changed. So a backup may be broken off and begun again, and writes only bodies that are not there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use estafeta_core::{AccountId, Address, Failure, Reason};
use estafeta_storage::blobs::{BlobHash, Packing};
use serde::{Deserialize, Serialize};

use super::failed;
use super::private::{create_directory, create_file};
use crate::store::relocation::{ImageOfAccount, ImageOfMessage};

/// What says which form it is.
const MARK: &str = "estafeta-backup.json";
const VERSION: u32 = 1;

/// The longest line of an account's file, in bytes: a head names up to 10,000 mailboxes.
const LINE_BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Mark {
    version: u32,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    /// Whose mail.
    pub account: AccountId,
    /// Its address then.
    pub address: Address,
    /// The moment, in seconds since 1970.
    pub taken: i64,
    /// All but the messages.
    pub image: ImageOfAccount,
}

/// Some messages of a mailbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct Messages {
    /// By its number in the head.
    pub mailbox: i64,
    /// By UID.
    pub messages: Vec<ImageOfMessage>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub struct End {
    /// How many messages there are.
    pub end: u64,
}

/// A directory of backups. Every method waits for the disk.
#[derive(Debug, Clone)]
pub struct Archive(PathBuf);

impl Archive {
    /// To write to: made when it is missing. A directory that holds something else is refused.
    pub fn make(root: &Path) -> Result<Self, Failure> {
        create_directory(root).map_err(failed(root))?;
        let mark = root.join(MARK);
        if !mark.exists() {
            if fs::read_dir(root).map_err(failed(root))?.next().is_some() {
                let text = format!("{} is neither empty nor a backup: give a directory of its own", root.display());
                return Err(Failure::new(Reason::Invalid, text));
            }
            let text = serde_json::to_vec(&Mark { version: VERSION }).map_err(Failure::internal)?;
            write_whole(&mark, &text)?;
        }
        Self::open(root)
    }

    /// To read from.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        let mark = root.join(MARK);
        let text = fs::read(&mark).map_err(failed(&mark))?;
        let wrong = |what: String| Failure::new(Reason::Invalid, format!("{}: {what}", mark.display()));
        let Mark { version } = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if version != VERSION {
            return Err(wrong(format!("this program reads version {VERSION}, and this is {version}: use a newer one")));
        }
        Ok(Self(root.to_owned()))
    }

    fn body(&self, hash: &BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.0.join("bodies").join(&name[..2]).join(name)
    }

    /// Whether a body is there.
    pub fn has(&self, hash: &BlobHash) -> bool {
        let plain = self.body(hash);
        plain.exists() || plain.with_extension("zst").exists()
    }

    /// Adds a body.
    pub fn add(&self, hash: &BlobHash, body: &Bytes) -> Result<(), Failure> {
        let plain = self.body(hash);
        let (packing, kept) = Packing::pack(body);
        let path = if packing == Packing::Zstd { plain.with_extension("zst") } else { plain };
        path.parent().map_or(Ok(()), |parent| create_directory(parent).map_err(failed(parent)))?;
        write_whole(&path, &kept)
    }

    /// Reads a body, which must have its hash.
    pub fn read(&self, hash: &BlobHash) -> Result<Bytes, Failure> {
        let plain = self.body(hash);
        let (packing, path) =
            if plain.exists() { (Packing::Plain, plain) } else { (Packing::Zstd, plain.with_extension("zst")) };
        let kept = fs::read(&path).map_err(failed(&path))?;
        let body = packing.unpack(kept.into()).ok().filter(|body| BlobHash::of(body) == *hash);
        body.ok_or_else(|| Failure::new(Reason::Invalid, format!("{} is damaged: it has another hash", path.display())))
    }

    /// Begins a file of an account.
    pub fn begin(&self, head: &Head) -> Result<Writing, Failure> {
        let directory = self.0.join("accounts").join(head.account.to_string());
        create_directory(&directory).map_err(failed(&directory))?;
        let path = directory.join(format!("{}.jsonl", head.taken));
        let temporary = path.with_extension("new");
        let file = create_file(&temporary).map_err(failed(&temporary))?;
        let mut writing = Writing { file, path, temporary };
        writing.line(head)?;
        Ok(writing)
    }

    /// The accounts of which there is something.
    pub fn accounts(&self) -> Result<Vec<AccountId>, Failure> {
        let directory = self.0.join("accounts");
        let mut accounts = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
            let name = entry.map_err(failed(&directory))?.file_name();
            accounts.extend(name.to_str().and_then(|name| name.parse::<AccountId>().ok()));
        }
        Ok(accounts)
    }

    /// The last file of an account; none when there is none.
    pub fn last(&self, account: AccountId) -> Result<Option<Reading>, Failure> {
        let directory = self.0.join("accounts").join(account.to_string());
        let mut last: Option<i64> = None;
        let Ok(entries) = fs::read_dir(&directory) else { return Ok(None) };
        for entry in entries {
            let name = entry.map_err(failed(&directory))?.file_name();
            let taken = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|taken| taken.parse().ok());
            last = last.max(taken);
        }
        last.map(|taken| Reading::open(directory.join(format!("{taken}.jsonl")))).transpose()
    }
}

/// Writes a file that is whole whenever it has its name.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // The ending may be part of a hash's name.
    let temporary = path.with_added_extension("new");
    let write = || {
        let mut file = create_file(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(failed(path))
}

/// A file of an account that is being written.
pub struct Writing {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
}

impl Writing {
    /// Adds a line.
    pub fn line(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(line).map_err(Failure::internal)?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(failed(&self.temporary))
    }

    /// Gives it its name.
    pub fn end(mut self, messages: u64) -> Result<(), Failure> {
        self.line(&End { end: messages })?;
        let end = || {
            self.file.sync_all()?;
            fs::rename(&self.temporary, &self.path)?;
            self.path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        };
        end().map_err(failed(&self.path))
    }

    /// What was written, to be read before it has its name.
    pub fn reading(&self) -> Result<Reading, Failure> {
        Reading::open(self.temporary.clone())
    }
}

/// A file of an account that is being read.
pub struct Reading {
    lines: BufReader<File>,
    path: PathBuf,
    /// How many messages were read.
    messages: u64,
    /// Its first line.
    pub head: Head,
}

impl Reading {
    fn open(path: PathBuf) -> Result<Self, Failure> {
        let mut lines = BufReader::with_capacity(256 * 1024, File::open(&path).map_err(failed(&path))?);
        let head = line(&mut lines, &path)?
            .ok_or_else(|| Failure::new(Reason::Invalid, format!("{} is empty", path.display())))?;
        Ok(Self { lines, path, messages: 0, head })
    }

    /// The next messages; none at the end, or where nothing is written yet.
    pub fn next(&mut self) -> Result<Option<Messages>, Failure> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Line {
            Messages(Messages),
            End(End),
        }
        match line(&mut self.lines, &self.path)? {
            Some(Line::Messages(page)) => {
                self.messages += page.messages.len() as u64;
                Ok(Some(page))
            }
            Some(Line::End(End { end })) if end != self.messages => {
                let text =
                    format!("{} is damaged: it says {end} messages and has {}", self.path.display(), self.messages);
                Err(Failure::new(Reason::Invalid, text))
            }
            Some(Line::End(_)) | None => Ok(None),
        }
    }
}

fn line<T: serde::de::DeserializeOwned>(lines: &mut BufReader<File>, path: &Path) -> Result<Option<T>, Failure> {
    let mut text = Vec::new();
    std::io::Read::take(lines, LINE_BYTES).read_until(b'\n', &mut text).map_err(failed(path))?;
    if text.is_empty() {
        return Ok(None);
    }
    let damaged = |error| Failure::new(Reason::Invalid, format!("{} is damaged: {error}", path.display()));
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}
