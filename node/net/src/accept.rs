//! The one accept loop: bounded in connections, in all and a client's network; each conversation a task of its own,
//! whose panic ends it alone. A loop that ends itself is another matter: see [`Listeners`].

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use estafeta_core::network::network_of;
use estafeta_core::{Failure, RoleName, ServiceName};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connection::Connection;
use crate::drain::Drain;
use crate::identity::PeerIdentity;
use crate::tls::Tls;

/// What protects a service's connections from their first byte.
#[derive(Clone)]
pub enum Security {
    /// Nothing; the protocol may start TLS later.
    Clear,
    /// TLS, with the certificate that clients see: the newest one at each connection.
    Tls(Arc<Tls>),
    /// The same, for the protocol of this name alone (ALPN).
    TlsFor(Arc<Tls>, &'static [u8]),
    /// Mutual TLS inside the cluster; the peer's certificate must grant one of the roles. No roles: any node.
    Cluster(Arc<Tls>, &'static [RoleName]),
    /// Mutual TLS inside the cluster, for any node; and for a caller without a certificate, who has no identity. A node that
    /// was removed gets in, too: the service tells it so at each request, and nothing else.
    ClusterAndStrangers(Arc<Tls>),
}

impl Security {
    /// Whether a peer may ask this service. A node may ask itself: so it sees whether it serves.
    fn is_asked_by(&self, peer: Option<&PeerIdentity>) -> bool {
        match (self, peer) {
            (Self::Cluster(tls, roles), Some(peer)) => roles.is_empty() || peer.holds_any(roles) || tls.is_own(peer),
            _ => true,
        }
    }

    /// Completes once the peer of a connection may not talk here any more, because its node was removed.
    async fn until_shut_out(&self, peer: Option<&PeerIdentity>) {
        match (self, peer) {
            (Self::Cluster(tls, _), Some(peer)) => tls.until_shut_out(peer).await,
            _ => std::future::pending().await,
        }
    }
}

/// How many connections a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all. Past it nobody is accepted until one ends: they wait in the kernel's queue.
    pub connections: usize,
    /// From one address; over IPv6 from one client's network ([`network_of`]), but for other nodes, which stand side by
    /// side in one. Past it a connection is closed at once.
    pub connections_per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections: 10_000, connections_per_address: 1_000 }
    }
}

/// Accepts connections on `listener` until the drain begins, and hands each to `talk` in a task of its own.
pub async fn serve<F, T>(
    listener: TcpListener,
    service: ServiceName,
    security: Security,
    limits: ConnectionLimits,
    drain: Drain,
    talk: F,
) where
    F: Fn(Connection) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let crowd = Arc::new(Crowd::default());
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = drain.begun() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or the peer was gone already: neither is mended by trying at full speed.
                tracing::warn!(%service, %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(connection) = Connection::clear(stream) else { continue };
        let Some(place) = crowd.enter(client(connection.peer.ip(), &security), limits.connections_per_address) else {
            metrics::counter!("estafeta_connections_refused_total", "service" => service.to_string(), "why" => "per-address limit")
                .increment(1);
            tracing::info!(%service, client = %connection.peer, limit = limits.connections_per_address, "too many connections from this address: closed");
            continue;
        };
        let (service, security, talk) = (service.clone(), security.clone(), talk.clone());
        drain.converse(async move {
            let _held = (permit, place);
            let peer = connection.peer;
            metrics::counter!("estafeta_connections_total", "service" => service.to_string()).increment(1);
            let open = metrics::gauge!("estafeta_connections_open", "service" => service.to_string());
            open.increment(1.0);
            let _closed = OnDrop(|| open.decrement(1.0));
            match secure(connection, &security).await {
                Ok(connection) if !security.is_asked_by(connection.identity.as_ref()) => {
                    // Nodes probe each other's endpoints, whoever may use them: the handshake is their answer.
                    metrics::counter!("estafeta_connections_refused_total", "service" => service.to_string(), "why" => "role").increment(1);
                    tracing::debug!(%service, client = %peer, node = connection.identity.map(|identity| identity.node.to_string()), "holds none of the roles that may ask this service: closed");
                }
                Ok(connection) => {
                    let identity = connection.identity.clone();
                    tokio::select! {
                        () = talk(connection) => {}
                        () = security.until_shut_out(identity.as_ref()) => {
                            tracing::warn!(%service, client = %peer, node = identity.map(|identity| identity.node.to_string()), "the node was removed from the cluster: its connection is cut");
                        }
                    }
                }
                Err(error) => tracing::info!(%service, client = %peer, %error, "connection refused"),
            }
        });
    }
}

