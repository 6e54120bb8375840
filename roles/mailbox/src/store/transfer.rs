//! COPY and MOVE from one mailbox to another of the same store. Of very many messages some go at once, so that others have
//! their turn in between.
//!
//! A move that stops on its way has moved some (RFC 6851 §3.3). A copy is whole or is undone (RFC 9051 §6.4.7): until its last
//! turn, `unfinished_copies` says what it has put where. Whoever stops takes that back; after a crash the store does so when it is
//! opened, and on PostgreSQL, where another node's copy may be under way, when it has not been heard of for long.

use std::sync::Arc;

use estafeta_storage::sql::Connection;

use super::body::{Body, Linking};
use super::message::now_seconds;
use super::sql::choice::Choice;
use super::sql::unfinished::{self, CopyNumber, Which};
use super::sql::{accounts, messages, pages};
use super::{AccountMail, Copied, FlagScope, Holding, Mailbox, MailboxName, Store, StoreError, Uid, UidSet};

/// What a move did.
#[derive(Debug)]
pub struct Moved {
    /// What it moved.
    pub copied: Copied,
    /// Why it went no further, when it did not move all.
    pub stopped: Option<StoreError>,
}

/// What becomes of the messages.
#[derive(Clone, Copy)]
pub(super) enum Transfer {
    Move,
    Copy {
        number: CopyNumber,
        /// How many turns before this one have put something there.
        turns: u64,
    },
}

impl Mailbox {
    /// Copies messages with their flags and dates into another mailbox of the same account (or this one): all or none.
    pub async fn copy(&self, uids: &UidSet, to: &MailboxName) -> Result<Copied, StoreError> {
        self.copy_to(uids, (&self.mail, to), FlagScope::ALL).await
    }

    /// Copies messages into a mailbox of an account of this store, whose quota has to hold them, with those of their flags
    /// that are in the scope: all or none. While it copies very many, others see those that are there.
    pub async fn copy_to(
        &self,
        uids: &UidSet,
        (owner, to): (&AccountMail, &MailboxName),
        scope: FlagScope,
    ) -> Result<Copied, StoreError> {
        let target = owner.mailbox(to).await?;
        let mut undo = Undo { store: self.mail.store.clone(), number: CopyNumber::draw(), is_due: false };
        let mut copied = Copied { uid_validity: target.uid_validity, uids: Vec::new() };
        let mut rest = self.those_before(uids, &target).await?;
        self.check_room(&rest, owner).await?;
        let mut turns = 0;
        while !rest.is_empty() {
            let how = Transfer::Copy { number: undo.number, turns };
            // Until it is known to be over, something may be there.
            undo.is_due = true;
            match self.transfer_some(&rest, &target, scope, how).await {
                Ok((some, left)) => {
                    turns += u64::from(!some.is_empty());
                    copied.uids.extend(some);
                    rest = left;
                    undo.is_due = !rest.is_empty();
                }
                Err(error) => {
                    // What was refused in the first turn has done nothing; of what failed that is not known.
                    undo.is_due = turns > 0 || matches!(error, StoreError::Storage(_));
                    undo.now().await;
                    return Err(error);
                }
            }
        }
        Ok(copied)
    }

    /// Moves messages: a copy and an expunge in one. The target may be this mailbox: they get new UIDs.
    pub async fn move_to(&self, uids: &UidSet, to: &MailboxName) -> Result<Moved, StoreError> {
        self.relocate_to(uids, (&self.mail, to), FlagScope::ALL).await
    }

    /// Moves messages into a mailbox of an account of this store, with those of their flags that are in the scope. The quota
    /// of another account than this one has to hold them. An error when none was moved.
    pub async fn relocate_to(
        &self,
        uids: &UidSet,
        (owner, to): (&AccountMail, &MailboxName),
        scope: FlagScope,
    ) -> Result<Moved, StoreError> {
        let target = owner.mailbox(to).await?;
        let mut copied = Copied { uid_validity: target.uid_validity, uids: Vec::new() };
        let mut rest = self.those_before(uids, &target).await?;
        while !rest.is_empty() {
            match self.transfer_some(&rest, &target, scope, Transfer::Move).await {
                Ok((some, left)) => {
                    copied.uids.extend(some);
                    rest = left;
                }
                Err(error) if copied.uids.is_empty() => return Err(error),
                Err(error) => return Ok(Moved { copied, stopped: Some(error) }),
            }
        }
        Ok(Moved { copied, stopped: None })
    }

