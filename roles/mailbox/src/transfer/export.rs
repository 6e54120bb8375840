//! Out of the store, into Maildir or mbox.
//!
//! A file of a Maildir is named after UIDVALIDITY and UID, so that a further run finds what it has written; one whose flags
//! have changed is renamed. What was expunged meanwhile stays where it was written. Texts are written as they are, with CRLF.
//! An mbox is written anew each time, beside the one that is there, and then takes its place.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use estafeta_core::{Failure, Message};
use tokio::sync::watch;

use super::particulars::Particulars;
use super::private::{create_directory, create_file};
use super::{Format, Transferred, blocking, failed, maildir, mbox};
use crate::store::{AccountMail, Mailbox, MailboxName, MessageEntry, Progress, RecentClaim, Snapshot, StoreError};

/// Writes an account's mail below `root`, a directory that is made when it is missing.
pub async fn export(
    mail: &AccountMail,
    root: &Path,
    format: Format,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let mailboxes: Vec<_> = mail.mailboxes().await?.into_iter().filter(|entry| entry.selectable).collect();
    let messages = mail.usage().await?.messages;
    progress.send_modify(|progress| progress.of = messages);
    let directory = root.to_owned();
    blocking(move || create_directory(&directory).map_err(failed(&directory))).await?;
    let mut exporting = Exporting { root, progress, done: Transferred::default() };
    for entry in mailboxes {
        match exporting.mailbox(mail, &entry.name, format).await {
            // It was deleted meanwhile.
            Ok(()) | Err(Stopped::Store(StoreError::NoMailbox)) => {}
            Err(Stopped::Store(error)) => return Err(error.into()),
            Err(Stopped::File(failure)) => return Err(failure),
        }
    }
    Particulars::of(mail).await?.write(root).await?;
    Ok(exporting.done)
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

struct Exporting<'a> {
    root: &'a Path,
    progress: &'a watch::Sender<Progress>,
    done: Transferred,
}

impl Exporting<'_> {
    async fn mailbox(&mut self, mail: &AccountMail, name: &MailboxName, format: Format) -> Result<(), Stopped> {
        let mailbox = mail.mailbox(name).await?;
        let snapshot = mailbox.snapshot(RecentClaim::Leave).await?;
        match format {
            Format::Maildir => self.write_maildir(name, &mailbox, &snapshot).await,
            Format::Mbox => self.write_mbox(name, &mailbox, &snapshot).await,
        }
    }

    async fn write_maildir(
        &mut self,
        name: &MailboxName,
        mailbox: &Mailbox,
        snapshot: &Snapshot,
    ) -> Result<(), Stopped> {
        let directory = maildir::directory(self.root, name);
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
                    self.done.there_already += 1;
                }
                None => {
                    if let Some(text) = self.text(name, mailbox, entry).await? {
                        let (temporary, entry) = (directory.join("tmp").join(&base), *entry);
                        blocking(move || write(&temporary, &path, &text, &entry)).await?;
                        self.done.messages += 1;
                    }
                }
            }
            self.advance();
        }
        blocking(move || sync(&directory.join("cur"))).await?;
        Ok(())
    }

    async fn write_mbox(&mut self, name: &MailboxName, mailbox: &Mailbox, snapshot: &Snapshot) -> Result<(), Stopped> {
        let path = mbox::file(self.root, name);
        let temporary = path.with_added_extension("new");
        let (opened, directory) = (temporary.clone(), path.parent().map(Path::to_owned));
        let mut file = blocking(move || {
            directory.map_or(Ok(()), |directory| create_directory(&directory).map_err(failed(&directory)))?;
            create_file(&opened).map(BufWriter::new).map_err(failed(&opened))
        })
        .await?;
        for entry in snapshot.messages.iter() {
            if let Some(text) = self.text(name, mailbox, entry).await? {
                let keywords: Vec<String> =
                    snapshot.keywords.of(entry.flags.keywords).map(|keyword| keyword.as_str().to_owned()).collect();
                let (entry, written) = (*entry, temporary.clone());
                file = blocking(move || {
                    let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
                    mbox::write(&mut file, &text, entry.flags.system, &keywords, entry.internal_date)
                        .map_err(failed(&written))?;
                    Ok(file)
                })
                .await?;
                self.done.messages += 1;
            }
            self.advance();
        }
        blocking(move || {
            let finish = || {
                file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
                fs::rename(&temporary, &path)
            };
            finish().map_err(failed(&temporary))?;
            path.parent().map_or(Ok(()), sync)
        })
        .await?;
        Ok(())
    }

    /// A message's text; none when it was expunged meanwhile, or is lost.
    async fn text(
        &mut self,
        name: &MailboxName,
        mailbox: &Mailbox,
        entry: &MessageEntry,
    ) -> Result<Option<Message>, Stopped> {
        match mailbox.text(entry.uid).await {
            Ok(text) => Ok(Some(text)),
            Err(StoreError::NoMessage) => Ok(None),
            Err(StoreError::Storage(error)) => {
                self.done.refuse(format_args!("{name}, UID {}", entry.uid.0), error);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn advance(&self) {
        self.progress.send_modify(|progress| {
            progress.done += 1;
            progress.found = self.done.refused;
        });
    }
}

/// Makes a maildir, and gives the files that are there by their names without flags.
fn prepare(directory: &Path, keywords: &str) -> Result<HashMap<String, PathBuf>, Failure> {
    for part in maildir::PARTS {
        let path = directory.join(part);
        create_directory(&path).map_err(failed(&path))?;
    }
    let path = directory.join(maildir::KEYWORDS);
    create_file(&path).and_then(|mut file| file.write_all(keywords.as_bytes())).map_err(failed(&path))?;
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
        let mut file = create_file(temporary)?;
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
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed(directory))
}
