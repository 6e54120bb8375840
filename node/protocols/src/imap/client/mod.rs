//! IMAP, the client's side: commands out, what the server says in (RFC 3501, RFC 9051). One command at a time, so that
//! every answer is known by its place.
//!
//! Invariants, whatever a server sends: a line holds at most [`LINE_BYTES`], a response with the literals that stand in it
//! [`RESPONSE_BYTES`]; a literal of more than [`IN_PLACE_BYTES`] is handed on piece by piece and never gathered here. What
//! is not IMAP is [`Event::Failed`], and the conversation is over.

mod command;
mod data;
mod value;

use bytes::{Bytes, BytesMut};

pub use command::Command;
pub use data::{Condition, Fetched, Listed, Namespaces, Status, capabilities, exists, expunged, status_of};
pub use value::Value;

use crate::machine::{Farewell, Machine, Step};

/// The longest line, its end included.
const LINE_BYTES: usize = 64 * 1024;

/// The longest response, the literals that stand in it included.
const RESPONSE_BYTES: usize = 1024 * 1024;

/// The longest literal that stands in a response.
const IN_PLACE_BYTES: usize = 64 * 1024;

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// How it stands: its greeting, which comes first, or an untagged OK, NO, BAD, PREAUTH or BYE.
    Said(Condition),
    /// A large literal of so many bytes begins; its [`Event::Piece`]s follow, then the [`Event::Data`] that it stands in.
    Large(u64),
    /// More of a large literal.
    Piece(Bytes),
    /// An untagged response, without its star.
    Data(Vec<Value>),
    /// The command is done: another may be [sent](Client::send).
    Completed(Condition),
    /// The conversation is over, for this reason, which is for an operator.
    Failed(&'static str),
}

/// The machine.
#[derive(Debug)]
pub struct Client {
    input: BytesMut,
    /// How much of it is known to hold no line's end.
    searched: usize,
    output: BytesMut,
    /// What has been sent of, and waits for, the server's leave.
    command: Option<Command>,
    tags: u32,
    response: Response,
    expected: Expected,
    failure: Option<&'static str>,
    closed: bool,
}

/// A response that is not whole yet.
#[derive(Debug, Default)]
struct Response {
    text: Vec<u8>,
    literals: Vec<Value>,
    in_place_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Line,
    /// A literal that stands in the response.
    Literal(usize),
    /// The rest of a large one.
    Rest(u64),
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// At the begin of a connection: the server speaks first.
    pub fn new() -> Self {
        Self {
            input: BytesMut::new(),
            searched: 0,
            output: BytesMut::new(),
            command: None,
            tags: 0,
            response: Response::default(),
            expected: Expected::Line,
            failure: None,
            closed: false,
        }
    }

    /// Sends a command. The one before must be completed.
    pub fn send(&mut self, mut command: Command) {
        self.tags += 1;
        self.output.extend_from_slice(self.tag().as_bytes());
        self.output.extend_from_slice(b" ");
        self.output.extend_from_slice(&command.next_part().unwrap_or_default());
        self.command = Some(command);
    }

    fn tag(&self) -> String {
        format!("e{}", self.tags)
    }

    fn fail<T>(&mut self, why: &'static str) -> Option<T> {
        self.failure.get_or_insert(why);
        None
    }

