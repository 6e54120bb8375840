//! chitchat's transport over UDP, every datagram sealed.
//!
//! Invariants: what cannot be opened is dropped and counted by cause, never an error, never answered; nothing waits in a
//! queue of ours; a socket that fails is tried again after a pause.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use estafeta_core::NodeName;
use tokio::net::UdpSocket;

use super::parts::{Waiting, cut};
use super::seal::{DATAGRAM, Dropped, Keys, Opener, Sealer};

/// Datagrams dropped, by cause.
const DROPPED: &str = "estafeta_gossip_dropped_total";
/// Datagrams sent and taken.
const DATAGRAMS: &str = "estafeta_gossip_datagrams_total";

/// A pause after the socket failed.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the log speaks of clocks that are apart.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Says what is counted here.
pub fn describe() {
    metrics::describe_counter!(
        DROPPED,
        "Gossip datagrams dropped, by cause: malformed, unknown-key, forged, replayed, skew, unreadable, too-long, no-key."
    );
    metrics::describe_counter!(DATAGRAMS, "Gossip datagrams, by direction: sent, taken.");
}

/// Opens sockets that share one bound UDP socket and one set of keys.
pub struct Sealed {
    /// The socket, bound at boot.
    pub socket: Arc<UdpSocket>,
    /// The cluster's keys, as the settings have them now.
    pub keys: Arc<ArcSwap<Keys>>,
    /// This node.
    pub node: NodeName,
    /// Which start of gossip this is: each counts its datagrams from one.
    pub boot: u64,
    /// How far clocks may be apart.
    pub skew: Duration,
}

#[async_trait]
impl Transport for Sealed {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(SealedSocket {
            socket: self.socket.clone(),
            keys: self.keys.clone(),
            sealer: Sealer::new(self.node.clone(), self.boot),
            opener: Opener::new(self.skew),
            waiting: Waiting::default(),
            buffer: vec![0; DATAGRAM + 1],
            complained: None,
        }))
    }
}

struct SealedSocket {
    socket: Arc<UdpSocket>,
    keys: Arc<ArcSwap<Keys>>,
    sealer: Sealer,
    opener: Opener,
    waiting: Waiting,
    buffer: Vec<u8>,
    complained: Option<SystemTime>,
}

fn now_ms(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn dropped(cause: &'static str) {
    metrics::counter!(DROPPED, "cause" => cause).increment(1);
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let message = message.serialize_to_vec();
        let Some(parts) = cut(&message) else {
            dropped("too-long");
            return Ok(());
        };
        for (part, payload) in parts {
            let sealed = self.sealer.seal(&self.keys.load(), part, payload, now_ms(SystemTime::now()));
            let Some(datagram) = sealed else {
                dropped("no-key");
                return Ok(());
            };
            // A node that is away makes this fail now and then, and so does a full buffer: it is lost, as any datagram may be.
            match self.socket.send_to(&datagram, to).await {
                Ok(_) => metrics::counter!(DATAGRAMS, "direction" => "sent").increment(1),
                Err(error) => tracing::debug!(%to, %error, "a gossip datagram was not sent"),
            }
        }
        Ok(())
    }

    /// Cancel-safe: chitchat drops this future whenever something else comes first.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // On Linux this is how an earlier send to a node that is away is answered.
                    tracing::debug!(%error, "the gossip socket reports an error");
                    if error.kind() != std::io::ErrorKind::ConnectionRefused {
                        tokio::time::sleep(PAUSE).await;
                    }
                    continue;
                }
            };
            if let Some(message) = self.take(length, from) {
                return Ok((from, message));
            }
        }
    }
}

impl SealedSocket {
    fn take(&mut self, length: usize, from: SocketAddr) -> Option<ChitchatMessage> {
        let now = SystemTime::now();
        let opened = match self.opener.open(&self.keys.load(), self.buffer.get(..length)?, now_ms(now)) {
            Ok(opened) => opened,
            Err(cause) => {
                dropped(cause.as_str());
                self.complain(cause, from, now);
                return None;
            }
        };
        metrics::counter!(DATAGRAMS, "direction" => "taken").increment(1);
        let message = self.waiting.take(opened)?;
        let read = ChitchatMessage::deserialize(&mut message.as_slice()).ok();
        if read.is_none() {
            dropped("unreadable");
        }
        read
    }

    /// A clock that is wrong silences a node for no reason that anyone could see.
    fn complain(&mut self, cause: Dropped, from: SocketAddr, now: SystemTime) {
        let recently = |last: SystemTime| now.duration_since(last).is_ok_and(|ago| ago < COMPLAIN);
        if cause == Dropped::Skew && !self.complained.is_some_and(recently) {
            self.complained = Some(now);
            tracing::warn!(%from, "gossip is dropped because the clocks of the two nodes are too far apart, or somebody plays back old datagrams: set both clocks (chrony or systemd-timesyncd)");
        }
    }
}