    /// Refuses at once what has no room: what goes in several turns would fill the account before it is undone.
    async fn check_room(&self, uids: &UidSet, owner: &AccountMail) -> Result<(), StoreError> {
        if uids.ranges().map(|range| u64::from(range.end() - range.start()) + 1).sum::<u64>() <= pages::TURN as u64 {
            return Ok(());
        }
        let more = messages::holding(&mut self.mail.store.reader().await?, self.row, uids).await?;
        if owner.usage().await?.holds(more) { Ok(()) } else { Err(StoreError::OverQuota) }
    }

    /// Those that are meant: where they go to where they are, what comes by that is not.
    async fn those_before(&self, uids: &UidSet, target: &Self) -> Result<UidSet, StoreError> {
        if self.row != target.row {
            return Ok(uids.clone());
        }
        let state = self.state(&mut self.mail.store.reader().await?).await?;
        Ok(uids.split_behind(Uid(state.status.uid_next.0 - 1)).0)
    }

    /// Transfers the first of them. Gives UID here and UID there, and those that are left.
    pub(super) async fn transfer_some(
        &self,
        uids: &UidSet,
        target: &Self,
        scope: FlagScope,
        how: Transfer,
    ) -> Result<(Vec<(Uid, Uid)>, UidSet), StoreError> {
        let (mailbox, target, row, account) = (self.clone(), target.clone(), self.row, target.mail.row);
        let is_counted = matches!(how, Transfer::Copy { .. }) || account != self.mail.row;
        let meter = is_counted.then(|| target.mail.meter());
        let transfer = |store: Store, bodies: Arc<[Body]>| {
            let (uids, hub, meter) = (uids.clone(), store.inner.hub.clone(), meter.clone());
            let (mailbox, target) = (mailbox.clone(), target.clone());
            let job = async move |transaction: &mut Connection| -> Result<_, Linking> {
                mailbox.state(transaction).await?;
                accounts::lock(transaction, account).await?;
                target.state(transaction).await?;
                let (pages, left) = pages::first_of(transaction, row, &uids).await?;
                let chosen = Choice::among(transaction, row, pages, |mark| uids.contains(mark.uid)).await?;
                let more = Holding::of(&chosen);
                let before = match &meter {
                    Some(meter) => Some(meter.admit(transaction, more).await?),
                    None => accounts::count(transaction, account, more).await.map(|_| None)?,
                };
                hub.touch(target.row);
                let now = now_seconds();
                let transferred = match how {
                    Transfer::Move => {
                        hub.touch(row);
                        messages::relocate(transaction, row, &chosen, target.row, scope, now).await?
                    }
                    Transfer::Copy { number, turns } => {
                        if turns > 0 {
                            unfinished::go_on(transaction, number, turns, now).await?;
                        }
                        let copied = messages::duplicate(transaction, row, &chosen, target.row, scope, now).await?;
                        if !left.is_empty() {
                            unfinished::note(transaction, number, target.row, &copied, now).await?;
                        } else if turns > 0 {
                            unfinished::end(transaction, number).await?;
                        }
                        copied
                    }
                };
                if let (Some(meter), Some(before)) = (&meter, before) {
                    meter.warn(transaction, before, more, &bodies).await?;
                }
                Ok((transferred, left))
            };
            async move { store.run_linking(job).await }
        };
        self.mail.store.with_bodies(Vec::new(), transfer).await
    }
}

/// Takes back what a copy has done that goes no further: because it failed, or because nobody waits for it any more.
struct Undo {
    store: Store,
    number: CopyNumber,
    is_due: bool,
}

impl Undo {
    async fn now(mut self) {
        if self.is_due {
            take_back(&self.store, self.number).await;
        }
        self.is_due = false;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_due, tokio::runtime::Handle::try_current()) {
            let (store, number) = (self.store.clone(), self.number);
            runtime.spawn(async move { take_back(&store, number).await });
        }
    }
}

async fn take_back(store: &Store, number: CopyNumber) {
    if let Err(error) = store.undo_copies(Which::Number(number)).await {
        tracing::warn!(%error, "what a copy may have done before it stopped is undone later");
    }
}

impl Store {
    /// Takes back what copies did that came to no end, and gives how many messages that were.
    pub(super) async fn undo_copies(&self, which: Which) -> Result<u64, StoreError> {
        // Behind what the same account has asked before. Which accounts are locked is read within.
        let owner = self.owner.map_or(0, |(row, _)| row.0);
        let mut undone = 0;
        loop {
            let hub = self.inner.hub.clone();
            let some = async move |transaction: &mut Connection| {
                let some = unfinished::undo_some(transaction, which, now_seconds()).await?;
                Ok::<_, StoreError>(some.map(|some| {
                    hub.touch(some.mailbox);
                    some.messages
                }))
            };
            match self.inner.database.run_for(owner, some).await? {
                Some(messages) => undone += messages,
                None => return Ok(undone),
            }
        }
    }
}
