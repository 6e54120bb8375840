//! What happens between a client's password and its mail, whatever language it speaks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafeta_core::contracts::Contracts;
use estafeta_core::sessions::{Protocol, Session, SessionRequest, Sessions, TlsFacts};
use estafeta_core::{Failure, Reason, Secret};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Timeouts, Upgrade};
use estafeta_net::login::Gate;
use estafeta_net::role::Context;
use estafeta_net::tls::Tls;
use estafeta_protocols::sasl::{Credentials, Mechanism};

use crate::config::Config;
use crate::pace::Pace;

/// How long a client may take what is sent to it before it has logged in: little is.
const WRITE: Duration = Duration::from_secs(30);

/// How long a client waits for the word that it shall try again later: one that tries again at once would add to what is
/// wrong, and its tries are not counted.
const BEFORE_LATER: Duration = Duration::from_secs(1);

/// How a client may say who it is.
pub const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// What all conversations share.
pub struct Front {
    gate: Gate,
    sessions: Arc<dyn Sessions>,
    tls: Arc<Tls>,
    /// When to stop.
    pub drain: Drain,
    /// How long a client may be silent and slow.
    pub timeouts: Timeouts,
    tries_limit: u32,
    login_limit: Duration,
    /// How often an account may come by POP3.
    pub pop3_pace: Pace,
}

/// A client that has not yet said who it is.
pub struct Visitor {
    protocol: Protocol,
    client: SocketAddr,
    tls: Option<TlsFacts>,
    wrong: u32,
    opened: Option<Box<dyn Session>>,
}

impl Front {
    /// For a role that starts.
    pub fn new(config: &Config, context: &Context) -> Self {
        let Contracts { directory, sessions, .. } = context.contracts.clone();
        Self {
            gate: Gate::new(directory),
            sessions,
            tls: context.tls.clone(),
            drain: context.drain.clone(),
            timeouts: Timeouts { read: Duration::from_secs(config.login_timeout_seconds), write: WRITE },
            tries_limit: config.tries_limit,
            login_limit: Duration::from_secs(config.login_limit_seconds),
            pop3_pace: Pace::new(Duration::from_secs(config.pop3_login_delay_seconds.into())),
        }
    }

    /// Bounds the conversation before login as a whole: a client may be slow, but not for ever.
    pub async fn in_time<T>(&self, conversation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "logging in took too long");
        tokio::time::timeout(self.login_limit, conversation).await.unwrap_or_else(|_| Err(late()))
    }

    /// How TLS is started inside a conversation, where a certificate is at hand.
    pub fn upgrade(&self) -> Upgrade {
        self.tls.service().map_or(Upgrade::Never, Upgrade::Accept)
    }

    /// Asks the directory who it is, and opens the mail. The visitor keeps it for the hand-over; what is given is what the
    /// mail says that it can do.
    pub async fn open(&self, visitor: &mut Visitor, credentials: Credentials) -> Result<String, Failure> {
        let began = Instant::now();
        let Credentials::Password { on_behalf_of, name, password } = credentials else {
            return Err(Failure::new(Reason::Invalid, "this mechanism is not offered here"));
        };
        let password = Secret::new(password.into_exposed());
        let client = visitor.client;
        let account = self.gate.authenticate(&name, &password, on_behalf_of.as_deref(), client.ip()).await;
        let account = account.inspect_err(|failure| {
            // A directory that is away, or has too much to do, is not the visitor's fault.
            visitor.wrong += u32::from(matches!(failure.reason, Reason::Credentials | Reason::Denied));
            tracing::info!(%client, login = name, protocol = ?visitor.protocol, %failure, "login refused");
        });
        if account.as_ref().is_err_and(Failure::is_temporary) {
            tokio::time::sleep(BEFORE_LATER).await;
        }
        let account = account?;
        if visitor.protocol == Protocol::Pop3
            && let Err(wait) = self.pop3_pace.log_in(account.id, began)
        {
            let seconds = wait.as_secs() + 1;
            return Err(Failure::new(Reason::Busy, format!("too soon after the last login, wait {seconds} seconds")));
        }
        let (address, group) = (account.address.clone(), account.store_group.clone());
        let request = SessionRequest { protocol: visitor.protocol, account, client, tls: visitor.tls.clone() };
        let opened = self.sessions.open(&request).await.inspect_err(|failure| {
            tracing::warn!(%client, login = %address, protocol = ?visitor.protocol, store_group = %group, %failure, "the mail cannot be opened");
        })?;
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%client, login = %address, protocol = ?visitor.protocol, store_group = %group, tls = visitor.tls.is_some(), elapsed_ms, "login");
        let capabilities = opened.capabilities().to_owned();
        visitor.opened = Some(opened);
        Ok(capabilities)
    }

    /// Whether this visitor has guessed enough.
    pub fn has_enough_of(&self, visitor: &Visitor) -> bool {
        visitor.wrong >= self.tries_limit
    }
}

impl Visitor {
    /// Whoever is at the other end.
    pub fn new(protocol: Protocol, connection: &Connection) -> Self {
        Self { protocol, client: connection.peer, tls: connection.tls.clone(), wrong: 0, opened: None }
    }

    /// TLS was started.
    pub fn secured(&mut self, tls: Option<&TlsFacts>) {
        self.tls = tls.cloned();
    }

    /// The mail that was opened for it.
    pub fn into_session(self) -> Option<Box<dyn Session>> {
        self.opened
    }
}
