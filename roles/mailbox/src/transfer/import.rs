//! Into the store, out of Maildir.
//!
//! A message is the same as one that is there when text and date of receipt are: so many alike are there already, so many
//! alike of the source are passed over. Files whose lines end with LF alone get CRLF, which mail has.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use estafeta_core::{Failure, Message, Reason};
use estafeta_storage::blobs::BlobHash;
use tokio::sync::watch;

use super::{Transferred, blocking, failed, maildir};
use crate::store::{AccountMail, Keyword, Mailbox, MailboxName, NewMessage, Progress, RecentClaim, StoreError};

/// How many messages are put there at once.
const BATCH: usize = 50;

/// And how many bytes, about.
const BATCH_BYTES: usize = 8 << 20;

/// How deep directories are looked into.
const LEVELS: usize = 32;

/// A maildir below the root.
struct Source {
    directory: PathBuf,
    name: MailboxName,
    files: Vec<PathBuf>,
    keywords: Vec<(usize, Keyword)>,
}

/// A message's text and date of receipt.
type Identity = (BlobHash, i64);

/// Puts the mail below `root` into an account's mailboxes, which are made where they are missing.
pub async fn import(
    mail: &AccountMail,
    root: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let mut done = Transferred::default();
    let root = root.to_owned();
    let (sources, refused) = blocking(move || {
        let (mut sources, mut refused) = (Vec::new(), 0);
        find(&root, String::new(), LEVELS, &mut sources, &mut refused)?;
        Ok((sources, refused))
    })
    .await?;
    done.refused = refused;
    if sources.is_empty() {
        let text = "there is no maildir below this directory: a maildir holds the directories cur and new";
        return Err(Failure::new(Reason::NotFound, text));
    }
    progress.send_modify(|progress| progress.of = sources.iter().map(|source| source.files.len() as u64).sum());
    for source in sources {
        import_mailbox(mail, source, progress, &mut done).await?;
    }
    Ok(done)
}

/// Finds the maildirs of a directory. What stands in the root itself is INBOX.
fn find(
    directory: &Path,
    name: String,
    levels: usize,
    sources: &mut Vec<Source>,
    refused: &mut u64,
) -> Result<(), Failure> {
    if directory.join("cur").is_dir() {
        match (if name.is_empty() { "INBOX" } else { &name }).parse() {
            Ok(name) => sources.push(read(directory, name)?),
            Err(error) => {
                tracing::error!(directory = %directory.display(), %error, "a maildir is not imported");
                *refused += 1;
            }
        }
    }
    if levels == 0 {
        return Ok(());
    }
    let mut below: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        // A link may lead in a circle.
        if entry.file_type().map_err(failed(directory))?.is_dir() {
            below.push(entry.path());
        }
    }
    below.sort();
    for path in below {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if maildir::PARTS.contains(&file) {
            continue;
        }
        // Maildir++: `.A.B` beside the maildir that is INBOX stands for A/B.
        let level = match file.strip_prefix('.') {
            Some(dotted) => Some(dotted.replace('.', "/")),
            None => maildir::level(file),
        };
        let Some(level) = level else { continue };
        let name = if name.is_empty() { level } else { format!("{name}/{level}") };
        find(&path, name, levels - 1, sources, refused)?;
    }
    Ok(())
}

fn read(directory: &Path, name: MailboxName) -> Result<Source, Failure> {
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
    Ok(Source { directory: directory.to_owned(), name, files, keywords: maildir::keywords(&keywords) })
}

async fn import_mailbox(
    mail: &AccountMail,
    source: Source,
    progress: &watch::Sender<Progress>,
    done: &mut Transferred,
) -> Result<(), Failure> {
    match mail.create(&source.name, None).await {
        Ok(()) | Err(StoreError::Exists) => {}
        Err(error) => return Err(error.into()),
    }
    let mut there = identities(&mail.mailbox(&source.name).await?).await?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for file in source.files {
        let limit = mail.message_limit_bytes();
        let (path, keywords) = (file.clone(), source.keywords.clone());
        let read = blocking(move || message(&path, &keywords)).await;
        let (new, identity) = match read {
            Ok((new, _)) if new.message.len() > limit as usize || new.message.is_empty() => {
                tracing::error!(file = %file.display(), bytes = new.message.len(), "a message is not imported: empty, or too large");
                done.refused += 1;
                continue;
            }
            Ok(read) => read,
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "a message is not imported");
                done.refused += 1;
                continue;
            }
        };
        progress.send_modify(|progress| {
            progress.done += 1;
            progress.found = done.refused;
        });
        if let Some(alike) = there.get_mut(&identity).filter(|alike| **alike > 0) {
            *alike -= 1;
            done.there_already += 1;
            continue;
        }
        bytes += new.message.len();
        batch.push(new);
        if batch.len() >= BATCH || bytes >= BATCH_BYTES {
            bytes = 0;
            put(mail, &source.name, std::mem::take(&mut batch), done).await?;
        }
    }
    put(mail, &source.name, batch, done).await?;
    tracing::info!(directory = %source.directory.display(), mailbox = source.name.as_str(), "imported");
    Ok(())
}

async fn put(
    mail: &AccountMail,
    name: &MailboxName,
    batch: Vec<NewMessage>,
    done: &mut Transferred,
) -> Result<(), Failure> {
    let messages = batch.len() as u64;
    if messages > 0 {
        mail.append(name, batch).await?;
        done.messages += messages;
    }
    Ok(())
}

/// What a mailbox holds, and how many of each.
async fn identities(mailbox: &Mailbox) -> Result<HashMap<Identity, usize>, Failure> {
    let mut there = HashMap::new();
    for entry in mailbox.snapshot(RecentClaim::Leave).await?.messages.iter() {
        let text = match mailbox.text(entry.uid).await {
            Ok(text) => text,
            // Expunged meanwhile, or lost: then it is not there.
            Err(StoreError::NoMessage | StoreError::Storage(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        let hash = blocking(move || Ok(BlobHash::of(&text.contiguous()))).await?;
        *there.entry((hash, entry.internal_date)).or_default() += 1;
    }
    Ok(there)
}

/// Reads a file.
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
fn with_crlf(text: Vec<u8>) -> Bytes {
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
