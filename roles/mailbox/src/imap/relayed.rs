//! Clients that an access node relays: it has looked at their passwords, proves itself by its certificate, and names
//! the account (SASL EXTERNAL, RFC 4422 appendix A) and the client's address (ID, as Dovecot's proxy does).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::Failure;
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{self, Flow, Handler, Upgrade, drive};
use estafeta_protocols::imap::command::Command;
use estafeta_protocols::imap::command::id::Id;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::server::{Event, Limits, Offer, Server, State};
use estafeta_protocols::sasl::{Credentials, Mechanism};

use super::engine::Engine;
use super::place::Neighbours;
use super::refusal::Refused;
use super::session::TIMEOUTS;
use crate::store::AccountMail;

/// Opens the mail of an account by its address, for a client that was authenticated elsewhere.
#[async_trait]
pub trait Mailroom: Send + Sync {
    /// The mail, if the account lives here.
    async fn open(&self, address: &str) -> Result<AccountMail, Failure>;
}

/// Talks with a client that an access node relays over `connection`. The caller has seen to it that the node at the
/// other end may do this. `message_limit_bytes` is the largest message that APPEND takes.
pub async fn talk_relayed(
    connection: Connection,
    mailroom: &dyn Mailroom,
    neighbours: Arc<dyn Neighbours>,
    message_limit_bytes: u32,
    drain: &Drain,
) -> io::Result<()> {
    let offer = Offer { mechanisms: vec![Mechanism::External], ..Offer::default() };
    let limits = Limits { message_bytes: u64::from(message_limit_bytes), ..Limits::default() };
    let mut server = Box::new(Server::greet(offer, true, limits));
    let mut relayed = Box::new(Relayed { mailroom, neighbours, client: connection.peer, engine: None });
    drive(connection, server.as_mut(), relayed.as_mut(), Upgrade::Never, TIMEOUTS, drain).await.map(drop)
}

struct Relayed<'a> {
    mailroom: &'a dyn Mailroom,
    neighbours: Arc<dyn Neighbours>,
    /// The access node, until it says for whom it speaks.
    client: SocketAddr,
    /// Once the account is open.
    engine: Option<Engine>,
}

impl Relayed<'_> {
    async fn authenticate(&mut self, credentials: Credentials, server: &mut Server) -> io::Result<()> {
        let Credentials::External { on_behalf_of: Some(address) } = credentials else {
            server.complete(Completion::no("Name the account").with(Code::AuthorizationFailed));
            return Ok(());
        };
        match self.mailroom.open(&address).await {
            Ok(mail) => {
                tracing::debug!(login = address, client = %self.client, "relayed IMAP session");
                let capabilities = server.limits().capabilities();
                self.engine = Some(Engine::new(mail, self.neighbours.clone()));
                server.enter(State::Authenticated);
                server.complete(Completion::ok("Logged in").with(Code::Capability(capabilities)));
            }
            Err(failure) => {
                tracing::info!(login = address, client = %self.client, %failure, "relayed IMAP session refused");
                match Refused::from(failure) {
                    Refused::Answer(completion) => server.complete(completion),
                    Refused::End(text) => server.goodbye(None, text),
                    Refused::Gone(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// RFC 2971; the names are those of Dovecot's proxy.
    fn identify(&mut self, id: &Id, server: &mut Server) {
        let address = id.get("x-originating-ip").and_then(|address| address.parse::<IpAddr>().ok());
        let port = id.get("x-originating-port").and_then(|port| port.parse().ok());
        if let Some(address) = address {
            self.client = SocketAddr::new(address, port.unwrap_or(0));
        }
        server.output().id(&[("name", "Estafeta")]);
        server.complete(Completion::ok("ID completed"));
    }
}

impl Handler<Server> for Relayed<'_> {
    async fn handle(&mut self, event: Event, server: &mut Server, stream: &mut drive::Output<'_>) -> io::Result<Flow> {
        if let Some(engine) = &mut self.engine {
            return engine.handle(event, server, stream).await;
        }
        match event {
            Event::Authenticate(credentials) => self.authenticate(credentials, server).await?,
            Event::Command(Command::Id(id)) => self.identify(&id, server),
            // Nothing else comes before login; what came would be answered all the same.
            _ => server.complete(Completion::bad("Not authenticated")),
        }
        Ok(Flow::Continue)
    }

    async fn woken(&mut self) {
        match &mut self.engine {
            Some(engine) => engine.woken().await,
            None => std::future::pending().await,
        }
    }

    async fn wake(&mut self, server: &mut Server, stream: &mut drive::Output<'_>) -> io::Result<Flow> {
        match &mut self.engine {
            Some(engine) => engine.wake(server, stream).await,
            None => Ok(Flow::Continue),
        }
    }
}
