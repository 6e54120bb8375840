//! What each command does, and when it is allowed (RFC 5321 §4.1.4).

use super::body::{Body, TOO_LARGE};
use super::{Asked, Event, Hello, Mail, Recipient, Server, State, Tls};
use crate::machine::Step;
use crate::smtp::Dialect;
use crate::smtp::command::{self, Command, HelloVerb};
use crate::smtp::path::ForwardPath;
use crate::smtp::reply::{Enhanced, Reply};

const OK: Reply = Reply::known(250, Enhanced(2, 0, 0), "OK");
const HELLO_FIRST: Reply = Reply::known(503, Enhanced(5, 5, 1), "Say hello first");
const MAIL_FIRST: Reply = Reply::known(503, Enhanced(5, 5, 1), "MAIL first");
const NO_RECIPIENTS: Reply = Reply::known(554, Enhanced(5, 5, 1), "No valid recipients");
const MAIL_TWICE: Reply = Reply::known(503, Enhanced(5, 5, 1), "A transaction is open already");
const CHUNKS_OPEN: Reply = Reply::known(503, Enhanced(5, 5, 1), "Not between BDAT commands");
const OTHER_DIALECT: Reply = Reply::known(500, Enhanced(5, 5, 1), "Command not recognised here");
const TLS_FIRST: Reply = Reply::known(530, Enhanced(5, 7, 0), "Must issue a STARTTLS command first");
const AUTHENTICATE_FIRST: Reply = Reply::known(530, Enhanced(5, 7, 0), "Authentication required");
const TOO_MANY_TRANSACTIONS: Reply = Reply::known(421, Enhanced(4, 7, 0), "Too many messages on this connection");
const TOO_MANY_RECIPIENTS: Reply = Reply::known(452, Enhanced(4, 5, 3), "Too many recipients");
// RFC 6531 §3.5, §3.7.4.
const NEEDS_SMTPUTF8: Reply = Reply::known(553, Enhanced(5, 6, 7), "Address needs SMTPUTF8");
const INJECTION: Reply = Reply::known(554, Enhanced(5, 5, 1), "Nothing may follow STARTTLS before TLS");

impl Server {
    /// Obeys a line. Whatever is not answered here is an event for the role.
    pub(super) fn obey(&mut self, line: &[u8]) -> Option<Step<Event>> {
        let obeyed = match command::parse(line, self.offered()) {
            Err(refusal) => Err(refusal),
            Ok(Command::Hello { verb, name }) => return self.hello(verb, name),
            Ok(Command::Mail(mail)) => return self.mail(mail),
            Ok(Command::Recipient(recipient)) => return self.recipient(recipient),
            Ok(Command::Data) => self.data(),
            Ok(Command::Chunk { size_bytes, last }) => return self.begin_chunk(size_bytes, last),
            Ok(Command::Reset) => {
                self.answer(&OK);
                return self.reset();
            }
            Ok(Command::NoOperation) => Ok(OK),
            // RFC 5321 §3.5.3, §7.3: neither confirmed nor denied.
            Ok(Command::Verify) => {
                Ok(Reply::known(252, Enhanced(2, 5, 2), "Cannot verify, but will take mail and try"))
            }
            Ok(Command::Expand) => Err(Reply::known(502, Enhanced(5, 5, 1), "Command not implemented")),
            Ok(Command::Help) => Ok(Reply::known(214, Enhanced(2, 0, 0), "See RFC 5321")),
            Ok(Command::StartTls) => self.start_tls(),
            Ok(Command::Authenticate { mechanism, initial }) => {
                return self.begin_authentication(&mechanism, initial.as_deref());
            }
            Ok(Command::Quit) => {
                let bye = format!("{} closing the connection", self.config.hostname);
                self.answer(&Reply::new(221, Enhanced(2, 0, 0), bye));
                self.state = State::Closed;
                return None;
            }
            Ok(Command::OtherProtocol) => Err(Reply::known(521, Enhanced(5, 7, 0), "This is a mail server")),
        };
        // Does nothing when the connection was closed with a reply of its own.
        self.answer(&obeyed.unwrap_or_else(|refusal| refusal));
        None
    }

    /// Ends the transaction without a message; the role is told if it knows of it.
    fn reset(&mut self) -> Option<Step<Event>> {
        self.transaction.take().map(|_| Step::Event(Event::Reset))
    }

    fn hello(&mut self, verb: HelloVerb, name: String) -> Option<Step<Event>> {
        // RFC 2033 §4.1: LHLO replaces both.
        if (self.config.dialect == Dialect::Lmtp) != (verb == HelloVerb::Lhlo) {
            self.answer(&OTHER_DIALECT);
            return None;
        }
        let extended = verb != HelloVerb::Helo;
        let event = Event::Hello(Hello { name, extended });
        // RFC 5321 §4.1.4: a hello in the middle resets, as RSET does.
        let reset = self.reset();
        if reset.is_some() {
            self.postponed = Some((Asked::Hello { extended }, event));
            return reset;
        }
        Some(self.ask(Asked::Hello { extended }, event))
    }

