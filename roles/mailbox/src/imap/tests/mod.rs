//! Dialogs with the engine over a stream in memory.

mod acl;
mod append;
mod binary;
mod client;
mod concurrency;
mod condstore;
mod enable;
mod fetch;
mod fuzzy;
mod hierarchy;
mod index;
mod kept;
mod lost;
mod messages;
mod metadata;
mod notify;
mod owner;
mod partial;
mod quota;
mod relayed;
mod replace;
mod search;
mod seat;
mod select;
mod sort;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use estafeta_core::directory::Account;
use estafeta_core::sessions::Session;
use estafeta_core::{AccountId, Address, Failure, Reason, Secret};
use estafeta_net::drain::Drain;

use super::{Doorkeeper, ImapSession, Mailroom, Neighbours};
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

    /// Loses every body, so that what is still answered was kept elsewhere. On an object store the large ones stay: then it
    /// says so.
    async fn lose_bodies(&self) -> bool {
        self.mail.lose_small_bodies().await;
        let bodies = self._directory.path().join("bodies");
        let files = bodies.exists();
        if files {
            std::fs::rename(&bodies, self._directory.path().join("lost")).unwrap();
            (0..256).for_each(|shard| std::fs::create_dir_all(bodies.join(format!("{shard:02x}"))).unwrap());
        }
        files
    }

    /// Another session of the account, its client logged in.
    fn connect(&self) -> Client {
        self.connect_to(&self.mail)
    }

    /// A session on somebody's mail.
    fn connect_to(&self, mail: &AccountMail) -> Client {
        let session = self.session_of(mail);
        assert!(session.capabilities().starts_with("IMAP4rev1 "));
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move { Box::new(session).serve(Box::new(near), bytes::Bytes::new()).await });
        Client::new(far)
    }

    /// Somebody's mail, open.
    fn session_of(&self, mail: &AccountMail) -> ImapSession {
        let (neighbours, rooms) = (self.neighbours.clone(), Arc::new(Rooms(self.mail.clone())));
        ImapSession::new(mail.clone(), neighbours, rooms, ([127, 0, 0, 1], 1).into(), self.drain.clone())
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

/// Who lets people in: Ana, who is here, and Bob, whose mail is elsewhere.
struct Rooms(AccountMail);

#[async_trait]
impl Mailroom for Rooms {
    async fn open(&self, address: &str) -> Result<AccountMail, Failure> {
        match address {
            "ana@example.edu" => Ok(self.0.clone()),
            _ => Err(Failure::new(Reason::NotFound, "no such account")),
        }
    }
}

#[async_trait]
impl Doorkeeper for Rooms {
    async fn admit(
        &self,
        login: &str,
        password: &Secret,
        on_behalf_of: Option<&str>,
        _: IpAddr,
    ) -> Result<AccountMail, Failure> {
        match (login, password.expose(), on_behalf_of) {
            ("ana@example.edu", "secret", None) => Ok(self.0.clone()),
            ("bob@example.edu", "secret", None) => {
                Err(Failure::new(Reason::Elsewhere, "temporarily unavailable, try again later"))
            }
            _ => Err(Failure::new(Reason::Credentials, "wrong name or password")),
        }
    }
}

async fn open(directory: &Path) -> Store {
    Store::open(StoreOptions {
        servers: crate::tests::engine::servers(directory),
        bodies: crate::tests::engine::bodies(directory),
        directory: directory.to_owned(),
        message_limit_bytes: 1_000_000,
        readers: 4,
        warn_at_percent: vec![80, 95],
        keep_expunged: true,
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
