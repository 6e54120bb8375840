//! Whether the store is whole: every row has its body and its flags, every body its hash, what is kept of a body is what it
//! says, every number is above those that were given out, every count is right.
//!
//! It reads while others write, never stops at what is broken, and changes nothing unless it is told to mend. What it can
//! mend: flags that cannot be read (those are lost), counts and next numbers, what is kept of a body, and a body of which
//! another copy is there (a former generation, or one otherwise packed). A body of which there is none is lost: its messages
//! are named, and nothing is invented in its place.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use estafeta_protocols::imap::message::contents::Contents;
use estafeta_storage::blobs::{BlobHash, BlobName};
use estafeta_storage::sql::Connection;
use tokio::sync::watch;

use super::sql::blobs::Kept;
use super::sql::pages::Page;
use super::sql::verify::Body;
use super::sql::{self, BlobRow, verify};
use super::{AccountMail, Store, StoreError, contents};

/// How many bodies are asked for at once.
const PAGE: u32 = 500;

/// How far the clock of who keeps bodies may be ahead of ours.
const CLOCKS: Duration = Duration::from_secs(24 * 3600);

/// How many messages of a lost body are named.
const PLACES: u32 = 100;

/// The most findings that are told one by one; further ones are mended and counted alike.
const FINDINGS: usize = 10_000;

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bodies and mailboxes were looked at.
    pub done: u64,
    /// Of how many.
    pub of: u64,
    /// How much was found.
    pub found: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, for the operator.
    pub what: String,
    /// What was done about it, or would be, or who must act.
    pub mending: String,
    /// Whether it is still so.
    pub wrong: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    repair: bool,
    told: Vec<Finding>,
    found: u64,
}

impl Findings {
    fn add(&mut self, what: String, mending: String, wrong: bool) {
        tracing::warn!(what, mending, wrong, "verification");
        self.found += 1;
        if self.told.len() < FINDINGS {
            self.told.push(Finding { what, mending, wrong });
        }
    }

    /// What was mended, or would be.
    fn mendable(&mut self, what: String, how: &str) {
        let mending = if self.repair { how.to_owned() } else { format!("with --repair: {how}") };
        self.add(what, mending, !self.repair);
    }

    fn hopeless(&mut self, what: String, who: &str) {
        self.add(what, who.to_owned(), true);
    }
}

impl Store {
    /// Looks at the whole store, or at what concerns one account, and mends what can be when `repair` says so.
    pub async fn verify(
        &self,
        only: Option<&AccountMail>,
        repair: bool,
        progress: &watch::Sender<Progress>,
    ) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Findings { repair, ..Findings::default() };
        let only = only.map(|mail| mail.row);
        if only.is_none() {
            for line in verify::damage(&mut self.reader().await?).await? {
                findings.hopeless(format!("the database: {line}"), "restore it from a backup");
            }
        }
        let mailboxes = verify::mailboxes(&mut self.reader().await?, only).await?;
        let of_account = match only {
            Some(account) => Some(verify::bodies_of(&mut self.reader().await?, account).await?),
            None => None,
        };
        let bodies = match &of_account {
            Some(bodies) => bodies.len() as u64,
            None => verify::count_bodies(&mut self.reader().await?).await? as u64,
        };
        progress.send_modify(|progress| progress.of = bodies + mailboxes.len() as u64);

        for named in mailboxes {
            let wrong = verify::look(&mut self.snapshot_reader().await?, named.row).await?;
            let which = format!("mailbox {:?} of account {}", named.name, named.account);
            for page in wrong.pages {
                let uids = Page::uids(page);
                let (first, last) = (uids.start(), uids.end());
                findings.mendable(
                    format!("{which}: the flags of UIDs {first} to {last} are damaged, or not those of its messages"),
                    "what can be read is kept, and the other messages have no flags",
                );
                self.mend(repair, async move |connection: &mut Connection| {
                    verify::mend_page(connection, named.row, page).await
                })
                .await?;
            }
            let missing = wrong.numbers;
            if missing != [0; 6] {
                findings.mendable(
                    format!(
                        "{which}: its numbers are off: messages {:+}, unseen {:+}, deleted {:+}, bytes {:+}, next UID {:+}, modification sequence {:+}",
                        missing[0], missing[1], missing[2], missing[3], missing[4], missing[5]
                    ),
                    "counted anew",
                );
                self.mend(repair, async move |connection: &mut Connection| {
                    verify::recount_mailbox(connection, named.row, missing).await
                })
                .await?;
            }
            advance(progress, &findings);
        }
        for (row, account, missing) in verify::miscounted_accounts(&mut self.snapshot_reader().await?, only).await? {
            let what =
                format!("account {account}: its counts are off: messages {:+}, bytes {:+}", missing[0], missing[1]);
            findings.mendable(what, "counted anew");
            self.mend(repair, async move |connection: &mut Connection| {
                verify::recount_account(connection, row, missing).await
            })
            .await?;
        }
        match of_account {
            Some(bodies) => self.verify_bodies(bodies, &mut findings, progress).await?,
            None => {
                for (row, missing) in verify::miscounted_bodies(&mut self.snapshot_reader().await?).await? {
                    findings.mendable(format!("body {}: its references are off: {missing:+}", row.0), "counted anew");
                    self.mend(repair, async move |connection: &mut Connection| {
                        verify::recount_body(connection, row, missing).await
                    })
                    .await?;
                }
                let mut after = BlobRow(0);
                loop {
                    let page = verify::bodies_after(&mut self.reader().await?, after, PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = *last;
                    self.verify_bodies(page, &mut findings, progress).await?;
                }
            }
        }
        Ok(findings.told)
    }

