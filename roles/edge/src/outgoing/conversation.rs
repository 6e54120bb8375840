//! One conversation with one server: the messages that go over it, and what it said to each recipient.
//!
//! Invariant: a job that was begun is settled, whatever happens to the connection; one that was not comes back.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use estafeta_core::Address;
use estafeta_core::delivery::Answer;
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_protocols::machine::{Machine, Step};
use estafeta_protocols::smtp::client::{Client, Config, Envelope, Event, Outcome, Problem, Tls};
use estafeta_protocols::smtp::{Dialect, Mailbox, Reply, ReversePath, Severity};

use super::{Patience, fate_of, hops};
use crate::dispatch::Jobs;
use crate::queue::{Fate, Job};

/// Whom to talk to, and how.
pub struct Converse<'a> {
    /// The server's name.
    pub host: &'a str,
    /// Ours.
    pub hostname: &'a str,
    /// How STARTTLS is carried out; not at all to stay in the clear.
    pub upgrade: Upgrade,
    /// How long to wait.
    pub patience: Patience,
    /// How many messages at most.
    pub messages: usize,
}

/// Why a job was not begun.
pub struct Failed {
    /// The job.
    pub job: Box<Job>,
    /// What the server said, if it was that.
    pub answer: Option<Answer>,
    /// For the log.
    pub why: String,
    /// Whether it was the TLS handshake.
    pub in_handshake: bool,
}

/// Sends a job and those behind it. The job comes back if it was not begun.
pub async fn converse(peer: Converse<'_>, connection: Connection, job: Job, jobs: &mut Jobs) -> Result<(), Failed> {
    let tls = if matches!(peer.upgrade, Upgrade::Never) { Tls::Never } else { Tls::Opportunistic };
    let config =
        Config { dialect: Dialect::Smtp, hostname: peer.hostname.to_owned(), tls, login: None, chunking: false };
    let mut machine = Client::new(config);
    let drain = jobs.drain().clone();
    let timeouts = Timeouts { read: peer.patience.answer, write: peer.patience.answer };
    let mut talk = Conversation {
        host: peer.host,
        patience: peer.patience,
        left: peer.messages,
        jobs,
        next: Some(job),
        sending: None,
        parts: VecDeque::new(),
        begun: 0,
        awaits_verdict: false,
        problem: None,
    };
    let driven = drive(connection, &mut machine, &mut talk, peer.upgrade, timeouts, &drain).await;
    let in_handshake = driven.is_err() && machine.is_in_handshake();
    talk.wind_up(&mut machine).await;
    let Some(job) = talk.next.take() else { return Ok(()) };
    if talk.begun > 0 {
        // The connection was good for some; the others find their own. This job's claim goes with it.
        return Ok(());
    }
    let why = match (&talk.problem, driven) {
        (Some(problem), _) => problem.to_string(),
        (None, Err(error)) => error.to_string(),
        (None, Ok(_)) => Problem::Lost.to_string(),
    };
    let answer = match talk.problem {
        Some(Problem::Refused(reply)) => Some(refusal_of(peer.host, &reply)),
        _ => None,
    };
    Err(Failed { job: Box::new(job), answer, why, in_handshake })
}

struct Conversation<'a> {
    host: &'a str,
    patience: Patience,
    /// How many messages may still be begun.
    left: usize,
    jobs: &'a mut Jobs,
    /// The job to begin with.
    next: Option<Job>,
    /// The job that is being sent.
    sending: Option<Job>,
    /// What is left of its message.
    parts: VecDeque<Bytes>,
    /// How many were begun.
    begun: usize,
    awaits_verdict: bool,
    problem: Option<Problem>,
}

