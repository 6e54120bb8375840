//! The AUTH dialog (RFC 4954 §4): PLAIN and LOGIN, over TLS only.

use super::{Asked, Event, Server, State};
use crate::machine::Step;
use crate::sasl::{Exchange, Mechanism, Progress, SaslError};
use crate::smtp::Dialect;
use crate::smtp::reply::{Enhanced, Reply};

const NOT_HERE: Reply = Reply::known(502, Enhanced(5, 5, 1), "Authentication is not available here");
const AGAIN: Reply = Reply::known(503, Enhanced(5, 5, 1), "Authenticated already");
const IN_TRANSACTION: Reply = Reply::known(503, Enhanced(5, 5, 1), "Not in a transaction");
const HELLO_FIRST: Reply = Reply::known(503, Enhanced(5, 5, 1), "Say hello first");
const ENCRYPT_FIRST: Reply = Reply::known(538, Enhanced(5, 7, 11), "Encryption required for authentication");
const UNKNOWN_MECHANISM: Reply = Reply::known(504, Enhanced(5, 5, 4), "Mechanism not known");

/// The mechanisms that are offered.
pub(super) const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

impl Server {
    pub(super) fn begin_authentication(&mut self, mechanism: &str, initial: Option<&str>) -> Option<Step<Event>> {
        let known = Mechanism::from_name(mechanism.as_bytes()).filter(|mechanism| MECHANISMS.contains(mechanism));
        let mechanism = match known {
            _ if self.config.dialect != Dialect::Submission => Err(NOT_HERE),
            _ if !self.secured => Err(ENCRYPT_FIRST),
            _ if !self.greeted => Err(HELLO_FIRST),
            _ if self.authenticated => Err(AGAIN),
            _ if self.transaction.is_some() => Err(IN_TRANSACTION),
            None => Err(UNKNOWN_MECHANISM),
            Some(mechanism) => Ok(mechanism),
        };
        match mechanism {
            Ok(mechanism) => match Exchange::begin(mechanism, initial.map(str::as_bytes)) {
                Ok((exchange, progress)) => self.progress(exchange, progress),
                Err(error) => self.refuse_response(error),
            },
            Err(refusal) => {
                self.answer(&refusal);
                None
            }
        }
    }

    pub(super) fn continue_authentication(&mut self, mut exchange: Exchange, response: &[u8]) -> Option<Step<Event>> {
        match exchange.respond(response) {
            Ok(progress) => self.progress(exchange, progress),
            Err(error) => self.refuse_response(error),
        }
    }

    fn progress(&mut self, exchange: Exchange, progress: Progress) -> Option<Step<Event>> {
        match progress {
            Progress::Challenge(challenge) => {
                self.answer(&Reply::plain(334, challenge));
                self.state = State::Response(exchange);
                None
            }
            Progress::Done(credentials) => Some(self.ask(Asked::Authenticate, Event::Authenticate(credentials))),
        }
    }

    fn refuse_response(&mut self, error: SaslError) -> Option<Step<Event>> {
        // RFC 4954 §4: 501 for a response that was cancelled or cannot be decoded, 500 for one that is too long.
        let (code, enhanced) = match error {
            SaslError::Cancelled => (501, Enhanced(5, 7, 0)),
            SaslError::TooLong => (500, Enhanced(5, 5, 6)),
            SaslError::Base64 | SaslError::Malformed => (501, Enhanced(5, 5, 2)),
        };
        self.answer(&Reply::new(code, enhanced, error.to_string()));
        None
    }
}
