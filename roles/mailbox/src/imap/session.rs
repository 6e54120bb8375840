//! The contract `Sessions` for IMAP on this node: mail that is open and waits for its client's stream.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use estafeta_core::sessions::{BoxStream, Session};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Timeouts, Upgrade, drive};
use estafeta_protocols::imap::server::{Limits, Server};

use super::place::Neighbours;
use super::seat::{Doorkeeper, Seat};
use crate::store::AccountMail;

/// How long a client may be silent and slow. RFC 3501 §5.4: at least 30 minutes; RFC 2177 §3: clients leave IDLE and
/// come back every 29.
pub(super) const TIMEOUTS: Timeouts = Timeouts { read: Duration::from_secs(31 * 60), write: Duration::from_secs(120) };

/// An account's mail, open for one IMAP client.
pub struct ImapSession {
    mail: AccountMail,
    neighbours: Arc<dyn Neighbours>,
    doorkeeper: Arc<dyn Doorkeeper>,
    client: SocketAddr,
    drain: Drain,
    capabilities: String,
}

impl ImapSession {
    /// For the client at that address, who may share with `neighbours`. After UNAUTHENTICATE, `doorkeeper` looks at who
    /// comes next. When `drain` begins, the session says goodbye between two commands.
    pub fn new(
        mail: AccountMail,
        neighbours: Arc<dyn Neighbours>,
        doorkeeper: Arc<dyn Doorkeeper>,
        client: SocketAddr,
        drain: Drain,
    ) -> Self {
        let capabilities = limits(&mail).capabilities().to_string();
        Self { mail, neighbours, doorkeeper, client, drain, capabilities }
    }
}

#[async_trait]
impl Session for ImapSession {
    fn capabilities(&self) -> &str {
        &self.capabilities
    }

    async fn serve(self: Box<Self>, stream: BoxStream, unread: Bytes) -> io::Result<()> {
        let Self { mail, neighbours, doorkeeper, client, drain, .. } = *self;
        let mut server = Box::new(Server::authenticated(&unread, limits(&mail)));
        drop(unread);
        let mut seat = Box::new(Seat::of(mail, neighbours, doorkeeper.as_ref(), client));
        let connection = Connection { stream, peer: client, local: client, tls: None, identity: None };
        drive(connection, server.as_mut(), seat.as_mut(), Upgrade::Never, TIMEOUTS, &drain).await.map(drop)
    }
}

/// A message that the store would refuse is refused before it is sent.
pub(super) fn limits(mail: &AccountMail) -> Limits {
    Limits { message_bytes: u64::from(mail.message_limit_bytes()), ..Limits::default() }
}

/// A conversation with an engine of a test's own.
#[cfg(test)]
pub(super) async fn serve_engine(mut engine: super::engine::Engine, stream: BoxStream, drain: Drain) -> io::Result<()> {
    let client = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut server = Server::authenticated(&[], limits(&engine.mail));
    let connection = Connection { stream, peer: client, local: client, tls: None, identity: None };
    drive(connection, &mut server, &mut engine, Upgrade::Never, TIMEOUTS, &drain).await.map(drop)
}