/// The loops that a role serves with, held by its run: they end with it. One that ends before the drain is the run's
/// failure, so that the role starts anew instead of standing there deaf.
#[derive(Default)]
pub struct Listeners(JoinSet<()>);

impl Listeners {
    /// Starts one more.
    pub fn spawn(&mut self, listening: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(listening);
    }

    /// Waits for the drain, and for the loops to end with it.
    pub async fn run(mut self, drain: &Drain) -> Result<(), Failure> {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.0.join_next() => match ended {
                    Err(error) => return Err(Failure::internal(format_args!("a bug: a listener has ended: {error}"))),
                    Ok(()) if !drain.has_begun() => return Err(Failure::internal("a listener ended before the drain")),
                    Ok(()) => {}
                },
                // A role without sockets waits for its end all the same.
                () = drain.begun(), if self.0.is_empty() => return Ok(()),
            }
        }
    }
}

async fn secure(connection: Connection, security: &Security) -> io::Result<Connection> {
    let denied = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
    match security {
        Security::Clear => Ok(connection),
        Security::Tls(tls) => accept(connection, tls.service()).await,
        Security::TlsFor(tls, protocol) => accept(connection, tls.service_for(protocol)).await,
        Security::Cluster(tls, _) => {
            let acceptor = tls.cluster().ok_or_else(|| denied("this node is in no cluster: see [cluster]".into()))?;
            let connection = connection.accept_tls(&acceptor).await?;
            match &connection.identity {
                None => Err(denied("the certificate names no node".into())),
                Some(peer) if tls.is_shut_out(peer) => Err(removed(peer)),
                Some(_) => Ok(connection),
            }
        }
        Security::ClusterAndStrangers(tls) => {
            let acceptor = tls
                .cluster_and_strangers()
                .ok_or_else(|| denied("this node is in no cluster: see [cluster]".into()))?;
            connection.accept_tls(&acceptor).await
        }
    }
}

async fn accept(connection: Connection, service: Option<TlsAcceptor>) -> io::Result<Connection> {
    let denied = || io::Error::new(io::ErrorKind::PermissionDenied, "no service certificate is configured: see [tls]");
    connection.accept_tls(&service.ok_or_else(denied)?).await
}

fn removed(peer: &PeerIdentity) -> io::Error {
    let why = format!(
        "node {} (certificate {}) was removed from the cluster: it gets in again with a new token alone",
        peer.node, peer.serial
    );
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Whom a connection counts for. Nodes stand side by side in one network, so each is its address.
fn client(address: IpAddr, security: &Security) -> IpAddr {
    match security {
        Security::Clear | Security::Tls(_) | Security::TlsFor(..) => network_of(address),
        Security::Cluster(..) | Security::ClusterAndStrangers(_) => address,
    }
}

/// How many connections each client holds.
#[derive(Default)]
struct Crowd(Mutex<HashMap<IpAddr, usize>>);

impl Crowd {
    fn enter(self: &Arc<Self>, client: IpAddr, limit: usize) -> Option<impl Drop + Send + use<>> {
        let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = crowd.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        let crowd = self.clone();
        Some(OnDrop(move || {
            let mut crowd = crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = crowd.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    crowd.remove(&client);
                }
            }
        }))
    }
}

