//! The engine's tests, by subject; here what they share: a store in a directory of its own, and a client over a stream
//! in memory.

mod dialogs;
mod model;
mod relayed;

use std::path::Path;

use bytes::Bytes;
use estafeta_core::directory::Account;
use estafeta_core::sessions::Session;
use estafeta_core::{AccountId, Message};
use estafeta_net::drain::Drain;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::Pop3Session;
use crate::store::{AccountMail, Mailbox, MailboxName, NewMessage, RecentClaim, Store, StoreOptions, Uid, UidSet};

const CLIENT: &str = "192.0.2.7:40000";

/// An account's mail.
struct Home {
    mail: AccountMail,
    _directory: tempfile::TempDir,
}

impl Home {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mail = Self::open(directory.path()).await;
        Self { mail, _directory: directory }
    }

    async fn open(directory: &Path) -> AccountMail {
        let options = StoreOptions {
            servers: crate::tests::engine::servers(directory),
            bodies: crate::tests::engine::bodies(directory),
            directory: directory.to_owned(),
            message_limit_bytes: 50_000_000,
            readers: 2,
            warn_at_percent: Vec::new(),
            keep_expunged: true,
        };
        let account = Account {
            id: AccountId::random(),
            address: "ana@example.edu".parse().unwrap(),
            name: String::new(),
            store_group: "g".parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            enabled: true,
            created: 0,
        };
        Store::open(options).await.unwrap().create_account(&account).await.unwrap()
    }

    async fn with(messages: &[&str]) -> Self {
        let home = Self::new().await;
        for message in messages {
            home.receive(message.as_bytes().to_vec()).await;
        }
        home
    }

    async fn receive(&self, text: impl Into<Bytes>) {
        let new = NewMessage::received(Message::new(text.into()));
        self.mail.append(&MailboxName::inbox(), vec![new]).await.unwrap();
    }

    /// The UIDs in INBOX now.
    async fn uids(&self) -> Vec<u32> {
        self.inbox()
            .await
            .snapshot(RecentClaim::Leave)
            .await
            .unwrap()
            .messages
            .iter()
            .map(|message| message.uid.0)
            .collect()
    }

    async fn inbox(&self) -> Mailbox {
        self.mail.mailbox(&MailboxName::inbox()).await.unwrap()
    }

    /// What another session does.
    async fn remove(&self, uid: u32) {
        self.inbox().await.remove(&UidSet::from_uids([Uid(uid)])).await.unwrap();
    }

    async fn log_in(&self) -> Client {
        self.log_in_until(Drain::new()).await
    }

    async fn log_in_until(&self, drain: Drain) -> Client {
        let session = Pop3Session::open(&self.mail, CLIENT.parse().unwrap(), drain).await.unwrap();
        assert_eq!(session.capabilities(), "");
        let (near, far) = duplex(64 * 1024);
        let served = tokio::spawn(Box::new(session).serve(Box::new(near), Bytes::new()));
        Client { stream: BufStream::new(far), served }
    }
}

/// The other end.
struct Client {
    stream: BufStream<DuplexStream>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Client {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no whole line: {line:?}")).to_owned()
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.line().await
    }

    /// The lines behind the first, as they come over the wire.
    async fn lines(&mut self, line: &str) -> Vec<String> {
        let first = self.say(line).await;
        assert!(first.starts_with("+OK"), "{line}: {first}");
        let mut lines = Vec::new();
        loop {
            match self.line().await {
                end if end == "." => return lines,
                line => lines.push(line),
            }
        }
    }

    /// Says QUIT and reads to the end.
    async fn quit(mut self) -> String {
        self.send(b"QUIT\r\n").await;
        self.rest().await
    }

    async fn rest(mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.unwrap();
        self.served.await.unwrap().unwrap();
        rest
    }

    /// Goes without a word.
    async fn hang_up(self) {
        drop(self.stream);
        let _ = self.served.await.unwrap();
    }
}
