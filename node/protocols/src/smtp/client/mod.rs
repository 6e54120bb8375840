//! The client's side of SMTP and LMTP: transactions in, commands out, a reply for every recipient.
//!
//! Invariants:
//! - each envelope that the role sends has exactly one [`Outcome`], whatever happens to the connection;
//! - a recipient counts as taken only after the reply that takes the responsibility (RFC 5321 §6.1);
//! - a message that cannot be given to the end is never ended, so that no half of it is accepted;
//! - the message is asked for piece by piece and never held whole.

mod content;
mod event;
mod offers;
mod transaction;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

pub use event::{Config, Envelope, Event, Login, Outcome, Problem, Tls};

use self::offers::Offers;
use self::transaction::Transaction;
use super::Dialect;
use super::reply::{Reply, ReplyReader};
use crate::machine::{Farewell, Machine, Step};

/// A client's side of one connection.
#[derive(Debug)]
pub struct Client {
    config: Config,
    input: BytesMut,
    reader: ReplyReader,
    output: BytesMut,
    phase: Phase,
    /// What the role is told before anything else goes on.
    events: VecDeque<Event>,
    offers: Offers,
    secured: bool,
    transaction: Option<Transaction>,
    /// A transaction ended without a message, so the next one begins with RSET.
    stale: bool,
    /// The node drains: no transaction begins any more.
    draining: bool,
    ended: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    /// The answer to EHLO or LHLO, or to HELO.
    Hello {
        extended: bool,
    },
    StartTls,
    Handshake,
    Authentication,
    /// The role's next envelope, to be asked for.
    Idle,
    /// The role's next envelope, asked for.
    Asked,
    /// The replies to MAIL, RCPT and DATA.
    Envelope,
    /// The role's message.
    Content,
    /// More of the role's message, asked for.
    ContentAsked,
    /// The replies to the message.
    Verdict,
    /// The reply to QUIT.
    Quit,
    Closed,
}

impl Client {
    /// A machine for a connection that has just been made.
    pub fn new(config: Config) -> Self {
        let secured = config.tls == Tls::Established;
        Self {
            config,
            input: BytesMut::new(),
            reader: ReplyReader::default(),
            output: BytesMut::new(),
            phase: Phase::Greeting,
            events: VecDeque::new(),
            offers: Offers::default(),
            secured,
            transaction: None,
            stale: false,
            draining: false,
            ended: false,
        }
    }

    /// Whether the stream is encrypted.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// Whether STARTTLS was agreed on and the handshake is not complete: what fails now is TLS.
    pub fn is_in_handshake(&self) -> bool {
        self.phase == Phase::Handshake
    }

    /// Answers [`Event::Ready`] with a transaction.
    pub fn send(&mut self, envelope: Envelope) {
        if self.phase == Phase::Asked {
            self.begin_transaction(envelope);
        }
    }

    /// Answers [`Event::Ready`]: there is no more to send.
    pub fn quit(&mut self) {
        if self.phase == Phase::Asked {
            self.command("QUIT");
            self.phase = Phase::Quit;
        }
    }

    /// Answers [`Event::Content`] with the next bytes of the message, as many as there are at hand.
    pub fn content(&mut self, bytes: Bytes) {
        if self.phase == Phase::ContentAsked {
            self.give_content(bytes);
        }
    }

    /// Answers [`Event::Content`]: the message is complete.
    pub fn finish(&mut self) {
        if self.phase == Phase::ContentAsked {
            self.end_content();
        }
    }

    /// Answers [`Event::Content`]: the message cannot be read. The connection is cut before the message's end.
    pub fn abort(&mut self) {
        if self.phase == Phase::ContentAsked {
            self.fail(Problem::Aborted);
        }
    }

