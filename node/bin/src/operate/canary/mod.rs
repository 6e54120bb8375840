//! The canary: a message that goes all the way, from the port where foreign servers deliver to the INBOX as a mail program
//! reads it, and how long that took.
//!
//! Of the nodes that have a canary the lowest-named ready one sends it.

mod imap;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use estafeta_core::members::Candidate;
use estafeta_core::{Secret, ServiceName};
use estafeta_net::tls::CONNECT;
use estafeta_protocols::date::DateTime;
use tokio::net::TcpStream;

use self::imap::Imap;
use super::config::CanaryConfig;
use super::facts::{self, CANARY, TROUBLE};
use super::post::Post;
use super::trust;

/// The header field by which its messages are known.
const FIELD: &str = "X-Estafeta-Canary";

/// How often it looks whether the message is there.
const LOOK: Duration = Duration::from_millis(200);

/// How many failures in a row are a trouble; one may be a node that has just gone.
const FAILURES: u32 = 2;

/// Describes what the canary counts.
pub fn describe_metrics() {
    metrics::describe_histogram!(
        "estafeta_canary_delay_seconds",
        "From handing the canary's message to an edge node until IMAP shows it."
    );
    metrics::describe_counter!("estafeta_canary_messages_total", "Messages of the canary that came through.");
    metrics::describe_counter!("estafeta_canary_failures_total", "Messages of the canary that did not come through.");
}

/// The canary of a node.
pub struct Canary {
    /// Its account and times.
    pub config: CanaryConfig,
    /// How its message is sent.
    pub post: Post,
}

impl Canary {
    /// Sends it, again and again, when it is this node's turn.
    pub async fn run(self) {
        let (node, members) = (&self.post.node, &self.post.members);
        facts::set(members, node, CANARY, Some("yes"));
        let trouble = format!("{TROUBLE}canary");
        let mut ticks = tokio::time::interval(Duration::from_secs(self.config.interval_seconds));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failures = 0;
        loop {
            ticks.tick().await;
            if !facts::holds(&members.current(), node, CANARY) {
                failures = 0;
                facts::set(members, node, &trouble, None);
                continue;
            }
            match self.fly().await {
                Ok(delay) => {
                    failures = 0;
                    tracing::debug!(delay_ms = delay.as_millis(), "the canary came through");
                    metrics::counter!("estafeta_canary_messages_total").increment(1);
                    metrics::histogram!("estafeta_canary_delay_seconds").record(delay.as_secs_f64());
                    facts::set(members, node, &trouble, None);
                }
                Err(why) => {
                    failures += 1;
                    tracing::warn!(why, failures, "the canary did not come through");
                    metrics::counter!("estafeta_canary_failures_total").increment(1);
                    if failures >= FAILURES {
                        let text = format!("mail does not come through, as the canary sees it: {why}");
                        facts::set(members, node, &trouble, Some(&text));
                    }
                }
            }
        }
    }

    /// One message all the way; gives how long it took. The error says where it ended.
    async fn fly(&self) -> Result<Duration, String> {
        let password = std::fs::read_to_string(&self.config.password_file)
            .map_err(|error| format!("{}: {error}: see [canary]", self.config.password_file.display()))?;
        let password = Secret::new(password.lines().next().unwrap_or_default().to_owned());
        let id = uuid::Uuid::new_v4().to_string();
        let patience = Duration::from_secs(self.config.patience_seconds);
        let began = Instant::now();
        let message = self.message(&id);
        let sent = self.post.send(std::slice::from_ref(&self.config.account), &message);
        let edge = tokio::time::timeout(patience, sent)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} seconds", patience.as_secs())))
            .map_err(|why| format!("no edge node takes it: {why}"))?;
        let mut last = format!("{edge} took it, and it is not in INBOX after {} seconds", patience.as_secs());
        loop {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(last);
            }
            match tokio::time::timeout(left, self.find(&id, &password, began)).await {
                Ok(Ok(delay)) => return Ok(delay),
                Ok(Err(why)) => {
                    last = format!("{edge} took it, and it cannot be read: {why}");
                    tokio::time::sleep(LOOK).await;
                }
                Err(_) => return Err(last),
            }
        }
    }

    fn message(&self, id: &str) -> Bytes {
        let account = &self.config.account;
        let date = DateTime::of(SystemTime::now()).rfc5322();
        // RFC 3834 §5: nobody's vacation answers it.
        Bytes::from(format!(
            "From: <{account}>\r\nTo: <{account}>\r\nSubject: canary {id}\r\nDate: {date}\r\nMessage-ID: <{id}@{host}>\r\n\
             {FIELD}: {id}\r\nAuto-Submitted: auto-generated\r\n\r\n\
             This message shows that mail comes through. It is deleted as soon as it has been seen.\r\n",
            host = self.post.hostname
        ))
    }

    /// Waits for the message in INBOX, and deletes it with all that earlier ones have left.
    async fn find(&self, id: &str, password: &Secret, began: Instant) -> Result<Duration, String> {
        let mut imap = self.log_in(password).await?;
        imap.command("SELECT INBOX").await?;
        while imap.search(FIELD, id).await?.is_empty() {
            tokio::time::sleep(LOOK).await;
            imap.command("NOOP").await?;
        }
        let delay = began.elapsed();
        let all = imap.search(FIELD, "").await?;
        imap.delete(&all).await?;
        // It has been seen: how the server says goodbye does not matter.
        let _ = imap.command("LOGOUT").await;
        Ok(delay)
    }

    async fn log_in(&self, password: &Secret) -> Result<Imap, String> {
        let mut candidates = self.post.members.current().candidates(&ServiceName::fixed("imaps"), None);
        fastrand::shuffle(&mut candidates);
        let mut last = "no node with the role access is known".to_owned();
        for candidate in candidates {
            match self.log_in_at(&candidate, password).await {
                Ok(imap) => return Ok(imap),
                Err(why) => last = format!("{}: {why}", candidate.node),
            }
        }
        Err(last)
    }

    async fn log_in_at(&self, candidate: &Candidate, password: &Secret) -> Result<Imap, String> {
        let address = candidate.endpoint.address;
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|error| format!("{address}: {error}"))?;
        let connection = trust::connect(stream, &self.config.imap_name(), &self.config.authorities).await?;
        let mut imap = Imap::greeted(connection.stream).await?;
        imap.login(&self.config.account.to_string(), password).await?;
        Ok(imap)
    }
}
