//! The server's side of one connection, without I/O: bytes in, [`Event`]s for the role, bytes out.
//!
//! It is used twice, like its IMAP sister: by `access` in front of a client that has not said who it is (and by
//! `mailbox` in front of an access node), and by `mailbox` for an account that is open. A role handles one event at a
//! time, and answers it with the method that the event names; commands that were sent ahead wait in order.
//!
//! Invariants:
//! - a line is bounded by [`Limits::line_bytes`], a response to a challenge by
//!   [`RESPONSE_BYTES`](crate::sasl::RESPONSE_BYTES);
//! - what came in clear text behind STLS is dropped; no password is looked at before TLS is on;
//! - each command is answered once.

mod authentication;
mod input;
mod limits;

use bytes::{Bytes, BytesMut};

use super::command::{self, Command, Origin, Request};
use super::lines::DotStuffing;
use super::response::{Code, Completion};
use crate::machine::{Farewell, Machine, Step};
use crate::sasl::{Credentials, Exchange};
use input::{Input, Line};

pub use limits::{Limits, Offer};

/// What the machine leaves to its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A trusted peer says for whom it speaks. Needs no answer.
    Forwarded(Origin),
    /// Somebody says who it is. Answer with [`Server::hand_over`], or refuse with [`Server::complete`] or
    /// [`Server::goodbye`].
    Authenticate(Credentials),
    /// A command. Answer with [`Server::complete`]; or write an answer of several lines straight to the client, then
    /// call [`Server::answered`]. [`Command::Quit`] is answered with [`Server::goodbye`].
    Command(Command),
    /// [`Server::hand_over`] was called and all that was written is sent: take the stream and
    /// [`Machine::take_unread`]; the machine is done.
    HandOver,
}

/// Where a connection stands (RFC 1939 §3). There is no UPDATE: whoever is in it reads no command.
#[derive(Debug)]
enum State {
    /// Nobody knows who the client is; what USER said.
    Authorization { user: Option<String> },
    /// A mailbox is open.
    Transaction,
}

/// What the machine is in the middle of.
#[derive(Debug)]
enum Phase {
    /// The next command.
    Ready,
    /// A command that has no answer yet.
    Running,
    /// A SASL exchange: the next response.
    Authenticating(Exchange),
    /// STLS was answered.
    AwaitingTls,
    /// The mailbox is open elsewhere.
    HandingOver,
    /// All is said.
    Closing,
}

/// The machine.
#[derive(Debug)]
pub struct Server {
    state: State,
    phase: Phase,
    input: Input,
    output: BytesMut,
    offer: Offer,
    secure: bool,
    limits: Limits,
    /// Commands in a row that were not understood.
    faults: u32,
    /// The peer sends no more.
    ended: bool,
    /// The node drains: closed once what the client has sent is answered.
    draining: bool,
}

impl Server {
    /// Greets a client that has not said who it is. `secure`: TLS is on already.
    pub fn greet(offer: Offer, secure: bool, limits: Limits) -> Self {
        // By this mark in the greeting Dovecot, as a relay, knows that it may send XCLIENT.
        let text = if offer.forwarding { "[XCLIENT] Estafeta ready." } else { "Estafeta ready." };
        let mut server = Self::new(State::Authorization { user: None }, Input::default(), offer, secure, limits);
        Completion::ok(text).encode(&mut server.output);
        server
    }

    /// Goes on with a client whose mailbox is open: somebody else has greeted it, and read `unread` ahead.
    pub fn authenticated(unread: &[u8], limits: Limits) -> Self {
        Self::new(State::Transaction, Input::from(unread), Offer::default(), true, limits)
    }

    fn new(state: State, input: Input, offer: Offer, secure: bool, limits: Limits) -> Self {
        let (phase, output) = (Phase::Ready, BytesMut::new());
        Self { state, phase, input, output, offer, secure, limits, faults: 0, ended: false, draining: false }
    }

    /// Answers the command that runs, in one line. Without one, it does nothing.
    pub fn complete(&mut self, completion: Completion<'_>) {
        if matches!(self.phase, Phase::Running) {
            completion.encode(&mut self.output);
            self.phase = Phase::Ready;
        }
    }

