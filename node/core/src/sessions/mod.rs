//! The contract `Sessions`: open this account's mail. Asked by access; remote, IMAP or POP3 to the mailbox node.
//!
//! In two steps, because the client waits for the answer to its LOGIN: `open` says whether the mail can be opened, then
//! access tells the client, then `serve` takes the stream over. So a mailbox node that cannot be reached is still
//! answered in the client's own protocol, by whoever holds its stream.

mod router;
#[cfg(feature = "suite")]
pub mod suite;

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::directory::Account;
use crate::failure::Failure;

pub use router::SessionsRouter;

/// A byte stream to a client, in clear text or through TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Any stream.
pub type BoxStream = Box<dyn Stream>;

/// The language that the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
}

/// What TLS the client uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1_3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// Who wants to open what.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    /// The language.
    pub protocol: Protocol,
    /// Whose mail, authenticated.
    pub account: Account,
    /// The client.
    pub client: SocketAddr,
    /// The client's TLS; none for clear text.
    pub tls: Option<TlsFacts>,
}

/// Mail that is open and waits for its client's stream.
#[async_trait]
pub trait Session: Send {
    /// What the client is told with the success of its login: for IMAP the capabilities, separated by spaces; for POP3
    /// nothing.
    fn capabilities(&self) -> &str;

    /// Talks with the client until either side ends it. `unread` came behind the login in the same stream.
    async fn serve(self: Box<Self>, stream: BoxStream, unread: Bytes) -> io::Result<()>;
}

/// The contract.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Opens the account's mail.
    async fn open(&self, request: &SessionRequest) -> Result<Box<dyn Session>, Failure>;
}
