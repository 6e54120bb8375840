//! Accounts out of a backup, into an empty store or beside the mail that is there.
//!
//! Bodies that messages here name, and that are lost or damaged, are put back first: so the messages can be read again, and
//! are known. What is there already is not put there again (see `intake`), so it may be broken off and run again. Messages get new UIDs;
//! mailboxes that are missing begin with a UIDVALIDITY of their own (DESIGN.md, invariant 4).

use std::collections::{HashMap, HashSet};
use std::path::Path;

use estafeta_core::directory::Account;
use estafeta_core::{AccountId, Address, Failure, Message, Reason};
use estafeta_storage::blobs::BlobHash;
use tokio::sync::watch;

use super::archive::{Archive, Messages, Reading};
use super::intake::{Identity, Intake};
use super::particulars::Particulars;
use super::{Transferred, blocking};
use crate::accounts::Accounts;
use crate::store::relocation::{ImageOfMailbox, ImageOfMessage};
use crate::store::{Keyword, MailboxName, NewMessage, Progress, SystemFlags};

/// What to restore.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// This account's mail alone.
    pub account: Option<Address>,
    /// Into another account.
    pub into: Option<Address>,
    /// Below a mailbox, beside what is there.
    pub below: Option<MailboxName>,
}

/// Restores what was chosen of the backup in `root`; without a choice every account of it that lives in this store group.
pub async fn restore(
    accounts: &Accounts,
    choice: Choice,
    root: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let root = root.to_owned();
    let archive = blocking(move || Archive::open(&root)).await?;
    let mut done = Transferred::default();
    let chosen = chosen(accounts, &archive, &choice).await?;
    for (reading, address) in &chosen {
        let messages: i64 = reading.head.image.mailboxes.iter().map(|mailbox| mailbox.messages).sum();
        tracing::info!(%address, taken = reading.head.taken, messages, "an account is restored");
        progress.send_modify(|progress| progress.of += messages.max(0) as u64);
    }
    for (reading, address) in chosen {
        one(accounts, &archive, reading, &address, choice.below.as_ref(), progress, &mut done).await?;
    }
    Ok(done)
}

/// The files, and into whose mail.
async fn chosen(accounts: &Accounts, archive: &Archive, choice: &Choice) -> Result<Vec<(Reading, Address)>, Failure> {
    let opened = archive.clone();
    let all: HashMap<AccountId, Reading> = blocking(move || {
        let mut all = HashMap::new();
        for account in opened.accounts()? {
            if let Some(reading) = opened.last(account)? {
                all.insert(account, reading);
            }
        }
        Ok(all)
    })
    .await?;
    let Some(address) = &choice.account else {
        let here = accounts.directory_uncached().accounts(None).await?;
        let mut here: HashMap<AccountId, Account> = here
            .into_iter()
            .filter(|account| account.store_group == *accounts.store_group())
            .map(|account| (account.id, account))
            .collect();
        let known = all.into_iter().filter_map(|(id, reading)| Some((reading, here.remove(&id)?.address)));
        return Ok(known.collect());
    };
    let id = accounts.directory_uncached().account(address).await.ok().map(|account| account.id);
    // One that was removed since is known by the address that it had.
    let found = all
        .into_values()
        .filter(|reading| Some(reading.head.account) == id || reading.head.address.key() == address.key());
    let found = found.max_by_key(|reading| (Some(reading.head.account) == id, reading.head.taken));
    let missing = || Failure::new(Reason::NotFound, format!("this backup has nothing of {address}"));
    Ok(vec![(found.ok_or_else(missing)?, choice.into.clone().unwrap_or_else(|| address.clone()))])
}

