//! The sockets of a node: all bound before anything is served, handed to the roles by service.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};

use estafeta_core::ServiceName;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How many connections wait in the kernel until they are accepted.
const BACKLOG: i32 = 1024;

/// How many UDP sockets share an address at most.
const MOST_SHARED: usize = 16;

/// What a service listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Both, on the same port; of UDP a socket for each processor, over which the kernel spreads the clients.
    TcpAndUdp,
}

/// One address, bound.
struct Bound {
    tcp: Option<TcpListener>,
    udp: Vec<UdpSocket>,
}

/// The bound sockets of a role's services.
#[derive(Default)]
pub struct Sockets(BTreeMap<ServiceName, Vec<Bound>>);

impl Sockets {
    /// Binds one more address for a service.
    pub fn bind(&mut self, service: &ServiceName, address: SocketAddr, transport: Transport) -> io::Result<()> {
        let tcp = (transport != Transport::Udp).then(|| bind_tcp(address)).transpose()?;
        let udp = match transport {
            Transport::Tcp => Vec::new(),
            Transport::Udp => vec![bind_udp(address, false)?],
            Transport::TcpAndUdp => bind_shared_udp(address)?,
        };
        self.0.entry(service.clone()).or_default().push(Bound { tcp, udp });
        Ok(())
    }

    /// The listeners of a service, ready for tokio. They stay bound here too, so that a role that failed can start anew.
    pub fn tcp(&self, service: &ServiceName) -> io::Result<Vec<tokio::net::TcpListener>> {
        let bound = self.0.get(service).into_iter().flatten();
        bound
            .filter_map(|bound| bound.tcp.as_ref())
            .map(|tcp| tokio::net::TcpListener::from_std(tcp.try_clone()?))
            .collect()
    }

    /// Refuses whoever connects from now on, without giving the ports up: they could not be bound anew once privileges
    /// are dropped. Nobody may be accepting meanwhile. What comes by UDP is not refused but waits.
    pub fn close(&self) -> io::Result<()> {
        // Linux takes a listener that is shut down for one that was bound and never listened.
        self.listeners().try_for_each(|tcp| SockRef::from(tcp).shutdown(Shutdown::Read))
    }

    /// Listens again after [`Sockets::close`].
    pub fn open(&self) -> io::Result<()> {
        self.listeners().try_for_each(|tcp| SockRef::from(tcp).listen(BACKLOG))
    }

    fn listeners(&self) -> impl Iterator<Item = &TcpListener> {
        self.0.values().flatten().filter_map(|bound| bound.tcp.as_ref())
    }

    /// Where each service is bound, once an address.
    pub fn addresses(&self) -> io::Result<Vec<(ServiceName, SocketAddr)>> {
        let bound = self.0.iter().flat_map(|(service, bound)| bound.iter().map(move |bound| (service, bound)));
        let address = |bound: &Bound| match (&bound.tcp, bound.udp.first()) {
            (Some(tcp), _) => tcp.local_addr().map(Some),
            (None, Some(udp)) => udp.local_addr().map(Some),
            (None, None) => Ok(None),
        };
        bound
            .filter_map(|(service, bound)| Some((service.clone(), address(bound).transpose()?)))
            .map(|(service, address)| Ok((service, address?)))
            .collect()
    }

    /// The UDP sockets of a service, ready for tokio.
    pub fn udp(&self, service: &ServiceName) -> io::Result<Vec<tokio::net::UdpSocket>> {
        let bound = self.0.get(service).into_iter().flatten();
        bound.flat_map(|bound| &bound.udp).map(|udp| tokio::net::UdpSocket::from_std(udp.try_clone()?)).collect()
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A node that starts again must not wait for the connections of its former life to leave TIME-WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket for each processor on one address. The first one is bound as if it were alone, so that an address that
/// somebody else has is found taken.
fn bind_shared_udp(address: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    let address = bind_udp(address, false)?.local_addr()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (0..processors.min(MOST_SHARED)).map(|_| bind_udp(address, true)).collect()
}

fn bind_udp(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn closed_listeners_refuse_and_open_again_on_the_same_port() {
        let service = ServiceName::fixed("test");
        let mut sockets = Sockets::default();
        sockets.bind(&service, "127.0.0.1:0".parse().unwrap(), Transport::Tcp).unwrap();
        for _ in 0..3 {
            let listener = sockets.tcp(&service).unwrap().remove(0);
            let address = listener.local_addr().unwrap();
            let (client, served) = tokio::join!(TcpStream::connect(address), listener.accept());
            assert!(client.is_ok() && served.is_ok());
            drop(listener);
            sockets.close().unwrap();
            assert!(TcpStream::connect(address).await.is_err());
            sockets.open().unwrap();
        }
    }

    #[tokio::test]
    async fn datagrams_have_a_socket_for_each_processor_and_no_neighbour() {
        let service = ServiceName::fixed("test");
        let mut sockets = Sockets::default();
        sockets.bind(&service, "127.0.0.1:0".parse().unwrap(), Transport::TcpAndUdp).unwrap();
        let udp = sockets.udp(&service).unwrap();
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(udp.len(), processors.min(MOST_SHARED));
        let address = udp[0].local_addr().unwrap();
        assert!(udp.iter().all(|socket| socket.local_addr().unwrap() == address));
        let mut other = Sockets::default();
        assert_eq!(other.bind(&service, address, Transport::Udp).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(bind_shared_udp(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