    fn command(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn say_hello(&mut self, extended: bool) {
        let verb = match self.config.dialect {
            Dialect::Lmtp => "LHLO",
            _ if extended => "EHLO",
            _ => "HELO",
        };
        let hello = format!("{verb} {}", self.config.hostname);
        self.command(&hello);
        self.phase = Phase::Hello { extended };
    }

    /// Ends the connection for a reason; a transaction that is going on has its outcome first.
    fn fail(&mut self, problem: Problem) {
        self.phase = Phase::Closed;
        match self.transaction.take() {
            Some(transaction) => self.events.push_back(Event::Outcome(transaction.lost(problem))),
            None => self.events.push_back(Event::Failed(problem)),
        }
    }

    fn take_reply(&mut self, reply: Reply) {
        // RFC 5321 §3.8: whatever was asked, 421 closes.
        if reply.code == 421 && self.phase != Phase::Quit {
            return self.fail(Problem::Refused(reply));
        }
        match self.phase {
            Phase::Greeting if reply.is_positive() => self.say_hello(true),
            Phase::Hello { extended } if reply.is_positive() => {
                self.offers = if extended { Offers::read(&reply) } else { Offers::default() };
                self.secure_or_authenticate();
            }
            // RFC 5321 §3.2: a server that knows no EHLO may know HELO.
            Phase::Hello { extended: true } if reply.code >= 500 && self.config.dialect != Dialect::Lmtp => {
                self.say_hello(false);
            }
            Phase::Greeting | Phase::Hello { .. } => self.fail(Problem::Refused(reply)),
            Phase::StartTls if reply.is_positive() => {
                // What came in the clear behind the reply is nobody's word (CVE-2011-0411).
                if self.input.is_empty() {
                    self.phase = Phase::Handshake;
                } else {
                    self.fail(Problem::Malformed);
                }
            }
            Phase::StartTls if self.config.tls == Tls::Required => self.fail(Problem::NoTls),
            Phase::StartTls => self.authenticate(),
            Phase::Authentication if reply.is_positive() => self.phase = Phase::Idle,
            Phase::Authentication => self.fail(Problem::AuthenticationRefused(reply)),
            Phase::Envelope => self.take_envelope_reply(reply),
            Phase::Verdict => self.take_verdict(reply),
            Phase::Quit => self.phase = Phase::Closed,
            Phase::Handshake | Phase::Idle | Phase::Asked | Phase::Content | Phase::ContentAsked | Phase::Closed => {}
        }
    }

    fn secure_or_authenticate(&mut self) {
        match self.config.tls {
            _ if self.secured => self.authenticate(),
            Tls::Opportunistic | Tls::Required if self.offers.start_tls => {
                self.command("STARTTLS");
                self.phase = Phase::StartTls;
            }
            Tls::Required => self.fail(Problem::NoTls),
            _ => self.authenticate(),
        }
    }

    fn authenticate(&mut self) {
        let Some(Login { name, password }) = &self.config.login else {
            self.phase = Phase::Idle;
            return;
        };
        if !self.secured || !self.offers.auth_plain {
            return self.fail(Problem::NoAuthentication);
        }
        // RFC 4616 §2: message = [authzid] NUL authcid NUL passwd
        let message = STANDARD.encode(format!("\0{name}\0{}", password.expose()));
        self.command(&format!("AUTH PLAIN {message}"));
        self.phase = Phase::Authentication;
    }

    /// Goes one step on; none when there is more to do at once.
    fn advance(&mut self) -> Option<Step<Event>> {
        match self.phase {
            Phase::Handshake => return Some(Step::StartTls),
            Phase::Closed => return Some(Step::Close),
            Phase::Idle if self.draining => {
                self.phase = Phase::Asked;
                self.quit();
                return None;
            }
            Phase::Idle => {
                self.phase = Phase::Asked;
                return Some(Step::Event(Event::Ready));
            }
            Phase::Content => return Some(self.next_content()),
            Phase::Asked => {
                self.quit();
                return None;
            }
            Phase::ContentAsked => {
                self.abort();
                return None;
            }
            _ => {}
        }
        match self.reader.next(&mut self.input) {
            Ok(Some(reply)) => self.take_reply(reply),
            Ok(None) if !self.ended => return Some(Step::Read),
            // The server need not answer QUIT.
            Ok(None) if self.phase == Phase::Quit => self.phase = Phase::Closed,
            Ok(None) => self.fail(Problem::Lost),
            Err(_) => self.fail(Problem::Malformed),
        }
        None
    }
}

impl Machine for Client {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        if self.phase != Phase::Closed {
            self.input.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn secured(&mut self) {
        // RFC 3207 §4.2: what the server offered in the clear is forgotten.
        self.secured = true;
        self.offers = Offers::default();
        self.input.clear();
        self.say_hello(true);
    }

    fn next(&mut self) -> Step<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Step::Event(event);
            }
            if !self.output.is_empty() {
                return Step::Write(self.output.split().freeze());
            }
            if let Some(step) = self.advance() {
                return step;
            }
        }
    }

    /// While the node drains, a transaction that was begun is completed.
    fn farewell(&mut self, why: Farewell) {
        match why {
            Farewell::Draining if self.phase != Phase::Greeting => self.draining = true,
            _ if self.phase == Phase::Closed => {}
            Farewell::Draining | Farewell::Internal => self.fail(Problem::Aborted),
            Farewell::Idle if self.phase == Phase::Quit => self.phase = Phase::Closed,
            Farewell::Idle => self.fail(Problem::Silent),
        }
    }

    fn take_unread(&mut self) -> Bytes {
        self.input.split().freeze()
    }
}
