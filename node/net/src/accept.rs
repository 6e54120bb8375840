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

use crate::connection::Connection;
use crate::drain::Drain;
use crate::tls::Tls;

/// What protects a service's connections from their first byte.
#[derive(Clone)]
pub enum Security {
    /// Nothing; the protocol may start TLS later.
    Clear,
    /// TLS, with the certificate that clients see: the newest one at each connection.
    Tls(Arc<Tls>),
    /// Mutual TLS inside the cluster; the peer's certificate must grant one of the roles. No roles: any node.
    Cluster(Arc<Tls>, &'static [RoleName]),
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
        drain.spawn("conversation", async move {
            let _held = (permit, place);
            let peer = connection.peer;
            metrics::counter!("estafeta_connections_total", "service" => service.to_string()).increment(1);
            let open = metrics::gauge!("estafeta_connections_open", "service" => service.to_string());
            open.increment(1.0);
            let _closed = OnDrop(|| open.decrement(1.0));
            match secure(connection, &security).await {
                Ok(connection) => talk(connection).await,
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
        Security::Tls(tls) => {
            let acceptor =
                tls.service().ok_or_else(|| denied("no service certificate is configured: see [tls]".into()))?;
            connection.accept_tls(&acceptor).await
        }
        Security::Cluster(tls, roles) => {
            let acceptor = tls.cluster().ok_or_else(|| denied("this node is in no cluster: see [cluster]".into()))?;
            let connection = connection.accept_tls(&acceptor).await?;
            match &connection.identity {
                None => Err(denied("the certificate names no node".into())),
                Some(peer) if !roles.is_empty() && !peer.holds_any(roles) => {
                    Err(denied(format!("node {} holds none of the roles that may ask this service", peer.node)))
                }
                Some(_) => Ok(connection),
            }
        }
    }
}

/// Whom a connection counts for. Nodes stand side by side in one network, so each is its address.
fn client(address: IpAddr, security: &Security) -> IpAddr {
    match security {
        Security::Clear | Security::Tls(_) => network_of(address),
        Security::Cluster(..) => address,
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
    use estafeta_core::members::{Candidate, Endpoint};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use crate::tls::{KeyFiles, TlsFiles};

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
}
