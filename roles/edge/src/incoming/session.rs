//! One client's session: who may send, to whom, as whom. The protocol's rules are the machine's; the message's way is
//! the passage's.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::directory::{Account, Resolution, Target};
use estafeta_core::sessions::TlsFacts;
use estafeta_core::{Address, DeliveryId, Failure, Reason, Secret, ServiceName};
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Facts, Flow, Handler, Output};
use estafeta_protocols::sasl::Credentials;
use estafeta_protocols::smtp::server::{Event, Hello, Mail, Recipient, Server};
use estafeta_protocols::smtp::{Enhanced, ForwardPath, Reply, ReversePath};
use estafeta_storage::StorageError;
use tokio::time::Instant;

use super::progress::Progress;
use super::transaction::Transaction;
use crate::edge::Edge;
use crate::passage::trace::Hop;
use crate::passage::{Arrival, Passage, Refusal, no_room_or};

/// How many wrong passwords one connection may give.
const FAILED_LOGINS_LIMIT: usize = 5;

const DRAINING: Refusal = Refusal::known("draining", 421, Enhanced(4, 3, 2), "Going down, try again");
const BAD_SENDER: Refusal = Refusal::known("sender", 553, Enhanced(5, 1, 7), "Sender address not supported");
const NOT_YOURS: Refusal = Refusal::known("sender", 550, Enhanced(5, 7, 1), "This sender address is not yours");
const UNKNOWN: Refusal = Refusal::known("unknown-recipient", 550, Enhanced(5, 1, 1), "No such user here");
const BLOCKED: Refusal = Refusal::known("blocked-recipient", 550, Enhanced(5, 2, 1), "This mailbox takes no mail");
const RELAY: Refusal = Refusal::known("relay", 550, Enhanced(5, 7, 1), "Relaying denied: not a domain of ours");
const DIRECTORY_DOWN: Refusal =
    Refusal::known("directory", 451, Enhanced(4, 3, 0), "The recipient cannot be checked now, try again later");
const TOO_MANY: Refusal = Refusal::known("too-many-recipients", 452, Enhanced(4, 5, 3), "Too many recipients");
const TOO_LARGE: Refusal = Refusal::known("size", 552, Enhanced(5, 3, 4), "Message too large");
const BROKEN: Refusal = Refusal::known("storage", 451, Enhanced(4, 3, 0), "Internal error, try again later");
const WRONG_PASSWORD: Refusal =
    Refusal::known("authentication", 535, Enhanced(5, 7, 8), "Authentication credentials invalid");
const CANNOT_AUTHENTICATE: Refusal =
    Refusal::known("authentication", 454, Enhanced(4, 7, 0), "Temporary authentication failure, try again later");
const GUESSING: Refusal = Refusal::known("guessing", 421, Enhanced(4, 7, 0), "Too many failed logins, try again later");

/// A client's session.
pub struct Session {
    edge: Arc<Edge>,
    service: ServiceName,
    client: IpAddr,
    tls: Option<TlsFacts>,
    hello: Option<Hello>,
    account: Option<Account>,
    failed_logins: usize,
    transaction: Option<Transaction>,
    progress: Progress,
    /// The last transaction's name, for the log.
    id: Option<DeliveryId>,
}

impl Session {
    /// The session of a connection that has just been made.
    pub fn new(edge: Arc<Edge>, service: ServiceName, connection: &Connection) -> Self {
        let progress = Progress::new(edge.config.pace(), Instant::now());
        Self {
            edge,
            service,
            client: connection.peer.ip().to_canonical(),
            tls: connection.tls.clone(),
            hello: None,
            account: None,
            failed_logins: 0,
            transaction: None,
            progress,
            id: None,
        }
    }

    /// Decides about an event. No reply is the usual words.
    async fn decide(&mut self, event: Event) -> Result<Option<Reply>, Refusal> {
        match event {
            Event::Connected if self.edge.drain.has_begun() => Err(DRAINING),
            Event::Connected | Event::Data(_) => Ok(None),
            Event::Hello(hello) => {
                self.hello = Some(hello);
                Ok(None)
            }
            Event::Authenticate(credentials) => self.authenticate(credentials).await.map(|()| None),
            Event::Mail(mail) => self.begin(mail).await.map(|()| None),
            Event::Recipient(recipient) => self.add_recipient(recipient).await.map(|()| None),
            Event::EndOfMessage => self.end_message().await.map(Some),
            Event::Reset => {
                self.transaction = None;
                Ok(None)
            }
        }
    }