    /// Runs a mending, if there is to be one.
    async fn mend<F>(&self, repair: bool, job: F) -> Result<(), StoreError>
    where
        F: AsyncFnMut(&mut Connection) -> Result<(), StoreError> + Send + 'static,
    {
        if repair { self.run(job).await } else { Ok(()) }
    }

    async fn verify_bodies(
        &self,
        rows: Vec<BlobRow>,
        findings: &mut Findings,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), StoreError> {
        for row in rows {
            if let Some(Body { name, kept, contents }) = verify::body(&mut self.reader().await?, row).await? {
                let in_row = matches!(kept, Kept::Row(..));
                match self.verify_body(name, kept).await? {
                    Ok(body) => self.verify_contents(row, &body, contents, findings).await?,
                    // What was deleted meanwhile is no loss.
                    Err(fault) if verify::body(&mut self.reader().await?, row).await?.is_some() => {
                        let copy = if in_row { None } else { self.other_copy(name).await };
                        self.lost_body(row, name, fault, copy, findings).await?;
                    }
                    Err(_) => {}
                }
            }
            advance(progress, findings);
        }
        Ok(())
    }

    /// Compares what is kept of a body for lists of messages with the body.
    async fn verify_contents(
        &self,
        row: BlobRow,
        body: &Bytes,
        kept: Option<Contents>,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let Some(kept) = kept else { return Ok(()) };
        let made = contents::of(body).await?;
        if kept != made {
            findings.mendable(
                format!(
                    "body {}: what lists of messages show of it (its header, ENVELOPE, …) is not what it says",
                    row.0
                ),
                "read from the body anew",
            );
            self.mend(findings.repair, async move |connection: &mut Connection| {
                sql::contents::renew(connection, row, &made).await
            })
            .await?;
        }
        Ok(())
    }

    /// Reads a body, past every cache, and compares its hash. Gives the body, or says what is wrong. That the store of bodies is
    /// away says nothing of the body.
    pub(super) async fn verify_body(&self, name: BlobName, kept: Kept) -> Result<Result<Bytes, String>, StoreError> {
        let (packing, bytes) = match kept {
            Kept::Row(packing, bytes) => (packing, bytes),
            Kept::File(name) => match self.inner.blobs.get_kept(name).await {
                Ok(bytes) => (name.packing, bytes),
                Err(error) if error.is_away() => return Err(error.into()),
                Err(error) => return Ok(Err(error.to_string())),
            },
        };
        let whole = super::body::computed(move || match packing.unpack(bytes) {
            Ok(body) if BlobHash::of(&body) == name.hash => Ok(body),
            Ok(_) => Err("its bytes are not those of its name".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        Ok(whole.await?)
    }

    /// Puts another copy of a body in its place, or names the messages that have lost it.
    async fn lost_body(
        &self,
        row: BlobRow,
        name: BlobName,
        fault: String,
        copy: Option<Bytes>,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let what = format!("body {} ({name:?}): {fault}", row.0);
        if let Some(bytes) = copy {
            if findings.repair {
                // A name's content never changes: it is written as this name says.
                self.inner.blobs.put(name, name.packing.pack_as(&bytes)?).await?;
            }
            findings.mendable(what, "written anew from another copy");
            return Ok(());
        }
        let places = verify::places(&mut self.reader().await?, row, PLACES).await?;
        let named: Vec<String> = places
            .iter()
            .map(|place| {
                let expunged = if place.expunged { ", expunged" } else { "" };
                format!("{} {:?} UID {}{expunged}", place.account, place.mailbox, place.uid)
            })
            .collect();
        findings.hopeless(
            format!("{what}; named by {}", if named.is_empty() { "no message".into() } else { named.join(", ") }),
            "it cannot be mended here: restore it from a backup",
        );
        Ok(())
    }

    /// The same content under another name.
    async fn other_copy(&self, name: BlobName) -> Option<Bytes> {
        let later = SystemTime::now() + CLOCKS;
        let there = self.inner.blobs.scan(name.hash.0[0].into(), later).await.unwrap_or_default();
        for other in there.into_iter().filter(|other| other.hash == name.hash && *other != name) {
            let Ok(kept) = self.inner.blobs.get_kept(other).await else { continue };
            match other.packing.unpack(kept) {
                Ok(bytes) if BlobHash::of(&bytes) == name.hash => return Some(bytes),
                _ => {}
            }
        }
        None
    }
}

fn advance(progress: &watch::Sender<Progress>, findings: &Findings) {
    progress.send_modify(|progress| {
        progress.done += 1;
        progress.found = findings.found;
    });
}
