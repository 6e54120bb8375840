//! Posts one message through an edge node that is ready, as any mail server would: SMTP to its port for mail from
//! outside, so only to addresses of this cluster.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use estafeta_core::members::{Candidate, MembersView};
use estafeta_core::{Address, Message, NodeName, ServiceName};
use estafeta_net::connection::Connection;
use estafeta_net::drive::Timeouts;
use estafeta_net::smtp;
use estafeta_net::tls::{CONNECT, Tls};
use estafeta_protocols::smtp::Dialect;
use estafeta_protocols::smtp::client::{Client, Config, Envelope, Outcome, Tls as SmtpTls};
use tokio::net::TcpStream;

/// How long an edge node may be silent: it may wait for a verdict and a mailbox.
const SILENCE: Duration = Duration::from_secs(120);

/// What is needed to post.
#[derive(Clone)]
pub struct Post {
    /// This node.
    pub node: NodeName,
    /// What it calls itself in SMTP.
    pub hostname: String,
    /// Its TLS.
    pub tls: Arc<Tls>,
    /// Where the edge nodes are.
    pub members: MembersView,
}

impl Post {
    /// Posts a message to recipients of this cluster. It is sent from nowhere (RFC 5321 §4.5.5): no bounce answers it. The
    /// edge nodes are tried in turn until one takes it for every recipient; the error says what the last one said.
    pub async fn send(&self, recipients: &[Address], message: &Bytes) -> Result<NodeName, String> {
        let mut candidates = self.members.current().candidates(&ServiceName::fixed("smtp"), None);
        fastrand::shuffle(&mut candidates);
        // Its own is as good as any, and cannot be cut off from it.
        candidates.sort_by_key(|candidate| candidate.node != self.node);
        let mut last = "no node with the role edge is known".to_owned();
        for candidate in candidates {
            match self.send_to(&candidate, recipients, message).await {
                Ok(()) => return Ok(candidate.node),
                Err(why) => last = format!("{}: {why}", candidate.node),
            }
        }
        Err(last)
    }

    async fn send_to(&self, candidate: &Candidate, recipients: &[Address], message: &Bytes) -> Result<(), String> {
        let (sender, recipients) =
            smtp::paths(None, recipients).ok_or("an address of these cannot be written in SMTP")?;
        let envelope = Envelope {
            sender,
            recipients,
            originals: Vec::new(),
            size_bytes: message.len() as u64,
            eight_bit: !message.is_ascii(),
            smtputf8: false,
            envelope_id: None,
        };
        let address = candidate.endpoint.address;
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| format!("{address}: {error}"))?;
        let connection = Connection::clear(stream).map_err(|error| error.to_string())?;
        let machine = Client::new(Config {
            dialect: Dialect::Smtp,
            hostname: self.hostname.clone(),
            tls: SmtpTls::Opportunistic,
            login: None,
            chunking: false,
        });
        let timeouts = Timeouts { read: SILENCE, write: SILENCE };
        let upgrade = self.tls.upgrade_to(candidate.node.as_str());
        let message = Message::new(message.clone());
        verdict(&smtp::send(connection, machine, (envelope, &message), upgrade, timeouts).await?)
    }
}

fn verdict(outcome: &Outcome) -> Result<(), String> {
    match outcome.replies.iter().find(|reply| !reply.is_positive()) {
        Some(refusal) => Err(match &outcome.problem {
            Some(problem) => format!("{problem} ({refusal})"),
            None => refusal.to_string(),
        }),
        None => Ok(()),
    }
}
