//! TLS in its three uses: what clients see, mutual TLS between nodes, and opportunistic TLS to foreign servers.
//!
//! Invariants: one crypto provider (aws-lc-rs), named at every place; certificates are replaced without a restart; a
//! peer inside the cluster is the node that it was taken for and was not removed, or the connection is not used.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use estafeta_core::certificate::dns_name;
use estafeta_core::members::Candidate;
use estafeta_core::settings::ShutOut;
use estafeta_core::{Failure, NodeName};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::connection::Connection;
use crate::drive::Upgrade;
use crate::identity::PeerIdentity;

mod opportunistic;
mod own;
mod stranger;
mod verified;

pub use own::OwnCertificate;
pub use stranger::connect_by_fingerprint;
pub use verified::{SYSTEM_AUTHORITIES, connect_verified};

/// How long a connection to another node may take to be made.
pub const CONNECT: Duration = Duration::from_secs(3);

/// Why TLS cannot be set up. The message names the file and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// A certificate chain and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where a node's TLS comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// What clients see.
    pub service: Option<KeyFiles>,
    /// This node's own certificate inside the cluster, and the cluster's authority.
    pub cluster: Option<(KeyFiles, PathBuf)>,
}

/// A node's TLS. Cheap to share; [`Tls::reload`] replaces what every holder uses from then on.
pub struct Tls {
    files: TlsFiles,
    loaded: ArcSwap<Loaded>,
    opportunistic: TlsConnector,
    shut_out: watch::Sender<Arc<ShutOut>>,
}

struct Loaded {
    service: Option<Arc<ServerConfig>>,
    cluster: Option<Cluster>,
}

/// What this node is inside the cluster.
struct Cluster {
    /// For other nodes.
    server: Arc<ServerConfig>,
    /// For other nodes, and for whoever wants to become one: it shows the authority too, and takes callers without a
    /// certificate.
    open_server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    own: Arc<OwnCertificate>,
}

impl Tls {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = ArcSwap::from_pointee(Loaded::read(&files)?);
        Ok(Self { files, loaded, opportunistic: opportunistic::connector()?, shut_out: watch::Sender::default() })
    }

    /// Whom nobody may talk with from now on: new connections of theirs are refused, running ones are cut.
    pub fn shut_out(&self, who: &ShutOut) {
        self.shut_out.send_if_modified(|known| {
            let differs = known.as_ref() != who;
            if differs {
                *known = Arc::new(who.clone());
            }
            differs
        });
    }

    /// Whether nobody may talk with this peer any more.
    pub fn is_shut_out(&self, peer: &PeerIdentity) -> bool {
        peer.is_shut_out(&self.shut_out.borrow())
    }

    /// Completes once nobody may talk with this peer any more.
    pub async fn until_shut_out(&self, peer: &PeerIdentity) {
        let mut changes = self.shut_out.subscribe();
        // The sender lives as long as this: it cannot be gone.
        let _ = changes.wait_for(|shut_out| peer.is_shut_out(shut_out)).await;
    }

    /// This node's own certificate; none when it is in no cluster.
    pub fn own(&self) -> Option<Arc<OwnCertificate>> {
        self.loaded.load().cluster.as_ref().map(|cluster| cluster.own.clone())
    }

    /// Where the certificates come from.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// Reads the files anew. When that fails, what was loaded before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.loaded.store(Arc::new(Loaded::read(&self.files)?));
        Ok(())
    }

    /// For what clients see; none when no certificate is configured.
    pub fn service(&self) -> Option<TlsAcceptor> {
        self.loaded.load().service.clone().map(TlsAcceptor::from)
    }

    /// As [`Tls::service`], for the protocol of this name alone (ALPN, RFC 7301 §3.2): a client that names others is
    /// refused, one that names none is not.
    pub fn service_for(&self, protocol: &[u8]) -> Option<TlsAcceptor> {
        let mut config = ServerConfig::clone(self.loaded.load().service.as_ref()?);
        config.alpn_protocols = vec![protocol.to_vec()];
        Some(TlsAcceptor::from(Arc::new(config)))
    }

    /// For what other nodes ask; none when this node is in no cluster.
    pub fn cluster(&self) -> Option<TlsAcceptor> {
        self.loaded.load().cluster.as_ref().map(|cluster| TlsAcceptor::from(cluster.server.clone()))
    }

    /// For what other nodes ask, and whoever wants to become one: a caller without a certificate has no identity, and
    /// whoever uses this lets it do nothing but join. None when this node is in no cluster.
    pub fn cluster_and_strangers(&self) -> Option<TlsAcceptor> {
        self.loaded.load().cluster.as_ref().map(|cluster| TlsAcceptor::from(cluster.open_server.clone()))
    }

    /// For asking other nodes; none when this node is in no cluster. Whoever uses it directly checks the peer's identity.
    pub fn cluster_client(&self) -> Option<Arc<ClientConfig>> {
        self.loaded.load().cluster.as_ref().map(|cluster| cluster.client.clone())
    }

    /// Whether a peer is this node itself: it probes its own services, whoever else may ask them.
    pub fn is_own(&self, peer: &PeerIdentity) -> bool {
        self.own().is_some_and(|own| own.identity.node == peer.node)
    }

    /// TLS to foreign mail servers: encrypts, authenticates nobody (RFC 7435).
    pub fn opportunistic(&self) -> &TlsConnector {
        &self.opportunistic
    }

    /// How a conversation with the foreign mail server `host` starts TLS; not at all when that is no name or address.
    pub fn upgrade_to(&self, host: &str) -> Upgrade {
        match ServerName::try_from(host.to_owned()) {
            Ok(name) => Upgrade::Connect(self.opportunistic.clone(), name),
            Err(_) => Upgrade::Never,
        }
    }

    /// Connects to an endpoint of another node: mutual TLS, and the node is the one that was meant and holds the
    /// endpoint's role.
    pub async fn connect(&self, candidate: &Candidate) -> Result<Connection, Failure> {
        let connection = self.connect_node(&candidate.node, candidate.endpoint.address).await?;
        let role = &candidate.endpoint.role;
        match &connection.identity {
            Some(peer) if peer.roles.contains(role) => Ok(connection),
            _ => Err(Failure::unavailable(format!(
                "node {} at {} holds no certificate for the role {role}: issue it one with: estafeta cluster certificate {} --role {role}",
                candidate.node, candidate.endpoint.address, candidate.node
            ))),
        }
    }

    /// Connects to another node, whatever its roles.
    pub async fn connect_node(&self, node: &NodeName, address: SocketAddr) -> Result<Connection, Failure> {
        let failed = |error: io::Error| Failure::unavailable(format!("node {node} at {address}: {error}"));
        let client = self.cluster_client().ok_or_else(|| {
            Failure::unavailable("this node has no [cluster] certificate: make one with: estafeta cluster certificate")
        })?;
        let name = ServerName::try_from(dns_name(node)).map_err(Failure::internal)?;
        let tcp = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
            .map_err(failed)?;
        let connection = Connection::clear(tcp).map_err(failed)?;
        // The certificate's name was checked by the handshake; its URI says the same or the certificate is not a node's.
        let connection = connection.connect_tls(&TlsConnector::from(client), name).await.map_err(failed)?;
        match &connection.identity {
            Some(peer) if self.is_shut_out(peer) => {
                Err(Failure::unavailable(format!("node {node} at {address} was removed from the cluster")))
            }
            Some(peer) if &peer.node == node => Ok(connection),
            _ => Err(Failure::unavailable(format!("{address} is not node {node}: its certificate names another"))),
        }
    }
}

