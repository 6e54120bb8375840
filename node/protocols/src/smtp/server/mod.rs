//! The server's side of SMTP, submission and LMTP: commands in, replies out, decisions left to the role.
//!
//! Invariants:
//! - one event at a time, replies in the order of the commands, however they were pipelined (RFC 2920 §3.2);
//! - memory is bounded by one command line and one [`READ_BYTES`], whatever is sent;
//! - nothing that came in the clear is obeyed behind STARTTLS (RFC 3207 §4.2);
//! - an event that the role left without an answer is answered 451, never 250.

mod authentication;
mod body;
mod commands;
mod config;
mod event;
mod extensions;
mod receiving;

#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

pub use config::{Config, Limits, Tls};
pub use event::{Event, Hello, Mail, OriginalRecipient, Recipient};

use self::body::Body;
use super::Dialect;
use super::reply::{Enhanced, Reply, Severity};
use crate::machine::{Farewell, Machine, READ_BYTES, Step};
use crate::sasl::Exchange;

const UNANSWERED: Reply = Reply::known(451, Enhanced(4, 3, 0), "Internal error, try again later");
const TOO_MANY_ERRORS: Reply = Reply::known(421, Enhanced(4, 7, 0), "Too many errors, closing the connection");

/// A server's side of one connection.
#[derive(Debug)]
pub struct Server {
    config: Config,
    input: BytesMut,
    output: BytesMut,
    state: State,
    /// The event that the role has to answer before anything else goes on.
    asked: Option<Asked>,
    /// An event that waits for the one before it.
    postponed: Option<(Asked, Event)>,
    secured: bool,
    greeted: bool,
    authenticated: bool,
    transaction: Option<Transaction>,
    /// How many transactions were begun.
    transactions: usize,
    /// How many commands were refused.
    errors: usize,
    received_bytes: u64,
    /// The node drains: no transaction begins any more.
    draining: bool,
    ended: bool,
}

/// What the next bytes are.
#[derive(Debug)]
enum State {
    /// The client has just connected; it is our turn.
    Greeting,
    /// A command line.
    Command,
    /// The rest of a line that was too long.
    RestOfLine,
    /// A response in an AUTH dialog.
    Response(Exchange),
    /// A message, by DATA.
    Lines,
    /// A chunk of a message, by BDAT, or one that is swallowed because of `refusal`.
    Chunk { remaining_bytes: u64, last: bool, refusal: Option<Reply> },
    /// The role has STARTTLS to carry out.
    Handshake,
    /// Nothing more is read.
    Closed,
}

/// What a role was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Connected,
    Hello { extended: bool },
    Authenticate,
    Mail { smtputf8: bool },
    Recipient,
    Data,
    EndOfMessage,
}

/// What was said since MAIL.
#[derive(Debug)]
struct Transaction {
    smtputf8: bool,
    /// How many recipients were accepted.
    recipients: usize,
    /// The message so far, once DATA or BDAT began it.
    body: Option<Body>,
}

impl Server {
    /// A machine for a connection that has just been accepted.
    pub fn new(config: Config) -> Self {
        let secured = config.tls == Tls::Established;
        Self {
            config,
            input: BytesMut::new(),
            output: BytesMut::new(),
            state: State::Greeting,
            asked: None,
            postponed: None,
            secured,
            greeted: false,
            authenticated: false,
            transaction: None,
            transactions: 0,
            errors: 0,
            received_bytes: 0,
            draining: false,
            ended: false,
        }
    }

    /// Whether the stream is encrypted.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// How many bytes have come in, in all: by them a role sees whether a client gets on.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Answers the event in the usual words of a success.
    pub fn accept(&mut self) {
        let Some(asked) = self.asked else { return };
        let reply = match asked {
            Asked::Connected => self.greeting(),
            Asked::Hello { extended: true } => self.extensions(),
            Asked::Hello { extended: false } => Reply::plain(250, self.config.hostname.clone()),
            Asked::Authenticate => Reply::known(235, Enhanced(2, 7, 0), "Authentication succeeded"),
            Asked::Mail { .. } => Reply::known(250, Enhanced(2, 1, 0), "Sender accepted"),
            Asked::Recipient => Reply::known(250, Enhanced(2, 1, 5), "Recipient accepted"),
            Asked::Data => return,
            Asked::EndOfMessage => Reply::known(250, Enhanced(2, 0, 0), "Message accepted"),
        };
        self.reply(reply);
    }

    /// Answers the event. A reply that makes no sense as a final answer (3xx) is answered as 451.
    pub fn reply(&mut self, reply: Reply) {
        let reply = final_reply(reply);
        match self.asked.take() {
            None => {}
            Some(Asked::Data) => {
                if let Some(body) = self.body() {
                    body.refuse(reply);
                }
            }
            Some(Asked::EndOfMessage) => self.close_transaction(|| reply.clone()),
            Some(asked) => {
                if reply.is_positive() {
                    self.advance_session(asked);
                }
                let refused_connection = asked == Asked::Connected && !reply.is_positive();
                self.answer(&reply);
                if refused_connection {
                    self.state = State::Closed;
                }
            }
        }
    }

    /// Answers the end of a message under LMTP: one reply for each accepted recipient, in their order. Where replies
    /// are missing, the recipient is answered 451. Under the other dialects only the first counts.
    pub fn reply_each(&mut self, replies: impl IntoIterator<Item = Reply>) {
        if self.asked != Some(Asked::EndOfMessage) {
            return;
        }
        self.asked = None;
        let mut replies = replies.into_iter();
        self.close_transaction(|| replies.next().unwrap_or(UNANSWERED));
    }

