//! One transaction of SMTP or LMTP, as its client: for whoever hands one message on.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use estafeta_core::{Address, Message};
use estafeta_protocols::machine::{Machine, Step};
use estafeta_protocols::smtp::client::{Client, Envelope, Event, Outcome};
use estafeta_protocols::smtp::{Mailbox, ReversePath};

use crate::connection::Connection;
use crate::drain::Drain;
use crate::drive::{Ended, Flow, Handler, Output, Timeouts, Upgrade, drive};

/// What came of a transaction.
pub struct Sent {
    /// What the server said of each recipient; or why nothing was heard of any.
    pub outcome: Result<Outcome, String>,
    /// The connection, where it is good for another transaction: its machine waits for an envelope.
    pub kept: Option<(Connection, Client)>,
}

/// The addresses of an envelope in SMTP's terms; none when one of them cannot be written in them.
pub fn paths(sender: Option<&Address>, recipients: &[Address]) -> Option<(ReversePath, Vec<Mailbox>)> {
    let path = |address: &Address| Mailbox::parse(&address.to_string()).ok();
    let sender = match sender {
        None => ReversePath::Null,
        Some(address) => ReversePath::Mailbox(path(address)?),
    };
    Some((sender, recipients.iter().map(path).collect::<Option<_>>()?))
}

/// Sends a message over a new connection, and says goodbye.
pub async fn send(
    connection: Connection,
    machine: Client,
    letter: (Envelope, &Message),
    upgrade: Upgrade,
    timeouts: Timeouts,
) -> Result<Outcome, String> {
    let (envelope, message) = letter;
    transact(connection, machine, Sender::new(Some(envelope), message, false), upgrade, timeouts).await.outcome
}

/// Sends a message and keeps the connection. `envelope`: unless the machine has it already, as one that was kept.
pub async fn send_and_keep(
    connection: Connection,
    machine: Client,
    letter: (Option<Envelope>, &Message),
    timeouts: Timeouts,
) -> Sent {
    let (envelope, message) = letter;
    transact(connection, machine, Sender::new(envelope, message, true), Upgrade::Never, timeouts).await
}

async fn transact(
    connection: Connection,
    mut machine: Client,
    mut sender: Sender,
    upgrade: Upgrade,
    timeouts: Timeouts,
) -> Sent {
    let driven = drive(connection, &mut machine, &mut sender, upgrade, timeouts, &Drain::new()).await;
    let mut broken = None;
    let kept = match driven {
        Ok(Ended::HandedOver(connection, _)) => Some(connection),
        Ok(Ended::Closed) => None,
        Err(error) => {
            tracing::debug!(%error, "a connection by which a message was sent broke");
            broken = Some(error.to_string());
            None
        }
    };
    if kept.is_none() {
        sender.wind_up(&mut machine);
    }
    // How it broke says more than that it did.
    let problem =
        broken.or(sender.problem).unwrap_or_else(|| "the connection ended before the message was sent".into());
    let outcome = sender.outcome.ok_or(problem);
    Sent { outcome, kept: kept.map(|connection| (connection, machine)) }
}

/// Gives one envelope and its content, and hears the outcome.
struct Sender {
    envelope: Option<Envelope>,
    parts: VecDeque<Bytes>,
    keeps: bool,
    outcome: Option<Outcome>,
    problem: Option<String>,
}

impl Sender {
    fn new(envelope: Option<Envelope>, message: &Message, keeps: bool) -> Self {
        let parts = message.parts().into_iter().cloned().collect();
        Self { envelope, parts, keeps, outcome: None, problem: None }
    }

    fn take(&mut self, event: Event, machine: &mut Client) -> Flow {
        match event {
            Event::Ready => match self.envelope.take() {
                Some(envelope) => machine.send(envelope),
                None if self.keeps && self.outcome.is_some() => return Flow::HandOver,
                None => machine.quit(),
            },
            Event::Content => match self.parts.pop_front() {
                Some(part) => machine.content(part),
                None => machine.finish(),
            },
            Event::Outcome(outcome) => self.outcome = Some(outcome),
            Event::Failed(problem) => self.problem = Some(problem.to_string()),
        }
        Flow::Continue
    }

    /// What the machine still has to say once the connection has ended.
    fn wind_up(&mut self, machine: &mut Client) {
        machine.end();
        loop {
            match machine.next() {
                Step::Event(Event::Ready) => machine.quit(),
                Step::Event(Event::Content) => machine.abort(),
                Step::Event(event) => drop(self.take(event, machine)),
                Step::Write(_) => {}
                Step::Read | Step::StartTls | Step::Compress | Step::Close => return,
            }
        }
    }
}

impl Handler<Client> for Sender {
    async fn handle(&mut self, event: Event, machine: &mut Client, _: &mut Output<'_>) -> io::Result<Flow> {
        Ok(self.take(event, machine))
    }
}
