//! A conversation with another server, command by command.
//!
//! Invariant: what an answer may hold is said with its command; a server that says more is left. Large texts go into spools,
//! on the disk.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use estafeta_core::{Failure, Message, Reason, Secret};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Ended, Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_protocols::imap::client::{Client, Command, Condition, Event, Value, capabilities};
use estafeta_protocols::machine::{Machine, READ_BYTES};
use estafeta_storage::StorageError;
use estafeta_storage::spool::Spool;

use crate::imap::LineEnds;
use crate::store::AccountMail;

/// How long the server may say nothing, and how long it may take nothing.
const TIMEOUTS: Timeouts = Timeouts { read: Duration::from_secs(300), write: Duration::from_secs(60) };

/// The most that an answer holds in memory, in bytes; so much more than a value's own bytes counts each.
const MEMORY_BYTES: usize = 32 << 20;
const VALUE_BYTES: usize = 64;

/// What a command was answered.
#[derive(Default)]
pub(super) struct Answer {
    /// The untagged responses, each with the large text that stands in it. A text that is too large is none.
    pub data: Vec<(Vec<Value>, Option<Message>)>,
    /// What was said of how things stand, the last of it of the command.
    pub said: Vec<Condition>,
}

impl Answer {
    /// What follows this word in a code that was said.
    pub(super) fn code(&self, word: &str) -> Option<&str> {
        self.said.iter().find_map(|condition| condition.code_of(word))
    }
}

/// The conversation.
pub(super) struct Session {
    /// None once it is over.
    connection: Option<Connection>,
    machine: Client,
    /// For large texts.
    mail: AccountMail,
    capabilities: Vec<String>,
}

impl Session {
    /// Logs in.
    pub(super) async fn begin(
        connection: Connection,
        mail: &AccountMail,
        user: &str,
        password: &Secret,
    ) -> Result<Self, Failure> {
        let mut session =
            Self { connection: Some(connection), machine: Client::new(), mail: mail.clone(), capabilities: Vec::new() };
        let greeting = session.hear(0, true).await?;
        match greeting.said.first() {
            Some(condition) if condition.is_ok() => {}
            other => {
                let text = other.map_or("nothing", |condition| &condition.text);
                return Err(Failure::unavailable(format!("the server does not let us in: it greets with {text:?}")));
            }
        }
        session.capabilities = session.asked_capabilities().await?;
        let login = if session.can("AUTH=PLAIN") {
            let plain = format!("\0{user}\0{}", password.expose());
            let plain = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, plain);
            Command::new("AUTHENTICATE PLAIN").answer(&plain)
        } else if session.can("LOGINDISABLED") {
            return Err(Failure::new(
                Reason::Invalid,
                "the server takes no passwords: it offers neither PLAIN nor LOGIN",
            ));
        } else {
            Command::new("LOGIN").string(user.as_bytes()).string(password.expose().as_bytes())
        };
        session.machine.send(login);
        let answer = session.hear(0, false).await?;
        let last = answer.said.last().filter(|last| !last.is_ok());
        if let Some(Condition { text, .. }) = last {
            let reason = if answer.code("UNAVAILABLE").is_some() { Reason::Unavailable } else { Reason::Credentials };
            return Err(Failure::new(reason, format!("the server does not let {user} in: {text}")));
        }
        session.capabilities = session.asked_capabilities().await?;
        Ok(session)
    }

    /// Whether the server can do this: a capability in capitals.
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    async fn asked_capabilities(&mut self) -> Result<Vec<String>, Failure> {
        let answer = self.command(Command::new("CAPABILITY")).await?;
        Ok(answer.data.iter().find_map(|(values, _)| capabilities(values)).unwrap_or_default())
    }

    /// Says a command, and gives its answer when it succeeded.
    pub(super) async fn command(&mut self, command: Command) -> Result<Answer, Failure> {
        self.command_for(command, 0).await
    }

    /// The same for one whose answer may hold large texts of so many bytes together.
    pub(super) async fn command_for(&mut self, command: Command, large_bytes: u64) -> Result<Answer, Failure> {
        self.machine.send(command);
        let answer = self.hear(large_bytes, false).await?;
        match answer.said.last() {
            Some(condition) if condition.is_ok() => Ok(answer),
            Some(condition) => Err(Failure::new(
                Reason::NotFound,
                format!("the server refuses: {} {}", condition.word, condition.text),
            )),
            None => Err(over("the server answers nothing")),
        }
    }

    /// Says goodbye. What is said to it does not matter.
    pub(super) async fn end(mut self) {
        self.machine.send(Command::new("LOGOUT"));
        let _ = tokio::time::timeout(Duration::from_secs(5), self.hear(0, false)).await;
    }

    async fn hear(&mut self, large_bytes: u64, greeting: bool) -> Result<Answer, Failure> {
        let connection = self.connection.take().ok_or_else(|| over("the conversation is over"))?;
        let mut hearing = Hearing {
            mail: &self.mail,
            answer: Answer::default(),
            memory_bytes: 0,
            large_bytes,
            greeting,
            text: Text::None,
            failure: None,
        };
        let upgrade = Upgrade::Never;
        let ended = drive(connection, &mut self.machine, &mut hearing, upgrade, TIMEOUTS, &Drain::new()).await;
        let Hearing { answer, failure, .. } = hearing;
        if let Some(failure) = failure {
            return Err(failure);
        }
        match ended {
            Ok(Ended::HandedOver(connection, unread)) => {
                unread.chunks(READ_BYTES).for_each(|bytes| self.machine.receive(bytes));
                self.connection = Some(connection);
                Ok(answer)
            }
            Ok(Ended::Closed) => Err(over("the server has closed the connection")),
            Err(error) => Err(over("the connection broke").because(error)),
        }
    }
}

