//! The side that an account leaves.

use bytes::Bytes;
use estafeta_core::{AccountId, DeliveryId};
use estafeta_storage::sql::Connection;

use super::{ImageOfAccount, Octets, Page, moment};
use crate::store::hub::Subject;
use crate::store::message::now_seconds;
use crate::store::sql::images;
use crate::store::sql::relocation::{self, Standing, State};
use crate::store::sql::unfinished::{self, Which};
use crate::store::sql::{MailboxRow, accounts, messages};
use crate::store::{Store, StoreError, Uid, UidSet};

/// About how many bytes of bodies are given at once.
const BODIES_BYTES: usize = 8 << 20;

/// How many messages a page has at most, and how many expunged ones.
const MESSAGES: u32 = 1000;
const EXPUNGED: u32 = 5000;

/// How many deliveries.
const DELIVERIES: u32 = 5000;

/// An account that leaves, for one attempt.
#[derive(Clone)]
pub struct Leaving {
    store: Store,
    account: AccountId,
    attempt: String,
}

impl Store {
    /// An account that leaves, or is to leave.
    pub fn leaving(&self, account: AccountId, attempt: String) -> Leaving {
        Leaving { store: self.clone(), account, attempt }
    }

    /// Lets an account stay that was leaving. False when it was not. [`StoreError::Gone`] when it is too late.
    pub async fn stay(&self, account: AccountId) -> Result<bool, StoreError> {
        let hub = self.inner.hub.clone();
        let job = async move |transaction: &mut Connection| match relocation::standing(transaction, account).await? {
            Some(Standing { state: State::Gone, .. }) => Err(StoreError::Gone),
            Some(Standing { row, state: State::Moving, attempt, comes_from: None }) => {
                hub.touch(Subject::Sharing);
                // So that the attempt finds itself void.
                let void = attempt.map(|attempt| format!("void {attempt}"));
                relocation::set_leaving(transaction, row, State::Present, void.as_deref(), now_seconds()).await?;
                Ok(true)
            }
            _ => Ok(false),
        };
        self.run(job).await
    }
}

impl Leaving {
    /// From now on nobody writes. Again is the same. [`StoreError::NotAllowed`] when the attempt is void.
    pub async fn freeze(&self) -> Result<(), StoreError> {
        let (account, attempt, hub) = (self.account, self.attempt.clone(), self.store.inner.hub.clone());
        let standing = relocation::standing(&mut self.store.reader().await?, account).await?;
        if let Some(Standing { state: State::Present, row, .. }) = standing {
            // In turns; what a copy adds meanwhile, in the turn that freezes.
            self.store.undo_copies(Which::Into(row)).await?;
        }
        let job = async move |transaction: &mut Connection| {
            let standing = match relocation::standing(transaction, account).await? {
                Some(standing) => standing,
                None => {
                    // It never came here, and now it never will.
                    accounts::insert(transaction, account).await?;
                    relocation::standing(transaction, account).await?.ok_or(StoreError::Moving)?
                }
            };
            let same = standing.attempt.as_deref() == Some(attempt.as_str());
            match standing.state {
                _ if standing.attempt == Some(format!("void {attempt}")) => Err(VOID),
                State::Moving | State::Gone if same => Ok(()),
                State::Present => {
                    // A copy that is under way learns at its next turn that it may not go on.
                    let copies = Which::Into(standing.row);
                    while unfinished::undo_some(transaction, copies, now_seconds()).await?.is_some() {}
                    let moving = State::Moving;
                    relocation::set_leaving(transaction, standing.row, moving, Some(&attempt), now_seconds()).await?;
                    hub.touch(Subject::Home(standing.row));
                    // What it shares is not there any more.
                    hub.touch(standing.row);
                    hub.touch(Subject::Sharing);
                    for mailbox in images::mailboxes(transaction, standing.row).await? {
                        hub.touch(MailboxRow(mailbox.number));
                    }
                    Ok(())
                }
                State::Moving => Err(StoreError::NotAllowed("this account is on its way already")),
                State::Gone => Err(StoreError::Gone),
            }
        };
        self.store.run(job).await
    }

