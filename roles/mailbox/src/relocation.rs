//! Bringing an account's mail from another store group to this one, while mail arrives and clients are connected.
//!
//! It is brought by a node of the group that it comes to, which asks the other group through the administration API:
//! 1. everything is copied while all goes on, then what changed meanwhile, until that is little;
//! 2. the other group freezes the account: from then on it refuses, temporarily; the rest is copied and compared;
//! 3. the other group lets it go, once and for ever: that is the moment of the move;
//! 4. here it is present; the directory says so; nothing is left to do.
//!
//! Invariants: each step may be done again, so a move that was interrupted anywhere is ended by doing it again, which this
//! node does by itself; before the third step it may be given up, after it it only goes on. See `store::relocation` for who
//! decides what.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafeta_core::administration::{Administration, input, output};
use estafeta_core::directory::{Account, AccountChange};
use estafeta_core::{AccountId, Address, DeliveryId, Failure, Reason, StoreGroup};
use estafeta_net::drain::Drain;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};

use crate::accounts::Accounts;
use crate::store::relocation::{Arrival, Arriving, ImageOfAccount, ImageOfMailbox, ImageOfMessage, Octets, Page};
use crate::store::{Progress, StoreError};

/// The operation by which a mailbox node asks one of another group.
pub const ASK: &str = "relocation ask";

/// When a pass found no more changes than this, the next is the last.
const FEW: u64 = 200;

/// The most passes before the last.
const PASSES: usize = 10;

/// How many messages are put at once, and how many bodies are asked for.
const BATCH: usize = 200;

/// Deliveries are asked for again from this long before the last one known, in seconds: they may be committed in another order.
const OVERLAP_SECONDS: i64 = 600;

/// How often moves are looked for that were interrupted.
const LOOK: Duration = Duration::from_secs(15);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// The store group that is asked.
    group: StoreGroup,
    account: AccountId,
    attempt: String,
    step: Step,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// The account without its messages.
    Image,
    /// What changed in a mailbox after these.
    Page { mailbox: i64, messages: (i64, u32), expunged: (i64, u32) },
    /// Bodies of messages.
    Bodies { mailbox: i64, uids: Vec<u32>, offset: usize },
    /// What was delivered after this.
    Deliveries { at: i64, id: Option<DeliveryId> },
    /// From now on nobody writes.
    Freeze,
    /// All goes on as before: the attempt is void.
    Stay,
    /// It is gone.
    Go,
}

/// Answers a question of the node that an account comes to.
pub async fn answer(accounts: &Accounts, value: Value) -> Result<Value, Failure> {
    let Question { group, account, attempt, step } = input(value)?;
    if group != *accounts.store_group() {
        return Err(Failure::new(Reason::NotFound, format!("this node does not serve the store group {group}")));
    }
    let leaving = accounts.store().leaving(account, attempt);
    match step {
        Step::Image => output(&leaving.image().await?.unwrap_or_default()),
        Step::Page { mailbox, messages, expunged } => output(&leaving.page(mailbox, messages, expunged).await?),
        Step::Bodies { mailbox, uids, offset } => output(&leaving.bodies(mailbox, &uids, offset).await?),
        Step::Deliveries { at, id } => output(&leaving.deliveries((at, id)).await?),
        Step::Freeze => {
            leaving.freeze().await?;
            tracing::info!(%account, "the account is about to move to another store group: nobody writes to it now");
            Ok(Value::Null)
        }
        Step::Stay => {
            accounts.store().stay(account).await?;
            tracing::info!(%account, "the account stays");
            Ok(Value::Null)
        }
        Step::Go => {
            leaving.go().await?;
            tracing::info!(%account, "the account has moved to another store group");
            Ok(Value::Null)
        }
    }
}

/// Brings accounts here. Cheap to clone.
#[derive(Clone)]
pub struct Relocation {
    accounts: Accounts,
    administration: Arc<dyn Administration>,
    /// One account at a time.
    turn: Arc<Mutex<()>>,
}

impl Relocation {
    /// To the group of these accounts.
    pub fn new(accounts: Accounts, administration: Arc<dyn Administration>) -> Self {
        Self { accounts, administration, turn: Arc::default() }
    }