    /// The role has answered the command that runs itself, in several lines.
    pub fn answered(&mut self) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Ready;
        }
    }

    /// Completes the authentication, after which another machine takes the stream over: no command is read any more.
    pub fn hand_over(&mut self, completion: Completion<'_>) {
        self.complete(completion);
        self.phase = Phase::HandingOver;
    }

    /// Closes, after a last word: the answer to the command that runs. No command is read any more.
    pub fn goodbye(&mut self, completion: Completion<'_>) {
        if !matches!(self.phase, Phase::Closing) {
            completion.encode(&mut self.output);
            self.close();
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closing;
        self.input.clear();
    }

    /// Does what can be done with the bytes that are here; gives nothing when it has only written or changed phase.
    fn advance(&mut self) -> Option<Step<Event>> {
        match self.phase {
            Phase::Ready => self.advance_command(),
            Phase::Running => {
                // The role has not answered: its fault, not the client's.
                self.complete(Completion::no("Internal error").with(Code::SysTemp));
                None
            }
            Phase::Authenticating(_) => self.advance_exchange(),
            Phase::AwaitingTls => Some(Step::StartTls),
            Phase::HandingOver => Some(Step::Event(Event::HandOver)),
            Phase::Closing => Some(Step::Close),
        }
    }

    /// Nothing more can be done with what is here.
    fn read(&mut self) -> Option<Step<Event>> {
        if self.ended {
            self.close();
            return None;
        }
        self.input.release();
        self.output = BytesMut::new();
        Some(Step::Read)
    }

    fn advance_command(&mut self) -> Option<Step<Event>> {
        match self.input.take_line(self.limits.line_bytes) {
            // A command that has begun is heard out.
            Line::Incomplete if self.draining && self.input.is_empty() => {
                self.close();
                None
            }
            Line::Incomplete => self.read(),
            Line::TooLong => {
                self.goodbye(Completion::no("Command line too long"));
                None
            }
            Line::Text(line) => {
                self.phase = Phase::Running;
                match command::parse(&line, matches!(self.state, State::Transaction)) {
                    Ok(request) => self.begin(request),
                    Err(refusal) => {
                        self.refuse(refusal);
                        None
                    }
                }
            }
        }
    }

    fn begin(&mut self, request: Request) -> Option<Step<Event>> {
        match request {
            Request::Role(command) => {
                self.faults = 0;
                return Some(Step::Event(Event::Command(command)));
            }
            Request::Pass(password) => return self.pass(password),
            Request::Auth { mechanism, initial } => return self.auth(mechanism.as_deref(), initial.as_deref()),
            Request::Xclient(origin) if self.offer.forwarding => {
                self.complete(Completion::ok("Updated"));
                return Some(Step::Event(Event::Forwarded(origin)));
            }
            Request::Xclient(_) => self.refuse("Unknown command"),
            Request::Utf8 => self.complete(Completion::ok("UTF8 enabled")),
            Request::Lang(range) => self.language(range.as_deref()),
            Request::User(name) => self.user(name),
            Request::Capa => self.capabilities(),
            Request::Noop => self.complete(Completion::ok("")),
            Request::Stls => self.start_tls(),
            Request::Leave => self.goodbye(Completion::ok("Goodbye")),
        }
        None
    }

    /// RFC 6856 §3: English is spoken, and nothing else yet.
    fn language(&mut self, range: Option<&[u8]>) {
        let Some(range) = range else {
            self.listing("Languages follow", ["en English".to_owned()]);
            return;
        };
        // RFC 4647 §3.4: of en-GB, too, English is the nearest. `*` is the server's own choice.
        let language = range.split(|byte| *byte == b'-').next().unwrap_or_default();
        if range == b"*" || language.eq_ignore_ascii_case(b"en") || range.eq_ignore_ascii_case(b"i-default") {
            self.complete(Completion::ok("en English is spoken"));
        } else {
            self.complete(Completion::no("That language is not spoken here"));
        }
    }

    /// An answer of several lines.
    fn listing(&mut self, first: &'static str, lines: impl IntoIterator<Item = String>) {
        Completion::ok(first).encode(&mut self.output);
        for line in lines {
            self.output.extend_from_slice(line.as_bytes());
            self.output.extend_from_slice(b"\r\n");
        }
        self.output.extend_from_slice(DotStuffing::new().finish());
        self.answered();
    }

    /// RFC 2449 §5
    fn capabilities(&mut self) {
        let lines = match self.state {
            State::Authorization { .. } => self.offer.capabilities(self.secure),
            State::Transaction => limits::transaction_capabilities(),
        };
        self.listing("Capabilities follow", lines);
    }

    /// RFC 2595 §4
    fn start_tls(&mut self) {
        if self.secure {
            self.refuse("TLS is on already");
        } else if !self.offer.start_tls {
            self.refuse("STLS is not offered");
        } else {
            self.complete(Completion::ok("Begin TLS negotiation now"));
            // Whoever put these bytes behind the command may not have been the client.
            self.input.clear();
            self.state = State::Authorization { user: None };
            self.phase = Phase::AwaitingTls;
        }
    }

    /// Answers a command that could not be read or is not allowed. Whoever goes on so is no mail client.
    fn refuse(&mut self, text: &'static str) {
        self.faults += 1;
        if self.faults > self.limits.faults {
            self.goodbye(Completion::no("Too many faulty commands"));
        } else {
            self.complete(Completion::no(text));
        }
    }
}

impl Machine for Server {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.phase, Phase::Closing | Phase::AwaitingTls) {
            self.input.extend(bytes);
        }
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn secured(&mut self) {
        if matches!(self.phase, Phase::AwaitingTls) {
            self.secure = true;
            self.phase = Phase::Ready;
        }
    }

    fn next(&mut self) -> Step<Event> {
        loop {
            if !self.output.is_empty() {
                return Step::Write(self.output.split().freeze());
            }
            if let Some(step) = self.advance() {
                return step;
            }
        }
    }

    fn farewell(&mut self, why: Farewell) {
        match why {
            // RFC 1939 §3: a server speaks when it is spoken to; it ends a silent session without a word, and without
            // removing any message.
            Farewell::Draining => self.draining = true,
            Farewell::Idle => self.close(),
            Farewell::Internal => self.goodbye(Completion::no("Internal error").with(Code::SysTemp)),
        }
    }

    fn take_unread(&mut self) -> Bytes {
        self.input.take_all()
    }
}

#[cfg(test)]
mod tests;
