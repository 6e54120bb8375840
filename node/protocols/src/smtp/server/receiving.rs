//! From bytes to commands, responses and messages: what the next bytes are depends on the state.

use bytes::BytesMut;

use super::body::{TOO_LARGE, Taken};
use super::{Asked, Event, Farewell, Reply, Server, State, UNANSWERED};
use crate::machine::Step;
use crate::sasl::Exchange;
use crate::smtp::reply::Enhanced;

const LINE_TOO_LONG: Reply = Reply::known(500, Enhanced(5, 5, 2), "Line too long");
const BARE_LINE_END: Reply = Reply::known(500, Enhanced(5, 5, 2), "Lines must end in CRLF");

/// The longest response in an AUTH dialog, in bytes (RFC 4954 §4).
const RESPONSE_LIMIT_BYTES: usize = 12_288;

impl Server {
    /// Waits for the peer in `state`; there is nothing to wait for when it has said all.
    pub(super) fn wait(&mut self, state: State) -> Option<Step<Event>> {
        if self.ended {
            self.state = State::Closed;
            return None;
        }
        self.state = state;
        Some(Step::Read)
    }

    /// Takes a line without its end; an answer in its place if there is none yet, or none that is legal.
    fn line(&mut self, limit_bytes: usize) -> Result<BytesMut, Option<Reply>> {
        let end = self.input.iter().take(limit_bytes).position(|&byte| byte == b'\n');
        let Some(end) = end else {
            return if self.input.len() < limit_bytes {
                Err(None)
            } else {
                self.state = State::RestOfLine;
                Err(Some(LINE_TOO_LONG))
            };
        };
        let mut line = self.input.split_to(end + 1);
        // RFC 5321 §2.3.8: a line ends in CR LF, nothing else.
        if line.ends_with(b"\r\n") {
            line.truncate(end - 1);
            Ok(line)
        } else {
            Err(Some(BARE_LINE_END))
        }
    }

    pub(super) fn rest_of_line(&mut self) -> Option<Step<Event>> {
        match self.input.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let _ = self.input.split_to(end + 1);
                None
            }
            None => {
                self.input.clear();
                self.wait(State::RestOfLine)
            }
        }
    }

    /// Reads a command and obeys it.
    pub(super) fn command(&mut self) -> Option<Step<Event>> {
        if self.draining && self.transaction.is_none() {
            self.say_goodbye(Farewell::Draining);
            return None;
        }
        match self.line(self.config.limits.command_line_bytes) {
            Ok(line) => self.obey(&line),
            Err(Some(refusal)) => {
                self.answer(&refusal);
                None
            }
            Err(None) => self.wait(State::Command),
        }
    }

    /// Reads a response in an AUTH dialog.
    pub(super) fn response(&mut self, exchange: Exchange) -> Option<Step<Event>> {
        match self.line(RESPONSE_LIMIT_BYTES) {
            Ok(line) => self.continue_authentication(exchange, &line),
            Err(Some(refusal)) => {
                self.answer(&refusal);
                None
            }
            Err(None) => self.wait(State::Response(exchange)),
        }
    }

    /// Takes a message that comes by DATA.
    pub(super) fn lines(&mut self) -> Option<Step<Event>> {
        let body = self.transaction.as_mut().and_then(|transaction| transaction.body.as_mut())?;
        match body.take_lines(&mut self.input) {
            Taken::Nothing if body.is_overrun() => {
                self.give_up();
                None
            }
            Taken::Nothing => self.wait(State::Lines),
            Taken::Text(text) => {
                self.state = State::Lines;
                Some(self.ask(Asked::Data, Event::Data(text)))
            }
            Taken::Fault => {
                self.state = State::Lines;
                Some(Step::Event(Event::Reset))
            }
            Taken::End if body.is_overrun() => {
                self.give_up();
                None
            }
            Taken::End => self.end_message(),
        }
    }

    /// Takes a chunk that comes by BDAT. One that is refused is read all the same (RFC 3030 §2).
    pub(super) fn chunk(
        &mut self,
        mut remaining_bytes: u64,
        last: bool,
        refusal: Option<Reply>,
    ) -> Option<Step<Event>> {
        let Some(body) = self.transaction.as_mut().and_then(|transaction| transaction.body.as_mut()) else {
            let here = usize::try_from(remaining_bytes).unwrap_or(usize::MAX).min(self.input.len());
            let _ = self.input.split_to(here);
            remaining_bytes -= here as u64;
            if remaining_bytes > 0 {
                return self.wait(State::Chunk { remaining_bytes, last, refusal });
            }
            self.answer(&refusal.unwrap_or(UNANSWERED));
            return None;
        };
        let mut taken = body.take_chunk(&mut self.input, &mut remaining_bytes);
        if taken == Taken::End && last {
            taken = body.close_chunks();
        }
        match taken {
            Taken::Nothing => self.wait(State::Chunk { remaining_bytes, last, refusal }),
            Taken::Text(text) => {
                self.state = State::Chunk { remaining_bytes, last, refusal };
                Some(self.ask(Asked::Data, Event::Data(text)))
            }
            Taken::Fault => {
                self.state = State::Chunk { remaining_bytes, last, refusal };
                Some(Step::Event(Event::Reset))
            }
            Taken::End if last || body.fault().is_some() => self.end_message(),
            Taken::End => {
                self.answer(&Reply::known(250, Enhanced(2, 0, 0), "Chunk received"));
                None
            }
        }
    }

    /// Asks the role for its answer to a message, or gives the refusal that stands.
    fn end_message(&mut self) -> Option<Step<Event>> {
        match self.body().and_then(|body| body.fault().cloned()) {
            Some(fault) => {
                self.close_transaction(|| fault.clone());
                None
            }
            None => Some(self.ask(Asked::EndOfMessage, Event::EndOfMessage)),
        }
    }

    /// Gives the refusal before the end of the message, and closes: it is too long to be swallowed.
    fn give_up(&mut self) {
        let fault = self.body().and_then(|body| body.fault().cloned()).unwrap_or(TOO_LARGE);
        self.close_transaction(|| fault.clone());
        self.state = State::Closed;
    }
}
