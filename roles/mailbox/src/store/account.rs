//! One account's mail: its mailboxes, by name.

use estafeta_storage::sql::Connection;
use std::sync::Arc;

use estafeta_core::directory::Account;
use estafeta_storage::spool::Spool;

use super::body::{Body, Linking};
use super::message::now_seconds;
use super::sql::choice::Choice;
use super::sql::mailboxes::Found;
use super::sql::{AccountRow, MailboxRow, accounts, expunging, imports, keywords, mailboxes, messages};
use super::{
    Appended, Flags, Holding, Mailbox, MailboxName, MailboxStatus, NewMessage, Reached, SpecialUse, Store, StoreError,
    Uid, UidSet, Usage,
};

/// An account's mail. Cheap to clone.
#[derive(Clone)]
pub struct AccountMail {
    pub(super) store: Store,
    pub(super) row: AccountRow,
    pub(super) account: Arc<Account>,
}

/// A mailbox in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxEntry {
    /// Its name.
    pub name: MailboxName,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Whether it can be selected; not when it only holds others (`\Noselect`).
    pub selectable: bool,
    /// Whether there are others below it.
    pub has_children: bool,
    /// Whether the account is subscribed to it.
    pub subscribed: bool,
}

impl AccountMail {
    /// Where it is kept.
    #[cfg(test)]
    pub fn store(&self) -> Store {
        Store { owner: None, ..self.store.clone() }
    }

    /// Whose mail this is.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Takes over how much the account may hold from what is known of it now. What is known of another changes nothing.
    pub fn take_limits(&mut self, now: &Account) {
        if now.id == self.account.id {
            let Account { quota_bytes, quota_messages, .. } = *now;
            self.account = Arc::new(Account { quota_bytes, quota_messages, ..self.account.as_ref().clone() });
        }
    }

    /// The largest message that is taken, in bytes.
    pub fn message_limit_bytes(&self) -> u32 {
        self.store.message_limit_bytes()
    }

    /// Every mailbox, by name, INBOX first. The superiors of a mailbox always exist, if only to hold it.
    pub async fn mailboxes(&self) -> Result<Vec<MailboxEntry>, StoreError> {
        mailboxes::list(&mut self.store.reader().await?, self.row).await
    }

    /// Every name that the account is subscribed to, by name, whether the mailbox exists or not (RFC 9051 §6.3.7).
    pub async fn subscriptions(&self) -> Result<Vec<MailboxName>, StoreError> {
        mailboxes::subscriptions(&mut self.store.reader().await?, self.row).await
    }

    /// Subscribes to a name. Twice is once.
    pub async fn subscribe(&self, name: &MailboxName) -> Result<(), StoreError> {
        let (row, name, hub) = (self.row, name.clone(), self.store.inner.hub.clone());
        let subscribe = async move |transaction: &mut Connection| {
            hub.touch(row);
            mailboxes::subscribe(transaction, row, &name).await
        };
        self.store.run(subscribe).await
    }

    /// Ends a subscription. Nothing happens when there is none.
    pub async fn unsubscribe(&self, name: &MailboxName) -> Result<(), StoreError> {
        let (row, name, hub) = (self.row, name.clone(), self.store.inner.hub.clone());
        let unsubscribe = async move |transaction: &mut Connection| {
            hub.touch(row);
            mailboxes::unsubscribe(transaction, row, &name).await
        };
        self.store.run(unsubscribe).await
    }

    /// Makes a mailbox, and its superiors where they are missing. A name that only held others becomes a mailbox.
    pub async fn create(&self, name: &MailboxName, special_use: Option<SpecialUse>) -> Result<(), StoreError> {
        let (row, name, hub) = (self.row, name.clone(), self.store.inner.hub.clone());
        self.store
            .run(async move |transaction| {
                hub.touch(row);
                mailboxes::create(transaction, row, &name, special_use).await
            })
            .await
    }

