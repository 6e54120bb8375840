//! TLS to a foreign server that has to prove who it is: its certificate is verified, for its name, by authorities that are
//! named.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::{Failure, Reason};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{provider, read_certificates};
use crate::connection::Connection;

/// Where Debian keeps the authorities that its users trust.
pub const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How long a connection may take to be made: the server may be on the other side of the world.
const CONNECT: Duration = Duration::from_secs(20);

/// Connects to a server by its name, or its address, through TLS from the first byte on; its certificate must be issued for
/// that name, by an authority of the PEM file `authorities`.
pub async fn connect_verified(host: &str, port: u16, authorities: &Path) -> Result<Connection, Failure> {
    let invalid = |text: String| Failure::new(Reason::Invalid, text);
    let mut roots = RootCertStore::empty();
    let (taken, _) =
        roots.add_parsable_certificates(read_certificates(authorities).map_err(|error| invalid(error.to_string()))?);
    if taken == 0 {
        return Err(invalid(format!("{} names no authority", authorities.display())));
    }
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| invalid(format!("{host:?} is no name of a server")))?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Failure::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let failed = |error: io::Error| Failure::unavailable(format!("{host} port {port}: {error}"));
    let tcp = tokio::time::timeout(CONNECT, TcpStream::connect((host, port)))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        .map_err(failed)?;
    let connector = TlsConnector::from(Arc::new(config));
    let connection = Connection::clear(tcp).map_err(failed)?;
    connection.connect_tls(&connector, name).await.map_err(|error| match error.get_ref() {
        Some(cause) if cause.is::<rustls::Error>() => {
            let who = authorities.display();
            invalid(format!("{host} port {port}: its certificate is not believed by the authorities in {who}: {cause}"))
        }
        _ => failed(error),
    })
}
