//! Dialogs with the engine over a stream in memory.

mod acl;
mod append;
mod binary;
mod client;
mod concurrency;
mod condstore;
mod enable;
mod fetch;
mod hierarchy;
mod kept;
mod messages;
mod metadata;
mod partial;
mod quota;
mod relayed;
mod replace;
mod search;
mod select;
mod sort;

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use estafeta_core::directory::Account;
use estafeta_core::sessions::Session;
use estafeta_core::{AccountId, Address, Failure, Reason};
use estafeta_net::drain::Drain;

use super::{ImapSession, Neighbours};
use crate::pop3::Pop3Session;
use crate::store::{AccountMail, Store, StoreOptions};
use client::Client;

/// A store in a directory of its own, with one account.
struct House {
    mail: AccountMail,
    neighbours: Arc<Book>,
    drain: Drain,
    _directory: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        Self::with_quota(None).await
    }

    async fn with_quota(quota_bytes: Option<u64>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mail = open(directory.path()).await.create_account(&account(quota_bytes)).await.unwrap();
        Self { mail, neighbours: Arc::default(), drain: Drain::new(), _directory: directory }
    }

    /// Loses every body, so that what is still answered was kept elsewhere.
    async fn lose_bodies(&self) {
        self.mail.lose_small_bodies().await;
        let bodies = self._directory.path().join("bodies");
        std::fs::rename(&bodies, self._directory.path().join("lost")).unwrap();
        std::fs::create_dir(bodies).unwrap();
    }

    /// Another session of the account, its client logged in.
    fn connect(&self) -> Client {
        self.connect_to(&self.mail)
    }

    /// A session on somebody's mail.
    fn connect_to(&self, mail: &AccountMail) -> Client {
        let neighbours = self.neighbours.clone();
        let session = ImapSession::new(mail.clone(), neighbours, ([127, 0, 0, 1], 1).into(), self.drain.clone());
        assert!(session.capabilities().starts_with("IMAP4rev1 "));
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move { Box::new(session).serve(Box::new(near), bytes::Bytes::new()).await });
        Client::new(far)
    }

    /// Another session that has selected INBOX.
    async fn select(&self) -> Client {
        let mut client = self.connect();
        client.ok("SELECT INBOX").await;
        client
    }
}

/// The accounts that there are.
#[derive(Default)]
struct Book(Mutex<Vec<Account>>);

#[async_trait]
impl Neighbours for Book {
    async fn account(&self, address: &Address) -> Result<Account, Failure> {
        let book = self.0.lock().unwrap();
        let found = book.iter().find(|account| account.address.key() == address.key());
        match found.cloned().ok_or_else(|| Failure::new(Reason::NotFound, "there is no such account"))? {
            account if account.store_group.as_str() == "g" => Ok(account),
            _ => Err(Failure::new(Reason::Denied, "it lives elsewhere: estafeta account move")),
        }
    }
}

async fn open(directory: &Path) -> Store {
    Store::open(StoreOptions {
        servers: crate::tests::engine::servers(directory),
        directory: directory.to_owned(),
        message_limit_bytes: 1_000_000,
        readers: 4,
        warn_at_percent: vec![80, 95],
    })
    .await
    .unwrap()
}

fn account(quota_bytes: Option<u64>) -> Account {
    Account {
        id: AccountId::random(),
        address: "ana@example.edu".parse().unwrap(),
        name: String::new(),
        store_group: "g".parse().unwrap(),
        quota_bytes,
        quota_messages: None,
        enabled: true,
        created: 0,
    }
}

/// `count` messages in INBOX.
async fn fill(client: &mut Client, count: u32) {
    for number in 1..=count {
        client.append("INBOX", "", &message(number)).await;
    }
}

fn message(number: u32) -> String {
    format!("From: Ana <ana@example.edu>\r\nSubject: number {number}\r\n\r\nbody {number}\r\n")
}