/// Why it cannot go on, and what to do.
fn over(why: &str) -> Failure {
    Failure::unavailable(format!("{why}; what has come stays: ask again, and the rest follows"))
}

/// A large text on its way.
enum Text {
    None,
    Coming(Box<(Spool, LineEnds)>),
    /// Nobody wants it.
    Refused,
    Whole(Message),
}

struct Hearing<'a> {
    mail: &'a AccountMail,
    answer: Answer,
    memory_bytes: usize,
    large_bytes: u64,
    /// Whether the greeting is waited for.
    greeting: bool,
    text: Text,
    failure: Option<Failure>,
}

impl Hearing<'_> {
    fn leave(&mut self, failure: Failure) -> Flow {
        self.failure = Some(failure);
        Flow::Close
    }

    async fn piece(&mut self, bytes: &Bytes) -> Result<(), Failure> {
        if let Text::Coming(coming) = &mut self.text {
            let (spool, line_ends) = &mut **coming;
            if let Err(error) = spool.write(&line_ends.mend(bytes)).await {
                if !matches!(error, StorageError::TooLarge { .. }) {
                    return Err(error.to_failure());
                }
                self.text = Text::Refused;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        if let Text::Coming(coming) = std::mem::replace(&mut self.text, Text::Refused) {
            let (mut spool, line_ends) = *coming;
            let finish = async { spool.write(line_ends.finish()).await.map(|()| spool)?.finish().await };
            match finish.await {
                Ok(message) => self.text = Text::Whole(message),
                Err(StorageError::TooLarge { .. }) => {}
                Err(error) => return Err(error.to_failure()),
            }
        }
        Ok(())
    }
}

impl Handler<Client> for Hearing<'_> {
    async fn handle(&mut self, event: Event, _: &mut Client, _: &mut Output<'_>) -> io::Result<Flow> {
        let more = "the server sends more than it was asked for";
        match event {
            Event::Failed(why) => return Ok(self.leave(over(why))),
            Event::Said(condition) => {
                self.memory_bytes += condition.text.len() + condition.code.len() + VALUE_BYTES;
                self.answer.said.push(condition);
                if self.greeting {
                    return Ok(Flow::HandOver);
                }
            }
            Event::Completed(condition) => {
                self.answer.said.push(condition);
                return Ok(Flow::HandOver);
            }
            Event::Large(bytes) => {
                let left = self.large_bytes.checked_sub(bytes);
                // Of several in one response none is a message's text.
                let (Some(left), Text::None) = (left, &self.text) else { return Ok(self.leave(over(more))) };
                self.large_bytes = left;
                self.text = Text::Coming(Box::new((self.mail.spool(), LineEnds::new())));
            }
            Event::Piece(bytes) => {
                if let Err(failure) = self.piece(&bytes).await {
                    return Ok(self.leave(failure));
                }
            }
            Event::Data(values) => {
                if let Err(failure) = self.finish().await {
                    return Ok(self.leave(failure));
                }
                let text = match std::mem::replace(&mut self.text, Text::None) {
                    Text::Whole(message) => Some(message),
                    _ => None,
                };
                self.memory_bytes += weight(&values);
                self.answer.data.push((values, text));
            }
        }
        if self.memory_bytes > MEMORY_BYTES {
            return Ok(self.leave(over(more)));
        }
        Ok(Flow::Continue)
    }
}

/// About how much memory values take.
fn weight(values: &[Value]) -> usize {
    let each = values.iter().map(|value| match value {
        Value::Atom(bytes) | Value::Text(bytes) => VALUE_BYTES + bytes.len(),
        Value::List(values) => VALUE_BYTES + weight(values),
        Value::Large(_) => VALUE_BYTES,
    });
    VALUE_BYTES + each.sum::<usize>()
}
