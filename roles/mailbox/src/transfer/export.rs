//! Out of the store, into Maildir.
//!
//! A file is named after UIDVALIDITY and UID, so that a further run finds what it has written; one whose flags have changed
//! is renamed. What was expunged meanwhile stays where it was written. Texts are written as they are, with CRLF.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use estafeta_core::{Failure, Message};
use tokio::sync::watch;

use super::{Transferred, blocking, failed, maildir};
use crate::store::{AccountMail, MailboxName, MessageEntry, Progress, RecentClaim, StoreError};

/// Writes an account's mail below `root`, a directory that is made when it is missing.
pub async fn export(
    mail: &AccountMail,
    root: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let mut done = Transferred::default();
    let mailboxes: Vec<_> = mail.mailboxes().await?.into_iter().filter(|entry| entry.selectable).collect();
    let messages = mail.usage().await?.messages;
    progress.send_modify(|progress| progress.of = messages);
    for entry in mailboxes {
        match export_mailbox(mail, &entry.name, root, progress, &mut done).await {
            // It was deleted meanwhile.
            Ok(()) | Err(Stopped::Store(StoreError::NoMailbox)) => {}
            Err(Stopped::Store(error)) => return Err(error.into()),
            Err(Stopped::File(failure)) => return Err(failure),
        }
    }
    Ok(done)
}

/// Why a mailbox was not written to its end.
enum Stopped {
    Store(StoreError),
    File(Failure),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::File(failure)
    }
}

async fn export_mailbox(
    mail: &AccountMail,
    name: &MailboxName,
    root: &Path,
    progress: &watch::Sender<Progress>,
    done: &mut Transferred,
) -> Result<(), Stopped> {
    let mailbox = mail.mailbox(name).await?;
    let snapshot = mailbox.snapshot(RecentClaim::Leave).await?;
    let directory = maildir::directory(root, name);
    let keywords: String = snapshot
        .keywords
        .iter()
        .take(maildir::KEYWORD_LETTERS)
        .enumerate()
        .map(|(number, keyword)| format!("{number} {keyword}\n"))
        .collect();
    let prepared = directory.clone();
    let mut there = blocking(move || prepare(&prepared, &keywords)).await?;
    for entry in snapshot.messages.iter() {
        let base = format!("{}.{}.estafeta", snapshot.uid_validity.0, entry.uid.0);
        let held = |keyword| snapshot.keywords.bit(keyword).is_some_and(|bit| entry.flags.keywords.contains(bit));
        let numbers =
            snapshot.keywords.iter().enumerate().filter(|(_, keyword)| held(keyword)).map(|(number, _)| number);
        let file = format!("{base}{}", maildir::info(entry.flags.system, numbers));
        let path = directory.join("cur").join(&file);
        match there.remove(&base) {
            Some(before) => {
                if before != path {
                    blocking(move || fs::rename(&before, &path).map_err(failed(&before))).await?;
                }
                done.there_already += 1;
            }
            None => match mailbox.text(entry.uid).await {
                Ok(text) => {
                    let (temporary, entry) = (directory.join("tmp").join(&base), *entry);
                    blocking(move || write(&temporary, &path, &text, &entry)).await?;
                    done.messages += 1;
                }
                // It was expunged meanwhile.
                Err(StoreError::NoMessage) => {}
                Err(StoreError::Storage(error)) => {
                    tracing::error!(mailbox = name.as_str(), uid = entry.uid.0, %error, "a message is not exported");
                    done.refused += 1;
                }
                Err(error) => return Err(error.into()),
            },
        }
        progress.send_modify(|progress| {
            progress.done += 1;
            progress.found = done.refused;
        });
    }
    blocking(move || sync(&directory)).await?;
    Ok(())
}

/// Makes a maildir, and gives the files that are there by their names without flags.
fn prepare(directory: &Path, keywords: &str) -> Result<HashMap<String, PathBuf>, Failure> {
    for part in maildir::PARTS {
        let path = directory.join(part);
        fs::create_dir_all(&path).map_err(failed(&path))?;
    }
    let path = directory.join(maildir::KEYWORDS);
    fs::write(&path, keywords).map_err(failed(&path))?;
    let mut there = HashMap::new();
    let cur = directory.join("cur");
    for entry in fs::read_dir(&cur).map_err(failed(&cur))? {
        let entry = entry.map_err(failed(&cur))?;
        if let Some(file) = entry.file_name().to_str() {
            there.insert(maildir::parse(file).0.to_owned(), entry.path());
        }
    }
    Ok(there)
}

/// Writes a message; when it has its name, it is whole.
fn write(temporary: &Path, path: &Path, text: &Message, entry: &MessageEntry) -> Result<(), Failure> {
    let write = || {
        let mut file = File::create(temporary)?;
        for part in text.parts() {
            file.write_all(part)?;
        }
        let received = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.internal_date.max(0) as u64);
        file.set_modified(received)?;
        file.sync_data()?;
        fs::rename(temporary, path)
    };
    write().map_err(failed(temporary))
}

fn sync(directory: &Path) -> Result<(), Failure> {
    let cur = directory.join("cur");
    File::open(&cur).and_then(|directory| directory.sync_all()).map_err(failed(&cur))
}