    fn mail(&mut self, mail: Mail) -> Option<Step<Event>> {
        let limits = &self.config.limits;
        let too_large = mail.size_bytes.is_some_and(|size_bytes| size_bytes > limits.message_bytes);
        let needs_smtputf8 = mail.sender.mailbox().is_some_and(|sender| sender.needs_smtputf8());
        let submission = self.config.dialect == Dialect::Submission;
        let refusal = if submission && !self.secured {
            TLS_FIRST
        } else if !self.greeted {
            HELLO_FIRST
        } else if submission && !self.authenticated {
            // RFC 4954 §6.
            AUTHENTICATE_FIRST
        } else if self.transaction.is_some() {
            MAIL_TWICE
        } else if self.transactions >= limits.transactions {
            TOO_MANY_TRANSACTIONS
        } else if too_large {
            // RFC 1870 §6.1.
            TOO_LARGE
        } else if needs_smtputf8 && !mail.smtputf8 {
            NEEDS_SMTPUTF8
        } else {
            return Some(self.ask(Asked::Mail { smtputf8: mail.smtputf8 }, Event::Mail(mail)));
        };
        self.answer(&refusal);
        None
    }

    fn recipient(&mut self, recipient: Recipient) -> Option<Step<Event>> {
        let needs_smtputf8 = match &recipient.path {
            ForwardPath::Postmaster => false,
            ForwardPath::Mailbox(mailbox) => mailbox.needs_smtputf8(),
        };
        let refusal = match &self.transaction {
            None => MAIL_FIRST,
            Some(transaction) if transaction.body.is_some() => CHUNKS_OPEN,
            Some(transaction) if needs_smtputf8 && !transaction.smtputf8 => NEEDS_SMTPUTF8,
            // RFC 5321 §4.5.3.1.10.
            Some(transaction) if transaction.recipients >= self.config.limits.recipients => TOO_MANY_RECIPIENTS,
            Some(_) => return Some(self.ask(Asked::Recipient, Event::Recipient(recipient))),
        };
        self.answer(&refusal);
        None
    }

    fn data(&mut self) -> Result<Reply, Reply> {
        let body = Body::new(&self.config.limits);
        match &mut self.transaction {
            None => Err(MAIL_FIRST),
            Some(transaction) if transaction.body.is_some() => Err(CHUNKS_OPEN),
            // RFC 5321 §3.3.
            Some(transaction) if transaction.recipients == 0 => Err(NO_RECIPIENTS),
            Some(transaction) => {
                transaction.body = Some(body);
                self.state = State::Lines;
                Ok(Reply::plain(354, "End data with <CR><LF>.<CR><LF>"))
            }
        }
    }

    fn begin_chunk(&mut self, size_bytes: u64, last: bool) -> Option<Step<Event>> {
        let limits = &self.config.limits;
        let refusal = match &mut self.transaction {
            None => Some(MAIL_FIRST),
            Some(transaction) if transaction.recipients == 0 => Some(NO_RECIPIENTS),
            Some(transaction) => {
                let body = transaction.body.get_or_insert_with(|| Body::new(limits));
                if body.has_room(size_bytes) {
                    None
                } else {
                    body.refuse(TOO_LARGE);
                    Some(TOO_LARGE)
                }
            }
        };
        let known = refusal == Some(TOO_LARGE);
        // What is refused is swallowed, but not without end.
        match refusal {
            Some(refusal) if size_bytes > limits.message_bytes => {
                self.close_transaction(|| refusal.clone());
                self.state = State::Closed;
            }
            refusal => self.state = State::Chunk { remaining_bytes: size_bytes, last, refusal },
        }
        known.then_some(Step::Event(Event::Reset))
    }

    fn start_tls(&mut self) -> Result<Reply, Reply> {
        if self.secured {
            return Err(Reply::known(503, Enhanced(5, 5, 1), "TLS is already in use"));
        }
        if self.config.tls != Tls::Offered {
            return Err(Reply::known(502, Enhanced(5, 5, 1), "TLS is not available"));
        }
        // RFC 3207 §4.2 has the server discard what it knew; what was pipelined behind the command in the clear must
        // not be taken for something said under TLS (CVE-2011-0411). It is refused rather than dropped.
        if !self.input.is_empty() {
            self.answer(&INJECTION);
            self.state = State::Closed;
            return Err(INJECTION);
        }
        self.state = State::Handshake;
        Ok(Reply::known(220, Enhanced(2, 0, 0), "Ready to start TLS"))
    }
}
