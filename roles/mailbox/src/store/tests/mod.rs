//! The store's tests, by subject; here what they share.

mod crash;
mod delivery;
mod elsewhere;
mod failover;
mod garbage;
mod messages;
mod model;
mod names;
mod objects;
mod outbox;
mod power;
mod search;
mod transfer;
mod undelete;
mod verify;

use std::path::Path;

use bytes::Bytes;
use estafeta_core::{AccountId, Message};

use super::*;

async fn open(directory: &Path) -> Store {
    open_on(directory, crate::tests::engine::servers(directory), crate::tests::engine::bodies(directory)).await
}

async fn open_on(directory: &Path, servers: Option<Servers>, bodies: BodyPlace) -> Store {
    Store::open(StoreOptions {
        servers,
        bodies,
        directory: directory.to_owned(),
        message_limit_bytes: 1_000_000,
        readers: 2,
        warn_at_percent: Vec::new(),
        keep_expunged: true,
    })
    .await
    .unwrap()
}

fn account(name: &str, quota_bytes: Option<u64>) -> Account {
    Account {
        id: AccountId::random(),
        address: format!("{name}@example.edu").parse().unwrap(),
        name: String::new(),
        store_group: "g".parse().unwrap(),
        quota_bytes,
        quota_messages: None,
        enabled: true,
        created: 0,
    }
}

/// A store in a directory of its own, and one account's mail in it.
async fn ana() -> (tempfile::TempDir, Store, AccountMail) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let mail = store.create_account(&account("ana", None)).await.unwrap();
    (directory, store, mail)
}

fn text(text: &str) -> Message {
    Message::new(Bytes::from(text.to_owned()))
}

fn name(text: &str) -> MailboxName {
    text.parse().unwrap()
}

fn keyword(text: &str) -> Keyword {
    text.parse().unwrap()
}

async fn append(mail: &AccountMail, to: &str, body: &str) -> Uid {
    mail.append(&name(to), vec![NewMessage::received(text(body))]).await.unwrap().uids.start
}

async fn uids(mailbox: &Mailbox) -> Vec<u32> {
    mailbox.snapshot(RecentClaim::Leave).await.unwrap().messages.iter().map(|message| message.uid.0).collect()
}

/// Whether random tests run in full: `integration-tests/all --long`.
fn long() -> bool {
    std::env::var_os("ESTAFETA_LONG").is_some()
}
