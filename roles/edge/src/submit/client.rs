//! The remote implementation of `Submit`: SMTP to an edge node over mutual TLS, the delivery id as ENVID.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estafeta_core::members::Candidate;
use estafeta_core::submit::{Submission, Submit};
use estafeta_core::{Failure, Reason};
use estafeta_net::drive::Timeouts;
use estafeta_net::role::Remote;
use estafeta_net::smtp;
use estafeta_protocols::smtp::client::{Client, Config, Envelope, Outcome, Tls};
use estafeta_protocols::smtp::{Dialect, Severity};

use super::has_utf8_header;

/// How long it may take in all: the node only has to write it down.
const DEADLINE: Duration = Duration::from_secs(60);

const TIMEOUTS: Timeouts = Timeouts { read: DEADLINE, write: DEADLINE };

/// To one edge node. There is not much of this mail, so each message has a connection of its own.
struct RemoteSubmit {
    remote: Remote,
    candidate: Candidate,
}

/// The client, as the role's row lists it.
pub fn client(remote: &Remote, candidate: &Candidate) -> Arc<dyn Submit> {
    Arc::new(RemoteSubmit { remote: remote.clone(), candidate: candidate.clone() })
}

#[async_trait]
impl Submit for RemoteSubmit {
    async fn submit(&self, submission: &Submission) -> Result<(), Failure> {
        let Submission { id, sender, recipients, message } = submission;
        let (sender, recipients) = smtp::paths(sender.as_ref(), recipients)
            .ok_or_else(|| Failure::new(Reason::Invalid, "an address of these cannot be written in SMTP"))?;
        let envelope = Envelope {
            sender,
            recipients,
            originals: Vec::new(),
            size_bytes: message.len() as u64,
            eight_bit: message.parts().iter().any(|part| !part.is_ascii()),
            smtputf8: has_utf8_header(message),
            envelope_id: Some(id.to_envelope_id()),
        };
        let sending = async {
            let connection = self.remote.tls.connect(&self.candidate).await?;
            let machine = Client::new(Config {
                dialect: Dialect::Smtp,
                hostname: self.remote.hostname.clone(),
                tls: Tls::Established,
                login: None,
                chunking: true,
            });
            let never = estafeta_net::drive::Upgrade::Never;
            let sent = smtp::send(connection, machine, (envelope, message), never, TIMEOUTS).await;
            sent.map_err(Failure::unavailable)
        };
        let late = |_| Failure::unavailable("it took too long");
        let outcome = tokio::time::timeout(DEADLINE, sending).await.map_err(late)??;
        taken(&outcome).map_err(|failure| failure.because(format_args!("node {}", self.candidate.node)))
    }
}

/// Whether all recipients were taken.
fn taken(outcome: &Outcome) -> Result<(), Failure> {
    match outcome.replies.iter().find(|reply| !reply.is_positive()) {
        None => Ok(()),
        Some(reply) if reply.severity() == Severity::Permanent => Err(Failure::new(Reason::Denied, reply.to_string())),
        Some(reply) => Err(Failure::new(Reason::Unavailable, reply.to_string())),
    }
}