    /// Deletes a mailbox and its messages, which can be had back for a while. While others lie below it, its name stays to
    /// hold them (`\Noselect`). What of very many messages went before it failed is expunged.
    /// [`StoreError::NotAllowed`] for INBOX and for a name that only holds others.
    pub async fn delete(&self, name: &MailboxName) -> Result<(), StoreError> {
        if name.is_inbox() {
            return Err(StoreError::NotAllowed("INBOX cannot be deleted"));
        }
        let mailbox = match self.mailbox(name).await {
            // RFC 9051 §6.3.5: it is an error to delete a name that has inferiors and \Noselect.
            Err(StoreError::NotSelectable) => {
                return Err(StoreError::NotAllowed("delete the mailboxes below it first"));
            }
            found => found?,
        };
        mailbox.thin_out(name).await?;
        let (row, name, hub) = (self.row, name.clone(), self.store.inner.hub.clone());
        let remains = self.store.inner.remains;
        self.store
            .run(async move |transaction| {
                let found = mailboxes::select(transaction, row, &name).await?;
                if found.row != mailbox.row {
                    return Err(StoreError::NoMailbox);
                }
                mailboxes::remove(transaction, found.row, (now_seconds(), remains)).await?;
                hub.touch(found.row);
                hub.touch(row);
                if mailboxes::has_inferiors(transaction, row, &name).await? {
                    mailboxes::insert(transaction, row, &name, false, None).await
                } else {
                    mailboxes::remove_idle_superiors(transaction, row, &name).await
                }
            })
            .await
    }

    /// Renames a mailbox and all below it. INBOX stays, and its messages move to the new mailbox (RFC 9051 §6.3.6).
    pub async fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<(), StoreError> {
        if from.is_inbox() {
            return self.move_inbox(from, to).await;
        }
        if from.is_above(to) {
            return Err(StoreError::NotAllowed("a mailbox cannot be moved below itself"));
        }
        let (row, from, to, hub) = (self.row, from.clone(), to.clone(), self.store.inner.hub.clone());
        self.store
            .run(async move |transaction| {
                mailboxes::find(transaction, row, &from).await?.ok_or(StoreError::NoMailbox)?;
                if mailboxes::find(transaction, row, &to).await?.is_some() {
                    return Err(StoreError::Exists);
                }
                hub.touch(row);
                mailboxes::insert_superiors(transaction, row, &to).await?;
                mailboxes::rename(transaction, row, &from, &to).await?;
                mailboxes::remove_idle_superiors(transaction, row, &from).await
            })
            .await
    }

    /// What fails on its way leaves the new mailbox: what has moved is in it, and of a turn that broke off that is not known.
    async fn move_inbox(&self, inbox: &MailboxName, to: &MailboxName) -> Result<(), StoreError> {
        if mailboxes::find(&mut self.store.reader().await?, self.row, to).await?.is_some() {
            return Err(StoreError::Exists);
        }
        self.create(to, None).await?;
        let moved = self.mailbox(inbox).await?.move_to(&UidSet::all(), to).await?;
        moved.stopped.map_or(Ok(()), Err)
    }

    /// A mailbox to read and change. [`StoreError::NotSelectable`] for a name that only holds others.
    pub async fn mailbox(&self, name: &MailboxName) -> Result<Mailbox, StoreError> {
        let found = mailboxes::select(&mut self.store.reader().await?, self.row, name).await?;
        let Found { row, uid_validity, object_number, .. } = found;
        Ok(Mailbox { mail: self.clone(), row, uid_validity, object_number })
    }

    /// What STATUS says of a mailbox, without reading its messages.
    pub async fn status(&self, name: &MailboxName) -> Result<MailboxStatus, StoreError> {
        let mut reader = self.store.snapshot_reader().await?;
        let found = mailboxes::select(&mut reader, self.row, name).await?;
        let state = mailboxes::state(&mut reader, found.row).await?;
        let recent = messages::count_from(&mut reader, found.row, state.recent_from).await?;
        Ok(MailboxStatus { recent, ..state.status })
    }

    /// Where the text of a message to append is gathered: memory at first, then a file. It takes what the store takes.
    pub fn spool(&self) -> Spool {
        self.store.spool()
    }

    /// Puts messages into a mailbox: all or none. For [`StoreError::NoMailbox`] the client is told TRYCREATE.
    pub async fn append(&self, to: &MailboxName, new: Vec<NewMessage>) -> Result<Appended, StoreError> {
        self.put(to, new, None, None).await
    }

