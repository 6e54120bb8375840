//! A client's place: its mail is open, or it has left by UNAUTHENTICATE (RFC 8437), and whoever logs in next has the
//! connection. That one is looked at here: the access node only passes bytes on by then.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estafeta_core::{Failure, Reason, Secret};
use estafeta_net::drive::{self, Flow, Handler};
use estafeta_protocols::imap::command::Command;
use estafeta_protocols::imap::command::id::Id;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::server::{Event, Offer, Server, State};
use estafeta_protocols::sasl::{Credentials, Mechanism};

use super::engine::Engine;
use super::place::Neighbours;
use super::refusal::Refused;
use super::relayed::Mailroom;
use crate::store::AccountMail;

/// Looks at passwords, and opens the mail of whoever gave a right one.
#[async_trait]
pub trait Doorkeeper: Send + Sync {
    /// The mail of that login, if it lives here.
    async fn admit(
        &self,
        login: &str,
        password: &Secret,
        on_behalf_of: Option<&str>,
        client: IpAddr,
    ) -> Result<AccountMail, Failure>;
}

/// So many wrong passwords are heard.
const TRIES: u32 = 3;

/// How long a client may be silent while nobody is logged in.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client waits for the word that it shall try again later, as at the access nodes.
const BEFORE_LATER: Duration = Duration::from_secs(1);

/// The place.
pub(super) struct Seat<'a> {
    neighbours: Arc<dyn Neighbours>,
    doorkeeper: &'a dyn Doorkeeper,
    /// Who opens mail by the account's name alone, for a client that an access node relays.
    mailroom: Option<&'a dyn Mailroom>,
    /// The access node, until it says for whom it speaks.
    client: SocketAddr,
    /// While somebody is logged in.
    engine: Option<Engine>,
    /// Passwords that were wrong.
    wrong: u32,
}

impl<'a> Seat<'a> {
    /// For the client at that address, whose mail is open.
    pub(super) fn of(
        mail: AccountMail,
        neighbours: Arc<dyn Neighbours>,
        doorkeeper: &'a dyn Doorkeeper,
        client: SocketAddr,
    ) -> Self {
        let engine = Some(Engine::new(mail, neighbours.clone()));
        Self { neighbours, doorkeeper, mailroom: None, client, engine, wrong: 0 }
    }

    /// For a client that `relay`, an access node, will name.
    pub(super) fn relayed(
        mailroom: &'a dyn Mailroom,
        neighbours: Arc<dyn Neighbours>,
        doorkeeper: &'a dyn Doorkeeper,
        relay: SocketAddr,
    ) -> Self {
        Self { neighbours, doorkeeper, mailroom: Some(mailroom), client: relay, engine: None, wrong: 0 }
    }

    async fn authenticate(&mut self, credentials: Credentials, server: &mut Server) -> io::Result<()> {
        let (login, opened) = match (credentials, self.mailroom) {
            (Credentials::External { on_behalf_of: Some(address) }, Some(mailroom)) => {
                let opened = mailroom.open(&address).await;
                (address, opened)
            }
            (Credentials::Password { on_behalf_of, name, password }, _) => {
                let password = Secret::new(password.into_exposed());
                let client = self.client.ip();
                let opened = self.doorkeeper.admit(&name, &password, on_behalf_of.as_deref(), client).await;
                (name, opened)
            }
            _ => {
                server.complete(Completion::no("Name the account").with(Code::AuthorizationFailed));
                return Ok(());
            }
        };
        match opened {
            Ok(mail) => {
                tracing::debug!(login, client = %self.client, "IMAP session");
                let capabilities = server.limits().capabilities();
                self.engine = Some(Engine::new(mail, self.neighbours.clone()));
                server.enter(State::Authenticated);
                server.complete(Completion::ok("Logged in").with(Code::Capability(capabilities)));
            }
            Err(failure) => {
                tracing::info!(login, client = %self.client, %failure, "IMAP session refused");
                self.wrong += u32::from(matches!(failure.reason, Reason::Credentials | Reason::Denied));
                if failure.is_temporary() {
                    tokio::time::sleep(BEFORE_LATER).await;
                }
                // An access node asks anew where the mail is; whoever holds this connection can only come by another.
                let bound = failure.reason == Reason::Elsewhere && self.mailroom.is_none();
                match Refused::from(failure) {
                    Refused::Answer(completion) if bound => {
                        let text = "Your mail cannot be had by this connection: please connect again";
                        server.complete(Completion { text: text.into(), ..completion });
                    }
                    Refused::Answer(completion) => server.complete(completion),
                    Refused::End(text) => server.goodbye(None, text),
                    Refused::Gone(error) => return Err(error),
                }
                if self.wrong >= TRIES {
                    server.goodbye(None, "Too many wrong passwords");
                }
            }
        }
        Ok(())
    }

    /// RFC 8437 §2. Nothing is expunged, and no relay is believed any more: what it said was of the client that left.
    fn leave(&mut self, server: &mut Server) {
        (self.engine, self.mailroom) = (None, None);
        server.forget(Offer { start_tls: false, login: true, mechanisms: vec![Mechanism::Plain, Mechanism::Login] });
    }

    /// RFC 2971; the names are those of Dovecot's proxy.
    fn identify(&mut self, id: &Id, server: &mut Server) {
        let address = id.get("x-originating-ip").and_then(|address| address.parse::<IpAddr>().ok());
        let port = id.get("x-originating-port").and_then(|port| port.parse().ok());
        if let Some(address) = address.filter(|_| self.mailroom.is_some()) {
            self.client = SocketAddr::new(address, port.unwrap_or(0));
        }
        server.output().id(&[("name", "Estafeta")]);
        server.complete(Completion::ok("ID completed"));
    }
}

impl Handler<Server> for Seat<'_> {
    async fn handle(&mut self, event: Event, server: &mut Server, stream: &mut drive::Output<'_>) -> io::Result<Flow> {
        match (event, &mut self.engine) {
            (Event::Command(Command::Unauthenticate), Some(_)) => self.leave(server),
            (event, Some(engine)) => return engine.handle(event, server, stream).await,
            (Event::Authenticate(credentials), None) => {
                // What was said before must not wait for the directory.
                stream.flush().await?;
                self.authenticate(credentials, server).await?;
            }
            (Event::Command(Command::Id(id)), None) => self.identify(&id, server),
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

    fn patience(&self, _: &Server) -> Option<Duration> {
        self.engine.is_none().then_some(PATIENCE)
    }
}
