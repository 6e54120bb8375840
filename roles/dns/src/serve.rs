//! Carries requests and responses over UDP, TCP and TLS.
//!
//! Bounded: one loop a UDP socket, which answers a datagram before it takes the next one, so a flood is dropped by the
//! kernel and never queued here; connections are counted, in all and an address.

mod counted;
mod datagrams;
pub(crate) mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use estafeta_core::{Failure, ServiceName};
use estafeta_net::accept::{self, ConnectionLimits, Listeners, Security};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_net::role::Context;
use tokio::net::{TcpListener, UdpSocket};

use self::counted::Counted;
pub use self::counted::describe_metrics;
use self::stream::{Request, RequestStream};
use crate::packet::{TCP_PATIENCE_SECONDS, Transport};
use crate::respond::{Client, Moment, Responder, Said};
use crate::transfer::{Taken, Transfer, framed};
use crate::zones::ZonesView;
use crate::{DNS, DNS_TLS};

/// How long a client may take from one answer to the end of its next request, however busily it sends; and how long it
/// may take nothing.
const TCP_PATIENCE: Duration = Duration::from_secs(TCP_PATIENCE_SECONDS as u64);

/// How many TCP connections one address may hold (RFC 7766 §6.2.2: clients need one).
const TCP_CONNECTIONS_PER_ADDRESS: usize = 100;

/// The sockets of the role, bound.
#[derive(Default)]
pub struct Sockets {
    /// For datagrams: several may share an address, and the kernel spreads clients over them.
    pub udp: Vec<UdpSocket>,
    /// For connections.
    pub tcp: Vec<TcpListener>,
    /// For connections that nobody else reads, and what protects them.
    pub tls: Option<(Vec<TcpListener>, Security)>,
}

impl Sockets {
    /// Those that the role was handed.
    pub fn of(context: &Context) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::internal(format!("the sockets of the role dns: {error}"));
        let udp = context.sockets.udp(&DNS).map_err(failed)?;
        let tcp = context.sockets.tcp(&DNS).map_err(failed)?;
        let tls = context.sockets.tcp(&DNS_TLS).map_err(failed)?;
        Ok(Self { udp, tcp, tls: Some((tls, Security::TlsFor(context.tls.clone(), b"dot"))) })
    }
}

/// What serves, whatever the transport.
#[derive(Clone)]
pub struct Serving {
    /// What is served.
    pub zones: Arc<ZonesView>,
    /// What answers.
    pub responder: Arc<Responder>,
    transfer: Option<Transfer>,
    counted: Arc<Counted>,
    /// When `elapsed_ms` began.
    began: Instant,
    /// How long a client may take over a request, and over taking its answer.
    patience: Duration,
}

impl Serving {
    /// Nothing counted yet.
    pub fn new(zones: Arc<ZonesView>, responder: Arc<Responder>) -> Self {
        Self {
            zones,
            responder,
            transfer: None,
            counted: Arc::default(),
            began: Instant::now(),
            patience: TCP_PATIENCE,
        }
    }

    /// And what answers secondaries.
    pub fn with_transfer(self, transfer: Transfer) -> Self {
        Self { transfer: Some(transfer), ..self }
    }

    fn now(&self) -> Moment {
        let time = SystemTime::now();
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // A serial number by design (RFC 9018 §4.3).
        let unix_seconds = (seconds & u64::from(u32::MAX)) as u32;
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { time, unix_seconds, elapsed_ms }
    }
}

/// Adds to `loops` what answers on these sockets until the drain begins.
pub fn serve(sockets: Sockets, serving: &Serving, tcp_connections: usize, loops: &mut Listeners, drain: &Drain) {
    let limits =
        ConnectionLimits { connections: tcp_connections, connections_per_address: TCP_CONNECTIONS_PER_ADDRESS };
    for socket in sockets.udp {
        loops.spawn(datagrams::answer_datagrams(socket, serving.clone(), drain.clone()));
    }
    let mut listen = |listener, service: ServiceName, security, transport| {
        let (serving, talking) = (serving.clone(), drain.clone());
        let talk = move |connection| converse(connection, transport, serving.clone(), talking.clone());
        loops.spawn(accept::serve(listener, service, security, limits, drain.clone(), talk));
    };
    for listener in sockets.tcp {
        listen(listener, DNS, Security::Clear, Transport::Tcp);
    }
    if let Some((listeners, security)) = sockets.tls {
        for listener in listeners {
            listen(listener, DNS_TLS, security.clone(), Transport::Tls);
        }
    }
}

async fn converse(connection: Connection, transport: Transport, serving: Serving, drain: Drain) {
    let peer = connection.peer;
    let timeouts = Timeouts { read: serving.patience, write: serving.patience };
    let mut machine = RequestStream::default();
    let mut answering = Answering {
        serving,
        peer,
        client: Client { address: peer.ip(), transport },
        response: Vec::new(),
        since: Instant::now(),
    };
    if let Err(error) = drive(connection, &mut machine, &mut answering, Upgrade::Never, timeouts, &drain).await {
        tracing::debug!(client = %peer, %error, "conversation ended");
    }
}

struct Answering {
    serving: Serving,
    peer: SocketAddr,
    client: Client,
    response: Vec<u8>,
    /// When the last request was answered.
    since: Instant,
}

impl Answering {
    /// What secondaries ask is not for the responder.
    fn take(&mut self, request: &[u8]) -> Taken {
        let Some(transfer) = self.serving.transfer.clone() else { return Taken::No };
        let (peer, transport) = (self.peer, self.client.transport);
        transfer.take(request, peer, transport, |bare| self.respond(bare).map(|_| self.response.clone()))
    }

    fn respond(&mut self, request: &[u8]) -> Option<Said> {
        let Serving { zones, responder, counted, .. } = &self.serving;
        let now = self.serving.now();
        let said = responder.respond(request, &self.client, now, &zones.current(), None, &mut self.response)?;
        counted.add(self.client.transport, &said);
        Some(said)
    }
}

impl Handler<RequestStream> for Answering {
    async fn handle(
        &mut self,
        request: Request,
        machine: &mut RequestStream,
        output: &mut Output<'_>,
    ) -> io::Result<Flow> {
        self.since = Instant::now();
        match self.take(&request.0) {
            Taken::No => {}
            Taken::Answer(response) => {
                machine.answer(&response);
                return Ok(Flow::Continue);
            }
            Taken::Transfer(messages) => {
                for message in *messages {
                    output.write(&framed(&message.map_err(io::Error::other)?)).await?;
                }
                return Ok(Flow::Continue);
            }
            Taken::Silence => return Ok(Flow::Close),
        }
        match self.respond(&request.0) {
            Some(_) => {
                machine.answer(&self.response);
                Ok(Flow::Continue)
            }
            // What is no request: the other side does not speak this protocol.
            None => Ok(Flow::Close),
        }
    }

    fn patience(&self, _: &RequestStream) -> Option<Duration> {
        Some(self.serving.patience.saturating_sub(self.since.elapsed()))
    }
}

#[cfg(test)]
mod tests;
