//! The server's side of one connection, without I/O: bytes in, [`Event`]s for the role, bytes out.
//!
//! It is used twice: by `access` in front of a client that has not said who it is, and by `mailbox` behind it, for an
//! account that is open. A role handles one event at a time, and answers it with the method that the event names;
//! commands that were sent ahead wait in order.
//!
//! Invariants:
//! - a command and its literals hold at most [`Limits::command_bytes`]; a message on its way in is given on in pieces
//!   and never held;
//! - what is over a bound is refused before it is asked for; where a client does not wait to be asked (`{n+}`,
//!   RFC 7888), the connection is closed;
//! - what came in clear text behind STARTTLS is dropped; no password is looked at before TLS is on;
//! - each tag is answered once.

mod answers;
mod append;
mod authenticate;
mod input;
mod limits;

use bytes::Bytes;

use super::command::append::Grammar;
use super::command::append::{Append, Literal, NewMessage};
use super::command::{self, Allowed, Command, Request, Row};
use super::cursor::{Cursor, Refusal};
use super::response::{Code, Completion, Output};
use super::types::Tag;
use crate::machine::{Farewell, Machine, Step};
use crate::sasl::{Credentials, Exchange};
use input::{Announcement, Frame, Input};

pub use limits::{Limits, Offer};

/// Where a connection stands (RFC 3501 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody knows who the client is.
    NotAuthenticated,
    /// An account is open.
    Authenticated,
    /// One of its mailboxes is open.
    Selected,
}

/// What the machine leaves to its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody says who it is. Answer with [`Server::hand_over`], or with [`Server::enter`] and
    /// [`Server::complete`], or refuse with [`Server::complete`].
    Authenticate(Credentials),
    /// A command. Write what it has to say to [`Server::output`], and end it with [`Server::complete`]. Whoever has
    /// more to say than should wait in memory takes from the output what is there ([`Output::take`]), and sends it.
    Command(Command),
    /// Messages want in (APPEND), or one in the place of another (REPLACE). Neither this event nor those of its pieces
    /// need an answer; [`Server::complete`] with a refusal gives the whole command up.
    AppendBegin(Append),
    /// The next message begins; one before it is whole.
    AppendMessage(NewMessage),
    /// A literal of that size is about to be asked for: the message, or a piece of it.
    AppendLiteral(Literal),
    /// A piece of the literal.
    AppendData(Bytes),
    /// The next piece of the message is what this URL names (RFC 4469 §3).
    AppendUrl(String),
    /// All messages are whole: store them durably, all or none, then [`Server::complete`].
    AppendEnd,
    /// They will not become whole: forget them. The machine has answered; the role does not.
    AppendAbort,
    /// The client waits for changes (RFC 2177). Until [`Event::IdleEnd`], whatever is written to [`Server::output`]
    /// is sent at once. Needs no answer.
    IdleBegin,
    /// The client has done waiting. [`Server::complete`] it.
    IdleEnd,
    /// [`Server::hand_over`] was called and all that was written is sent: take the stream and
    /// [`Machine::take_unread`]; the machine is done.
    HandOver,
}

/// What the machine is in the middle of.
#[derive(Debug)]
enum Phase {
    /// The next command.
    Ready,
    /// A command that the role carries out.
    Running,
    /// A SASL exchange: the next response.
    Authenticating(Exchange),
    /// Steps of an APPEND, for the role to hear of.
    Appending,
    /// A literal that the role may still refuse.
    Offered { announcement: Announcement },
    /// A literal that comes in.
    Receiving { remaining: u64 },
    /// A literal that came in: how its line goes on.
    Received,
    /// What a client sends of a refused command without having been asked.
    Skipping { remaining: u64 },
    /// IDLE.
    Idling,
    /// STARTTLS was answered.
    AwaitingTls,
    /// COMPRESS was answered.
    AwaitingCompression,
    /// The account is open elsewhere.
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
    output: Output,
    /// Of the command that runs, if it could be read.
    tag: Option<Tag>,
    /// The APPEND that is under way.
    appending: Option<Box<append::Appending>>,
    offer: Offer,
    secure: bool,
    compressed: bool,
    limits: Limits,
    /// Commands in a row that were not understood.
    faults: u32,
    /// The peer sends no more.
    ended: bool,
    /// The node drains: goodbye once what the client has sent is answered.
    draining: bool,
}

impl Server {
    /// Greets a client that has not said who it is. `secure`: TLS is on already.
    pub fn greet(offer: Offer, secure: bool, limits: Limits) -> Self {
        let mut server = Self::new(State::NotAuthenticated, Input::default(), offer, secure, limits);
        let capabilities = server.offer.capabilities(secure);
        server.output.notice(&Code::Capability(capabilities), "Estafeta ready.");
        server
    }

