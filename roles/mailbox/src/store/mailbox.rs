//! One mailbox: its messages.

use estafeta_core::Message;
use estafeta_storage::sql::Connection;

use super::message::now_seconds;
use super::sql::choice::Choice;
use super::sql::mailboxes::{Counts, State};
use super::sql::messages::TextRow;
use super::sql::{MailboxRow, expunging, keywords, mailboxes, messages, pages};
use super::{
    AccountMail, Changes, FlagAction, FlagChange, FlagsStored, MailboxName, Mark, MessageEntry, ModSeq, RecentClaim,
    Snapshot, StoreError, SystemFlags, Uid, UidSet, UidValidity, Watcher,
};

/// A mailbox, by its row, so that it stays the same mailbox when it is renamed. Every method answers
/// [`StoreError::NoMailbox`] once it is deleted. Cheap to clone.
#[derive(Clone)]
pub struct Mailbox {
    pub(super) mail: AccountMail,
    pub(super) row: MailboxRow,
    pub(super) uid_validity: UidValidity,
    pub(super) object_number: u64,
}

impl Mailbox {
    /// Whose it is.
    pub fn mail(&self) -> &AccountMail {
        &self.mail
    }

    /// The life of its UIDs, constant for this handle.
    pub fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }

    /// Where it stands. Its UIDs may have begun another life, after a database was lost: then this mailbox is gone.
    pub(super) async fn state(&self, connection: &mut Connection) -> Result<State, StoreError> {
        let state = mailboxes::state(connection, self.row).await?;
        if state.status.uid_validity == self.uid_validity { Ok(state) } else { Err(StoreError::NoMailbox) }
    }

    /// What stands for it, whatever it is called (RFC 8474 §4): never used again.
    pub fn object_number(&self) -> u64 {
        self.object_number
    }

    /// Wakes after every change from now on. Watch first, then take the snapshot, and nothing is missed.
    pub fn watch(&self) -> Watcher {
        self.mail.store.inner.hub.watch([self.row.into()])
    }

    /// The mailbox now.
    pub async fn snapshot(&self, claim: RecentClaim) -> Result<Snapshot, StoreError> {
        let taken = self.take_recent(claim).await?;
        let mut reader = self.mail.store.snapshot_reader().await?;
        let state = self.state(&mut reader).await?;
        Ok(Snapshot {
            uid_validity: state.status.uid_validity,
            uid_next: state.status.uid_next,
            highest_modseq: state.status.highest_modseq,
            recent: taken.unwrap_or(state.recent_from..state.status.uid_next),
            keywords: keywords::list(&mut reader, self.row).await?,
            messages: self.mail.store.inner.known.messages(&mut reader, self.row, &state).await?,
        })
    }

    /// What happened since. [`StoreError::Forgotten`] when expunged messages of that time are no longer known:
    /// then the session ends or starts over with a snapshot.
    pub async fn changes(&self, since: ModSeq, claim: RecentClaim) -> Result<Changes, StoreError> {
        let taken = self.take_recent(claim).await?;
        let mut reader = self.mail.store.snapshot_reader().await?;
        let state = self.state(&mut reader).await?;
        if since < state.forgotten_modseq {
            return Err(StoreError::Forgotten);
        }
        let mut changes = Changes {
            uid_next: state.status.uid_next,
            highest_modseq: state.status.highest_modseq,
            recent: taken.unwrap_or(state.recent_from..state.status.uid_next),
            keywords: keywords::list(&mut reader, self.row).await?,
            changed: Vec::new(),
            expunged: Vec::new(),
        };
        // Whoever has changed something itself is woken by that, too.
        if since < state.status.highest_modseq {
            changes.changed = messages::changed(&mut reader, self.row, since).await?;
            changes.expunged = expunging::expunged(&mut reader, self.row, since).await?;
        }
        Ok(changes)
    }

    /// The UIDs that were expunged since, ascending. [`StoreError::Forgotten`] when those of that time are no longer known.
    pub async fn expunged(&self, since: ModSeq) -> Result<Vec<Uid>, StoreError> {
        let mut reader = self.mail.store.snapshot_reader().await?;
        if since < self.state(&mut reader).await?.forgotten_modseq {
            return Err(StoreError::Forgotten);
        }
        expunging::expunged(&mut reader, self.row, since).await
    }

    /// Takes what is recent, when the claim says so. The database is written only when there is something to take.
    async fn take_recent(&self, claim: RecentClaim) -> Result<Option<std::ops::Range<Uid>>, StoreError> {
        let mailbox = self.clone();
        if claim == RecentClaim::Leave {
            return Ok(None);
        }
        let range = |state: State| state.recent_from..state.status.uid_next;
        let there = range(self.state(&mut self.mail.store.reader().await?).await?);
        if there.is_empty() {
            return Ok(Some(there));
        }
        let row = self.row;
        let take = async move |transaction: &mut Connection| {
            let taken = range(mailbox.state(transaction).await?);
            mailboxes::take_recent(transaction, row).await?;
            Ok(Some(taken))
        };
        self.mail.store.run(take).await
    }

    /// Messages by UID, as they are now; what is gone is missing.
    pub async fn messages(&self, uids: &UidSet) -> Result<Vec<MessageEntry>, StoreError> {
        let mut reader = self.mail.store.snapshot_reader().await?;
        self.state(&mut reader).await?;
        messages::find(&mut reader, self.row, uids).await
    }

    /// A message's text. A large one is mapped, not read. [`StoreError::NoMessage`] when it is gone.
    pub async fn text(&self, uid: Uid) -> Result<Message, StoreError> {
        let found = self.texts(&UidSet::from_uids([uid])).await?;
        self.open(found.into_iter().next().ok_or(StoreError::NoMessage)?).await
    }

    /// Where the texts of these messages are, by UID; what is gone is missing. Small bodies come along: for as many as may
    /// be held at once.
    pub async fn texts(&self, uids: &UidSet) -> Result<Vec<TextRow>, StoreError> {
        messages::texts(&mut self.mail.store.reader().await?, self.row, uids).await
    }

    /// The text itself. [`StoreError::NoMessage`] when it is gone since.
    pub async fn open(&self, TextRow { uid, prefix, body }: TextRow) -> Result<Message, StoreError> {
        let body = match self.mail.store.unkeep(body).await {
            // Expunged, and its body deleted, since the row was read. Otherwise it is a loss, which the operator must
            // see.
            Err(error) if error.is_missing() && self.texts(&UidSet::from_uids([uid])).await?.is_empty() => {
                return Err(StoreError::NoMessage);
            }
            other => other?,
        };
        let message = Message::new(body);
        Ok(if prefix.is_empty() { message } else { message.with_prefix(prefix) })
    }

    /// Changes flags. With `unchanged_since`, messages that changed later are left alone. A message whose flags
    /// already are what is asked keeps its modification sequence. What is gone is passed over. Of very many, some are
    /// changed at once, so that others have their turn in between.
    /// [`StoreError::Limit`] when the mailbox has no room for another keyword.
    pub async fn store_flags(
        &self,
        uids: &UidSet,
        change: &FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<FlagsStored, StoreError> {
        let (mut stored, mut rest) = self.store_some_flags(uids, change, unchanged_since).await?;
        while !rest.is_empty() {
            let (some, left) = self.store_some_flags(&rest, change, unchanged_since).await?;
            stored.alone &= some.before == stored.modseq;
            stored.modseq = some.modseq;
            stored.messages.extend(some.messages);
            stored.modified.extend(some.modified);
            rest = left;
        }
        Ok(stored)
    }

    /// Does so with the first of them, and gives those that are left.
    async fn store_some_flags(
        &self,
        uids: &UidSet,
        change: &FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<(FlagsStored, UidSet), StoreError> {
        let mailbox = self.clone();
        let (row, uids, change, hub) = (self.row, uids.clone(), change.clone(), self.mail.store.inner.hub.clone());
        let job = async move |transaction: &mut Connection| {
            let state = mailbox.state(transaction).await?;
            let before = state.status.highest_modseq;
            let keywords = match change.action {
                FlagAction::Remove => keywords::list(transaction, row).await?,
                FlagAction::Add | FlagAction::Replace | FlagAction::ReplaceWithin(_) => {
                    keywords::learn(transaction, row, &change.keywords).await?
                }
            };
            if change.action != FlagAction::Remove
                && change.keywords.iter().any(|keyword| keywords.bit(keyword).is_none())
            {
                return Err(StoreError::Limit("the mailbox has no room for another keyword"));
            }
            let (pages, left) = pages::first_of(transaction, row, &uids).await?;
            let (mut messages, mut modified, mut counts) = (Vec::new(), Vec::new(), Counts::default());
            let (mut changed, next) = (Vec::new(), ModSeq(before.0 + 1));
            for mut page in pages {
                for mark in page.marks.iter_mut().filter(|mark| uids.contains(mark.uid)) {
                    let flags = change.apply(mark.flags, &keywords);
                    if unchanged_since.is_some_and(|since| mark.modseq > since) {
                        modified.push(mark.uid);
                    } else if flags != mark.flags {
                        counts.turn(mark.flags, flags);
                        (mark.flags, mark.modseq, page.modseq) = (flags, next, next);
                    }
                    messages.push(*mark);
                }
                changed.extend(Some(page).filter(|page| page.modseq == next));
            }
            for page in &changed {
                pages::write(transaction, row, page).await?;
            }
            if !changed.is_empty() {
                mailboxes::advance(transaction, row, 0, counts).await?;
                hub.touch(row);
            }
            let modseq = if changed.is_empty() { before } else { next };
            Ok((FlagsStored { before, modseq, alone: true, messages, modified, keywords }, left))
        };
        self.mail.store.run(job).await
    }

    /// Removes those of the messages that have `\Deleted`, and gives their UIDs, ascending. Of very many, some are removed at
    /// once, so that others have their turn in between.
    pub async fn expunge(&self, uids: &UidSet) -> Result<Vec<Uid>, StoreError> {
        let (mut expunged, mut rest) = (Vec::new(), uids.clone());
        while !rest.is_empty() {
            let row = self.row;
            let first = async move |transaction: &mut Connection| {
                let (pages, left) = pages::first_of(transaction, row, &rest).await?;
                let deleted = |mark: &Mark| mark.flags.system.contains(SystemFlags::DELETED) && rest.contains(mark.uid);
                Ok((Choice::among(transaction, row, pages, deleted).await?, left))
            };
            let (some, left) = self.remove_those(first).await?;
            expunged.extend(some);
            rest = left;
        }
        Ok(expunged)
    }

    /// The same, where those of `uids` that have `\Deleted` are known to be `likely`, or were so a moment ago: all are looked at
    /// only when there are others.
    pub async fn expunge_likely(&self, uids: &UidSet, likely: &UidSet) -> Result<Vec<Uid>, StoreError> {
        let mut expunged = self.expunge(likely).await?;
        if self.state(&mut self.mail.store.reader().await?).await?.status.deleted > 0 {
            expunged.extend(self.expunge(uids).await?);
            expunged.sort_unstable();
        }
        Ok(expunged)
    }

    /// Removes the messages whatever their flags, all or none, and gives the UIDs of those that were there: what POP3 does.
    pub async fn remove(&self, uids: &UidSet) -> Result<Vec<Uid>, StoreError> {
        let (row, uids) = (self.row, uids.clone());
        let all = async move |transaction: &mut Connection| {
            Ok((Choice::of(transaction, row, &uids).await?, UidSet::default()))
        };
        Ok(self.remove_those(all).await?.0)
    }

    /// Removes all but what goes in one turn, of a mailbox that is about to be deleted, while it has this name.
    pub(super) async fn thin_out(&self, name: &MailboxName) -> Result<(), StoreError> {
        let (row, account, name) = (self.row, self.mail.row, name);
        let first = || {
            let name = name.clone();
            async move |transaction: &mut Connection| {
                if mailboxes::select(transaction, account, &name).await?.row != row {
                    return Err(StoreError::NoMailbox);
                }
                let (pages, left) = pages::first_of(transaction, row, &UidSet::all()).await?;
                let pages = if left.is_empty() { Vec::new() } else { pages };
                Ok((Choice::among(transaction, row, pages, |_| true).await?, left))
            }
        };
        while !self.remove_those(first()).await?.1.is_empty() {}
        Ok(())
    }

    /// Removes what is chosen, and gives the UIDs, and what the choice left for later.
    async fn remove_those<F>(&self, choose: F) -> Result<(Vec<Uid>, UidSet), StoreError>
    where
        F: AsyncFn(&mut Connection) -> Result<(Choice, UidSet), StoreError> + Send + 'static,
    {
        let (mailbox, row, remains) = (self.clone(), self.row, self.mail.store.inner.remains);
        let hub = self.mail.store.inner.hub.clone();
        let job = async move |transaction: &mut Connection| {
            mailbox.state(transaction).await?;
            let (chosen, left) = choose(transaction).await?;
            if !chosen.marks.is_empty() {
                expunging::expunge(transaction, row, &chosen, (now_seconds(), remains)).await?;
                hub.touch(row);
            }
            Ok((chosen.marks.into_iter().map(|mark| mark.uid).collect(), left))
        };
        self.mail.store.run(job).await
    }

    /// What expunging those with `\\Deleted` would free, in bytes.
    pub async fn deleted_bytes(&self) -> Result<u64, StoreError> {
        messages::deleted_bytes(&mut self.mail.store.reader().await?, self.row).await
    }
}