    /// What the bytes that are here amount to; none when there is nothing, or it failed.
    fn advance(&mut self) -> Option<Event> {
        loop {
            match self.expected {
                Expected::Rest(0) => self.expected = Expected::Line,
                Expected::Rest(left) => {
                    if self.input.is_empty() {
                        return None;
                    }
                    let count = usize::try_from(left).map_or(self.input.len(), |left| left.min(self.input.len()));
                    self.expected = Expected::Rest(left - count as u64);
                    return Some(Event::Piece(self.input.split_to(count).freeze()));
                }
                Expected::Literal(size) => {
                    if self.input.len() < size {
                        return None;
                    }
                    // A copy: what is kept of a server's words must not keep the buffer that they came in.
                    let literal = Bytes::copy_from_slice(&self.input.split_to(size));
                    self.response.literals.push(Value::Text(literal));
                    self.expected = Expected::Line;
                }
                Expected::Line => {
                    let line = self.line()?;
                    if let Some(event) = self.hear(&line) {
                        return Some(event);
                    }
                    if self.failure.is_some() || !self.output.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    /// The next line, its end included. None when it is not whole, or it failed.
    fn line(&mut self) -> Option<BytesMut> {
        let unread = self.input.get(self.searched..).unwrap_or_default();
        let end = unread.iter().position(|byte| *byte == b'\n').map(|offset| self.searched + offset);
        if end.unwrap_or(self.input.len()) >= LINE_BYTES {
            return self.fail("the server sends an endless line");
        }
        // A line may come in very small pieces: nothing of it is looked at twice.
        self.searched = if end.is_some() { 0 } else { self.input.len() };
        Some(self.input.split_to(end? + 1))
    }

    /// Hears a line. None when it is part of something.
    fn hear(&mut self, line: &[u8]) -> Option<Event> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.response.text.is_empty() {
            if line.first() == Some(&b'+') {
                return self.go_on();
            }
            let Some(said) = line.strip_prefix(b"* ") else { return self.complete(line) };
            if let Some(condition) = Condition::parse(said) {
                return Some(Event::Said(condition));
            }
            self.response.text.extend_from_slice(said);
        } else {
            self.response.text.extend_from_slice(line);
        }
        self.response.in_place_bytes += line.len();
        let size = literal_size(line);
        if let Some(size) = size.filter(|size| *size <= IN_PLACE_BYTES as u64) {
            self.response.in_place_bytes += size as usize;
        }
        if self.response.in_place_bytes > RESPONSE_BYTES {
            return self.fail("the server sends an endless response");
        }
        match size {
            None => {
                let Response { text, literals, .. } = std::mem::take(&mut self.response);
                match value::parse(&text, literals) {
                    Some(values) => Some(Event::Data(values)),
                    None => self.fail("the server's response is no IMAP"),
                }
            }
            Some(size) => {
                // The end of the line marks where the literal stands.
                self.response.text.extend_from_slice(b"\r\n");
                if size <= IN_PLACE_BYTES as u64 {
                    self.expected = Expected::Literal(size as usize);
                    return None;
                }
                self.response.literals.push(Value::Large(size));
                self.expected = Expected::Rest(size);
                Some(Event::Large(size))
            }
        }
    }

    /// The server wants to hear more of the command.
    fn go_on(&mut self) -> Option<Event> {
        match self.command.as_mut().and_then(Command::next_part) {
            Some(part) => {
                self.output.extend_from_slice(&part);
                None
            }
            None => self.fail("the server asks for more than there is to say"),
        }
    }

    fn complete(&mut self, line: &[u8]) -> Option<Event> {
        let tag = self.tag();
        let said = line.strip_prefix(tag.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
        match (said.and_then(Condition::parse), self.command.take()) {
            (Some(condition), Some(_)) => Some(Event::Completed(condition)),
            _ => self.fail("the server answers what nobody asked"),
        }
    }
}

/// The size of the literal that a line announces: `{5}`, also `{5+}` and `~{5}` (RFC 7888, RFC 3516).
fn literal_size(line: &[u8]) -> Option<u64> {
    let digits = line.strip_suffix(b"}")?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    let begin = digits.iter().rposition(|byte| *byte == b'{')? + 1;
    Some(&digits[begin..]).filter(|digits| !digits.is_empty()).and_then(crate::imap::cursor::decimal)
}

impl Machine for Client {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        if !self.closed && self.failure.is_none() {
            self.input.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        self.failure.get_or_insert("the server has closed the connection");
    }

    fn secured(&mut self) {}

    fn next(&mut self) -> Step<Event> {
        if !self.output.is_empty() {
            return Step::Write(self.output.split().freeze());
        }
        if self.closed {
            return Step::Close;
        }
        if let Some(event) = self.advance() {
            return Step::Event(event);
        }
        if !self.output.is_empty() {
            return Step::Write(self.output.split().freeze());
        }
        match self.failure {
            Some(why) => {
                self.closed = true;
                drop(self.take_unread());
                Step::Event(Event::Failed(why))
            }
            None => Step::Read,
        }
    }

    fn farewell(&mut self, why: Farewell) {
        self.failure.get_or_insert(match why {
            Farewell::Idle => "the server said nothing for too long",
            Farewell::Draining | Farewell::Internal => "this node ends the conversation",
        });
    }

    fn take_unread(&mut self) -> Bytes {
        self.searched = 0;
        self.input.split().freeze()
    }
}

#[cfg(test)]
mod tests;