    async fn authenticate(&mut self, credentials: Credentials) -> Result<(), Refusal> {
        let Credentials::Password { on_behalf_of, name, password } = credentials else { return Err(WRONG_PASSWORD) };
        let login = name.as_str();
        if self.failed_logins >= FAILED_LOGINS_LIMIT {
            return Err(GUESSING);
        }
        let password = Secret::new(password.into_exposed());
        match self.edge.gate.authenticate(login, &password, on_behalf_of.as_deref(), self.client).await {
            Ok(account) => {
                tracing::info!(service = %self.service, client = %self.client, login, "authenticated");
                self.account = Some(account);
                Ok(())
            }
            Err(failure) => {
                tracing::info!(service = %self.service, client = %self.client, login, %failure, "authentication failed");
                match failure.reason {
                    // Nothing else is Busy: a directory that cannot check a password now is Unavailable.
                    Reason::Busy => Err(GUESSING),
                    Reason::Credentials | Reason::Denied => {
                        self.failed_logins += 1;
                        Err(WRONG_PASSWORD)
                    }
                    _ => Err(CANNOT_AUTHENTICATE),
                }
            }
        }
    }

    async fn begin(&mut self, mail: Mail) -> Result<(), Refusal> {
        let sender = match &mail.sender {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox.as_str().parse::<Address>().map_err(|_| BAD_SENDER)?),
        };
        if let (Some(account), Some(sender)) = (&self.account, &sender) {
            self.check_own(account, sender).await?;
        }
        let spool = self.edge.spool.spool(self.edge.config.message_limit_bytes + 2);
        let transaction = Transaction::new(sender, mail.smtputf8, spool);
        self.id = Some(transaction.id);
        self.transaction = Some(transaction);
        Ok(())
    }

    /// A user may send in their own name, and in that of an address that leads to them.
    async fn check_own(&self, account: &Account, sender: &Address) -> Result<(), Refusal> {
        match self.edge.contracts.directory.resolve(sender).await {
            Ok(Resolution::Recipients(targets)) => {
                let own = |target: &Target| matches!(target, Target::Account(one) if one.id == account.id);
                if targets.iter().any(own) { Ok(()) } else { Err(NOT_YOURS) }
            }
            Ok(_) => Err(NOT_YOURS),
            Err(failure) => Err(self.cannot_resolve(sender, &failure)),
        }
    }

    async fn add_recipient(&mut self, recipient: Recipient) -> Result<(), Refusal> {
        let address = self.recipient_address(&recipient.path)?;
        let targets = match self.edge.contracts.directory.resolve(&address).await {
            Ok(Resolution::Recipients(targets)) => targets,
            Ok(Resolution::Unknown) => return Err(UNKNOWN),
            Ok(Resolution::Blocked(why)) => {
                tracing::info!(%address, why, "a recipient that may not receive now");
                return Err(BLOCKED);
            }
            // No open relay: mail to elsewhere is for those who authenticated.
            Ok(Resolution::Foreign) if self.account.is_none() => return Err(RELAY),
            Ok(Resolution::Foreign) => vec![Target::Remote(address.clone())],
            Err(failure) => return Err(self.cannot_resolve(&address, &failure)),
        };
        match &mut self.transaction {
            Some(transaction) => {
                let added = transaction.add(address, targets);
                if added { Ok(()) } else { Err(TOO_MANY) }
            }
            None => Err(BROKEN),
        }
    }

    fn recipient_address(&self, path: &ForwardPath) -> Result<Address, Refusal> {
        match path {
            // An address literal, or a local part that no mailbox can have.
            ForwardPath::Mailbox(mailbox) if mailbox.domain().starts_with('[') => Err(RELAY),
            ForwardPath::Mailbox(mailbox) => mailbox.as_str().parse().map_err(|_| UNKNOWN),
            ForwardPath::Postmaster => {
                // RFC 5321 §4.5.1: of the first domain, since none is named.
                let settings = self.edge.settings.current();
                let domain = settings.domains.first().ok_or(UNKNOWN)?;
                Address::new("postmaster", domain.clone()).map_err(|_| UNKNOWN)
            }
        }
    }

    fn cannot_resolve(&self, address: &Address, failure: &Failure) -> Refusal {
        tracing::warn!(service = %self.service, client = %self.client, %address, %failure, "the directory gives no answer");
        DIRECTORY_DOWN
    }

    async fn end_message(&mut self) -> Result<Reply, Refusal> {
        let Some(transaction) = self.transaction.take() else { return Err(BROKEN) };
        metrics::counter!("estafeta_edge_received_total", "service" => self.service.to_string()).increment(1);
        let id = transaction.id;
        let message = transaction.spool.finish().await.map_err(|error| {
            tracing::error!(%id, %error, "a message cannot be spooled");
            no_room_or(&error, BROKEN)
        })?;
        let arrival = Arrival {
            id,
            hop: self.hop(transaction.smtputf8),
            sender: transaction.sender,
            recipients: transaction.recipients,
            targets: transaction.targets,
            message,
        };
        let id = arrival.id;
        // A refusal names the transaction too: whoever asks why can be answered from the logs.
        let named = |Refusal { why, mut reply }| {
            reply.text = format!("{} ({id})", reply.text).into();
            Refusal { why, reply }
        };
        let reply = Passage::new(self.edge.clone()).pass(arrival).await.map_err(named)?;
        metrics::counter!("estafeta_edge_accepted_total", "service" => self.service.to_string()).increment(1);
        Ok(reply)
    }

    fn hop(&self, smtputf8: bool) -> Hop {
        let hello = self.hello.as_ref();
        Hop {
            client: self.client,
            helo: hello.map(|hello| hello.name.clone()).unwrap_or_default(),
            extended: hello.is_some_and(|hello| hello.extended),
            tls: self.tls.clone(),
            authenticated: self.account.as_ref().map(|account| account.address.to_string()),
            smtputf8,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(transaction) = &mut self.transaction else { return Err(BROKEN) };
        match transaction.spool.write(bytes).await {
            Ok(()) => Ok(()),
            Err(StorageError::TooLarge { .. }) => Err(TOO_LARGE),
            Err(error) => {
                tracing::error!(id = %transaction.id, %error, "a message cannot be spooled");
                Err(no_room_or(&error, BROKEN))
            }
        }
    }

    /// Counts and logs what was refused.
    fn note(&self, event: &'static str, refusal: &Refusal) {
        metrics::counter!("estafeta_edge_refused_total", "why" => refusal.why).increment(1);
        let id = self.id.map(|id| id.to_string()).unwrap_or_default();
        tracing::info!(id, service = %self.service, client = %self.client, event, why = refusal.why, reply = %refusal.reply, "refused");
    }
}

