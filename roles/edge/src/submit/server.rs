//! Where other nodes hand over the mail that the cluster itself sends: SMTP over mutual TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::submit::{Submission, Submit as _};
use estafeta_core::{Address, DeliveryId, Failure, RoleName, ServiceName};
use estafeta_net::accept::{Security, serve};
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_net::probe::{self, Answer};
use estafeta_net::role::Probing;
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::Tls;
use estafeta_protocols::smtp::server::{self, Event, Mail, Recipient, Server};
use estafeta_protocols::smtp::{Dialect, Enhanced, ForwardPath, Reply, ReversePath};
use estafeta_storage::StorageError;
use estafeta_storage::spool::Spool;
use tokio::task::JoinSet;

use super::LocalSubmit;
use crate::edge::Edge;
use crate::passage::trace::{Hop, received};

/// The service.
pub const EDGE_SUBMISSION: ServiceName = ServiceName::fixed("edge-submission");

/// Who sends mail of their own.
const ASKED_BY: &[RoleName] = &[RoleName::MAILBOX, RoleName::DIRECTORY, RoleName::FILTER];

const UNEXPECTED: Reply = Reply::known(451, Enhanced(4, 3, 0), "Internal error, try again later");
const BAD_ADDRESS: Reply = Reply::known(553, Enhanced(5, 1, 3), "Address not supported");
const NO_REPORTS: Reply = Reply::known(555, Enhanced(5, 5, 4), "NOTIFY=SUCCESS is not supported here");

/// Of the service.
pub fn probe(probing: Probing) -> Answer {
    Box::pin(async move { probe::smtp_between_nodes(probing, ASKED_BY).await })
}

/// Serves it until the drain begins, in tasks among `listening`.
pub fn listen(edge: &Arc<Edge>, sockets: &Sockets, tls: &Arc<Tls>, listening: &mut JoinSet<()>) -> Result<(), Failure> {
    for listener in sockets.tcp(&EDGE_SUBMISSION).map_err(Failure::internal)? {
        let (drain, limits) = (edge.drain.clone(), edge.config.connection_limits());
        let security = Security::Cluster(tls.clone(), ASKED_BY);
        let edge = edge.clone();
        let talk = move |connection| talk(edge.clone(), connection);
        listening.spawn(serve(listener, EDGE_SUBMISSION, security, limits, drain, talk));
    }
    Ok(())
}

async fn talk(edge: Arc<Edge>, connection: Connection) {
    let limits = edge.config.limits();
    let config = server::Config {
        dialect: Dialect::Nodes,
        hostname: edge.hostname.clone(),
        tls: server::Tls::Established,
        limits,
    };
    let silence = Duration::from_secs(edge.config.client_timeout_seconds);
    let timeouts = Timeouts { read: silence, write: silence };
    let drain = edge.drain.clone();
    let hop = Hop {
        client: connection.peer.ip().to_canonical(),
        helo: String::new(),
        extended: true,
        tls: connection.tls.clone(),
        authenticated: connection.identity.as_ref().map(|identity| identity.node.to_string()),
        smtputf8: false,
    };
    let mut conversation = Conversation { edge, hop, transaction: None };
    let driven = drive(connection, &mut Server::new(config), &mut conversation, Upgrade::Never, timeouts, &drain).await;
    if let Err(error) = driven {
        let node = conversation.hop.authenticated;
        tracing::debug!(node, %error, "a node that was to hand mail over is gone");
    }
}

struct Conversation {
    edge: Arc<Edge>,
    hop: Hop,
    transaction: Option<Transaction>,
}

/// What was said since MAIL.
struct Transaction {
    id: DeliveryId,
    sender: Option<Address>,
    recipients: Vec<Address>,
    spool: Spool,
}

impl Conversation {
    fn begin(&mut self, mail: &Mail) -> Result<(), Reply> {
        let sender = match &mail.sender {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox.as_str().parse().map_err(|_| BAD_ADDRESS)?),
        };
        let id =
            mail.envelope_id.as_deref().and_then(DeliveryId::from_envelope_id).unwrap_or_else(DeliveryId::generate);
        self.hop.smtputf8 = mail.smtputf8;
        let spool = self.edge.spool.spool(self.edge.config.message_limit_bytes + 2);
        self.transaction = Some(Transaction { id, sender, recipients: Vec::new(), spool });
        Ok(())
    }

    fn add(&mut self, recipient: &Recipient) -> Result<(), Reply> {
        let ForwardPath::Mailbox(mailbox) = &recipient.path else { return Err(BAD_ADDRESS) };
        if recipient.notify_success {
            return Err(NO_REPORTS);
        }
        let address = mailbox.as_str().parse().map_err(|_| BAD_ADDRESS)?;
        self.transaction.as_mut().ok_or(UNEXPECTED)?.recipients.push(address);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Reply> {
        let transaction = self.transaction.as_mut().ok_or(UNEXPECTED)?;
        transaction.spool.write(bytes).await.map_err(|error| unspooled(&error))
    }

    async fn end_message(&mut self) -> Result<Reply, Reply> {
        let Transaction { id, sender, recipients, spool } = self.transaction.take().ok_or(UNEXPECTED)?;
        let message = spool.finish().await.map_err(|error| unspooled(&error))?;
        let trace = received(&self.hop, &self.edge.hostname, id, &recipients, std::time::SystemTime::now());
        let submission = Submission { id, sender, recipients, message: message.with_prefix(trace) };
        match LocalSubmit(self.edge.clone()).submit(&submission).await {
            Ok(()) => Ok(Reply::new(250, Enhanced(2, 0, 0), format!("queued as {id}"))),
            Err(failure) => {
                tracing::error!(%id, %failure, "a message of the cluster's own cannot be queued: it comes again");
                Err(Reply::known(451, Enhanced(4, 3, 1), "It cannot be queued now, try again later"))
            }
        }
    }
}

fn unspooled(error: &StorageError) -> Reply {
    tracing::error!(%error, "a message of the cluster's own cannot be spooled");
    match error {
        StorageError::TooLarge { .. } => Reply::known(552, Enhanced(5, 3, 4), "Message too large"),
        _ => UNEXPECTED,
    }
}

impl Handler<Server> for Conversation {
    async fn handle(&mut self, event: Event, server: &mut Server, _: &mut Output<'_>) -> io::Result<Flow> {
        let answer = match event {
            Event::Connected => Ok(()),
            Event::Hello(hello) => {
                self.hop.helo = hello.name;
                Ok(())
            }
            // Not offered in this dialect.
            Event::Authenticate(_) => Err(Reply::known(503, Enhanced(5, 5, 1), "Not offered here")),
            Event::Mail(mail) => self.begin(&mail),
            Event::Recipient(recipient) => self.add(&recipient),
            Event::Data(bytes) => {
                if let Err(refusal) = self.write(&bytes).await {
                    server.reply(refusal);
                }
                return Ok(Flow::Continue);
            }
            Event::EndOfMessage => {
                server.reply(self.end_message().await.unwrap_or_else(|refusal| refusal));
                return Ok(Flow::Continue);
            }
            Event::Reset => {
                self.transaction = None;
                return Ok(Flow::Continue);
            }
        };
        match answer {
            Ok(()) => server.accept(),
            Err(refusal) => server.reply(refusal),
        }
        Ok(Flow::Continue)
    }
}
