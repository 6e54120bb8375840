//! What a server machine is told beforehand: who it is, what it speaks, and how much it takes.

use crate::machine::READ_BYTES;
use crate::smtp::Dialect;

/// Whether the stream is, or may become, encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// In the clear, and no certificate to offer STARTTLS with.
    Unavailable,
    /// In the clear; STARTTLS is offered.
    Offered,
    /// Encrypted from its first byte.
    Established,
}

/// A server's bounds. Past each there is a clear refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes as stored (SIZE, RFC 1870). 50 MiB by default.
    pub message_bytes: u64,
    /// The most recipients of a transaction; each one more is answered 452. 1,000 by default, RFC 5321 §4.5.3.1.8 asks
    /// for 100 at least.
    pub recipients: usize,
    /// The longest command line, in bytes with its end. 4,096 by default, RFC 5321 §4.5.3.1.4 asks for 512 at least.
    pub command_line_bytes: usize,
    /// The longest line of a message, in bytes with its end. 65,536 by default and never less than 32 KiB: the RFC's
    /// 1,000 (§4.5.3.1.6) would refuse much that is harmless.
    pub text_line_bytes: usize,
    /// How many refusals a connection gets before it is closed with 421. 200 by default.
    pub errors: usize,
    /// How many transactions a connection may begin; the next one is answered 421. 1,000 by default.
    pub transactions: usize,
}

impl Limits {
    /// The longest line of a message that is really enforced: [`Body`](super::body::Body) counts on a line that is
    /// too long being longer than what it looks at in one go.
    pub(super) fn text_line(&self) -> usize {
        self.text_line_bytes.max(2 * READ_BYTES)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 50 * 1024 * 1024,
            recipients: 1_000,
            command_line_bytes: 4_096,
            text_line_bytes: 65_536,
            errors: 200,
            transactions: 1_000,
        }
    }
}

/// What a server machine needs to know before the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is spoken. Submission asks for authentication, and for TLS before that.
    pub dialect: Dialect,
    /// This server's name, a domain: it stands in the greeting.
    pub hostname: String,
    /// Whether the stream is, or may become, encrypted.
    pub tls: Tls,
    /// How much is taken.
    pub limits: Limits,
}
