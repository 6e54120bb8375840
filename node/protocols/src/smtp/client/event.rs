//! What the client machine asks of its role and tells it, and what it is given to send.

use crate::sasl::Password;
use crate::smtp::{Dialect, Mailbox, Reply, ReversePath};

/// How far the client goes to have the stream encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// The stream is encrypted already.
    Established,
    /// STARTTLS, or nothing is sent.
    Required,
    /// STARTTLS when the server offers it (RFC 7435).
    Opportunistic,
    /// In the clear.
    Never,
}

/// Who we are, towards a server that asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: String,
    /// Its password.
    pub password: Password,
}

/// What a client machine needs to know before the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is spoken: LHLO and a reply a recipient under LMTP, EHLO otherwise.
    pub dialect: Dialect,
    /// The name to greet with: this host's, a domain.
    pub hostname: String,
    /// Whether the stream is, may be or must be encrypted.
    pub tls: Tls,
    /// Who to authenticate as, by PLAIN and over TLS only.
    pub login: Option<Login>,
    /// Send by BDAT where the server offers CHUNKING: no dots to put before lines. Leave it off towards servers whose
    /// CHUNKING is not known to work.
    pub chunking: bool,
}

/// One transaction to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where bounces go.
    pub sender: ReversePath,
    /// To whom; at least one.
    pub recipients: Vec<Mailbox>,
    /// Whom the sender named, of each recipient where it is somebody else; none for all that are missing. Given where the
    /// server offers DSN (RFC 3461 §4.2).
    pub originals: Vec<Option<Mailbox>>,
    /// The size of the message in bytes, exactly.
    pub size_bytes: u64,
    /// Whether the message holds bytes above 127.
    pub eight_bit: bool,
    /// Whether the message's header holds UTF-8 (RFC 6532). That an address needs SMTPUTF8, the machine sees itself.
    pub smtputf8: bool,
    /// The envelope id, printable ASCII, at most 100 bytes; given where the server offers DSN (RFC 3461 §4.4).
    pub envelope_id: Option<String>,
}

/// Something for the role to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server waits for a transaction, the first or the next one. Answer with
    /// [`Client::send`](super::Client::send) or [`Client::quit`](super::Client::quit); no answer is `quit`.
    Ready,
    /// The server wants the message. Answer with [`Client::content`](super::Client::content), as often as this event
    /// comes; then with [`Client::finish`](super::Client::finish). No answer is [`Client::abort`](super::Client::abort).
    Content,
    /// What became of the transaction: exactly one for each `send`. It needs no answer. `Ready` follows when the
    /// connection is good for another.
    Outcome(Outcome),
    /// The connection was of no use, outside of a transaction. It needs no answer; the connection is closed.
    Failed(Problem),
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A reply a recipient, in their order: positive where the server has taken the responsibility. Where the server
    /// said nothing, the reply is ours (451), and `problem` says why.
    pub replies: Vec<Reply>,
    /// Why the transaction could not be ended as SMTP has it. The connection is closed then. What was sent may have
    /// been accepted without our seeing it.
    pub problem: Option<Problem>,
}

/// Why a connection is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The server refused to serve: its greeting, its answer to hello, or a 421.
    #[error("the server refused: {0}")]
    Refused(Reply),
    /// TLS is required, and the server does not offer it or refused to begin it.
    #[error("the server offers no TLS, which is required here")]
    NoTls,
    /// We were to authenticate, and the server offers no PLAIN over TLS.
    #[error("the server offers no authentication by PLAIN over TLS")]
    NoAuthentication,
    /// The server does not believe who we are.
    #[error("the server refused to authenticate us: {0}")]
    AuthenticationRefused(Reply),
    /// The server closed the connection in the middle.
    #[error("the server closed the connection")]
    Lost,
    /// The server said nothing for too long.
    #[error("the server was silent for too long")]
    Silent,
    /// The server said what is not SMTP, or spoke out of turn before TLS.
    #[error("the server did not speak SMTP")]
    Malformed,
    /// This side could not give the message whole, or had to stop.
    #[error("the message could not be given to the end")]
    Aborted,
}
