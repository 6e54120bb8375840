//! USER, PASS and AUTH: from the command to the credentials.

use super::input::Line;
use super::{Event, Phase, Server, State};
use crate::machine::Step;
use crate::pop3::response::Completion;
use crate::sasl::{Credentials, Exchange, Mechanism, Password, Progress, RESPONSE_BYTES, SaslError};

impl Server {
    /// RFC 1939 §7: every name is taken, so that nobody learns which exist.
    pub(super) fn user(&mut self, name: String) {
        if !self.may_log_in() {
            return;
        }
        self.state = State::Authorization { user: Some(name) };
        self.complete(Completion::ok("Now the password"));
    }

    pub(super) fn pass(&mut self, password: Password) -> Option<Step<Event>> {
        if !self.may_log_in() {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Authorization { user: None }) {
            State::Authorization { user: Some(name) } => {
                self.present(Credentials::Password { on_behalf_of: None, name, password })
            }
            _ => {
                self.refuse("USER first");
                None
            }
        }
    }

    fn may_log_in(&mut self) -> bool {
        if !self.secure {
            self.refuse("Not without TLS");
        } else if !self.offer.login {
            self.refuse("USER and PASS are not offered");
        }
        self.secure && self.offer.login
    }

    /// RFC 5034 §4
    pub(super) fn auth(&mut self, mechanism: Option<&[u8]>, initial: Option<&[u8]>) -> Option<Step<Event>> {
        let Some(name) = mechanism else {
            self.list_mechanisms();
            return None;
        };
        if !self.secure {
            self.refuse("Not without TLS");
            return None;
        }
        match Mechanism::from_name(name).filter(|mechanism| self.offer.mechanisms.contains(mechanism)) {
            Some(mechanism) => match Exchange::begin(mechanism, initial) {
                Ok((exchange, progress)) => self.proceed(exchange, progress),
                Err(error) => self.fail(error),
            },
            None => {
                self.refuse("Authentication mechanism is not offered");
                None
            }
        }
    }

    /// AUTH alone is how Outlook asks for them. No RFC has it; every server answers it.
    fn list_mechanisms(&mut self) {
        let open = if self.secure { &self.offer.mechanisms[..] } else { &[] };
        let names: Vec<_> = open.iter().map(|mechanism| mechanism.name().to_owned()).collect();
        self.listing("Mechanisms follow", names);
    }

    /// Takes the next response of the exchange that runs.
    pub(super) fn advance_exchange(&mut self) -> Option<Step<Event>> {
        match self.input.take_line(RESPONSE_BYTES + 2) {
            Line::Incomplete => self.read(),
            Line::TooLong => {
                self.goodbye(Completion::no("Response too long"));
                None
            }
            Line::Text(response) => {
                let Phase::Authenticating(mut exchange) = std::mem::replace(&mut self.phase, Phase::Running) else {
                    return None;
                };
                match exchange.respond(&response) {
                    Ok(progress) => self.proceed(exchange, progress),
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    fn proceed(&mut self, exchange: Exchange, progress: Progress) -> Option<Step<Event>> {
        match progress {
            Progress::Challenge(challenge) => {
                // RFC 5034 §4: the space stands there even when the challenge is empty.
                self.output.extend_from_slice(b"+ ");
                self.output.extend_from_slice(challenge.as_bytes());
                self.output.extend_from_slice(b"\r\n");
                self.phase = Phase::Authenticating(exchange);
                None
            }
            Progress::Done(credentials) => self.present(credentials),
        }
    }

    fn present(&mut self, credentials: Credentials) -> Option<Step<Event>> {
        self.phase = Phase::Running;
        Some(Step::Event(Event::Authenticate(credentials)))
    }

    fn fail(&mut self, error: SaslError) -> Option<Step<Event>> {
        self.refuse(match error {
            SaslError::Cancelled => "Authentication cancelled",
            SaslError::TooLong => "Response too long",
            SaslError::Base64 => "Response is not base64",
            SaslError::Malformed => "Response does not fit the mechanism",
        });
        None
    }
}
