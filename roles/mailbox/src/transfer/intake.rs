//! Putting messages into one mailbox, batch by batch, each once.
//!
//! A message is the same as one that is there when text and date of receipt are: so many alike are there already, so many
//! alike of the source are passed over.

use std::collections::HashMap;
use std::fmt::Display;

use estafeta_core::Failure;
use estafeta_storage::blobs::BlobHash;
use tokio::sync::watch;

use super::{Transferred, blocking};
use crate::store::{AccountMail, Mailbox, MailboxName, NewMessage, Progress, Reached, RecentClaim, StoreError};

/// How many messages are put there at once.
const BATCH: usize = 50;

/// And how many bytes, about.
const BATCH_BYTES: usize = 8 << 20;

/// Why a message is refused.
pub const TOO_LARGE: &str = "it is larger than is accepted here";

/// A message's text and date of receipt.
pub type Identity = (BlobHash, i64);

/// Into one mailbox.
pub struct Intake<'a> {
    mail: &'a AccountMail,
    name: MailboxName,
    there: HashMap<Identity, usize>,
    /// How far the source has come over, where that is remembered, and whether it is to be noted.
    reached: Option<(Reached, bool)>,
    batch: Vec<NewMessage>,
    batch_bytes: usize,
    progress: &'a watch::Sender<Progress>,
    done: Transferred,
}

impl<'a> Intake<'a> {
    /// Into the mailbox of this name, which is made when it is missing.
    pub async fn into(
        mail: &'a AccountMail,
        name: MailboxName,
        progress: &'a watch::Sender<Progress>,
    ) -> Result<Self, Failure> {
        let mut intake = Self::anew(mail, name, progress).await?;
        intake.there = identities(&mail.mailbox(&intake.name).await?).await?;
        Ok(intake)
    }

    /// The same for a source that remembers how far it has come over. What is there is looked at only when nothing has.
    pub async fn beyond(
        mail: &'a AccountMail,
        name: MailboxName,
        reached: Reached,
        progress: &'a watch::Sender<Progress>,
    ) -> Result<Self, Failure> {
        let make = if reached.uid == 0 {
            Self::into(mail, name, progress).await
        } else {
            Self::anew(mail, name, progress).await
        };
        Ok(Self { reached: Some((reached, false)), ..make? })
    }

    async fn anew(
        mail: &'a AccountMail,
        name: MailboxName,
        progress: &'a watch::Sender<Progress>,
    ) -> Result<Self, Failure> {
        match mail.create(&name, None).await {
            Ok(()) | Err(StoreError::Exists) => {}
            Err(error) => return Err(error.into()),
        }
        let (there, batch, done) = (HashMap::new(), Vec::new(), Transferred::default());
        Ok(Self { mail, name, there, reached: None, batch, batch_bytes: 0, progress, done })
    }

    /// What is taken next is this message of the source, and all below it has been: so it is noted with what is put.
    pub fn reach(&mut self, uid: u32) {
        if let Some((reached, to_note)) = &mut self.reached {
            (reached.uid, *to_note) = (uid, true);
        }
    }

    /// The next message, or why it could not be read; `place` is where it is.
    pub async fn take(
        &mut self,
        read: Result<(NewMessage, Identity), Failure>,
        place: impl Display,
    ) -> Result<(), Failure> {
        let limit_bytes = self.mail.message_limit_bytes() as usize;
        self.progress.send_modify(|progress| progress.done += 1);
        let read = match read {
            Ok((new, _)) if new.message.is_empty() => Err("it is empty".to_owned()),
            Ok((new, _)) if new.message.len() > limit_bytes => Err(TOO_LARGE.to_owned()),
            read => read.map_err(|failure| failure.to_string()),
        };
        let (new, identity) = match read {
            Ok(read) => read,
            Err(why) => {
                self.refuse(place, why);
                return Ok(());
            }
        };
        if let Some(alike) = self.there.get_mut(&identity).filter(|alike| **alike > 0) {
            *alike -= 1;
            self.done.there_already += 1;
            return Ok(());
        }
        self.batch_bytes += new.message.len();
        self.batch.push(new);
        if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
            self.put().await?;
        }
        Ok(())
    }

    fn refuse(&mut self, place: impl Display, why: impl Display) {
        self.done.refuse(place, why);
        self.progress.send_modify(|progress| progress.found += 1);
    }

    /// Puts what is left, and says what was done.
    pub async fn end(mut self) -> Result<Transferred, Failure> {
        self.put().await?;
        Ok(self.done)
    }

    async fn put(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let messages = batch.len() as u64;
        match &mut self.reached {
            Some((reached, to_note)) if *to_note => {
                self.mail.append_reaching(&self.name, batch, reached.clone()).await?;
                (reached.from, *to_note) = (reached.uid, false);
            }
            _ if messages > 0 => {
                self.mail.append(&self.name, batch).await?;
            }
            _ => {}
        }
        self.done.messages += messages;
        Ok(())
    }
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