/// Does something when it goes out of scope, also by a panic or when its task is cut off.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::SystemTime;

    use estafeta_cluster::files::AuthorityFiles;
    use estafeta_core::certificate::Issuer as _;
    use estafeta_core::members::{Candidate, Endpoint};
    use estafeta_core::settings::ShutOut;
    use estafeta_core::{NodeName, Reason};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use crate::tls::{KeyFiles, TlsFiles, connect_by_fingerprint};

    const SERVICE: ServiceName = ServiceName::fixed("test");

    /// A service that answers with one letter, panics at `p`, and says nothing at `s`.
    async fn service(security: Security, limits: ConnectionLimits) -> (SocketAddr, Drain) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let drain = Drain::new();
        let talk = |mut connection: Connection| async move {
            match connection.stream.read_u8().await {
                Ok(b'p') => panic!("as the test wants"),
                Ok(b's') => std::future::pending().await,
                Ok(letter) => connection.stream.write_all(&[letter.to_ascii_uppercase()]).await.unwrap(),
                Err(_) => {}
            }
        };
        drain.spawn("test", serve(listener, SERVICE, security, limits, drain.clone(), talk));
        (address, drain)
    }

    async fn ask(address: SocketAddr, letter: u8) -> io::Result<u8> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&[letter]).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_conversation_alone() {
        let (address, drain) = service(Security::Clear, ConnectionLimits::default()).await;
        assert!(ask(address, b'p').await.is_err());
        assert_eq!(ask(address, b'a').await.unwrap(), b'A');
        assert_eq!(drain.finish(Duration::from_secs(5)).await, 0);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn limits_hold_an_address_back_and_a_drain_cuts_off_what_never_ends() {
        let limits = ConnectionLimits { connections: 10, connections_per_address: 1 };
        let (address, drain) = service(Security::Clear, limits).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"s").await.unwrap();
        assert!(ask(address, b'a').await.is_err());
        assert_eq!(drain.finish(Duration::from_millis(100)).await, 1);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_a_node_is_its_address() {
        let inside = Security::Cluster(Arc::new(Tls::load(TlsFiles::default()).unwrap()), &[]);
        let enter = |crowd: &Arc<Crowd>, security: &Security, address: &str| {
            crowd.enter(client(address.parse().unwrap(), security), 1)
        };
        for (security, together) in [(Security::Clear, false), (inside, true)] {
            let crowd = Arc::new(Crowd::default());
            let first = enter(&crowd, &security, "2001:db8:0:1::1");
            let beside = enter(&crowd, &security, "2001:db8:0:2::1");
            assert_eq!((first.is_some(), beside.is_some()), (true, together));
            assert!(enter(&crowd, &security, "2001:db8:0:100::1").is_some());
            drop((first, beside));
            assert!(enter(&crowd, &security, "2001:db8:0:2::1").is_some());
        }
    }

    #[tokio::test]
    async fn a_listener_that_ends_early_is_a_failure() {
        let drain = Drain::new();
        let mut listeners = Listeners::default();
        listeners.spawn(std::future::pending());
        listeners.spawn(async { panic!("as the test wants") });
        assert!(listeners.run(&drain).await.unwrap_err().cause.contains("as the test wants"));
        let mut listeners = Listeners::default();
        listeners.spawn(std::future::pending());
        listeners.spawn(async {});
        assert!(listeners.run(&drain).await.is_err());

        let mut listeners = Listeners::default();
        let asked = drain.clone();
        listeners.spawn(async move { asked.begun().await });
        let (ended, ()) = tokio::join!(listeners.run(&drain), async { drain.begin() });
        assert!(ended.is_ok() && Listeners::default().run(&drain).await.is_ok());
    }

    fn tls(authority: &AuthorityFiles, node: &str, role: RoleName) -> Arc<Tls> {
        let files = authority.issue_node(&node.parse().unwrap(), &[role], SystemTime::now()).unwrap();
        let own = KeyFiles { certificate: files.certificate, key: files.key };
        Arc::new(Tls::load(TlsFiles { service: None, cluster: Some((own, authority.certificate())) }).unwrap())
    }

    #[tokio::test]
    async fn inside_the_cluster_node_and_role_are_proved_both_ways() {
        let directory = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let authority = AuthorityFiles::init(directory.path(), SystemTime::now()).unwrap();
        let server = tls(&authority, "mailbox1", RoleName::MAILBOX);
        static ASKED_BY: [RoleName; 1] = [RoleName::EDGE];
        let (address, _drain) = service(Security::Cluster(server, &ASKED_BY), ConnectionLimits::default()).await;
        let candidate = |node: &str, role| Candidate {
            node: node.parse().unwrap(),
            endpoint: Endpoint { role, service: SERVICE, address },
        };
        let meant = candidate("mailbox1", RoleName::MAILBOX);

        let edge = tls(&authority, "edge1", RoleName::EDGE);
        let mut connection = edge.connect(&meant).await.unwrap();
        connection.stream.write_all(b"a").await.unwrap();
        assert_eq!(connection.stream.read_u8().await.unwrap(), b'A');

        // The server is another node than was meant, or may not do what is asked.
        assert!(edge.connect(&candidate("mailbox2", RoleName::MAILBOX)).await.is_err());
        assert!(edge.connect(&candidate("mailbox1", RoleName::DIRECTORY)).await.is_err());

        // The client holds another role, or the certificate of another authority. With TLS 1.3 it learns that at the
        // first answer.
        let dns = tls(&authority, "dns1", RoleName::DNS);
        let mut connection = dns.connect(&meant).await.unwrap();
        let _ = connection.stream.write_all(b"a").await;
        assert!(connection.stream.read_u8().await.is_err());
        let stranger = AuthorityFiles::init(other.path(), SystemTime::now()).unwrap();
        assert!(tls(&stranger, "edge1", RoleName::EDGE).connect(&meant).await.is_err());
    }

    #[tokio::test]
    async fn who_is_removed_is_cut_and_refused() {
        let directory = tempfile::tempdir().unwrap();
        let authority = AuthorityFiles::init(directory.path(), SystemTime::now()).unwrap();
        let server = tls(&authority, "mailbox1", RoleName::MAILBOX);
        let (address, _drain) = service(Security::Cluster(server.clone(), &[]), ConnectionLimits::default()).await;
        let connect = async |own: &Tls| own.connect_node(&"mailbox1".parse().unwrap(), address).await.unwrap();
        let (edge, other) = (tls(&authority, "edge1", RoleName::EDGE), tls(&authority, "edge2", RoleName::EDGE));
        let mut running = connect(&edge).await;
        running.stream.write_all(b"s").await.unwrap();
        let mut beside = connect(&other).await;

        let name = |name: &str| name.parse::<NodeName>().unwrap();
        server.shut_out(&ShutOut { nodes: vec![name("edge1")], serials: Vec::new() });
        assert!(running.stream.read_u8().await.is_err(), "what runs is cut");
        let mut refused = connect(&edge).await;
        let _ = refused.stream.write_all(b"a").await;
        assert!(refused.stream.read_u8().await.is_err());
        beside.stream.write_all(b"a").await.unwrap();
        assert_eq!(beside.stream.read_u8().await.unwrap(), b'A', "another is not disturbed");

        // By serial number: the name is given anew, and the old certificate is worthless.
        let serial = edge.own().unwrap().identity.serial.clone();
        server.shut_out(&ShutOut { nodes: Vec::new(), serials: vec![serial] });
        let mut refused = connect(&edge).await;
        let _ = refused.stream.write_all(b"a").await;
        assert!(refused.stream.read_u8().await.is_err());
        let mut anew = connect(&tls(&authority, "edge1", RoleName::EDGE)).await;
        anew.stream.write_all(b"a").await.unwrap();
        assert_eq!(anew.stream.read_u8().await.unwrap(), b'A');

        // And nobody asks who was removed.
        edge.shut_out(&ShutOut { nodes: vec![name("mailbox1")], serials: Vec::new() });
        let failure = edge.connect_node(&name("mailbox1"), address).await.err().unwrap();
        assert!(failure.cause.contains("was removed"), "{failure}");
    }

    #[tokio::test]
    async fn a_stranger_knows_the_cluster_by_its_fingerprint() {
        let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let authority = AuthorityFiles::init(directory.path(), SystemTime::now()).unwrap();
        let foreign = AuthorityFiles::init(other.path(), SystemTime::now()).unwrap();
        let fingerprint =
            |files: &AuthorityFiles| AuthorityFiles::load(&files.certificate(), &files.key()).unwrap().fingerprint();
        let server = tls(&authority, "mailbox1", RoleName::MAILBOX);
        let talk = async |security| service(security, ConnectionLimits::default()).await;
        let (open, _drain) = talk(Security::ClusterAndStrangers(server.clone())).await;
        let mut connection = connect_by_fingerprint(open, fingerprint(&authority)).await.unwrap();
        assert_eq!(connection.identity.as_ref().unwrap().node.as_str(), "mailbox1");
        connection.stream.write_all(b"a").await.unwrap();
        assert_eq!(connection.stream.read_u8().await.unwrap(), b'A');
        // A node is still known as one there.
        let edge = tls(&authority, "edge1", RoleName::EDGE);
        let mut connection = edge.connect_node(&"mailbox1".parse().unwrap(), open).await.unwrap();
        connection.stream.write_all(b"a").await.unwrap();
        assert_eq!(connection.stream.read_u8().await.unwrap(), b'A');

        // Another cluster's token; and a service that shows no authority, or takes no strangers.
        let refused = connect_by_fingerprint(open, fingerprint(&foreign)).await.err().unwrap();
        assert!(refused.reason == Reason::Denied && refused.client.contains("nothing was sent"), "{refused}");
        let (closed, _drain) = talk(Security::Cluster(server, &[])).await;
        assert!(connect_by_fingerprint(closed, fingerprint(&authority)).await.is_err());

        // Whoever shows the authority's certificate, which is no secret, under a leaf of their own is not taken for a node.
        let forger = tls(&foreign, "mailbox1", RoleName::MAILBOX);
        let TlsFiles { cluster: Some((own, _)), .. } = forger.files().clone() else { panic!("no files") };
        let both = [std::fs::read(&own.certificate).unwrap(), std::fs::read(authority.certificate()).unwrap()].concat();
        std::fs::write(&own.certificate, both).unwrap();
        let forger = Tls::load(forger.files().clone()).unwrap();
        let (forged, _drain) = talk(Security::ClusterAndStrangers(Arc::new(forger))).await;
        let refused = connect_by_fingerprint(forged, fingerprint(&authority)).await.err().unwrap();
        assert_eq!(refused.reason, Reason::Denied, "{refused}");
    }
}