    /// The moment of the move: it is gone. Again is the same. [`StoreError::NotAllowed`] when the attempt is void.
    pub async fn go(&self) -> Result<(), StoreError> {
        let (account, attempt) = (self.account, self.attempt.clone());
        let job = async move |transaction: &mut Connection| {
            let standing = relocation::standing(transaction, account).await?.ok_or(VOID)?;
            if standing.attempt.as_deref() != Some(attempt.as_str()) || standing.comes_from.is_some() {
                return Err(VOID);
            }
            match standing.state {
                State::Gone => Ok(()),
                State::Present => Err(VOID),
                State::Moving => {
                    relocation::set_leaving(transaction, standing.row, State::Gone, Some(&attempt), now_seconds()).await
                }
            }
        };
        self.store.run(job).await
    }

    /// The account without its messages, of one moment; none when it never came.
    pub async fn image(&self) -> Result<Option<ImageOfAccount>, StoreError> {
        let mut reader = self.store.snapshot_reader().await?;
        match relocation::standing(&mut reader, self.account).await? {
            Some(Standing { row, .. }) => Ok(Some(moment::image(&mut reader, row).await?)),
            None => Ok(None),
        }
    }

    /// What changed in a mailbox after these: messages, and expunged ones, each in their order. Empty when there is no more.
    pub async fn page(&self, mailbox: i64, messages: (i64, u32), expunged: (i64, u32)) -> Result<Page, StoreError> {
        let mut reader = self.store.snapshot_reader().await?;
        let mailbox = self.own(&mut reader, mailbox).await?;
        Ok(Page {
            messages: images::messages(&mut reader, mailbox, messages, MESSAGES).await?,
            expunged: images::expunged(&mut reader, mailbox, expunged, EXPUNGED).await?,
        })
    }

    /// Bodies of these messages, from byte `offset` of the first on, by UID: as many as fit into [`BODIES_BYTES`], the last one
    /// perhaps not to its end. A message that is gone is left out.
    pub async fn bodies(&self, mailbox: i64, uids: &[u32], offset: usize) -> Result<Vec<(u32, Octets)>, StoreError> {
        let mailbox = self.own(&mut self.store.reader().await?, mailbox).await?;
        let (mut given, mut offset, mut room) = (Vec::new(), offset, BODIES_BYTES);
        for uid in uids {
            if room == 0 {
                break;
            }
            let found =
                messages::texts(&mut self.store.reader().await?, mailbox, &UidSet::from_uids([Uid(*uid)])).await?;
            let Some(row) = found.into_iter().next() else { continue };
            let body: Bytes = self.store.unkeep(row.body).await?;
            let rest = body.get(std::mem::take(&mut offset)..).unwrap_or_default();
            let part = &rest[..rest.len().min(room)];
            room -= part.len();
            given.push((*uid, part.to_vec().into()));
        }
        Ok(given)
    }

    /// What was delivered after (at, id).
    pub async fn deliveries(&self, after: (i64, Option<DeliveryId>)) -> Result<Vec<(i64, DeliveryId)>, StoreError> {
        let mut reader = self.store.reader().await?;
        let Some(standing) = relocation::standing(&mut reader, self.account).await? else { return Ok(Vec::new()) };
        let id = after.1.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default();
        let found = images::deliveries(&mut reader, standing.row, (after.0, &id), DELIVERIES).await?;
        let read = |(at, id): (i64, Vec<u8>)| Some((at, DeliveryId(uuid::Uuid::from_slice(&id).ok()?)));
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// A mailbox of this account, and of no other.
    async fn own(&self, reader: &mut Connection, mailbox: i64) -> Result<MailboxRow, StoreError> {
        let standing = relocation::standing(reader, self.account).await?.ok_or(StoreError::NoMailbox)?;
        let all = images::mailboxes(reader, standing.row).await?;
        let own = all.iter().any(|image| image.number == mailbox);
        own.then_some(MailboxRow(mailbox)).ok_or(StoreError::NoMailbox)
    }
}

const VOID: StoreError = StoreError::NotAllowed("this attempt to move the account was given up");
