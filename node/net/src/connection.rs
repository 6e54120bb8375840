//! One connection: a stream and what is known of its two ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use estafeta_core::sessions::{BoxStream, TlsFacts};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::deflate::DeflateStream;
use crate::identity::PeerIdentity;

/// How long a TLS handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// A stream, in clear text or through TLS, and its facts.
pub struct Connection {
    /// The stream.
    pub stream: BoxStream,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// What TLS is spoken, if any.
    pub tls: Option<TlsFacts>,
    /// Who the peer is, when it proved itself a node of the cluster.
    pub identity: Option<PeerIdentity>,
}

impl Connection {
    /// A connection in clear text.
    pub fn clear(stream: TcpStream) -> io::Result<Self> {
        // Every writer here gathers what it has before it flushes: Nagle would only delay the last part.
        stream.set_nodelay(true)?;
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        Ok(Self { stream: Box::new(stream), peer, local, tls: None, identity: None })
    }

    /// Answers a TLS handshake on it, within [`HANDSHAKE`].
    pub async fn accept_tls(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        let stream = in_time(acceptor.accept(self.stream)).await?;
        let (_, session) = stream.get_ref();
        let tls = facts(session.protocol_version(), session.negotiated_cipher_suite());
        let identity = identity(session.peer_certificates());
        Ok(Self { stream: Box::new(stream), tls, identity, ..self })
    }

    /// Begins a TLS handshake on it, within [`HANDSHAKE`].
    pub async fn connect_tls(self, connector: &TlsConnector, name: ServerName<'static>) -> io::Result<Self> {
        let stream = in_time(connector.connect(name, self.stream)).await?;
        let (_, session) = stream.get_ref();
        let tls = facts(session.protocol_version(), session.negotiated_cipher_suite());
        let identity = identity(session.peer_certificates());
        Ok(Self { stream: Box::new(stream), tls, identity, ..self })
    }

    /// The same, compressed from here on; `unread` was read ahead.
    #[must_use]
    pub fn compressed(self, unread: &Bytes) -> Self {
        let stream = Box::new(DeflateStream::new(self.stream, unread));
        Self { stream, ..self }
    }
}

async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(HANDSHAKE, handshake)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")))
}

fn facts(version: Option<rustls::ProtocolVersion>, cipher: Option<rustls::SupportedCipherSuite>) -> Option<TlsFacts> {
    let version = version?.as_str()?.to_owned();
    let cipher = cipher?.suite().as_str()?.to_owned();
    Some(TlsFacts { version, cipher })
}

fn identity(certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> Option<PeerIdentity> {
    PeerIdentity::from_certificate(certificates?.first()?)
}
