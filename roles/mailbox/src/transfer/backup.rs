//! Accounts into a backup, while mail comes and goes: each as it is at one moment.
//!
//! The rows are read in one snapshot, which is short; then the bodies that are not there yet, which the store keeps for
//! hours after the last message that named them was expunged.

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

use estafeta_core::directory::Directory;
use estafeta_core::{AccountId, Address, Failure};
use estafeta_storage::blobs::BlobHash;
use tokio::sync::watch;

use super::archive::{Archive, Head, Messages};
use super::{Transferred, blocking};
use crate::store::relocation::ImageOfMessage;
use crate::store::{Progress, Store, StoreError};

/// Backs up one account, or all that live here, into the directory `root`.
pub async fn backup(
    store: &Store,
    directory: &dyn Directory,
    only: Option<(AccountId, Address)>,
    root: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<Transferred, Failure> {
    let accounts = match only {
        Some(only) => vec![only],
        None => all(store, directory).await?,
    };
    let root = root.to_owned();
    let archive = blocking(move || Archive::make(&root)).await?;
    let mut done = Transferred::default();
    progress.send_modify(|progress| progress.of = accounts.len() as u64);
    for (account, address) in accounts {
        match one(store, &archive, account, address.clone(), &mut done).await {
            Ok(()) => {}
            Err(failure) if failure.reason == estafeta_core::Reason::Elsewhere => {
                tracing::warn!(%address, %failure, "an account that moves is not backed up here");
            }
            Err(failure) => return Err(failure),
        }
        progress.send_modify(|progress| {
            progress.done += 1;
            progress.found = done.refused;
        });
    }
    Ok(done)
}

/// Those that live here and that the directory knows.
async fn all(store: &Store, directory: &dyn Directory) -> Result<Vec<(AccountId, Address)>, Failure> {
    let known: HashMap<AccountId, Address> =
        directory.accounts(None).await?.into_iter().map(|account| (account.id, account.address)).collect();
    let here = store.present().await?;
    Ok(here.into_iter().filter_map(|id| known.get(&id).map(|address| (id, address.clone()))).collect())
}

async fn one(
    store: &Store,
    archive: &Archive,
    account: AccountId,
    address: Address,
    done: &mut Transferred,
) -> Result<(), Failure> {
    let taken = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let Some(mut moment) = store.moment(account).await? else { return Ok(()) };
    let (head, begun) = (Head { account, address, taken, image: moment.image().clone() }, archive.clone());
    let (mut writing, mut count) = (blocking(move || begun.begin(&head)).await?, 0);
    while let Some((mailbox, messages)) = moment.next().await? {
        count += messages.len() as u64;
        let write = move || writing.line(&Messages { mailbox, messages }).map(|()| writing);
        writing = blocking(write).await?;
    }
    drop(moment);
    let mut reading = writing.reading()?;
    loop {
        let (page, read_on) = blocking(move || Ok((reading.next()?, reading))).await?;
        reading = read_on;
        let Some(Messages { messages, .. }) = page else { break };
        for message in messages {
            add_body(store, archive, &message, done).await?;
        }
    }
    blocking(move || writing.end(count)).await
}

async fn add_body(
    store: &Store,
    archive: &Archive,
    message: &ImageOfMessage,
    done: &mut Transferred,
) -> Result<(), Failure> {
    let Some(hash) = message.body() else { return Ok(()) };
    let looked = archive.clone();
    if blocking(move || Ok(looked.has(&hash))).await? {
        done.there_already += 1;
        return Ok(());
    }
    match store.body(hash).await {
        Ok(Some(body)) if BlobHash::of(&body) == hash => {
            let archive = archive.clone();
            blocking(move || archive.add(&hash, &body)).await?;
            done.messages += 1;
        }
        Ok(_) => {
            done.refuse(format_args!("body {hash}"), "it is not there, or damaged: run estafeta mailbox verify");
        }
        Err(StoreError::Storage(error)) if !error.is_away() => done.refuse(format_args!("body {hash}"), error),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
