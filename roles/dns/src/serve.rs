//! Carries requests and responses over UDP and TCP.
//!
//! Bounded: one loop a UDP socket, which answers a datagram before it takes the next one, so a flood is dropped by the
//! kernel and never queued here; TCP connections are counted, in all and an address.

mod stream;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use estafeta_core::Failure;
use estafeta_net::accept::{self, ConnectionLimits, Listeners, Security};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::net::{TcpListener, UdpSocket};

use self::stream::{Request, RequestStream};
use crate::DNS;
use crate::packet::{Response, Transport, respond};
use crate::zones::ZonesView;

/// How long a TCP client may be silent, or take nothing (RFC 7766 §6.2.3: a few seconds).
const TCP_PATIENCE: Duration = Duration::from_secs(10);

/// How many TCP connections one address may hold (RFC 7766 §6.2.2: clients need one).
const TCP_CONNECTIONS_PER_ADDRESS: usize = 100;

/// The largest datagram that can come.
const DATAGRAM_BYTES: usize = 65_535;

/// Says what the metrics mean.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "estafeta_dns_queries_total",
        "Questions answered, by transport, type and response code."
    );
}

/// Answers on these sockets until the drain begins.
pub async fn serve(
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    zones: Arc<ZonesView>,
    tcp_connections: usize,
    drain: Drain,
) -> Result<(), Failure> {
    let responder = Arc::new(Responder { zones, turns: Default::default() });
    let limits =
        ConnectionLimits { connections: tcp_connections, connections_per_address: TCP_CONNECTIONS_PER_ADDRESS };
    let mut loops = Listeners::default();
    for socket in udp {
        loops.spawn(answer_datagrams(socket, responder.clone(), drain.clone()));
    }
    for listener in tcp {
        let (responder, talking) = (responder.clone(), drain.clone());
        let talk = move |connection| converse(connection, responder.clone(), talking.clone());
        loops.spawn(accept::serve(listener, DNS, Security::Clear, limits, drain.clone(), talk));
    }
    loops.run(&drain).await
}

/// What answers, whatever the transport.
struct Responder {
    zones: Arc<ZonesView>,
    /// The turns of A and of everything else: apart, because clients ask A and AAAA in pairs, and one count would
    /// always give the same kind the same turn.
    turns: [AtomicUsize; 2],
}

impl Responder {
    fn respond(&self, request: &[u8], transport: Transport) -> Option<Response> {
        let turn = |kind| self.turns[usize::from(kind != RecordType::A)].fetch_add(1, Ordering::Relaxed);
        let response = respond(request, transport, &self.zones.current(), turn)?;
        metrics::counter!(
            "estafeta_dns_queries_total",
            "transport" => transport.as_str(),
            "type" => response.kind.map_or("none", type_label),
            "rcode" => code_label(response.code),
        )
        .increment(1);
        Some(response)
    }
}

/// A type's name in metrics: a bounded set, whatever clients ask for.
fn type_label(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A
        | RecordType::AAAA
        | RecordType::ANY
        | RecordType::CAA
        | RecordType::CNAME
        | RecordType::DNSKEY
        | RecordType::DS
        | RecordType::HTTPS
        | RecordType::MX
        | RecordType::NS
        | RecordType::PTR
        | RecordType::SOA
        | RecordType::SRV
        | RecordType::TLSA
        | RecordType::TXT => kind.into(),
        _ => "other",
    }
}

/// A response code as `dig` writes it.
fn code_label(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}

async fn answer_datagrams(socket: UdpSocket, responder: Arc<Responder>, drain: Drain) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = drain.begun() => return,
        };
        let (length, client) = match received {
            Ok(received) => received,
            Err(error) => {
                // A client's ICMP refusal comes out here and concerns only that client; anything else must not spin.
                if error.kind() != io::ErrorKind::ConnectionRefused {
                    tracing::warn!(%error, "cannot receive questions");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                continue;
            }
        };
        // A panic is a bug and costs one datagram, not the loop.
        let response = catch_unwind(AssertUnwindSafe(|| responder.respond(&buffer[..length], Transport::Udp)));
        let Ok(response) = response else {
            metrics::counter!("estafeta_panics_total").increment(1);
            tracing::error!(%client, "a bug: this question gets no answer, the others do; please report it");
            continue;
        };
        let Some(response) = response else { continue };
        tracing::trace!(%client, kind = ?response.kind, code = %response.code, "answered");
        if let Err(error) = socket.send_to(&response.bytes, client).await {
            tracing::debug!(%client, %error, "an answer cannot be sent");
        }
    }
}

async fn converse(connection: Connection, responder: Arc<Responder>, drain: Drain) {
    let client = connection.peer;
    let timeouts = Timeouts { read: TCP_PATIENCE, write: TCP_PATIENCE };
    let mut machine = RequestStream::default();
    if let Err(error) =
        drive(connection, &mut machine, &mut Answering(responder), Upgrade::Never, timeouts, &drain).await
    {
        tracing::debug!(%client, %error, "conversation ended");
    }
}

struct Answering(Arc<Responder>);

impl Handler<RequestStream> for Answering {
    async fn handle(&mut self, request: Request, machine: &mut RequestStream, _: &mut Output<'_>) -> io::Result<Flow> {
        match self.0.respond(&request.0, Transport::Tcp) {
            Some(response) => {
                machine.answer(&response.bytes);
                Ok(Flow::Continue)
            }
            // What is no request: the other side does not speak this protocol.
            None => Ok(Flow::Close),
        }
    }
}

#[cfg(test)]
mod tests;
