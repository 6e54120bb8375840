//! The remote implementation of the contract `Sessions`: logs in at a mailbox node, then only passes bytes on.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use estafeta_core::Failure;
use estafeta_core::members::Candidate;
use estafeta_core::sessions::{BoxStream, Protocol, Session, SessionRequest, Sessions};
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Ended, Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_net::role::Remote;

use super::copy::Copy;
use super::imap::ImapLogin;
use super::login::{Language, Login};
use super::pop3::Pop3Login;

/// How long the mailbox node may take for each step of the login.
const TIMEOUTS: Timeouts = Timeouts { read: Duration::from_secs(10), write: Duration::from_secs(10) };

/// At one mailbox node.
pub(super) struct RemoteSessions {
    remote: Remote,
    candidate: Candidate,
}

impl RemoteSessions {
    pub(super) fn new(remote: Remote, candidate: Candidate) -> Self {
        Self { remote, candidate }
    }

    /// Connects and logs in.
    async fn log_in<L: Language>(&self, language: L) -> Result<(L, BoxStream, Bytes), Failure> {
        let connection = self.remote.tls.connect(&self.candidate).await?;
        let mut login = Login::new(language);
        let mut outcome = Waiting(None);
        let ended = drive(connection, &mut login, &mut outcome, Upgrade::Never, TIMEOUTS, &Drain::new()).await;
        let failed = |cause: String| Failure::unavailable(format!("node {}: {cause}", self.candidate.node));
        match (outcome.0, ended) {
            (Some(Ok(())), Ok(Ended::HandedOver(connection, unread))) => {
                Ok((login.language, connection.stream, unread))
            }
            (Some(Err(failure)), _) => {
                let cause = format!("node {}: {}", self.candidate.node, failure.cause);
                Err(failure.because(cause))
            }
            (_, Err(error)) => Err(failed(error.to_string())),
            (_, Ok(_)) => Err(failed("no answer to the login".to_owned())),
        }
    }
}

#[async_trait]
impl Sessions for RemoteSessions {
    async fn open(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure> {
        let (account, client) = (&request.account.address, request.client);
        let (capabilities, stream, unread) = match request.protocol {
            Protocol::Imap => {
                let (login, stream, unread) = self.log_in(ImapLogin::new(account, client)).await?;
                (login.capabilities, stream, unread)
            }
            Protocol::Pop3 => {
                let (_, stream, unread) = self.log_in(Pop3Login::new(account, client)).await?;
                (String::new(), stream, unread)
            }
        };
        Ok(Box::new(RemoteSession { capabilities, stream, unread }))
    }
}

/// What the login said.
struct Waiting(Option<Result<(), Failure>>);

impl<L: Language> Handler<Login<L>> for Waiting {
    async fn handle(&mut self, outcome: Result<(), Failure>, _: &mut Login<L>, _: &mut Output<'_>) -> io::Result<Flow> {
        let flow = if outcome.is_ok() { Flow::HandOver } else { Flow::Close };
        self.0 = Some(outcome);
        Ok(flow)
    }
}

/// Mail that is open at another node.
struct RemoteSession {
    capabilities: String,
    stream: BoxStream,
    /// What the mailbox node sent behind the login.
    unread: Bytes,
}

#[async_trait]
impl Session for RemoteSession {
    fn capabilities(&self) -> &str {
        &self.capabilities
    }

    async fn serve(self: Box<Self>, stream: BoxStream, unread: Bytes) -> io::Result<()> {
        let Self { stream: node, unread: from_node, .. } = *self;
        Copy::new((stream, unread), (node, from_node)).await
    }
}
