//! One message's way through edge, from its last byte to the answer: swept, judged, delivered, and what is left over
//! queued. Everything a client ever hears `250` for goes through [`Passage::pass`].
//!
//! Invariants:
//! - a positive answer means that every recipient is durable in its mailbox or in the queue, or that a report about it
//!   is (DESIGN.md, invariants 1 and 3);
//! - verdict and delivery share one deadline; what is not known to be delivered by then is queued under the same id;
//! - a message that is refused leaves nothing behind.

pub mod trace;

use std::sync::Arc;
use std::time::SystemTime;

use estafeta_core::delivery::{Answer, Outcome, Parcel, Recipient, later};
use estafeta_core::directory::Target;
use estafeta_core::judge::{Action, Envelope, Verdict};
use estafeta_core::{Address, DeliveryId, Failure, Message};
use estafeta_protocols::smtp::{Enhanced, Reply};
use estafeta_storage::StorageError;
use tokio::time::Instant;

use crate::config::Unjudged;
use crate::edge::Edge;
use crate::incoming::header::{Origin, Swept, sweep};
use crate::queue::{KeepError, Letter, Waiting};
use crate::report::{About, Kind, Reported};

use self::trace::Hop;

/// The most hops that a message may have made (RFC 5321 §6.3).
const HOPS_LIMIT: usize = 100;

/// A message that has come in whole.
#[derive(Debug)]
pub struct Arrival {
    /// Names the transaction.
    pub id: DeliveryId,
    /// How it came.
    pub hop: Hop,
    /// MAIL FROM; none for the null reverse-path.
    pub sender: Option<Address>,
    /// RCPT TO, as the client gave them.
    pub recipients: Vec<Address>,
    /// Where they lead; no account and no address twice.
    pub targets: Vec<Destined>,
    /// The message as it came.
    pub message: Message,
}

/// A place that the message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destined {
    /// The recipient that led there.
    pub original: Address,
    /// The place.
    pub target: Target,
}

impl Destined {
    fn waiting(&self) -> Waiting {
        let (address, account) = match &self.target {
            Target::Account(account) => (account.address.clone(), Some(account.clone())),
            Target::Remote(address) => (address.clone(), None),
        };
        Waiting { address, original: self.original.clone(), account }
    }
}

/// A message that was not taken, and under what name that is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the client reads.
    pub reply: Reply,
    /// The label of the count.
    pub why: &'static str,
}

impl Refusal {
    /// A refusal of known words.
    pub const fn known(why: &'static str, code: u16, enhanced: Enhanced, text: &'static str) -> Self {
        Self { why, reply: Reply::known(code, enhanced, text) }
    }
}

const HEADER_TOO_LARGE: Refusal = Refusal::known("header", 552, Enhanced(5, 3, 4), "Message header too large");
const LOOP: Refusal = Refusal::known("loop", 554, Enhanced(5, 4, 6), "Too many hops: the message goes in a circle");
const UNJUDGED: Refusal =
    Refusal::known("unjudged", 451, Enhanced(4, 7, 1), "The message cannot be checked now, try again later");
const GREYLISTED: Refusal = Refusal::known("greylist", 451, Enhanced(4, 7, 1), "Greylisted, try again later");
const SOFT_REJECTED: Refusal =
    Refusal::known("soft-reject", 451, Enhanced(4, 7, 1), "Not accepted now, try again later");
const QUEUE_FULL: Refusal =
    Refusal::known("queue-full", 452, Enhanced(4, 3, 1), "Too many messages wait, try again later");
const STORAGE_BROKEN: Refusal = Refusal::known("storage", 451, Enhanced(4, 3, 0), "Internal error, try again later");

/// The way. Shared by all sessions.
#[derive(Clone)]
pub struct Passage(Arc<Edge>);

/// What became of the recipients inside the transaction.
#[derive(Default)]
struct Fates {
    delivered: usize,
    refused: Vec<Reported>,
    waiting: Vec<Waiting>,
}

impl Passage {
    /// The way over what the role holds.
    pub fn new(edge: Arc<Edge>) -> Self {
        Self(edge)
    }

