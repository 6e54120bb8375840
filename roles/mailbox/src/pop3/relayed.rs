//! Clients that an access node relays: it has looked at their passwords, proves itself by its certificate, and names
//! the client's address (XCLIENT, as Dovecot's proxy does) and the account (SASL EXTERNAL, RFC 4422 appendix A).

use std::io;
use std::net::SocketAddr;

use estafeta_core::Failure;
use estafeta_core::sessions::Session;
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Ended, Flow, Handler, Output, Upgrade, drive};
use estafeta_protocols::pop3::response::{Code, Completion};
use estafeta_protocols::pop3::server::{Event, Limits, Offer, Server};
use estafeta_protocols::sasl::{Credentials, Mechanism};

use super::refusal::refusal;
use super::session::{Pop3Session, TIMEOUTS};
use crate::imap::Mailroom;

/// Talks with a client that an access node relays over `connection`. The caller has seen to it that the node at the
/// other end may do this.
pub async fn talk_relayed(connection: Connection, mailroom: &dyn Mailroom, drain: &Drain) -> io::Result<()> {
    let offer = Offer { mechanisms: vec![Mechanism::External], forwarding: true, ..Offer::default() };
    let mut server = Box::new(Server::greet(offer, true, Limits::default()));
    let mut relayed = Box::new(Relayed { mailroom, drain, client: connection.peer, opened: None });
    let ended = drive(connection, server.as_mut(), relayed.as_mut(), Upgrade::Never, TIMEOUTS, drain).await?;
    drop(server);
    match (ended, relayed.opened) {
        (Ended::HandedOver(connection, unread), Some(session)) => {
            Box::new(session).serve(connection.stream, unread).await
        }
        _ => Ok(()),
    }
}

struct Relayed<'a> {
    mailroom: &'a dyn Mailroom,
    drain: &'a Drain,
    /// The access node, until it says for whom it speaks.
    client: SocketAddr,
    /// Once the account is known.
    opened: Option<Pop3Session>,
}

impl Relayed<'_> {
    async fn open(&self, address: &str) -> Result<Pop3Session, Failure> {
        let mail = self.mailroom.open(address).await?;
        Pop3Session::open(&mail, self.client, self.drain.clone()).await
    }

    async fn authenticate(&mut self, credentials: Credentials, server: &mut Server) {
        let Credentials::External { on_behalf_of: Some(address) } = credentials else {
            server.complete(Completion::no("Name the account").with(Code::Auth));
            return;
        };
        match self.open(&address).await {
            Ok(session) => {
                tracing::debug!(login = address, client = %self.client, "relayed POP3 session");
                self.opened = Some(session);
                server.hand_over(Completion::ok("Logged in"));
            }
            Err(failure) => {
                tracing::info!(login = address, client = %self.client, %failure, "relayed POP3 session refused");
                server.complete(refusal(&failure));
            }
        }
    }
}

impl Handler<Server> for Relayed<'_> {
    async fn handle(&mut self, event: Event, server: &mut Server, _: &mut Output<'_>) -> io::Result<Flow> {
        match event {
            Event::Authenticate(credentials) => self.authenticate(credentials, server).await,
            Event::Forwarded(origin) => {
                let address = origin.address.unwrap_or(self.client.ip());
                self.client = SocketAddr::new(address, origin.port.unwrap_or(self.client.port()));
            }
            Event::HandOver => return Ok(Flow::HandOver),
            // The machine lets none through before the login.
            Event::Command(_) => server.complete(Completion::no("Log in first")),
        }
        Ok(Flow::Continue)
    }
}
