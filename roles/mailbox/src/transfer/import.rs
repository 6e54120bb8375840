//! Into the store, out of Maildir and mbox, whichever is there.
//!
//! Lines that end with LF alone get CRLF, which mail has. What was put there before is not put there again (see `intake`).

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use estafeta_core::{Failure, Message, Reason};
use estafeta_storage::blobs::BlobHash;
use tokio::sync::watch;

use super::intake::{Identity, Intake};
use super::particulars::Particulars;
use super::{Transferred, blocking, failed, maildir, mbox};
use crate::imap::Neighbours;
use crate::store::{AccountMail, Keyword, MailboxName, MailboxNameError, NewMessage, Progress};

/// How deep directories are looked into.
const LEVELS: usize = 32;

/// How many bytes of an mbox are read at once.
const READ_BYTES: usize = 256 * 1024;

/// A mailbox that was found.
struct Source {
    place: PathBuf,
    name: MailboxName,
    form: Form,
}

enum Form {
    Maildir { files: Vec<PathBuf>, keywords: Vec<(usize, Keyword)> },
    Mbox { messages: u64 },
}

#[derive(Default)]
struct Found {
    sources: Vec<Source>,
    done: Transferred,
}

/// Puts the mail below `root` into an account's mailboxes, which are made where they are missing. A single mbox goes into
/// INBOX.
pub async fn import(
    mail: &AccountMail,
    neighbours: &dyn Neighbours,
    root: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let (below, limit_bytes) = (root.to_owned(), mail.message_limit_bytes() as usize);
    let found = blocking(move || {
        let mut found = Found::default();
        if below.is_file() {
            found.add_mbox(&below, Some("INBOX".to_owned()), limit_bytes)?;
        } else {
            found.search(&below, String::new(), LEVELS, limit_bytes)?;
        }
        Ok(found)
    })
    .await?;
    let mut done = found.done;
    if found.sources.is_empty() {
        let text = "there is no mail here: a maildir holds the directories cur and new, an mbox begins with \"From \"";
        return Err(Failure::new(Reason::NotFound, text));
    }
    let messages = |source: &Source| match &source.form {
        Form::Maildir { files, .. } => files.len() as u64,
        Form::Mbox { messages } => *messages,
    };
    progress.send_modify(|progress| progress.of = found.sources.iter().map(messages).sum());
    if let Some(particulars) = Particulars::read(root).await? {
        done.refused += particulars.add_to(mail, neighbours).await?;
    }
    for Source { place, name, form } in found.sources {
        let mut intake = Intake::into(mail, name.clone(), progress).await?;
        match form {
            Form::Maildir { files, keywords } => {
                for file in files {
                    let (path, keywords) = (file.clone(), keywords.clone());
                    let read = blocking(move || message(&path, &keywords)).await;
                    intake.take(read, file.display()).await?;
                }
            }
            Form::Mbox { .. } => read_mbox(&place, limit_bytes, &mut intake).await?,
        }
        done.add(intake.end().await?);
        tracing::info!(place = %place.display(), mailbox = name.as_str(), "imported");
    }
    Ok(done)
}

impl Found {
    /// Finds the mailboxes of a directory. A maildir in the root itself is INBOX.
    fn search(&mut self, directory: &Path, name: String, levels: usize, limit_bytes: usize) -> Result<(), Failure> {
        let is_maildir = directory.join("cur").is_dir();
        if is_maildir && let Some(name) = self.named(directory, if name.is_empty() { "INBOX" } else { &name }) {
            self.sources.push(read_maildir(directory, name)?);
        }
        if levels == 0 {
            return Ok(());
        }
        let mut below: Vec<(PathBuf, bool)> = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed(directory))? {
            let entry = entry.map_err(failed(directory))?;
            // A link may lead in a circle.
            let kind = entry.file_type().map_err(failed(directory))?;
            if kind.is_dir() || kind.is_file() && !is_maildir {
                below.push((entry.path(), kind.is_dir()));
            }
        }
        below.sort();
        for (path, is_directory) in below {
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let within = |level: String| if name.is_empty() { level } else { format!("{name}/{level}") };
            if !is_directory {
                self.add_mbox(&path, mbox::level(file).map(within), limit_bytes)?;
                continue;
            }
            if maildir::PARTS.contains(&file) {
                continue;
            }
            // Maildir++: `.A.B` beside the maildir that is INBOX stands for A/B.
            let level = match file.strip_prefix('.') {
                Some(dotted) => Some(dotted.replace('.', "/")),
                None => maildir::level(file),
            };
            if let Some(level) = level {
                self.search(&path, within(level), levels - 1, limit_bytes)?;
            }
        }
        Ok(())
    }

    /// Adds a file, if it is an mbox.
    fn add_mbox(&mut self, path: &Path, name: Option<String>, limit_bytes: usize) -> Result<(), Failure> {
        if !mbox::is_one(path).map_err(failed(path))? {
            return Ok(());
        }
        let Some(name) = self.named(path, &name.unwrap_or_default()) else { return Ok(()) };
        let mut reader = open_mbox(path, limit_bytes)?;
        let mut messages = 0;
        while reader.read().map_err(failed(path))?.is_some() {
            messages += 1;
        }
        self.sources.push(Source { place: path.to_owned(), name, form: Form::Mbox { messages } });
        Ok(())
    }

    /// What a mailbox is called here; none when it cannot be.
    fn named(&mut self, place: &Path, name: &str) -> Option<MailboxName> {
        name.parse().map_err(|error: MailboxNameError| self.done.refuse(place.display(), error)).ok()
    }
}