impl Handler<Server> for Session {
    async fn handle(&mut self, event: Event, machine: &mut Server, _: &mut Output<'_>) -> io::Result<Flow> {
        let name = name_of(&event);
        if let Event::Data(bytes) = &event {
            if let Err(refusal) = self.write(bytes).await {
                self.note(name, &refusal);
                self.transaction = None;
                machine.reply(refusal.reply);
            }
            return Ok(Flow::Continue);
        }
        let was_open = self.transaction.is_some();
        let decided = self.decide(event).await;
        if self.transaction.is_some() != was_open {
            self.progress.next_step(machine.received_bytes(), Instant::now());
        }
        match decided {
            Ok(None) => machine.accept(),
            Ok(Some(reply)) => machine.reply(reply),
            Err(refusal) => {
                self.note(name, &refusal);
                machine.reply(refusal.reply);
            }
        }
        Ok(Flow::Continue)
    }

    fn patience(&self, machine: &Server) -> Option<Duration> {
        let transaction = self.transaction.as_ref().map(|transaction| transaction.recipients.len());
        let left = self.progress.left(machine.received_bytes(), transaction, Instant::now());
        Some(left.min(Duration::from_secs(self.edge.config.client_timeout_seconds)))
    }

    fn secured(&mut self, facts: &Facts<'_>) {
        // RFC 3207 §4.2: what was said in the clear is forgotten.
        self.tls = facts.tls.cloned();
        self.hello = None;
        self.transaction = None;
    }
}

/// The event, for a log.
fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Connected => "connect",
        Event::Hello(_) => "hello",
        Event::Authenticate(_) => "auth",
        Event::Mail(_) => "mail",
        Event::Recipient(_) => "rcpt",
        Event::Data(_) => "data",
        Event::EndOfMessage => "message",
        Event::Reset => "reset",
    }
}
