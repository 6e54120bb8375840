//! TLS to a foreign server that has to prove who it is: its certificate is verified, for its name, by authorities that are
//! named; or it is itself one of the certificates that are named, as of a server that nobody vouches for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::{Failure, Reason};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{provider, read_certificates};
use crate::connection::Connection;

/// Where Debian keeps the authorities that its users trust.
pub const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How long a connection may take to be made: the server may be on the other side of the world.
const CONNECT: Duration = Duration::from_secs(20);

/// Connects to a server by its name, or its address, through TLS from the first byte on; its certificate must be issued for
/// that name, by an authority of the PEM file `authorities`, or stand there itself.
pub async fn connect_verified(host: &str, port: u16, authorities: &Path) -> Result<Connection, Failure> {
    let invalid = |text: String| Failure::new(Reason::Invalid, text);
    let named = read_certificates(authorities).map_err(|error| invalid(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(named.iter().cloned());
    if taken == 0 {
        return Err(invalid(format!("{} names no authority", authorities.display())));
    }
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| invalid(format!("{host:?} is no name of a server")))?;
    let vouched = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier = Verifier { named, vouched: vouched.map_err(Failure::internal)? };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Failure::internal)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let failed = |error: io::Error| Failure::unavailable(format!("{host} port {port}: {error}"));
    let tcp = tokio::time::timeout(CONNECT, TcpStream::connect((host, port)))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        .map_err(failed)?;
    let connector = TlsConnector::from(Arc::new(config));
    let connection = Connection::clear(tcp).map_err(failed)?;
    connection.connect_tls(&connector, name).await.map_err(|error| {
        match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(why)) => {
                let (who, why) = (authorities.display(), in_words(why));
                invalid(format!(
                    "{host} port {port}: its certificate is not believed by the authorities in {who}: {why}"
                ))
            }
            Some(cause) => invalid(format!("{host} port {port}: no TLS: {cause}")),
            None => failed(error),
        }
    })
}

/// Why a certificate is not believed.
fn in_words(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "none of them has issued it".into(),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "it is issued for no name of a server".into()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("it is issued for {}", presented.join(", "))
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        // webpki has no other way to say that a server shows a certificate which is an authority's.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it vouches for itself, and is none of them: name this very certificate".into()
        }
        other => other.to_string(),
    }
}

/// Takes a certificate that is vouched for, and one that is named itself.
#[derive(Debug)]
struct Verifier {
    named: Vec<CertificateDer<'static>>,
    vouched: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.named.contains(leaf) {
            return self.vouched.verify_server_cert(leaf, chain, name, ocsp, now);
        }
        match verify_server_name(&ParsedCertificate::try_from(leaf)?, name) {
            // Such certificates often name nobody, or nobody but by the common name (RFC 9525 §2).
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
                if presented.is_empty() => {}
            checked => checked?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.vouched.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.vouched.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.vouched.supported_verify_schemes()
    }
}