fn read_maildir(directory: &Path, name: MailboxName) -> Result<Source, Failure> {
    let mut files = Vec::new();
    for part in ["cur", "new"] {
        let path = directory.join(part);
        if !path.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path).map_err(failed(&path))? {
            files.push(entry.map_err(failed(&path))?.path());
        }
    }
    files.sort();
    let keywords = fs::read_to_string(directory.join(maildir::KEYWORDS)).unwrap_or_default();
    let form = Form::Maildir { files, keywords: maildir::keywords(&keywords) };
    Ok(Source { place: directory.to_owned(), name, form })
}

fn open_mbox(path: &Path, limit_bytes: usize) -> Result<mbox::Reader<BufReader<File>>, Failure> {
    let file = File::open(path).map_err(failed(path))?;
    Ok(mbox::Reader::new(BufReader::with_capacity(READ_BYTES, file), limit_bytes))
}

async fn read_mbox(path: &Path, limit_bytes: usize, intake: &mut Intake<'_>) -> Result<(), Failure> {
    let opened = path.to_owned();
    let mut reader = blocking(move || open_mbox(&opened, limit_bytes)).await?;
    for number in 1u64.. {
        let place = path.to_owned();
        let (entry, read_on) = blocking(move || {
            let entry = reader.read().map_err(failed(&place))?;
            Ok((entry.map(new_message), reader))
        })
        .await?;
        reader = read_on;
        let Some(entry) = entry else { break };
        intake.take(Ok(entry), format!("{}, message {number}", path.display())).await?;
    }
    Ok(())
}

fn new_message(mbox::Entry { text, system, keywords, received }: mbox::Entry) -> (NewMessage, Identity) {
    let identity = (BlobHash::of(&text), received);
    let new = NewMessage { message: Message::new(text.into()), system, keywords, internal_date: Some(received) };
    (new, identity)
}

/// Reads a file of a maildir.
fn message(path: &Path, known: &[(usize, Keyword)]) -> Result<(NewMessage, Identity), Failure> {
    let text = with_crlf(fs::read(path).map_err(failed(path))?);
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).map_err(failed(path))?;
    let internal_date = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (_, system, numbers) = maildir::parse(file);
    let keywords = known.iter().filter(|(number, _)| numbers.contains(number)).map(|(_, keyword)| keyword.clone());
    let identity = (BlobHash::of(&text), internal_date);
    let new = NewMessage {
        message: Message::new(text),
        system,
        keywords: keywords.collect(),
        internal_date: Some(internal_date),
    };
    Ok((new, identity))
}

/// A text whose first line ends with LF alone, with CRLF at every line's end; any other as it is.
pub(super) fn with_crlf(text: Vec<u8>) -> Bytes {
    let first = text.iter().position(|byte| *byte == b'\n');
    if !first.is_some_and(|end| end == 0 || text[end - 1] != b'\r') {
        return text.into();
    }
    let mut lines = Vec::with_capacity(text.len() + text.len() / 32);
    for byte in text {
        if byte == b'\n' && lines.last() != Some(&b'\r') {
            lines.push(b'\r');
        }
        lines.push(byte);
    }
    lines.into()
}
