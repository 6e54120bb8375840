//! The remote implementation of the contract `Delivery`: LMTP to a mailbox node, the delivery id as ENVID.
//!
//! Connections are kept for the next parcel. A connection that turns out to have died meanwhile is replaced once: to
//! send the same parcel again is safe, for the mailbox knows the delivery id.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use estafeta_core::delivery::{Answer, Delivery, Outcome, Parcel, Recipient, later};
use estafeta_core::members::Candidate;
use estafeta_core::{Address, Failure};
use estafeta_net::connection::Connection;
use estafeta_net::drive::Timeouts;
use estafeta_net::role::Remote;
use estafeta_net::smtp;
use estafeta_protocols::smtp::client::{self, Client, Config, Envelope, Tls};
use estafeta_protocols::smtp::{Dialect, Mailbox, Reply, Severity};

/// How long a parcel may take in all, in which an edge node waits with its own client.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long the mailbox node may be silent, and slow to take what is sent.
const TIMEOUTS: Timeouts = Timeouts { read: DEADLINE, write: DEADLINE };

/// How many idle connections are kept to a node.
const IDLE_CONNECTIONS: usize = 32;

/// How long one is kept: less than the other side waits for the next command.
const IDLE: Duration = Duration::from_secs(60);

/// To one mailbox node.
pub struct RemoteDelivery {
    remote: Remote,
    candidate: Candidate,
    idle: Mutex<Vec<Idle>>,
}

/// A connection that waits for its next parcel.
struct Idle {
    connection: Connection,
    machine: Client,
    since: Instant,
}

impl RemoteDelivery {
    /// To this endpoint; `remote` is who asks.
    pub fn new(remote: Remote, candidate: Candidate) -> Self {
        Self { remote, candidate, idle: Mutex::default() }
    }

    /// An idle connection that is not too old.
    fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|one| one.since.elapsed() < IDLE);
        idle.pop()
    }

    /// How many connections wait for a parcel.
    pub fn idle_connections(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn keep(&self, connection: Connection, machine: Client) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(Idle { connection, machine, since: Instant::now() });
        }
    }

    async fn connect(&self) -> Result<(Connection, Client), Failure> {
        let connection = self.remote.tls.connect(&self.candidate).await?;
        let machine = Client::new(Config {
            dialect: Dialect::Lmtp,
            hostname: self.remote.hostname.clone(),
            tls: Tls::Established,
            login: None,
            chunking: true,
        });
        Ok((connection, machine))
    }

    async fn send(&self, parcel: &Parcel, envelope: Envelope) -> Result<client::Outcome, Failure> {
        if let Some(Idle { connection, mut machine, .. }) = self.take_idle() {
            // It asked for an envelope at the end of the parcel before this one.
            machine.send(envelope.clone());
            match self.converse(connection, machine, parcel, None).await {
                Ok(outcome) if outcome.problem.is_none() => return Ok(outcome),
                // It may have been closed since: that says nothing about the node.
                Ok(_) | Err(_) => {
                    tracing::debug!(id = %parcel.id, node = %self.candidate.node, "a kept connection is gone")
                }
            }
        }
        let (connection, machine) = self.connect().await?;
        self.converse(connection, machine, parcel, Some(envelope)).await
    }

    /// One transaction on a connection, which is kept if it is good for another. `envelope`: unless the machine has it.
    async fn converse(
        &self,
        connection: Connection,
        machine: Client,
        parcel: &Parcel,
        envelope: Option<Envelope>,
    ) -> Result<client::Outcome, Failure> {
        let sent = smtp::send_and_keep(connection, machine, (envelope, &parcel.message), TIMEOUTS).await;
        if let Some((connection, machine)) = sent.kept {
            self.keep(connection, machine);
        }
        sent.outcome.map_err(|problem| Failure::unavailable(format!("node {}: {problem}", self.candidate.node)))
    }
}

#[async_trait]
impl Delivery for RemoteDelivery {
    async fn deliver(&self, parcel: &Parcel) -> Vec<Outcome> {
        let all = |outcome: Outcome| vec![outcome; parcel.recipients.len()];
        let Some(envelope) = envelope(parcel) else {
            return all(Outcome::Refused(Answer {
                code: 553,
                status: "5.1.3".into(),
                text: "an address cannot be written in LMTP".into(),
            }));
        };
        let node = &self.candidate.node;
        match tokio::time::timeout(DEADLINE, self.send(parcel, envelope)).await {
            Ok(Ok(outcome)) => {
                if let Some(problem) = &outcome.problem {
                    tracing::warn!(id = %parcel.id, %node, %problem, "delivery broken off");
                }
                outcome.replies.into_iter().map(outcome_of).collect()
            }
            Ok(Err(failure)) => {
                tracing::warn!(id = %parcel.id, %node, %failure, "the mailbox node cannot be reached");
                all(later("the mailbox cannot be reached"))
            }
            Err(_) => {
                tracing::warn!(id = %parcel.id, %node, "the mailbox node took too long");
                all(later("the mailbox took too long"))
            }
        }
    }
}

fn envelope(parcel: &Parcel) -> Option<Envelope> {
    let recipients: Vec<_> = parcel.recipients.iter().map(addressed).collect();
    let (sender, recipients) = smtp::paths(parcel.sender.as_ref(), &recipients)?;
    Some(Envelope {
        sender,
        recipients,
        originals: parcel.recipients.iter().map(original).collect(),
        size_bytes: parcel.message.len() as u64,
        eight_bit: parcel.message.parts().iter().any(|part| !part.is_ascii()),
        // A store takes any header that the cluster has accepted; Dovecot's does not offer SMTPUTF8, and does too.
        smtputf8: false,
        envelope_id: Some(parcel.id.to_envelope_id()),
    })
}

/// Whom the mailbox node hears of: the account's address, with the detail that the sender wrote, if any (RFC 5233).
fn addressed(recipient: &Recipient) -> Address {
    let address = &recipient.account.address;
    // The whole of an account's own address is no detail.
    let detail = recipient.original.split_detail().filter(|_| recipient.original.key() != address.key());
    detail.and_then(|(_, detail)| address.with_detail(detail).ok()).unwrap_or_else(|| address.clone())
}

/// Whom the sender named, where that is not whom the mailbox node hears of anyway.
fn original(recipient: &Recipient) -> Option<Mailbox> {
    let named = Some(&recipient.original).filter(|named| named.key() != addressed(recipient).key());
    Mailbox::parse(&named?.to_string()).ok()
}

fn outcome_of(reply: Reply) -> Outcome {
    let (default, severity) = match reply.severity() {
        Severity::Positive => return Outcome::Delivered,
        Severity::Permanent => ("5.0.0", Severity::Permanent),
        Severity::Temporary | Severity::Intermediate => ("4.0.0", Severity::Temporary),
    };
    let status = reply.enhanced.map_or_else(|| default.to_owned(), |enhanced| enhanced.to_string());
    let answer = Answer { code: reply.code, status, text: reply.text.into_owned() };
    if severity == Severity::Permanent { Outcome::Refused(answer) } else { Outcome::Later(answer) }
}
