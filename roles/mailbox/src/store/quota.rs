//! Quotas: how much an account may hold, in bytes and in messages, and the warnings on the way there.
//!
//! Invariants: what is added is counted in the transaction that adds it; a warning is a message in the account's INBOX,
//! written in the transaction of its cause, once each time that a threshold is crossed upwards. A warning always has room.

use std::sync::Arc;

use bytes::Bytes;
use estafeta_core::directory::Account;
use estafeta_protocols::date::DateTime;
use estafeta_storage::sql::Connection;

use super::body::{Body, Linking};
use super::hub::Hub;
use super::message::now_seconds;
use super::sql::choice::Choice;
use super::sql::{AccountRow, accounts, mailboxes, messages};
use super::{AccountMail, Flags, MailboxName, StoreError};

/// So many messages, and so many bytes in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// The sum of their sizes.
    pub bytes: u64,
    /// How many.
    pub messages: u64,
}

impl Holding {
    /// What these messages hold.
    pub(super) fn of(choice: &Choice) -> Self {
        Self { bytes: choice.bytes as u64, messages: choice.marks.len() as u64 }
    }

    fn and(self, more: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(more.bytes), messages: self.messages.saturating_add(more.messages) }
    }
}

/// What an account's additions are measured by. Cheap to clone.
#[derive(Clone)]
pub(super) struct Meter {
    row: AccountRow,
    account: Arc<Account>,
    /// Ascending.
    warn_at_percent: Arc<[u8]>,
    hub: Hub,
}

impl AccountMail {
    pub(super) fn meter(&self) -> Meter {
        Meter {
            row: self.row,
            account: self.account.clone(),
            warn_at_percent: self.store.inner.warn_at_percent.clone(),
            hub: self.store.inner.hub.clone(),
        }
    }
}

impl Meter {
    /// Inside the transaction that adds `more`: counts it, and refuses what has no room, which undoes the transaction. Gives
    /// what was there before.
    pub(super) async fn admit(&self, transaction: &mut Connection, more: Holding) -> Result<Holding, StoreError> {
        let after = accounts::count(transaction, self.row, more).await?;
        let exceeds = |limit: Option<u64>, after: u64| limit.is_some_and(|limit| after > limit);
        if exceeds(self.account.quota_bytes, after.bytes) || exceeds(self.account.quota_messages, after.messages) {
            return Err(StoreError::OverQuota);
        }
        Ok(Holding { bytes: after.bytes - more.bytes, messages: after.messages - more.messages })
    }

    /// Inside the transaction, after `more` was added to `before`: puts a warning into INBOX when that crossed a threshold.
    pub(super) async fn warn(
        &self,
        transaction: &mut Connection,
        before: Holding,
        more: Holding,
        bodies: &[Body],
    ) -> Result<(), Linking> {
        let Some(first) = self.crossed(before, before.and(more)) else { return Ok(()) };
        let size = |percent| (self.prefix().len() + warning(&self.account, percent).len()) as u64;
        // The warning itself may cross the next one, of which nobody would hear then.
        let after = before.and(more).and(Holding { bytes: size(first), messages: 1 });
        let text = warning(&self.account, self.crossed(before, after).unwrap_or(first));
        // Its body has to be durable before: the transaction begins again with it.
        let Some(body) = bodies.iter().find(|body| body.is(&text)) else {
            return Err(Linking::Lacks(Box::new(Body::of_text(text))));
        };
        let inbox = mailboxes::select(transaction, self.row, &MailboxName::inbox()).await?;
        let (prefix, now) = (self.prefix(), now_seconds());
        let new = messages::NewRow {
            flags: Flags::default(),
            size: u32::try_from(prefix.len() + text.len()).map_err(|_| StoreError::TooLarge)?,
            internal_date: now,
            saved: now,
            blob: body.link(transaction).await?,
            prefix: &prefix,
        };
        let one = Holding { bytes: new.size.into(), messages: 1 };
        messages::add(transaction, inbox.row, &[new]).await?;
        accounts::count(transaction, self.row, one).await?;
        self.hub.touch(inbox.row);
        tracing::info!(account = %self.account.address, "the account is warned that its quota fills up");
        Ok(())
    }

    /// The highest threshold that lies between.
    fn crossed(&self, before: Holding, after: Holding) -> Option<u8> {
        let crosses = |limit: Option<u64>, percent: u8, before: u64, after: u64| {
            let reached = |held: u64, limit: u64| u128::from(held) * 100 >= u128::from(limit) * u128::from(percent);
            limit.is_some_and(|limit| !reached(before, limit) && reached(after, limit))
        };
        let account = &self.account;
        self.warn_at_percent.iter().copied().rev().find(|percent| {
            crosses(account.quota_bytes, *percent, before.bytes, after.bytes)
                || crosses(account.quota_messages, *percent, before.messages, after.messages)
        })
    }

    /// What stands before a warning: all that differs from one to the next.
    fn prefix(&self) -> Vec<u8> {
        let address = &self.account.address;
        let date = DateTime::from_unix_seconds(now_seconds()).rfc5322();
        // Always of the same length, for what is measured is not what is written.
        let id = format!("{:032x}@{}", fastrand::u128(..), address.domain());
        let trace = format!("Return-Path: <>\r\nDelivered-To: {address}\r\n");
        format!("{trace}Date: {date}\r\nMessage-ID: <{id}>\r\n").into_bytes()
    }
}

/// The warning from its header on. RFC 3834 §5: it says that a program wrote it.
fn warning(account: &Account, percent: u8) -> Bytes {
    let address = &account.address;
    let limits = [
        account.quota_bytes.map(|bytes| format!("{bytes} bytes")),
        account.quota_messages.map(|messages| format!("{messages} messages")),
    ];
    let limits = limits.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let text = format!(
        "From: Postmaster <postmaster@{domain}>\r\nTo: {address}\r\n\
         Subject: Your mailbox is {percent}% full\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n\
         The mailboxes of {address} hold {percent}% or more of what they may hold:\r\n{limits}.\r\n\r\n\
         Once they are full, no new mail can come in. Please delete what you no longer need,\r\n\
         also from Trash and Junk.\r\n",
        domain = address.domain(),
    );
    text.into()
}
