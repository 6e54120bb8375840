//! LOGIN and AUTHENTICATE: from the command to the credentials.

use super::{Event, Phase, Server};
use crate::imap::response::{Code, Completion};
use crate::imap::server::input::Frame;
use crate::machine::Step;
use crate::sasl::{Credentials, Exchange, Mechanism, Progress, RESPONSE_BYTES, SaslError};

impl Server {
    pub(super) fn login(&mut self, credentials: Credentials) -> Option<Step<Event>> {
        if !self.offer.login || !self.secure {
            self.refuse_mechanism("LOGIN is not offered");
            return None;
        }
        self.present(credentials)
    }

    pub(super) fn authenticate(&mut self, mechanism: Mechanism, initial: Option<&[u8]>) -> Option<Step<Event>> {
        if !self.offer.mechanisms.contains(&mechanism) || !self.secure {
            self.refuse_mechanism("Authentication mechanism is not offered");
            return None;
        }
        match Exchange::begin(mechanism, initial) {
            Ok((exchange, progress)) => self.proceed(exchange, progress),
            Err(error) => self.fail(error),
        }
    }

    /// RFC 3501 §11.1, RFC 5530 §3: a password in clear text is refused as such, so that the user sees what to change.
    fn refuse_mechanism(&mut self, text: &'static str) {
        let completion = if self.secure {
            Completion::no(text).with(Code::Cannot)
        } else {
            Completion::no("Not without TLS").with(Code::PrivacyRequired)
        };
        self.complete(completion);
    }

    /// Takes the next response of the exchange that runs.
    pub(super) fn advance_exchange(&mut self) -> Option<Step<Event>> {
        match self.input.line(RESPONSE_BYTES + 2) {
            Frame::Incomplete | Frame::Literal(_) => self.read(),
            Frame::TooLong => {
                self.complete_and_close(Completion::bad("Response too long"));
                None
            }
            Frame::Command { text, whole } => {
                let Phase::Authenticating(mut exchange) = std::mem::replace(&mut self.phase, Phase::Running) else {
                    return None;
                };
                let progress = exchange.respond(self.input.get(text));
                self.input.advance(whole);
                match progress {
                    Ok(progress) => self.proceed(exchange, progress),
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    fn proceed(&mut self, exchange: Exchange, progress: Progress) -> Option<Step<Event>> {
        match progress {
            Progress::Challenge(challenge) => {
                self.output.continuation(challenge);
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

    /// RFC 3501 §6.2.2: BAD for a cancelled exchange and for one that is not understood.
    fn fail(&mut self, error: SaslError) -> Option<Step<Event>> {
        let text = match error {
            SaslError::Cancelled => "Authentication cancelled",
            SaslError::TooLong => "Response too long",
            SaslError::Base64 => "Response is not base64",
            SaslError::Malformed => "Response does not fit the mechanism",
        };
        self.refuse(super::Refusal::Bad(text));
        None
    }
}