    /// Puts a message into a mailbox and expunges another, of this mailbox or that: both or none.
    /// [`StoreError::NoMessage`] when the other is gone already.
    pub async fn replace(
        &self,
        (from, uid): (&Mailbox, Uid),
        to: &MailboxName,
        new: NewMessage,
    ) -> Result<Appended, StoreError> {
        self.put(to, vec![new], Some((from.mail.row, (from.row, uid))), None).await
    }

    pub(super) async fn put(
        &self,
        to: &MailboxName,
        new: Vec<NewMessage>,
        replaced: Option<(AccountRow, (MailboxRow, Uid))>,
        reached: Option<Reached>,
    ) -> Result<Appended, StoreError> {
        let mut rows = Vec::with_capacity(new.len());
        let mut bodies = Vec::with_capacity(new.len());
        for message in new {
            let size = self.store.check_size(&message.message)?;
            let (prefix, body) = Body::of(&message.message).await?;
            rows.push((size, prefix, message.system, message.keywords, message.internal_date));
            bodies.push(body);
        }
        let rows = Arc::new(rows);
        let (row, meter, remains) = (self.row, self.meter(), self.store.inner.remains);
        let bytes = rows.iter().map(|(size, ..)| u64::from(*size)).sum();
        let more = Holding { bytes, messages: rows.len() as u64 };
        let append = |store: Store, bodies: Arc<[Body]>| {
            let (to, rows, hub, meter) = (to.clone(), rows.clone(), store.inner.hub.clone(), meter.clone());
            let reached = reached.clone();
            let job = async move |transaction: &mut Connection| -> Result<Appended, Linking> {
                // Accounts before mailboxes, and each in the order of their numbers.
                let other = replaced.map(|(other, _)| other).filter(|other| other.0 != row.0);
                let mut accounts: Vec<AccountRow> = other.into_iter().chain([row]).collect();
                accounts.sort_unstable_by_key(|account| account.0);
                for account in accounts {
                    accounts::lock(transaction, account).await?;
                }
                let found = mailboxes::select(transaction, row, &to).await?;
                let now = now_seconds();
                if let Some((_, (source, uid))) = replaced {
                    hub.touch(source);
                    let choice = Choice::of(transaction, source, &UidSet::from_uids([uid])).await?;
                    if choice.marks.is_empty() {
                        return Err(StoreError::NoMessage.into());
                    }
                    expunging::expunge(transaction, source, &choice, (now, remains)).await?;
                }
                // What was replaced has made room.
                let before = meter.admit(transaction, more).await?;
                let known =
                    keywords::learn(transaction, found.row, rows.iter().flat_map(|(.., keywords, _)| keywords)).await?;
                let mut new = Vec::with_capacity(rows.len());
                for ((size, prefix, system, keywords, internal_date), body) in rows.iter().zip(&*bodies) {
                    new.push(messages::NewRow {
                        flags: Flags { system: *system, keywords: known.bits(keywords) },
                        size: *size,
                        internal_date: internal_date.unwrap_or(now),
                        saved: now,
                        blob: body.link(transaction).await?,
                        prefix,
                    });
                }
                let first = messages::add(transaction, found.row, &new).await?.first_uid;
                if let Some(reached) = &reached {
                    imports::note(transaction, row, reached).await?;
                }
                hub.touch(found.row);
                meter.warn(transaction, before, more, &bodies).await?;
                Ok(Appended { uid_validity: found.uid_validity, uids: Uid(first)..Uid(first + new.len() as u32) })
            };
            async move { store.run_linking(job).await }
        };
        self.store.with_bodies(bodies, append).await
    }

    /// Whose mail it is.
    pub fn address(&self) -> String {
        self.account.address.to_string()
    }

    /// Where its administrators are reached: a URL.
    pub fn postmaster(&self) -> String {
        format!("mailto:postmaster@{}", self.account.address.domain())
    }

    /// How much the account holds.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        let Holding { bytes: used_bytes, messages } =
            accounts::holding(&mut self.store.reader().await?, self.row).await?;
        let Account { quota_bytes: limit_bytes, quota_messages: limit_messages, .. } = *self.account;
        Ok(Usage { used_bytes, messages, limit_bytes, limit_messages })
    }
}
