//! The loop of one UDP socket. It takes what is there, at most [`BATCH`] datagrams, answers each, and lets others have
//! the processor. Its ready-made answers are its own, so that loops never wait for each other.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use estafeta_net::drain::Drain;
use tokio::net::UdpSocket;

use super::Serving;
use crate::cache::ReadyAnswers;
use crate::packet::Transport;
use crate::respond::{Client, Moment};
use crate::transfer::Taken;
use crate::zones::Zones;

/// The largest datagram that can come.
const DATAGRAM_BYTES: usize = 65_535;

/// How many datagrams are answered until others have their turn.
const BATCH: usize = 64;

/// Answers on this socket until the drain begins.
pub(super) async fn answer_datagrams(socket: UdpSocket, serving: Serving, drain: Drain) {
    let mut loop_ = Loop { serving, ready: ReadyAnswers::default(), response: Vec::with_capacity(2048) };
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        tokio::select! {
            readable = socket.readable() => if let Err(error) = readable {
                cannot_receive(&error).await;
                continue;
            },
            () = drain.begun() => return,
        }
        let zones = loop_.serving.zones.current();
        let now = loop_.serving.now();
        loop_.ready.refresh(&zones, loop_.serving.responder.epoch(), now.elapsed_ms);
        for _ in 0..BATCH {
            let (length, client) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    cannot_receive(&error).await;
                    break;
                }
            };
            if loop_.respond(&buffer[..length], client, now, &zones) {
                send(&socket, &loop_.response, client).await;
            }
        }
        tokio::task::yield_now().await;
    }
}

struct Loop {
    serving: Serving,
    ready: ReadyAnswers,
    response: Vec<u8>,
}

impl Loop {
    /// What secondaries ask is not for the responder.
    fn take(&mut self, request: &[u8], from: SocketAddr, now: Moment, zones: &Zones) -> Taken {
        let Self { serving, response, .. } = self;
        let Some(transfer) = &serving.transfer else { return Taken::No };
        let client = Client { address: from.ip(), transport: Transport::Udp };
        let taken = catch_unwind(AssertUnwindSafe(|| {
            transfer.take(request, from, Transport::Udp, |bare| {
                serving.responder.respond(bare, &client, now, zones, None, response)?;
                (!response.is_empty()).then(|| response.clone())
            })
        }));
        taken.unwrap_or_else(|_| {
            metrics::counter!("estafeta_panics_total").increment(1);
            tracing::error!(client = %from, "a bug: this question gets no answer, the others do; please report it");
            Taken::Silence
        })
    }

    /// Whether there is something to send.
    fn respond(&mut self, request: &[u8], from: SocketAddr, now: Moment, zones: &Zones) -> bool {
        match self.take(request, from, now, zones) {
            Taken::No => {}
            Taken::Answer(message) => {
                self.response = message;
                return true;
            }
            // Transfers go over connections.
            Taken::Transfer(_) | Taken::Silence => return false,
        }
        let Self { serving, ready, response } = self;
        let client = Client { address: from.ip(), transport: Transport::Udp };
        // A panic is a bug and costs one datagram, not the loop.
        let said = catch_unwind(AssertUnwindSafe(|| {
            serving.responder.respond(request, &client, now, zones, Some(ready), response)
        }));
        match said {
            Ok(Some(said)) => {
                tracing::trace!(client = %from, kind = ?said.kind, code = %said.code, verdict = ?said.verdict, "answered");
                serving.counted.add(Transport::Udp, &said);
                !response.is_empty()
            }
            Ok(None) => false,
            Err(_) => {
                metrics::counter!("estafeta_panics_total").increment(1);
                tracing::error!(client = %from, "a bug: this question gets no answer, the others do; please report it");
                *ready = ReadyAnswers::default();
                false
            }
        }
    }
}

async fn send(socket: &UdpSocket, response: &[u8], client: SocketAddr) {
    let sent = match socket.try_send_to(response, client) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.send_to(response, client).await,
        sent => sent,
    };
    if let Err(error) = sent {
        tracing::debug!(%client, %error, "an answer cannot be sent");
    }
}

/// A client's ICMP refusal comes out here and concerns only that client; anything else must not spin.
async fn cannot_receive(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionRefused {
        tracing::warn!(%error, "cannot receive questions");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