impl Loaded {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let service = files.service.as_ref().map(service_config).transpose()?;
        let cluster = files.cluster.as_ref().map(|(own, authority)| Cluster::read(own, authority)).transpose()?;
        Ok(Self { service, cluster })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn service_config(files: &KeyFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = read_pair(files)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| mismatch(files, &error))?;
    Ok(Arc::new(config))
}

impl Cluster {
    fn read(own: &KeyFiles, authority: &Path) -> Result<Self, TlsError> {
        let authorities = read_certificates(authority)?;
        let mut roots = RootCertStore::empty();
        for certificate in &authorities {
            roots.add(certificate.clone()).map_err(|error| TlsError(format!("{}: {error}", authority.display())))?;
        }
        let roots = Arc::new(roots);
        let (chain, key) = read_pair(own)?;
        let verifier = || WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
        let unusable = |error: &dyn std::fmt::Display| TlsError(format!("{}: {error}", authority.display()));
        let closed = verifier().build().map_err(|error| unusable(&error))?;
        let open = verifier().allow_unauthenticated().build().map_err(|error| unusable(&error))?;
        let versions = &[&rustls::version::TLS13];
        let server = |verifier, chain: Vec<CertificateDer<'static>>| {
            let config = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(versions)
                .map_err(|error| TlsError(error.to_string()))?
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain, key.clone_key())
                .map_err(|error| mismatch(own, &error))?;
            Ok(Arc::new(config))
        };
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| TlsError(error.to_string()))?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| mismatch(own, &error))?;
        // Whoever wants to join knows the authority by its fingerprint alone, so it is shown.
        let whole = chain.iter().chain(authorities.iter().filter(|one| !chain.contains(one))).cloned().collect();
        let (server, open_server) = (server(closed, chain.clone())?, server(open, whole)?);
        let own = Arc::new(OwnCertificate::of(chain, key).ok_or_else(|| {
            TlsError(format!(
                "{}: this is not a node's certificate: issue one with: estafeta cluster certificate",
                own.certificate.display()
            ))
        })?);
        Ok(Self { server, open_server, client: Arc::new(client), own })
    }
}

fn mismatch(files: &KeyFiles, error: &rustls::Error) -> TlsError {
    TlsError(format!(
        "{} and {}: {error}: give a certificate and the key that it was made for",
        files.certificate.display(),
        files.key.display()
    ))
}

fn read_pair(files: &KeyFiles) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = read_certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError(format!("{}: no private key in PEM can be read: {error}", files.key.display())))?;
    Ok((chain, key))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        TlsError(format!("{}: no certificate in PEM can be read: {error}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| unreadable(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(&error))?;
    if certificates.is_empty() {
        return Err(unreadable(&"the file holds none"));
    }
    Ok(certificates)
}