    /// Goes on with a client whose account is open: somebody else has greeted it, and read `unread` ahead.
    pub fn authenticated(unread: &[u8], limits: Limits) -> Self {
        Self::new(State::Authenticated, Input::from(unread), Offer::default(), true, limits)
    }

    fn new(state: State, input: Input, offer: Offer, secure: bool, limits: Limits) -> Self {
        let (phase, output) = (Phase::Ready, Output::default());
        Self {
            state,
            phase,
            input,
            output,
            tag: None,
            appending: None,
            offer,
            secure,
            compressed: false,
            limits,
            faults: 0,
            ended: false,
            draining: false,
        }
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The bounds of this connection.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Does what can be done with the bytes that are here; gives nothing when it has only written or changed phase.
    fn advance(&mut self) -> Option<Step<Event>> {
        match self.phase {
            Phase::Ready => self.advance_command(),
            Phase::Authenticating(_) => self.advance_exchange(),
            Phase::Appending => self.advance_append(),
            Phase::Offered { announcement } if self.appending.is_some() => {
                self.accept_literal(announcement);
                None
            }
            Phase::Running | Phase::Offered { .. } => {
                // The role has not answered: its fault, not the client's.
                self.complete(Completion::no("Internal error").with(Code::ServerBug));
                None
            }
            Phase::Receiving { remaining } => self.advance_message(remaining),
            Phase::Received => self.advance_message_end(),
            Phase::Skipping { remaining } => self.advance_skip(remaining),
            Phase::Idling if self.draining => self.leave(),
            Phase::Idling => self.advance_idle(),
            Phase::AwaitingTls => Some(Step::StartTls),
            Phase::AwaitingCompression => Some(Step::Compress),
            Phase::HandingOver => Some(Step::Event(Event::HandOver)),
            Phase::Closing => Some(Step::Close),
        }
    }

    /// Nothing more can be done with what is here.
    fn read(&mut self) -> Option<Step<Event>> {
        if self.ended {
            self.phase = Phase::Closing;
            return None;
        }
        self.input.release();
        self.output.release();
        Some(Step::Read)
    }

    /// The node drains, and nothing is running.
    fn leave(&mut self) -> Option<Step<Event>> {
        self.goodbye(Some(&Code::Unavailable), "Restarting, please connect again");
        None
    }

    fn advance_command(&mut self) -> Option<Step<Event>> {
        match self.input.frame(self.limits.command_bytes) {
            // A command that has begun is heard out, its literals with it.
            Frame::Incomplete if self.draining && self.input.is_empty() => self.leave(),
            Frame::Incomplete => self.read(),
            Frame::TooLong => {
                self.tag = self.input.tag();
                self.complete_and_close(Completion::bad("Command line too long"));
                None
            }
            Frame::Literal(announcement) => self.announced(announcement),
            Frame::Command { text, whole } => {
                let (tag, request) = self.understand(text);
                self.input.advance(whole);
                self.tag = tag;
                match request {
                    Ok(request) => self.begin(request),
                    Err(refusal) => {
                        self.refuse(refusal);
                        None
                    }
                }
            }
        }
    }

    /// Reads the command that makes up the first `text` bytes.
    fn understand(&self, text: usize) -> (Option<Tag>, Result<Request, Refusal>) {
        let (tag, row, cursor) = head(self.input.get(text));
        let mut cursor = cursor.speaking(self.output.dialect());
        let request = match (&tag, row) {
            (None, _) => Err(Refusal::Bad("Expected a tag")),
            (Some(_), None) => Err(Refusal::Bad("Unknown command")),
            (Some(_), Some(row)) => self.allow(row).and_then(|()| command::parse(row, &mut cursor)),
        };
        (tag, request)
    }

    /// RFC 3501 §3: whether a command makes sense in this state.
    fn allow(&self, row: &Row) -> Result<(), Refusal> {
        if self.output.dialect().uid_only && row.names_sequence_numbers() {
            return Err(Refusal::UidRequired);
        }
        match (row.allowed, self.state) {
            (Allowed::Always, _)
            | (Allowed::NotAuthenticated, State::NotAuthenticated)
            | (Allowed::Authenticated, State::Authenticated | State::Selected)
            | (Allowed::Selected, State::Selected) => Ok(()),
            (Allowed::NotAuthenticated, _) => Err(Refusal::Bad("Already authenticated")),
            (_, State::NotAuthenticated) => Err(Refusal::Bad("Not authenticated")),
            (_, _) => Err(Refusal::Bad("No mailbox selected")),
        }
    }

    fn begin(&mut self, request: Request) -> Option<Step<Event>> {
        self.faults = 0;
        match request {
            Request::Capability => {
                let capabilities = match self.state {
                    State::NotAuthenticated => self.offer.capabilities(self.secure),
                    _ => self.limits.capabilities(),
                };
                self.output.capability(&capabilities);
                self.complete(Completion::ok("CAPABILITY completed"));
                None
            }
            Request::Logout => {
                self.output.bye(None, "Logging out");
                self.complete(Completion::ok("LOGOUT completed"));
                self.close();
                None
            }
            Request::StartTls => {
                self.start_tls();
                None
            }
            Request::Login(credentials) => self.login(credentials),
            Request::Authenticate { mechanism, initial } => self.authenticate(mechanism, initial.as_deref()),
            Request::Idle => {
                self.output.continuation("idling");
                self.phase = Phase::Idling;
                Some(Step::Event(Event::IdleBegin))
            }
            Request::Compress if self.compressed => {
                self.complete(Completion::no("Compressed already").with(Code::CompressionActive));
                None
            }
            Request::Compress => {
                self.complete(Completion::ok("DEFLATE begins"));
                self.phase = Phase::AwaitingCompression;
                None
            }
            Request::Append(steps) => {
                self.begin_append(Grammar::append(), steps, None);
                None
            }
            Request::Role(Command::Noop) if self.state == State::NotAuthenticated => {
                self.complete(Completion::ok("NOOP completed"));
                None
            }
            Request::Role(command) => {
                self.phase = Phase::Running;
                Some(Step::Event(Event::Command(command)))
            }
        }
    }

    /// RFC 3501 §6.2.1
    fn start_tls(&mut self) {
        if self.secure {
            self.complete(Completion::bad("TLS is on already"));
        } else if !self.offer.start_tls {
            self.complete(Completion::bad("STARTTLS is not offered"));
        } else {
            self.complete(Completion::ok("Begin TLS negotiation now"));
            // Whoever put these bytes behind the command may not have been the client.
            self.input = Input::default();
            self.phase = Phase::AwaitingTls;
        }
    }

    fn advance_idle(&mut self) -> Option<Step<Event>> {
        match self.input.line(self.limits.command_bytes) {
            Frame::Command { text, whole } => {
                let done = self.input.get(text).eq_ignore_ascii_case(b"DONE");
                self.input.advance(whole);
                if done {
                    self.phase = Phase::Running;
                    return Some(Step::Event(Event::IdleEnd));
                }
                self.output.completion(None, &Completion::bad("Expected DONE"));
                self.fault();
                None
            }
            Frame::TooLong => {
                self.complete_and_close(Completion::bad("Expected DONE"));
                None
            }
            Frame::Incomplete | Frame::Literal(_) => self.read(),
        }
    }

    /// Answers a command that could not be read or is not allowed.
    fn refuse(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Bad(text) => {
                self.complete(Completion::bad(text));
                self.fault();
            }
            Refusal::UidRequired => {
                self.complete(Completion::bad("Name messages by UID").with(Code::UidRequired));
            }
            Refusal::Cannot(text) => self.complete(Completion::no(text).with(Code::Cannot)),
            Refusal::BadEvent => self.complete(Completion::no("Unknown event").with(Code::BadEvent)),
            Refusal::BadCharset => self.complete(Completion::no("Unknown charset").with(Code::BadCharset)),
        }
    }

