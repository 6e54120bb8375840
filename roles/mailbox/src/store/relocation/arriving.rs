//! The side that an account comes to.

use std::collections::HashMap;
use std::sync::Arc;

use estafeta_core::directory::Account;
use estafeta_core::{DeliveryId, Message, StoreGroup};
use estafeta_storage::StorageError;
use estafeta_storage::sql::Connection;
use uuid::Uuid;

use super::{Expunged, ImageOfAccount, ImageOfMailbox, ImageOfMessage};
use crate::store::body::{Body, Linking};
use crate::store::hub::Subject;
use crate::store::message::now_seconds;
use crate::store::sql::expunging::Remains;
use crate::store::sql::relocation::{self, Standing, State};
use crate::store::sql::{AccountRow, MailboxRow, accounts, images, mailboxes};
use crate::store::{Store, StoreError};

/// How many rows one transaction takes.
const ROWS: u32 = 500;

/// How many mailboxes.
const MAILBOXES: usize = 50;

/// How an account stands on the side that it comes to.
pub enum Arrival {
    /// It is on its way, and this is where it is put.
    Arriving(Arriving),
    /// It has come; whether all know it is another matter.
    Come(Arriving),
    /// It lives here, and came from nowhere.
    Lives,
}

/// Where an account is put that comes.
#[derive(Clone)]
pub struct Arriving {
    store: Store,
    row: AccountRow,
    account: Account,
    from: StoreGroup,
    attempt: String,
}

impl Store {
    /// Begins, or goes on with, the arrival of an account from another store group. What it left here long ago is removed
    /// first. [`StoreError::Moving`] when it is just leaving.
    pub async fn arrival(&self, account: &Account, from: &StoreGroup) -> Result<Arrival, StoreError> {
        let id = account.id;
        let found = relocation::standing(&mut self.reader().await?, id).await?;
        if let Some(Standing { row, state: State::Gone, .. }) = found {
            self.clear_account(row).await?;
        }
        let (moved, from_group) = (account.clone(), from.clone());
        let begin = async move |transaction: &mut Connection| {
            let standing = match relocation::standing(transaction, id).await? {
                Some(standing) => standing,
                None => {
                    let row = accounts::insert(transaction, id).await?.ok_or(StoreError::Moving)?;
                    Standing { row, state: State::Gone, attempt: None, comes_from: None }
                }
            };
            match (standing.state, &standing.comes_from) {
                (State::Gone, _) => {
                    let attempt = Uuid::new_v4().to_string();
                    let as_whom = (Some(&from_group), &moved.address);
                    relocation::set_coming(transaction, standing.row, State::Moving, &attempt, as_whom).await?;
                    Ok(Standing { state: State::Moving, attempt: Some(attempt), ..standing })
                }
                (State::Moving, None) => Err(StoreError::Moving),
                _ => Ok(standing),
            }
        };
        let Standing { row, state, attempt, comes_from } = self.run(begin).await?;
        let Some(from) = comes_from.map_or(Some(from.clone()), |from| from.parse().ok()) else {
            return Ok(Arrival::Lives);
        };
        let arriving =
            Arriving { store: self.clone(), row, account: account.clone(), from, attempt: attempt.unwrap_or_default() };
        Ok(match state {
            State::Moving => Arrival::Arriving(arriving),
            State::Present if self.still_comes(row).await? => Arrival::Come(arriving),
            _ => Arrival::Lives,
        })
    }

    async fn still_comes(&self, row: AccountRow) -> Result<bool, StoreError> {
        relocation::still_comes(&mut self.reader().await?, row).await
    }

    /// The addresses of the accounts that are on their way here.
    pub async fn arrivals(&self) -> Result<Vec<String>, StoreError> {
        relocation::coming(&mut self.reader().await?).await
    }

    /// Removes what accounts left here that have been gone since before `before`, in seconds since 1970.
    pub(in crate::store) async fn clear_gone(&self, before: i64) -> Result<u64, StoreError> {
        let mut cleared = 0;
        while let Some(row) = relocation::long_gone(&mut self.reader().await?, before).await? {
            self.clear_account(row).await?;
            cleared += 1;
        }
        Ok(cleared)
    }

    /// Removes all that an account has here, but for its row, by transactions of [`ROWS`] rows.
    async fn clear_account(&self, row: AccountRow) -> Result<(), StoreError> {
        let clear = async move |transaction: &mut Connection| {
            relocation::lock(transaction, row).await?;
            relocation::clear(transaction, row, ROWS).await
        };
        while self.run(clear).await? {}
        Ok(())
    }
}