    /// Takes a message over, or refuses it. The reply is positive.
    pub async fn pass(&self, arrival: Arrival) -> Result<Reply, Refusal> {
        let edge = &self.0;
        let (started, now) = (Instant::now(), SystemTime::now());
        let deadline = started + edge.config.transaction_deadline();
        let submitted = arrival.hop.authenticated.is_some();
        let origin = if submitted { Origin::Submitted } else { Origin::Foreign };
        let swept = sweep(arrival.message.body(), origin).map_err(|_| HEADER_TOO_LARGE)?;
        if swept.hops > HOPS_LIMIT {
            return Err(LOOP);
        }
        let message = swept.message(arrival.message.body(), &edge.spool).await.map_err(|error| {
            tracing::error!(id = %arrival.id, %error, "a message whose header was swept cannot be spooled");
            no_room_or(&error, STORAGE_BROKEN)
        })?;
        let message = message.with_prefix(self.trace(&arrival, &swept, now));
        let lines = self.judge(&arrival, &message, deadline).await?;
        let judge_ms = milliseconds(started);
        let message = message.with_prefix(lines);

        let delivering = Instant::now();
        let fates = self.deliver(&arrival, &message, deadline).await;
        let deliver_ms = milliseconds(delivering);
        let (delivered, refused, queued) = (fates.delivered, fates.refused.len(), fates.waiting.len());
        let size_bytes = message.len();
        let reply = self.conclude(&arrival, message, swept.is_utf8 && arrival.hop.smtputf8, fates, now).await;

        let answer = reply.as_ref().map_or_else(|refusal| refusal.reply.to_string(), Reply::to_string);
        let sender = arrival.sender.as_ref().map(Address::to_string).unwrap_or_default();
        tracing::info!(
            id = %arrival.id, client = %arrival.hop.client, sender, recipients = arrival.recipients.len(), size_bytes,
            delivered, refused, queued, judge_ms, deliver_ms, answer, "message"
        );
        metrics::counter!("estafeta_edge_delivered_total", "to" => "mailbox").increment(delivered as u64);
        metrics::histogram!("estafeta_edge_transaction_seconds").record(started.elapsed());
        if delivered > 0 {
            metrics::histogram!("estafeta_edge_delay_seconds", "to" => "mailbox").record(started.elapsed());
        }
        reply
    }

    /// What this hop puts before a message, the verdict excepted.
    fn trace(&self, arrival: &Arrival, swept: &Swept, now: SystemTime) -> String {
        let hostname = &self.0.hostname;
        let mut lines = trace::received(&arrival.hop, hostname, arrival.id, &arrival.recipients, now);
        if arrival.hop.authenticated.is_some() {
            lines.push_str(&trace::missing(swept.has_date, swept.has_message_id, arrival.id, hostname, now));
        }
        lines
    }

    /// Asks for a verdict, and gives the lines that it adds.
    async fn judge(&self, arrival: &Arrival, message: &Message, deadline: Instant) -> Result<String, Refusal> {
        let envelope = Envelope {
            id: arrival.id,
            client: arrival.hop.client,
            helo: arrival.hop.helo.clone(),
            authenticated: arrival.hop.authenticated.clone(),
            sender: arrival.sender.clone(),
            recipients: arrival.recipients.clone(),
        };
        let started = Instant::now();
        let asked = self.0.contracts.judge.judge(&envelope, message);
        let verdict = match tokio::time::timeout_at(deadline, asked).await {
            Ok(verdict) => verdict,
            Err(_) => Err(Failure::unavailable("no verdict before the deadline")),
        };
        metrics::histogram!("estafeta_edge_judge_seconds").record(started.elapsed());
        match verdict {
            Ok(verdict) => {
                let symbols: Vec<&str> = verdict.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
                tracing::info!(
                    id = %arrival.id, action = ?verdict.action, score = verdict.score, symbols = symbols.join(","),
                    judge_ms = milliseconds(started), "judged"
                );
                obey(&verdict, arrival.hop.authenticated.is_some())
            }
            Err(failure) if self.0.config.unjudged == Unjudged::Accept => {
                tracing::warn!(id = %arrival.id, %failure, "no verdict: accepted unjudged, as configured");
                metrics::counter!("estafeta_edge_unjudged_total").increment(1);
                Ok(trace::unjudged())
            }
            Err(failure) => {
                tracing::warn!(id = %arrival.id, %failure, "no verdict: the sender has to come again");
                Err(UNJUDGED)
            }
        }
    }

