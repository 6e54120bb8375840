//! Posts one message through an edge node that is ready, as any mail server would: SMTP to its port for mail from
//! outside, so only to addresses of this cluster.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use estafeta_core::members::{Candidate, MembersView};
use estafeta_core::{Address, NodeName, ServiceName};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, drive};
use estafeta_net::tls::{CONNECT, Tls};
use estafeta_protocols::machine::{Machine, Step};
use estafeta_protocols::smtp::client::{Client, Config, Envelope, Event, Outcome, Tls as SmtpTls};
use estafeta_protocols::smtp::{Dialect, Mailbox, ReversePath};
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
        let recipients: Result<Vec<_>, _> =
            recipients.iter().map(|address| Mailbox::parse(&address.to_string())).collect();
        let envelope = Envelope {
            sender: ReversePath::Null,
            recipients: recipients.map_err(|error| error.to_string())?,
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
        let mut machine = Client::new(Config {
            dialect: Dialect::Smtp,
            hostname: self.hostname.clone(),
            tls: SmtpTls::Opportunistic,
            login: None,
            chunking: false,
        });
        let mut letter = Letter { envelope: Some(envelope), content: Some(message.clone()), result: None };
        let timeouts = Timeouts { read: SILENCE, write: SILENCE };
        let upgrade = self.tls.upgrade_to(candidate.node.as_str());
        let driven = drive(connection, &mut machine, &mut letter, upgrade, timeouts, &Drain::new()).await;
        letter.wind_up(&mut machine);
        match (letter.result, driven) {
            (Some(result), _) => result,
            (None, Err(error)) => Err(error.to_string()),
            (None, Ok(_)) => Err("the connection ended before the message was sent".into()),
        }
    }
}

/// One message on its way.
struct Letter {
    envelope: Option<Envelope>,
    content: Option<Bytes>,
    result: Option<Result<(), String>>,
}

impl Letter {
    fn take(&mut self, event: Event, machine: &mut Client) {
        match event {
            Event::Ready => match self.envelope.take() {
                Some(envelope) => machine.send(envelope),
                None => machine.quit(),
            },
            Event::Content => match self.content.take() {
                Some(content) => machine.content(content),
                None => machine.finish(),
            },
            Event::Outcome(outcome) => self.result = Some(verdict(&outcome)),
            Event::Failed(problem) => self.result = self.result.take().or(Some(Err(problem.to_string()))),
        }
    }

    /// What the machine still has to say once the connection has ended.
    fn wind_up(&mut self, machine: &mut Client) {
        machine.end();
        loop {
            match machine.next() {
                Step::Event(Event::Ready) => machine.quit(),
                Step::Event(Event::Content) => machine.abort(),
                Step::Event(event) => self.take(event, machine),
                Step::Write(_) => {}
                Step::Read | Step::StartTls | Step::Compress | Step::Close => return,
            }
        }
    }
}

impl Handler<Client> for Letter {
    async fn handle(&mut self, event: Event, machine: &mut Client, _: &mut Output<'_>) -> io::Result<Flow> {
        self.take(event, machine);
        Ok(Flow::Continue)
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

/// The time as RFC 5322 §3.3 writes it.
pub fn date(now: time::OffsetDateTime) -> String {
    let day = |weekday: time::Weekday| weekday.to_string().chars().take(3).collect::<String>();
    let month = now.month().to_string().chars().take(3).collect::<String>();
    format!(
        "{}, {:02} {month} {} {:02}:{:02}:{:02} +0000",
        day(now.weekday()),
        now.day(),
        now.year(),
        now.hour(),
        now.minute(),
        now.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_mail() {
        let at = |seconds| date(time::OffsetDateTime::from_unix_timestamp(seconds).unwrap());
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(at(1_795_353_862), "Sun, 22 Nov 2026 13:24:22 +0000");
    }
}
