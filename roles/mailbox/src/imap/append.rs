//! APPEND (RFC 3501 §6.3.11): a message comes in piece by piece, and is acknowledged when it is durable.

use estafeta_protocols::imap::command::append::Append;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_storage::StorageError;
use estafeta_storage::spool::Spool;

use super::engine::Engine;
use super::line_ends::LineEnds;
use super::refusal::{Outcome, Refused};
use super::translate::{store_flags, store_name, wire_uid, wire_validity};
use crate::store::{AccountMail, Keyword, MailboxName, NewMessage, StoreError, SystemFlags};

/// A message on its way in.
pub(super) struct Appending {
    mailbox: MailboxName,
    system: SystemFlags,
    keywords: Vec<Keyword>,
    /// In seconds since 1970.
    internal_date: Option<i64>,
    line_ends: LineEnds,
    spool: Spool,
}

impl Engine {
    /// Refuses what can be refused before the message is sent.
    pub(super) async fn begin_append(&mut self, append: &Append) -> Result<Appending, Refused> {
        let mailbox = store_name(&append.mailbox)?;
        let (system, keywords) = store_flags(&append.flags)?;
        self.mail.mailbox(&mailbox).await.map_err(Refused::of_target)?;
        if append.size == 0 {
            return Err(Refused::no("An empty message cannot be stored"));
        }
        let usage = self.mail.usage().await?;
        if !usage.holds_one_more(append.size) {
            return Err(StoreError::OverQuota.into());
        }
        let internal_date = append.date.map(|date| date.unix_seconds());
        let (line_ends, spool) = (LineEnds::new(), self.mail.spool());
        Ok(Appending { mailbox, system, keywords, internal_date, line_ends, spool })
    }
}

impl Appending {
    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.spool.write(&self.line_ends.mend(bytes)).await.map_err(of_spool)
    }

    /// Stores it durably.
    pub(super) async fn store(self, mail: &AccountMail) -> Outcome {
        let Self { mailbox, system, keywords, internal_date, line_ends, mut spool } = self;
        spool.write(line_ends.finish()).await.map_err(of_spool)?;
        let message = spool.finish().await.map_err(of_spool)?;
        let new = NewMessage { message, system, keywords, internal_date };
        let appended = mail.append(&mailbox, vec![new]).await.map_err(Refused::of_target)?;
        let completion = Completion::ok("APPEND completed");
        Ok(match (wire_validity(appended.uid_validity), wire_uid(appended.uids.start)) {
            (Some(validity), Some(uid)) => completion.with(Code::AppendUid(validity, uid)),
            _ => completion,
        })
    }
}

fn of_spool(error: StorageError) -> Refused {
    match error {
        StorageError::TooLarge { .. } => StoreError::TooLarge.into(),
        other => StoreError::Storage(other).into(),
    }
}
