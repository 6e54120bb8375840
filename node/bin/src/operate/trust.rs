//! TLS as a client outside the cluster speaks it: the server's name is vouched for by an authority out of a file.

use std::path::Path;
use std::sync::Arc;

use estafeta_net::connection::Connection;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A client that believes the authorities in the PEM file. What it cannot understand in a bundle it passes over.
fn client(authorities: &Path) -> Result<TlsConnector, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{}: {error}", authorities.display());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(authorities).map_err(|error| unreadable(&error))?;
    let (added, _) = roots.add_parsable_certificates(certificates.flatten());
    if added == 0 {
        return Err(unreadable(&"it holds no certificate"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes `stream` a TLS connection to a server that proves to be `name`.
pub async fn connect(stream: TcpStream, name: &str, authorities: &Path) -> Result<Connection, String> {
    let server = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no name of a server"))?;
    // Read each time: the file may be renewed while the node runs, and this is seldom.
    let connector = client(authorities)?;
    let connection = Connection::clear(stream).map_err(|error| error.to_string())?;
    connection.connect_tls(&connector, server).await.map_err(|error| format!("TLS with {name}: {error}"))
}