    /// Counts what was not understood. Whoever goes on so is no mail client.
    fn fault(&mut self) {
        self.faults += 1;
        if self.faults > self.limits.faults {
            self.goodbye(None, "Too many faulty commands");
        }
    }

    fn complete_and_close(&mut self, completion: Completion<'_>) {
        self.output.completion(self.tag.take().as_ref(), &completion);
        self.goodbye(None, "Closing the connection");
    }
}

/// Takes a command's tag and name apart; the cursor stands behind them.
fn head(text: &[u8]) -> (Option<Tag>, Option<&'static Row>, Cursor<'_>) {
    let mut cursor = Cursor::new(text);
    let tag = Tag::new(cursor.word());
    let row = if tag.is_some() && cursor.take(b' ') { command::find(cursor.word()) } else { None };
    (tag, row, cursor)
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

    fn compressed(&mut self) {
        if matches!(self.phase, Phase::AwaitingCompression) {
            self.compressed = true;
            self.phase = Phase::Ready;
        }
    }

    fn next(&mut self) -> Step<Event> {
        loop {
            if let Some(bytes) = self.output.take() {
                return Step::Write(bytes);
            }
            if let Some(step) = self.advance() {
                return step;
            }
        }
    }

    fn farewell(&mut self, why: Farewell) {
        match why {
            Farewell::Draining => self.draining = true,
            Farewell::Idle => self.goodbye(None, "Closed after long silence"),
            Farewell::Internal => self.goodbye(Some(&Code::ServerBug), "Internal error, please connect again"),
        }
    }

    fn take_unread(&mut self) -> Bytes {
        self.input.take_all()
    }
}

#[cfg(test)]
pub(crate) mod tests;