    /// What a success changes.
    fn advance_session(&mut self, asked: Asked) {
        match asked {
            Asked::Hello { .. } => self.greeted = true,
            Asked::Authenticate => self.authenticated = true,
            Asked::Mail { smtputf8 } => {
                self.transactions += 1;
                self.transaction = Some(Transaction { smtputf8, recipients: 0, body: None });
            }
            Asked::Recipient => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients += 1;
                }
            }
            Asked::Connected | Asked::Data | Asked::EndOfMessage => {}
        }
    }

    /// Writes a reply to a command, and counts it if it is a refusal.
    fn answer(&mut self, reply: &Reply) {
        self.write(reply);
        if matches!(reply.severity(), Severity::Temporary | Severity::Permanent) {
            self.count_error();
        }
    }

    fn write(&mut self, reply: &Reply) {
        if matches!(self.state, State::Closed) {
            return;
        }
        reply.encode(&mut self.output);
        // RFC 5321 §3.8: 421 closes; RFC 7504 §2: 521 does too.
        if matches!(reply.code, 421 | 521) {
            self.state = State::Closed;
        }
    }

    fn count_error(&mut self) {
        self.errors += 1;
        if self.errors > self.config.limits.errors {
            self.write(&TOO_MANY_ERRORS);
        }
    }

    /// Answers a message, or what failed to be one. Under LMTP each accepted recipient has a reply (RFC 2033 §4.2), and
    /// all of them together count as one refusal: a full mailbox is no error of the client's.
    fn close_transaction(&mut self, mut reply: impl FnMut() -> Reply) {
        let recipients = self.transaction.take().map_or(0, |transaction| transaction.recipients);
        let times = if self.config.dialect == Dialect::Lmtp { recipients.max(1) } else { 1 };
        let mut refused = false;
        for _ in 0..times {
            let reply = final_reply(reply());
            refused |= !reply.is_positive();
            self.write(&reply);
        }
        if refused {
            self.count_error();
        }
    }

    fn body(&mut self) -> Option<&mut Body> {
        self.transaction.as_mut()?.body.as_mut()
    }

    fn ask(&mut self, asked: Asked, event: Event) -> Step<Event> {
        self.asked = Some(asked);
        Step::Event(event)
    }

    /// Goes one step on; none when there is more to do at once.
    fn advance(&mut self) -> Option<Step<Event>> {
        if let Some((asked, event)) = self.postponed.take() {
            return Some(self.ask(asked, event));
        }
        match std::mem::replace(&mut self.state, State::Command) {
            State::Greeting => Some(self.ask(Asked::Connected, Event::Connected)),
            State::Command => self.command(),
            State::RestOfLine => self.rest_of_line(),
            State::Response(exchange) => self.response(exchange),
            State::Lines => self.lines(),
            State::Chunk { remaining_bytes, last, refusal } => self.chunk(remaining_bytes, last, refusal),
            State::Handshake => {
                self.state = State::Handshake;
                Some(Step::StartTls)
            }
            State::Closed => {
                self.state = State::Closed;
                self.input.clear();
                Some(Step::Close)
            }
        }
    }

    fn say_goodbye(&mut self, why: Farewell) {
        let (status, text) = match why {
            Farewell::Draining => (Enhanced(4, 3, 2), "is going down, try again"),
            Farewell::Idle => (Enhanced(4, 4, 2), "waited too long, closing the connection"),
            Farewell::Internal => (Enhanced(4, 3, 0), "has an internal error, try again later"),
        };
        // RFC 5321 §4.2.3: 421 <domain> Service not available, closing transmission channel.
        Reply::new(421, status, format!("{} {text}", self.config.hostname)).encode(&mut self.output);
        self.state = State::Closed;
    }
}

/// What goes on (3xx) is no answer to an event.
fn final_reply(reply: Reply) -> Reply {
    if reply.severity() == Severity::Intermediate { UNANSWERED } else { reply }
}

impl Machine for Server {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        self.received_bytes = self.received_bytes.saturating_add(bytes.len() as u64);
        if !matches!(self.state, State::Closed) {
            self.input.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn secured(&mut self) {
        // RFC 3207 §4.2: what was known of the client is forgotten.
        self.secured = true;
        self.greeted = false;
        self.authenticated = false;
        self.transaction = None;
        self.input.clear();
        self.state = State::Command;
    }

    fn next(&mut self) -> Step<Event> {
        match self.asked {
            Some(Asked::Data) => self.asked = None,
            Some(_) => self.reply(UNANSWERED),
            None => {}
        }
        loop {
            if self.output.len() >= READ_BYTES {
                return Step::Write(self.output.split().freeze());
            }
            match self.advance() {
                None => {}
                Some(Step::Event(event)) => return Step::Event(event),
                Some(_) if !self.output.is_empty() => return Step::Write(self.output.split().freeze()),
                Some(step) => return step,
            }
        }
    }

    /// While the node drains, a transaction that was begun may still be completed.
    fn farewell(&mut self, why: Farewell) {
        match why {
            Farewell::Draining if self.transaction.is_some() => self.draining = true,
            _ if matches!(self.state, State::Closed) => {}
            _ => self.say_goodbye(why),
        }
    }

    fn take_unread(&mut self) -> Bytes {
        self.input.split().freeze()
    }
}
