//! The local implementation of `Judge`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use estafeta_core::judge::{Action, Envelope, Judge, Verdict};
use estafeta_core::{Failure, Message};
use tokio::sync::Semaphore;

use crate::authentication::{Authenticator, Hashed, RESULTS_HEADER, Results};
use crate::health;
use crate::inspect::Inspector;
use crate::network::Network;
use crate::verdict::{Finding, decide};
use crate::virus::clamd::Clamd;

/// Judges messages on this node.
pub struct LocalJudge {
    inspector: Arc<Inspector>,
    authenticator: Authenticator,
    clamd: Option<(Clamd, WhenClamdFails)>,
    local_networks: Vec<Network>,
    time_limit: Duration,
    /// What the messages that are judged at once may hold decoded, in KB.
    room: Semaphore,
    room_kb: u32,
}

/// What is done with a message that clamd gives no verdict on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenClamdFails {
    /// There is no verdict: whoever asks decides; edge answers 451 by default.
    Defer,
    /// It goes on unscanned, with a symbol that says so.
    Accept,
}

/// What a local judge is made of.
pub struct Parts {
    /// The rules on what stands in a message.
    pub inspector: Inspector,
    /// SPF, DKIM and DMARC.
    pub authenticator: Authenticator,
    /// The virus scanner beside the built-in one.
    pub clamd: Option<(Clamd, WhenClamdFails)>,
    /// Clients that are not asked for SPF, DKIM and DMARC: our own.
    pub local_networks: Vec<Network>,
    /// How long one verdict may take.
    pub time_limit: Duration,
    /// How large all messages together may be that are judged at once, in bytes.
    pub memory_bytes: u64,
}

impl LocalJudge {
    /// A judge of these parts.
    pub fn new(parts: Parts) -> Self {
        let room_kb =
            u32::try_from(parts.memory_bytes / 1024).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32).max(1);
        Self {
            inspector: Arc::new(parts.inspector),
            authenticator: parts.authenticator,
            clamd: parts.clamd,
            local_networks: parts.local_networks,
            time_limit: parts.time_limit,
            room: Semaphore::new(room_kb as usize),
            room_kb,
        }
    }

    async fn verdict(&self, envelope: &Envelope, message: &Message) -> Result<Verdict, Failure> {
        // One message that is larger than the room is judged alone.
        let need = u32::try_from(message.len() / 1024).unwrap_or(u32::MAX).saturating_add(1).min(self.room_kb);
        let _place = self.room.acquire_many(need).await.map_err(Failure::internal)?;
        let from_outside = envelope.authenticated.is_none();
        let (inspected, virus, results) = tokio::join!(
            self.inspect(message, from_outside),
            self.clamd(envelope, message),
            self.authentication(envelope, message),
        );
        let mut findings = inspected?;
        findings.extend(virus?);
        let mut headers = Vec::new();
        if let Some(results) = results? {
            findings.extend(results.findings);
            headers.push((RESULTS_HEADER.to_owned(), results.header));
        }
        Ok(decide(findings, headers, &self.inspector.thresholds))
    }

    async fn inspect(&self, message: &Message, from_outside: bool) -> Result<Vec<Finding>, Failure> {
        let (inspector, message) = (self.inspector.clone(), message.clone());
        aside(move || inspector.inspect(&message, from_outside)).await?.map_err(Failure::unavailable)
    }

    async fn clamd(&self, envelope: &Envelope, message: &Message) -> Result<Option<Finding>, Failure> {
        let Some((clamd, when_it_fails)) = &self.clamd else { return Ok(None) };
        match clamd.scan(message).await {
            Err(failure) => {
                if !health::is_probe(envelope) {
                    metrics::counter!("estafeta_filter_clamd_failures_total").increment(1);
                    tracing::warn!(%failure, "a message could not be scanned for viruses");
                }
                match when_it_fails {
                    WhenClamdFails::Defer => Err(failure),
                    WhenClamdFails::Accept => Ok(Some(Finding::new("CLAM_VIRUS_FAIL", 0.0))),
                }
            }
            found => found,
        }
    }

    /// None for our own clients: they authenticated, or stand in a network of ours and send what no record names.
    async fn authentication(&self, envelope: &Envelope, message: &Message) -> Result<Option<Results>, Failure> {
        if envelope.authenticated.is_some() || self.is_local(envelope.client) {
            return Ok(None);
        }
        let body = message.body().clone();
        let hashed = aside(move || Hashed::new(&body)).await?;
        Ok(Some(self.authenticator.check(envelope, &hashed).await))
    }

    fn is_local(&self, client: IpAddr) -> bool {
        client.is_unspecified() || self.local_networks.iter().any(|network| network.contains(client))
    }
}

/// Work on a message's bytes, on a thread that may block. When it panics there is no verdict: a message on which a check
/// breaks must not pass unchecked.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::internal(format_args!("a bug: a check of this message broke: {error}")))
}

#[async_trait]
impl Judge for LocalJudge {
    async fn judge(&self, envelope: &Envelope, message: &Message) -> Result<Verdict, Failure> {
        let start = Instant::now();
        let verdict = tokio::time::timeout(self.time_limit, self.verdict(envelope, message))
            .await
            .unwrap_or_else(|_| Err(Failure::unavailable(format!("no verdict in {} s", self.time_limit.as_secs()))));
        if health::is_probe(envelope) {
            return verdict;
        }
        let seconds = start.elapsed().as_secs_f64();
        metrics::histogram!("estafeta_filter_verdict_seconds").record(seconds);
        match &verdict {
            Ok(verdict) => {
                metrics::counter!("estafeta_filter_verdicts_total", "action" => action_label(verdict.action))
                    .increment(1);
                let symbols: Vec<_> =
                    verdict.symbols.iter().map(|symbol| format!("{}({:.1})", symbol.name, symbol.score)).collect();
                tracing::info!(id = %envelope.id, action = ?verdict.action, score = verdict.score, elapsed_ms = seconds * 1000.0, symbols = symbols.join(" "), "judged");
            }
            Err(failure) => {
                metrics::counter!("estafeta_filter_verdicts_total", "action" => "none").increment(1);
                tracing::warn!(id = %envelope.id, %failure, elapsed_ms = seconds * 1000.0, "no verdict");
            }
        }
        verdict
    }
}

fn action_label(action: Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Greylist => "greylist",
        Action::Junk => "junk",
        Action::Defer => "defer",
        Action::Reject => "reject",
    }
}

/// Tells the metrics what they are.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "estafeta_filter_verdicts_total",
        "Messages judged, by action; none: no verdict could be had."
    );
    metrics::describe_histogram!("estafeta_filter_verdict_seconds", metrics::Unit::Seconds, "How long a verdict took.");
    metrics::describe_counter!("estafeta_filter_clamd_failures_total", "Messages that clamd gave no verdict on.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_core::Reason;

    #[tokio::test]
    async fn a_check_that_panics_is_no_verdict() {
        let failure = aside::<()>(|| panic!("as the test wants")).await.unwrap_err();
        assert!(failure.reason == Reason::Internal && failure.cause.contains("as the test wants"), "{failure}");
        assert_eq!(aside(|| 1).await.unwrap(), 1);
    }
}
