//! The way into a cluster for a node that has no certificate yet: it knows the authority by a fingerprint alone.
//!
//! Invariant: nothing is sent before the other end has proved to be a node under the authority of that fingerprint.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use estafeta_core::certificate::dns_name;
use estafeta_core::{Failure, Reason};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{CONNECT, provider};
use crate::connection::Connection;
use crate::identity::PeerIdentity;

/// Connects to any node of the cluster whose authority's certificate has this SHA-256.
/// [`Reason::Denied`] when it is no such node.
pub async fn connect_by_fingerprint(address: SocketAddr, fingerprint: [u8; 32]) -> Result<Connection, Failure> {
    let failed = |error: io::Error| Failure::unavailable(format!("{address}: {error}"));
    let verifier = Verifier { fingerprint, algorithms: provider().signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Failure::internal)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let tcp = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        .map_err(failed)?;
    let connection = Connection::clear(tcp).map_err(failed)?;
    // Which node answers is not known before it does: the verifier reads its name from its certificate.
    let name = ServerName::IpAddress(address.ip().into());
    connection.connect_tls(&TlsConnector::from(Arc::new(config)), name).await.map_err(|error| {
        let refused = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
        match refused {
            Some(Error::InvalidCertificate(why)) => Failure::new(
                Reason::Denied,
                format!(
                    "{address} is no node of the cluster that made this token, so nothing was sent to it ({why}): \
                     check the address; if it is right, somebody stands between, or the token is of another cluster"
                ),
            ),
            _ => failed(error),
        }
    })
}

/// Takes a chain that holds the authority of the fingerprint, and a leaf under it that names a node.
#[derive(Debug)]
struct Verifier {
    fingerprint: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = |why: CertificateError| Error::InvalidCertificate(why);
        let of_fingerprint = |one: &&CertificateDer<'_>| digest(&SHA256, one).as_ref() == self.fingerprint;
        let authority = chain.iter().find(of_fingerprint).ok_or_else(|| refused(CertificateError::UnknownIssuer))?;
        let node = PeerIdentity::from_certificate(leaf).ok_or_else(|| refused(CertificateError::NotValidForName))?.node;
        let name = ServerName::try_from(dns_name(&node)).map_err(|_| refused(CertificateError::NotValidForName))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, chain, &name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("nodes speak TLS 1.3 alone".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
