//! The contract `Sessions` for POP3 on this node: mail that is open and waits for its client's stream.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use estafeta_core::Failure;
use estafeta_core::sessions::{BoxStream, Session};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Timeouts, Upgrade, drive};
use estafeta_protocols::pop3::server::{Limits, Server};

use super::maildrop::Maildrop;
use super::transaction::Transaction;
use crate::store::{AccountMail, Mailbox, MailboxName, RecentClaim};

/// How long a client may be silent and slow. RFC 1939 §3: silent for at least 10 minutes.
pub(super) const TIMEOUTS: Timeouts = Timeouts { read: Duration::from_secs(10 * 60), write: Duration::from_secs(120) };

/// An account's INBOX as it was at the login, for one POP3 client.
pub struct Pop3Session {
    login: String,
    client: SocketAddr,
    inbox: Mailbox,
    maildrop: Maildrop,
    drain: Drain,
}

impl Pop3Session {
    /// Takes the picture, for the client at that address. Once `drain` has begun, the session ends when its client
    /// pauses.
    pub async fn open(mail: &AccountMail, client: SocketAddr, drain: Drain) -> Result<Self, Failure> {
        let inbox = mail.mailbox(&MailboxName::inbox()).await?;
        let maildrop = inbox.snapshot(RecentClaim::Leave).await?.into();
        Ok(Self { login: mail.account().address.to_string(), client, inbox, maildrop, drain })
    }
}

#[async_trait]
impl Session for Pop3Session {
    /// None: POP3 has no word for them behind a login.
    fn capabilities(&self) -> &str {
        ""
    }

    async fn serve(self: Box<Self>, stream: BoxStream, unread: Bytes) -> io::Result<()> {
        let Self { login, client, inbox, maildrop, drain } = *self;
        let mut server = Box::new(Server::authenticated(&unread, Limits::default()));
        drop(unread);
        let mut transaction = Box::new(Transaction::new(login, inbox, maildrop, drain));
        let connection = Connection { stream, peer: client, local: client, tls: None, identity: None };
        // A session is one transaction, lost when it is cut short: it watches the drain itself, see `Transaction`.
        let undrained = Drain::new();
        let ended =
            drive(connection, server.as_mut(), transaction.as_mut(), Upgrade::Never, TIMEOUTS, &undrained).await;
        transaction.log_end(client);
        ended.map(drop)
    }
}
