//! What a machine is told when it is made.

use crate::imap::capability::Capabilities;
use crate::sasl::Mechanism;

/// The bounds of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest command, its literals included, APPEND's message not. In bytes.
    pub command_bytes: usize,
    /// The largest message that APPEND takes. In bytes.
    pub message_bytes: u64,
    /// Commands in a row that may be faulty before the connection is closed.
    pub faults: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { command_bytes: 64 * 1024, message_bytes: 50 * 1024 * 1024, faults: 20 }
    }
}

impl Limits {
    /// What is offered to a client whose account is open.
    pub fn capabilities(&self) -> Capabilities<'static> {
        Capabilities::Authenticated { append_limit: self.message_bytes }
    }
}

/// How a client may say who it is. Nothing of it is open before TLS is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// STARTTLS, where TLS is not on from the start.
    pub start_tls: bool,
    /// The LOGIN command.
    pub login: bool,
    /// What AUTHENTICATE takes.
    pub mechanisms: Vec<Mechanism>,
}

impl Offer {
    /// What is open now.
    pub(super) fn capabilities(&self, secure: bool) -> Capabilities<'_> {
        Capabilities::NotAuthenticated {
            start_tls: self.start_tls && !secure,
            login: self.login && secure,
            mechanisms: if secure { &self.mechanisms } else { &[] },
        }
    }
}