impl Conversation<'_> {
    /// Gives the machine the next message, or has it quit.
    async fn begin(&mut self, machine: &mut Client) {
        while self.left > 0 {
            let next = match self.next.take() {
                Some(job) => Some(job),
                None => self.jobs.next().await,
            };
            let Some(job) = next else { break };
            self.begun += 1;
            self.left -= 1;
            match envelope(&job) {
                Ok(envelope) => {
                    self.parts = job.message.parts().into_iter().cloned().collect();
                    self.sending = Some(job);
                    return machine.send(envelope);
                }
                Err(fates) => self.jobs.settle(job, fates).await,
            }
        }
        machine.quit();
    }

    fn give(&mut self, machine: &mut Client) {
        match self.parts.pop_front() {
            Some(part) => machine.content(part),
            None => {
                self.awaits_verdict = true;
                machine.finish();
            }
        }
    }

    async fn conclude(&mut self, outcome: Outcome) {
        self.awaits_verdict = false;
        let Some(job) = self.sending.take() else { return };
        // A server may close a connection that it has used, just as we use it again: that is no verdict on the message.
        let unheard = matches!(&outcome.problem, Some(Problem::Lost | Problem::Refused(_)));
        if unheard && self.begun > 1 && outcome.replies.iter().all(|reply| reply.severity() == Severity::Temporary) {
            tracing::debug!(id = %job.id, host = self.host, "a used connection was closed: trying over a new one");
            self.next = Some(job);
            return;
        }
        let fates = outcome.replies.iter().map(|reply| fate_of(said_by(self.host, reply)));
        let mut fates: Vec<Fate> = fates.collect();
        let unanswered = Fate::Later(hops::answer(451, "4.4.2", format!("{}: no answer", self.host)));
        fates.resize(job.recipients.len(), unanswered);
        for (recipient, reply) in job.recipients.iter().zip(&outcome.replies) {
            let to = &recipient.waiting.address;
            tracing::info!(id = %job.id, %to, host = self.host, %reply, attempt = recipient.attempts + 1, "sent to a server");
        }
        self.jobs.settle(job, fates).await;
    }

    /// After the connection has ended: what the machine still has to say, above all the outcome of what was being sent.
    async fn wind_up(&mut self, machine: &mut Client) {
        machine.end();
        loop {
            match machine.next() {
                Step::Event(Event::Outcome(outcome)) => self.conclude(outcome).await,
                Step::Event(Event::Failed(problem)) => {
                    self.problem.get_or_insert(problem);
                }
                Step::Event(Event::Content) => machine.abort(),
                Step::Event(Event::Ready) => machine.quit(),
                Step::Write(_) => {}
                Step::Read | Step::StartTls | Step::Compress | Step::Close => break,
            }
        }
        if let Some(job) = self.sending.take() {
            let lost = Fate::Later(hops::answer(451, "4.4.2", format!("{}: the connection was lost", self.host)));
            let fates = job.all(&lost);
            self.jobs.settle(job, fates).await;
        }
    }
}

impl Handler<Client> for Conversation<'_> {
    async fn handle(&mut self, event: Event, machine: &mut Client, _: &mut Output<'_>) -> io::Result<Flow> {
        match event {
            Event::Ready => self.begin(machine).await,
            Event::Content => self.give(machine),
            Event::Outcome(outcome) => self.conclude(outcome).await,
            Event::Failed(problem) => self.problem = Some(problem),
        }
        Ok(Flow::Continue)
    }

    fn patience(&self, _: &Client) -> Option<Duration> {
        self.awaits_verdict.then_some(self.patience.verdict)
    }
}

/// The job in SMTP's terms, or its fates if it cannot be said in them.
fn envelope(job: &Job) -> Result<Envelope, Vec<Fate>> {
    let spoken = |address: &Address| Mailbox::parse(&address.to_string());
    let sender = match &job.sender {
        None => ReversePath::Null,
        Some(sender) => match spoken(sender) {
            Ok(mailbox) => ReversePath::Mailbox(mailbox),
            Err(error) => return Err(job.all(&Fate::Never(hops::answer(553, "5.1.7", error.to_string())))),
        },
    };
    let parsed: Vec<_> = job.recipients.iter().map(|recipient| spoken(&recipient.waiting.address)).collect();
    if parsed.iter().any(Result::is_err) {
        // The good ones are tried again, without the bad ones.
        let fate = |mailbox: &Result<_, estafeta_protocols::smtp::PathError>| match mailbox {
            Ok(_) => Fate::Later(hops::answer(451, "4.1.3", "another recipient was not valid".to_owned())),
            Err(error) => Fate::Never(hops::answer(553, "5.1.3", error.to_string())),
        };
        return Err(parsed.iter().map(fate).collect());
    }
    Ok(Envelope {
        sender,
        recipients: parsed.into_iter().flatten().collect(),
        originals: Vec::new(),
        size_bytes: job.message.len() as u64,
        eight_bit: job.message.parts().iter().any(|part| !part.is_ascii()),
        smtputf8: job.smtputf8,
        envelope_id: None,
    })
}

/// A server's reply as an answer; the host that gave it stands in a refusal's text.
fn said_by(host: &str, reply: &Reply) -> Answer {
    let status = match reply.enhanced {
        Some(enhanced) => enhanced.to_string(),
        None => format!("{}.0.0", reply.code / 100),
    };
    let text = reply.text.replace('\n', " ");
    let text = if reply.is_positive() { text } else { format!("{host} said: {text}") };
    Answer { code: reply.code, status, text }
}

/// A server that refuses to serve at all says nothing about the message: another may take it, or the same one later
/// (RFC 5321 §3.1, 554 in a greeting).
fn refusal_of(host: &str, reply: &Reply) -> Answer {
    hops::answer(451, "4.4.1", format!("{host} does not serve: {reply}"))
}