impl Arriving {
    /// Where it comes from.
    pub fn from(&self) -> &StoreGroup {
        &self.from
    }

    /// By which attempt.
    pub fn attempt(&self) -> &str {
        &self.attempt
    }

    /// Runs a job while the account is still on its way.
    async fn run<T, E, F>(&self, mut job: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StorageError> + From<StoreError> + Send + 'static,
    {
        let (row, attempt) = (self.row, self.attempt.clone());
        let checked = async move |transaction: &mut Connection| {
            relocation::check_coming(transaction, row, &attempt).await?;
            job(transaction).await
        };
        self.store.inner.database.run_for(row.0, checked).await
    }

    /// Brings the mailboxes to what they are there, but for their messages, and gives their rows here, by their rows there.
    pub async fn put(&self, image: &ImageOfAccount) -> Result<HashMap<i64, i64>, StoreError> {
        let row = self.row;
        let there: Vec<i64> = image.mailboxes.iter().map(|mailbox| mailbox.object_number).collect();
        let here = async move |transaction: &mut Connection| -> Result<Vec<(i64, MailboxRow)>, StoreError> {
            for (object_number, mailbox) in images::come(transaction, row).await? {
                if !there.contains(&object_number) {
                    mailboxes::remove(transaction, mailbox, (0, Remains::None)).await?;
                }
            }
            images::unname(transaction, row).await?;
            images::come(transaction, row).await
        };
        let here: HashMap<i64, MailboxRow> = self.run(here).await?.into_iter().collect();
        let mut rows = HashMap::with_capacity(image.mailboxes.len());
        for some in image.mailboxes.chunks(MAILBOXES) {
            let named: Vec<(ImageOfMailbox, Option<MailboxRow>)> =
                some.iter().map(|one| (one.clone(), here.get(&one.object_number).copied())).collect();
            let put = async move |transaction: &mut Connection| -> Result<Vec<(i64, i64)>, StoreError> {
                let mut rows = Vec::with_capacity(named.len());
                for (image, known) in &named {
                    let mailbox = images::put_mailbox(transaction, row, *known, image).await?;
                    rows.push((image.number, mailbox.0));
                }
                Ok(rows)
            };
            rows.extend(self.run(put).await?);
        }
        let (subscriptions, entries) = (image.subscriptions.clone(), image.entries.clone());
        let shares_as = image.shares_as.as_deref().and_then(|address| address.parse().ok());
        let rest = async move |transaction: &mut Connection| {
            images::put_account(transaction, row, &subscriptions, &entries, shares_as.as_ref()).await
        };
        self.run::<_, StoreError, _>(rest).await?;
        Ok(rows)
    }

    /// Up to where the messages of a mailbox, and word of its expunged ones, have come.
    pub async fn reached(&self, mailbox: i64) -> Result<((i64, u32), (i64, u32)), StoreError> {
        images::reached(&mut self.store.reader().await?, MailboxRow(mailbox)).await
    }

    /// Those of these messages that have come before: their bodies are here.
    pub async fn there(&self, mailbox: i64, messages: &[ImageOfMessage]) -> Result<Vec<u32>, StoreError> {
        let uids: Vec<u32> = messages.iter().map(|message| message.uid).collect();
        match uids.is_empty() {
            true => Ok(uids),
            false => images::there(&mut self.store.reader().await?, MailboxRow(mailbox), &uids).await,
        }
    }

    /// Puts messages, each with its body; one without a body is here already, and its flags change. All or none: no more than
    /// one transaction may take.
    pub async fn put_messages(
        &self,
        mailbox: i64,
        messages: Vec<(ImageOfMessage, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        let (mut images, mut bodies) = (Vec::with_capacity(messages.len()), Vec::new());
        for (image, bytes) in messages {
            let place = match bytes {
                Some(bytes) => {
                    let (_, body) = Body::of(&Message::new(bytes.into())).await?;
                    if *body.hash_bytes() != *image.hash {
                        let wrong =
                            std::io::Error::new(std::io::ErrorKind::InvalidData, "it has another hash than it should");
                        return Err(StorageError::Packed(wrong).into());
                    }
                    bodies.push(body);
                    Some(bodies.len() - 1)
                }
                None => None,
            };
            images.push((image, place));
        }
        let images = Arc::new(images);
        let put = |_: Store, bodies: Arc<[Body]>| {
            let images = images.clone();
            let job = async move |transaction: &mut Connection| -> Result<(), Linking> {
                let uids: Vec<u32> = images.iter().map(|(image, _)| image.uid).collect();
                let there = images::there(transaction, MailboxRow(mailbox), &uids).await?;
                let mut put = Vec::with_capacity(images.len());
                for (image, place) in images.iter() {
                    // One that has come meanwhile names its body already.
                    let new = place.filter(|_| there.binary_search(&image.uid).is_err());
                    let blob = match new.and_then(|place| bodies.get(place)) {
                        Some(body) => Some(body.link(transaction).await?),
                        None => None,
                    };
                    put.push((image, blob));
                }
                Ok(images::put_messages(transaction, MailboxRow(mailbox), &put).await?)
            };
            self.run(job)
        };
        self.store.with_bodies(bodies, put).await
    }

    /// Removes messages that were expunged there.
    pub async fn put_expunged(&self, mailbox: i64, expunged: Vec<Expunged>) -> Result<(), StoreError> {
        for some in expunged.chunks(ROWS as usize) {
            let some = some.to_vec();
            let put = async move |transaction: &mut Connection| -> Result<(), StoreError> {
                for one in &some {
                    images::put_expunged(transaction, MailboxRow(mailbox), *one).await?;
                }
                Ok(())
            };
            self.run(put).await?;
        }
        Ok(())
    }

    /// Notes what was delivered there.
    pub async fn put_deliveries(&self, deliveries: Vec<(i64, DeliveryId)>) -> Result<(), StoreError> {
        let row = self.row;
        for some in deliveries.chunks(ROWS as usize) {
            let some = some.to_vec();
            let put = async move |transaction: &mut Connection| images::note_deliveries(transaction, row, &some).await;
            self.run::<_, StoreError, _>(put).await?;
        }
        Ok(())
    }

    /// Removes all messages of a mailbox that has other ones here than there, so that they come anew.
    pub async fn begin_anew(&self, mailbox: i64) -> Result<(), StoreError> {
        let clear = async move |transaction: &mut Connection| -> Result<bool, StoreError> {
            relocation::clear_mailbox(transaction, MailboxRow(mailbox), ROWS).await
        };
        while self.run(clear).await? {}
        Ok(())
    }

    /// Whether a mailbox holds here what it holds there.
    pub async fn is_whole(&self, mailbox: i64, image: &ImageOfMailbox) -> Result<bool, StoreError> {
        let counts = images::counts(&mut self.store.reader().await?, MailboxRow(mailbox)).await?;
        Ok(counts == (image.messages, image.size_bytes))
    }

    /// The account lives here from now on. One that had no mailboxes gets those of a new account.
    pub async fn come(&self) -> Result<(), StoreError> {
        let (row, attempt, from, address) =
            (self.row, self.attempt.clone(), self.from.clone(), self.account.address.clone());
        let hub = self.store.inner.hub.clone();
        let come = async move |transaction: &mut Connection| {
            hub.touch(Subject::Sharing);
            if images::mailboxes(transaction, row).await?.is_empty() {
                super::super::insert_first_mailboxes(transaction, row).await?;
            }
            relocation::set_coming(transaction, row, State::Present, &attempt, (Some(&from), &address)).await
        };
        self.run::<_, StoreError, _>(come).await
    }

    /// All know that it has come.
    pub async fn settle(&self) -> Result<(), StoreError> {
        let (row, attempt, address) = (self.row, self.attempt.clone(), self.account.address.clone());
        let settle = async move |transaction: &mut Connection| {
            relocation::set_coming(transaction, row, State::Present, &attempt, (None, &address)).await
        };
        self.store.run(settle).await
    }

    /// The move was given up: what has come is removed. The row stays, as of one that is gone: its number must not become
    /// somebody else's while sessions remember it.
    pub async fn give_up(&self) -> Result<(), StoreError> {
        let row = self.row;
        let clear = async move |transaction: &mut Connection| -> Result<bool, StoreError> {
            relocation::clear(transaction, row, ROWS).await
        };
        while self.run(clear).await? {}
        let forget = async move |transaction: &mut Connection| {
            relocation::set_leaving(transaction, row, State::Gone, None, now_seconds()).await
        };
        self.run::<_, StoreError, _>(forget).await
    }
}