    /// Delivers to the mailboxes until the deadline. What goes elsewhere waits for the queue.
    async fn deliver(&self, arrival: &Arrival, message: &Message, deadline: Instant) -> Fates {
        let mut fates = Fates::default();
        let (mut mailboxes, mut recipients) = (Vec::new(), Vec::new());
        for destined in &arrival.targets {
            match &destined.target {
                Target::Remote(_) => fates.waiting.push(destined.waiting()),
                Target::Account(account) => {
                    mailboxes.push(destined);
                    recipients.push(Recipient { account: account.clone(), original: destined.original.clone() });
                }
            }
        }
        if recipients.is_empty() {
            return fates;
        }
        let parcel = Parcel { id: arrival.id, sender: arrival.sender.clone(), recipients, message: message.clone() };
        let started = Instant::now();
        let delivering = self.0.contracts.delivery.deliver(&parcel);
        let outcomes = tokio::time::timeout_at(deadline, delivering).await.unwrap_or_default();
        metrics::histogram!("estafeta_edge_deliver_seconds").record(started.elapsed());
        let unknown = std::iter::repeat_with(|| later("not known to be delivered by the deadline"));
        for (destined, outcome) in mailboxes.into_iter().zip(outcomes.into_iter().chain(unknown)) {
            match outcome {
                Outcome::Delivered => fates.delivered += 1,
                Outcome::Refused(answer) => {
                    fates.refused.push(Reported { recipient: destined.original.clone(), answer });
                }
                Outcome::Later(answer) => {
                    tracing::info!(id = %arrival.id, mailbox = %destined.original, %answer, "not delivered yet: queued");
                    fates.waiting.push(destined.waiting());
                }
            }
        }
        fates
    }

    /// Makes durable what is left over, and answers.
    async fn conclude(
        &self,
        arrival: &Arrival,
        message: Message,
        smtputf8: bool,
        fates: Fates,
        now: SystemTime,
    ) -> Result<Reply, Refusal> {
        let Fates { delivered, refused, waiting } = fates;
        let id = arrival.id;
        if delivered == 0 && waiting.is_empty() {
            // Nobody took it: the client is told, and no report is needed.
            return Err(Refusal { why: "mailbox", reply: refused.first().map_or(STORAGE_BROKEN.reply, refused_reply) });
        }
        let mut letters = Vec::new();
        if !refused.is_empty() {
            let about = About { id, sender: arrival.sender.as_ref(), message: &message, arrived: now };
            letters.extend(self.0.reporter.report(Kind::Failed, about, &refused, now));
        }
        let queued = waiting.len();
        if queued > 0 {
            let sender = arrival.sender.clone();
            letters.push(Letter { id, sender, message, smtputf8, arrived: now, recipients: waiting });
        }
        if !letters.is_empty() {
            self.0.queue.keep(letters).await.map_err(|error| unkept(id, &error))?;
        }
        metrics::counter!("estafeta_edge_queued_total").increment(queued as u64);
        let fate = if queued == 0 { "delivered" } else { "queued" };
        Ok(Reply::new(250, Enhanced(2, 0, 0), format!("{fate} as {id}")))
    }
}

/// Whole milliseconds since then, for the log.
fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What a verdict means for the client, or the lines that it adds.
fn obey(verdict: &Verdict, submitted: bool) -> Result<String, Refusal> {
    let explained = |refusal: Refusal| match &verdict.explanation {
        Some(text) if !text.trim().is_empty() => {
            Refusal { reply: Reply { text: text.clone().into(), ..refusal.reply }, ..refusal }
        }
        _ => refusal,
    };
    match verdict.action {
        Action::Accept | Action::Junk => Ok(trace::verdict(verdict, submitted)),
        Action::Greylist => Err(explained(GREYLISTED)),
        Action::Defer => Err(explained(SOFT_REJECTED)),
        // RFC 3463 §3.8: X.7.1 delivery not authorized, message refused.
        Action::Reject => {
            Err(explained(Refusal::known("rejected", 550, Enhanced(5, 7, 1), "The message is spam or carries a virus")))
        }
    }
}

fn refused_reply(reported: &Reported) -> Reply {
    let Answer { code, status, text } = &reported.answer;
    let code = if (500..=599).contains(code) { *code } else { 550 };
    let enhanced = Enhanced::parse(status).filter(|enhanced| enhanced.0 == 5).unwrap_or(Enhanced(5, 0, 0));
    Reply::new(code, enhanced, text.clone())
}

fn unkept(id: DeliveryId, error: &KeepError) -> Refusal {
    tracing::error!(%id, %error, "cannot queue a message: the sender has to come again");
    match error {
        KeepError::Full(_) => QUEUE_FULL,
        KeepError::Storage(error) => no_room_or(error, STORAGE_BROKEN),
    }
}

/// A full disk is said in so many words (RFC 3463 §3.4: X.3.1 mail system full).
pub fn no_room_or(error: &StorageError, otherwise: Refusal) -> Refusal {
    if error.is_full() {
        Refusal::known("disk-full", 452, Enhanced(4, 3, 1), "Insufficient storage, try again later")
    } else {
        otherwise
    }
}
