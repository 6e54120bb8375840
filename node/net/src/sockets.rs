//! The sockets of a node: all bound before anything is served, handed to the roles by service.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use estafeta_core::ServiceName;
use socket2::{Domain, Protocol, Socket, Type};

/// What a service listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Both, on the same port.
    TcpAndUdp,
}

/// One address, bound.
struct Bound {
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
}

/// The bound sockets of a role's services.
#[derive(Default)]
pub struct Sockets(BTreeMap<ServiceName, Vec<Bound>>);

impl Sockets {
    /// Binds one more address for a service.
    pub fn bind(&mut self, service: &ServiceName, address: SocketAddr, transport: Transport) -> io::Result<()> {
        let tcp = (transport != Transport::Udp).then(|| bind_tcp(address)).transpose()?;
        let udp = (transport != Transport::Tcp).then(|| bind_udp(address)).transpose()?;
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

    /// The UDP sockets of a service, ready for tokio.
    pub fn udp(&self, service: &ServiceName) -> io::Result<Vec<tokio::net::UdpSocket>> {
        let bound = self.0.get(service).into_iter().flatten();
        bound
            .filter_map(|bound| bound.udp.as_ref())
            .map(|udp| tokio::net::UdpSocket::from_std(udp.try_clone()?))
            .collect()
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
    socket.listen(1024)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