    /// Goes on with moves that were interrupted, until the drain begins.
    pub async fn resume(self, drain: Drain) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = drain.begun() => return,
            }
            let coming = match self.accounts.store().arrivals().await {
                Ok(coming) => coming,
                Err(error) => {
                    tracing::debug!(%error, "moves that were interrupted are looked for next time");
                    continue;
                }
            };
            for address in coming {
                let Ok(address) = address.parse::<Address>() else { continue };
                let progress = watch::Sender::new(Progress::default());
                let brought = tokio::select! {
                    brought = self.bring(&address, &progress) => brought,
                    () = drain.begun() => return,
                };
                match brought {
                    Ok(_) => tracing::info!(%address, "a move that was interrupted is done"),
                    Err(failure) => tracing::warn!(%address, %failure, "a move that was interrupted is not done yet"),
                }
            }
        }
    }

    /// Brings an account here, or lets it stay when it was leaving. Gives what to tell.
    pub async fn bring(&self, address: &Address, progress: &watch::Sender<Progress>) -> Result<Value, Failure> {
        let _turn = self.turn.lock().await;
        let account = self.accounts.directory_uncached().account(address).await?;
        let here = self.accounts.store_group();
        if account.store_group == *here {
            return self.keep(&account).await;
        }
        let told = |from: &StoreGroup, messages: u64, frozen: Duration| {
            let refused_ms = u64::try_from(frozen.as_millis()).unwrap_or(u64::MAX);
            Ok(
                json!([{ "address": address, "from": from, "to": here, "messages": messages, "refused_ms": refused_ms }]),
            )
        };
        let arriving = match self.accounts.store().arrival(&account, &account.store_group).await? {
            Arrival::Arriving(arriving) => arriving,
            Arrival::Come(arriving) => {
                self.tell(&account, &arriving).await?;
                return told(arriving.from(), 0, Duration::ZERO);
            }
            Arrival::Lives => {
                let cause =
                    format!("{address} has mail here, and the directory says that it lives in {}", account.store_group);
                return Err(Failure::internal(cause));
            }
        };
        tracing::info!(%address, from = %arriving.from(), attempt = arriving.attempt(), "the account is brought here");
        let mut bringing =
            Bringing { relocation: self, account: &account, arriving, progress, messages: 0, delivered: 0 };
        let frozen = match bringing.all().await {
            Ok(frozen) => frozen,
            // What is refused for good can only be given up.
            Err(failure) if !failure.is_temporary() => {
                if bringing.ask::<()>(Step::Stay).await.is_ok() {
                    bringing.arriving.give_up().await?;
                }
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        self.tell(&account, &bringing.arriving).await?;
        told(bringing.arriving.from(), bringing.messages, frozen)
    }

    /// An account that the directory has here: if it was leaving, it stays; if it has come, all know that.
    async fn keep(&self, account: &Account) -> Result<Value, Failure> {
        let address = &account.address;
        match self.accounts.store().stay(account.id).await {
            Ok(stays) => {
                let store = self.accounts.store();
                // One that never came here does not begin to come.
                if store.account(account).await?.is_some()
                    && let Arrival::Come(arriving) = store.arrival(account, &account.store_group).await?
                {
                    arriving.settle().await?;
                }
                let outcome =
                    if stays { "the move that was begun is given up: it stays" } else { "it lives there already" };
                Ok(json!([{ "address": address, "to": account.store_group, "outcome": outcome }]))
            }
            Err(StoreError::Gone) => {
                let text =
                    format!("{address} has left this store group: end its move where it goes to, by account move");
                Err(Failure::new(Reason::Denied, text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the directory where the account lives.
    async fn tell(&self, account: &Account, arriving: &Arriving) -> Result<(), Failure> {
        let store_group = Some(self.accounts.store_group().clone());
        let change = AccountChange { store_group, ..AccountChange::default() };
        self.accounts.directory_uncached().change_account(&account.address, &change).await?;
        Ok(arriving.settle().await?)
    }
}

/// One account on its way.
struct Bringing<'a> {
    relocation: &'a Relocation,
    account: &'a Account,
    arriving: Arriving,
    progress: &'a watch::Sender<Progress>,
    messages: u64,
    /// When the last delivery was that is known here.
    delivered: i64,
}

impl Bringing<'_> {
    async fn ask<T: serde::de::DeserializeOwned>(&self, step: Step) -> Result<T, Failure> {
        let question = Question {
            group: self.arriving.from().clone(),
            account: self.account.id,
            attempt: self.arriving.attempt().to_owned(),
            step,
        };
        let answer = self.relocation.administration.perform(ASK, output(&question)?).await?;
        serde_json::from_value(answer)
            .map_err(|error| Failure::internal(format_args!("{ASK} was answered with something else: {error}")))
    }

    /// The first three steps. Gives for how long the account was refused.
    async fn all(&mut self) -> Result<Duration, Failure> {
        for _ in 0..PASSES {
            if self.pass().await?.1 <= FEW {
                break;
            }
        }
        let frozen = Instant::now();
        self.ask::<()>(Step::Freeze).await?;
        let (image, _) = self.pass().await?;
        self.compare(&image).await?;
        self.ask::<()>(Step::Go).await?;
        self.arriving.come().await?;
        Ok(frozen.elapsed())
    }

    /// Copies what is not here, and gives the account as it was at the beginning, and how many changes there were.
    async fn pass(&mut self) -> Result<(ImageOfAccount, u64), Failure> {
        let image: ImageOfAccount = self.ask(Step::Image).await?;
        let of = image.mailboxes.iter().map(|mailbox| mailbox.messages.max(0) as u64).sum();
        self.progress.send_modify(|progress| progress.of = of);
        let rows = self.arriving.put(&image).await?;
        let mut changes = 0;
        for mailbox in image.mailboxes.iter().filter(|mailbox| mailbox.selectable) {
            let row = row_of(&rows, mailbox)?;
            changes += self.mailbox(mailbox, row).await?;
        }
        self.deliveries().await?;
        Ok((image, changes))
    }

    async fn mailbox(&mut self, mailbox: &ImageOfMailbox, row: i64) -> Result<u64, Failure> {
        let (mut messages, mut expunged) = self.arriving.reached(row).await?;
        let mut changes = 0;
        loop {
            let page = self.ask(Step::Page { mailbox: mailbox.number, messages, expunged }).await;
            let page: Page = unless_deleted(page)?;
            let count = (page.messages.len() + page.expunged.len()) as u64;
            if count == 0 {
                return Ok(changes);
            }
            changes += count;
            messages = page.messages.last().map_or(messages, |last| (last.modseq, last.uid));
            expunged = page.expunged.last().map_or(expunged, |last| (last.modseq, last.uids.0));
            self.put(mailbox.number, row, page.messages).await?;
            self.arriving.put_expunged(row, page.expunged).await?;
        }
    }

    /// Puts messages in the order of their changes: so what is here always says how far it is.
    async fn put(&mut self, mailbox: i64, row: i64, messages: Vec<ImageOfMessage>) -> Result<(), Failure> {
        for some in messages.chunks(BATCH) {
            let there = self.arriving.there(row, some).await?;
            let mut wanted: Vec<&ImageOfMessage> =
                some.iter().filter(|message| there.binary_search(&message.uid).is_err()).collect();
            let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
            let mut batch = Vec::new();
            for message in some {
                if there.binary_search(&message.uid).is_ok() {
                    batch.push((message.clone(), None));
                    continue;
                }
                if !bodies.contains_key(&message.uid) && wanted.iter().any(|one| one.uid == message.uid) {
                    // What was asked for is used up.
                    let ready = std::mem::take(&mut batch);
                    self.arriving.put_messages(row, ready).await?;
                    bodies = self.bodies(mailbox, &wanted).await?;
                    // The last of them, or one that is gone by now, came in order.
                    let last = wanted.iter().rposition(|one| bodies.contains_key(&one.uid));
                    wanted.drain(..last.map_or(wanted.len(), |last| last + 1));
                }
                if let Some(body) = bodies.remove(&message.uid) {
                    batch.push((message.clone(), Some(body)));
                    self.messages += 1;
                    self.progress.send_modify(|progress| progress.done += 1);
                }
            }
            self.arriving.put_messages(row, batch).await?;
        }
        Ok(())
    }

    /// Bodies of the first of these messages, whole ones, as many as one answer has room for. None when they are all gone.
    async fn bodies(&self, mailbox: i64, wanted: &[&ImageOfMessage]) -> Result<HashMap<u32, Vec<u8>>, Failure> {
        let uids: Vec<u32> = wanted.iter().map(|message| message.uid).collect();
        let size = |uid: u32| wanted.iter().find(|message| message.uid == uid).map_or(0, |message| length(message));
        let given = self.ask(Step::Bodies { mailbox, uids, offset: 0 }).await;
        let given: Vec<(u32, Octets)> = unless_deleted(given)?;
        let mut bodies: HashMap<u32, Vec<u8>> = HashMap::with_capacity(given.len());
        let last = given.last().map(|(uid, _)| *uid);
        bodies.extend(given.into_iter().map(|(uid, octets)| (uid, octets.into())));
        let Some(last) = last else { return Ok(bodies) };
        // One that has no room in an answer comes in several.
        while let Some(body) = bodies.get_mut(&last)
            && body.len() < size(last)
        {
            let more = self.ask(Step::Bodies { mailbox, uids: vec![last], offset: body.len() }).await;
            let more: Vec<(u32, Octets)> = unless_deleted(more)?;
            match more.into_iter().next() {
                Some((_, more)) if !more.is_empty() => body.extend_from_slice(&more),
                _ => {
                    bodies.remove(&last);
                }
            }
        }
        Ok(bodies)
    }

    async fn deliveries(&mut self) -> Result<(), Failure> {
        let (mut at, mut id) = (self.delivered - OVERLAP_SECONDS, None);
        loop {
            let some: Vec<(i64, DeliveryId)> = self.ask(Step::Deliveries { at, id }).await?;
            let Some(last) = some.last() else { return Ok(()) };
            (at, id) = (last.0, Some(last.1));
            self.delivered = at;
            self.arriving.put_deliveries(some).await?;
        }
    }

    /// That everything is here. A mailbox that is not whole is copied anew, once: word of what was expunged may have been
    /// forgotten between two passes.
    async fn compare(&mut self, image: &ImageOfAccount) -> Result<(), Failure> {
        let rows = self.arriving.put(image).await?;
        for mailbox in image.mailboxes.iter().filter(|mailbox| mailbox.selectable) {
            let row = row_of(&rows, mailbox)?;
            if self.arriving.is_whole(row, mailbox).await? {
                continue;
            }
            tracing::warn!(mailbox = mailbox.name, "a mailbox on its way is not whole: it is copied anew");
            self.arriving.begin_anew(row).await?;
            self.mailbox(mailbox, row).await?;
            if !self.arriving.is_whole(row, mailbox).await? {
                let text = format!(
                    "the mailbox {:?} does not come whole, so the account stays: run estafeta mailbox verify --account {} --repair first",
                    mailbox.name, self.account.address
                );
                return Err(Failure::new(Reason::Denied, text));
            }
        }
        Ok(())
    }
}

/// Nothing more comes of a mailbox that was deleted meanwhile: the next pass removes it here too.
fn unless_deleted<T: Default>(answer: Result<T, Failure>) -> Result<T, Failure> {
    match answer {
        Err(failure) if failure.reason == Reason::NotFound => Ok(T::default()),
        answer => answer,
    }
}

/// How long a message's body is, in bytes.
fn length(message: &ImageOfMessage) -> usize {
    usize::try_from(message.size).unwrap_or_default().saturating_sub(message.prefix.len())
}

fn row_of(rows: &HashMap<i64, i64>, mailbox: &ImageOfMailbox) -> Result<i64, Failure> {
    rows.get(&mailbox.number).copied().ok_or_else(|| Failure::internal("a bug: a mailbox on its way has no row"))
}