async fn one(
    accounts: &Accounts,
    archive: &Archive,
    mut reading: Reading,
    address: &Address,
    below: Option<&MailboxName>,
    progress: &watch::Sender<Progress>,
    done: &mut Transferred,
) -> Result<(), Failure> {
    put_bodies_back(accounts, archive, reading.head.account).await?;
    let mail = accounts.of_whoever_made(address).await?;
    let image = std::mem::take(&mut reading.head.image);
    if below.is_none() {
        done.refused += Particulars::of_image(&image).add_to(&mail, accounts).await?;
    }
    let named: HashMap<i64, (ImageOfMailbox, MailboxName)> = image
        .mailboxes
        .into_iter()
        .filter_map(|mailbox| {
            let name = below.map_or_else(|| mailbox.name.clone(), |below| format!("{below}/{}", mailbox.name));
            let name =
                name.parse().inspect_err(|error| tracing::error!(name, %error, "a mailbox is not restored")).ok()?;
            Some((mailbox.number, (mailbox, name)))
        })
        .collect();
    let mut intake: Option<(i64, Intake<'_>)> = None;
    loop {
        let (page, read_on) = blocking(move || Ok((reading.next()?, reading))).await?;
        reading = read_on;
        let Some(Messages { mailbox, messages }) = page else { break };
        let Some((of, name)) = named.get(&mailbox) else {
            done.refused += messages.len() as u64;
            continue;
        };
        if intake.as_ref().is_none_or(|(open, _)| *open != mailbox) {
            if let Some((_, intake)) = intake.take() {
                done.add(intake.end().await?);
            }
            intake = Some((mailbox, Intake::into(&mail, name.clone(), progress).await?));
        }
        let Some((_, intake)) = &mut intake else { continue };
        for message in messages {
            let (uid, archive, keywords) = (message.uid, archive.clone(), keywords(of, message.keywords));
            let read = blocking(move || read(&archive, message, keywords)).await;
            intake.take(read, format!("{name}, UID {uid}")).await?;
        }
    }
    if let Some((_, intake)) = intake {
        done.add(intake.end().await?);
    }
    Ok(())
}

/// Puts back what the backup has of an account's bodies and messages here have lost, whoever's they are.
async fn put_bodies_back(accounts: &Accounts, archive: &Archive, account: AccountId) -> Result<(), Failure> {
    let opened = archive.clone();
    let Some(mut reading) = blocking(move || opened.last(account)).await? else { return Ok(()) };
    let mut seen = HashSet::new();
    loop {
        let (page, read_on) = blocking(move || Ok((reading.next()?, reading))).await?;
        reading = read_on;
        let Some(Messages { messages, .. }) = page else { return Ok(()) };
        for hash in messages.iter().filter_map(ImageOfMessage::body) {
            if seen.insert(hash) && accounts.store().lacks_body(hash).await? {
                let archive = archive.clone();
                // One that the backup has not either is refused where its message is read.
                if let Ok(body) = blocking(move || archive.read(&hash)).await {
                    accounts.store().put_body_back(body).await?;
                }
            }
        }
    }
}

fn keywords(mailbox: &ImageOfMailbox, bits: i64) -> Vec<Keyword> {
    let held = mailbox.keywords.iter().enumerate().filter(|(number, _)| bits >> number & 1 == 1);
    held.filter_map(|(_, keyword)| keyword.parse().ok()).collect()
}

fn read(archive: &Archive, image: ImageOfMessage, keywords: Vec<Keyword>) -> Result<(NewMessage, Identity), Failure> {
    let hash =
        image.body().ok_or_else(|| Failure::new(Reason::Invalid, "the backup is damaged: a hash of another length"))?;
    let message = Message::new(archive.read(&hash)?);
    let prefix: Vec<u8> = image.prefix.into();
    let message = if prefix.is_empty() { message } else { message.with_prefix(prefix) };
    let identity = (BlobHash::of(&message.contiguous()), image.internal_date);
    let system = SystemFlags::of_bits(image.flags);
    Ok((NewMessage { message, system, keywords, internal_date: Some(image.internal_date) }, identity))
}
