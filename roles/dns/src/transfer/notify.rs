//! Sends notices to secondaries and hears their answers (RFC 1996), from the address at which questions are answered:
//! that is where secondaries expect their primary.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafeta_net::drain::Drain;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;

use super::config::Access;
use super::notices::{Notices, Sending};
use super::shown::ShownView;
use super::tsig::{Awaiting, sign_request};
use super::{now_seconds, version::Version};

/// How many notices go out at once; the others follow a moment later.
const BURST: usize = 100;

/// How often it is looked whether one is due.
const TICK: Duration = Duration::from_millis(200);

/// Tells secondaries of new versions. Cheap to clone.
#[derive(Clone)]
pub(super) struct Notifier {
    access: Arc<Access>,
    notices: Arc<Mutex<Notices>>,
}

impl Notifier {
    pub fn new(access: Arc<Access>) -> Self {
        Self { access, notices: Arc::default() }
    }

    /// There is a new version: every secondary of the zone is to be told.
    pub fn announce(&self, version: &Version) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = &version.zone.origin;
        for peer in self.access.peers.iter().filter(|peer| peer.has(origin)) {
            notices.announce(peer.address, origin, version.mark.serial, Instant::now());
        }
    }

    /// Sends what is due until the drain begins. `from` are the addresses of the service.
    pub async fn run(self, from: Vec<IpAddr>, shown: ShownView, drain: Drain) {
        let sockets = Sockets::bind(&from).await;
        // Signatures that answers are verified with, by the number of the message: as many as can be under way.
        let mut awaiting: Vec<(SocketAddr, u16, Awaiting)> = Vec::new();
        loop {
            tokio::select! {
                () = drain.begun() => return,
                () = tokio::time::sleep(TICK) => {
                    let now = Instant::now();
                    let due = self.notices.lock().unwrap_or_else(PoisonError::into_inner).due(now, BURST, || fastrand::u16(..));
                    for sending in due {
                        self.send(&sockets, &shown, &sending, &mut awaiting).await;
                    }
                }
                (answer, peer) = sockets.receive() => self.answered(&answer, peer, &mut awaiting),
            }
        }
    }

    async fn send(
        &self,
        sockets: &Sockets,
        shown: &ShownView,
        sending: &Sending,
        awaiting: &mut Vec<(SocketAddr, u16, Awaiting)>,
    ) {
        let Sending { to, origin, serial, .. } = sending;
        let peer = self.access.peers.iter().find(|peer| peer.address == *to && peer.has(origin));
        let message = shown.of(origin).and_then(|shown| message(origin, sending.id, &shown.version));
        let (Some(peer), Some(message)) = (peer, message) else { return };
        let Some((message, verifier)) = sign_request(message, &peer.key, now_seconds()) else { return };
        awaiting.retain(|(address, id, _)| (*address, *id) != (*to, sending.id));
        if awaiting.len() >= 10 * BURST {
            awaiting.remove(0);
        }
        awaiting.push((*to, sending.id, verifier));
        let sent = sockets.send(&message, *to).await;
        metrics::counter!("estafeta_dns_notices_total").increment(1);
        match sent {
            Err(error) => {
                tracing::info!(secondary = %to, zone = %origin, %error, "a notice cannot be sent; it is tried again")
            }
            Ok(()) if sending.is_last => tracing::warn!(
                secondary = %to, zone = %origin, serial,
                "it has answered no notice of this version and is left to its own refreshing: see whether it runs, takes \
                 notices from here, and has the same key"
            ),
            Ok(()) => tracing::debug!(secondary = %to, zone = %origin, serial, "notified"),
        }
    }

    fn answered(&self, answer: &[u8], peer: SocketAddr, awaiting: &mut Vec<(SocketAddr, u16, Awaiting)>) {
        let Some((id, origin)) = read(answer) else { return };
        let Some(place) = awaiting.iter().position(|(address, awaited, _)| (*address, *awaited) == (peer, id)) else {
            return;
        };
        // RFC 8945 §5.3: what is not signed as it should be was not said; whoever it was may still say it.
        if !awaiting[place].2.clone().verifies(answer) {
            tracing::debug!(secondary = %peer, zone = %origin, "an answer to a notice is not signed as it should be");
            return;
        }
        awaiting.remove(place);
        let answered = self.notices.lock().unwrap_or_else(PoisonError::into_inner).answered(peer, &origin, id);
        if let Some(serial) = answered {
            tracing::info!(secondary = %peer, zone = %origin, serial, "it knows of the new version");
        }
    }
}

/// RFC 1996 §3.7: the SOA is a hint, so that who has it already need not ask.
fn message(origin: &Name, id: u16, version: &Version) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(origin.clone(), RecordType::SOA));
    message.add_answer(version.start_of_authority()?);
    message.to_vec().ok()
}

/// The number and the zone of an answer to a notice.
fn read(answer: &[u8]) -> Option<(u16, Name)> {
    let message = Message::from_vec(answer).ok()?;
    let is_answer =
        message.metadata.message_type == MessageType::Response && message.metadata.op_code == OpCode::Notify;
    let question = message.queries.first().filter(|_| is_answer)?;
    let mut origin = question.name().to_lowercase();
    origin.set_fqdn(true);
    Some((message.metadata.id, origin))
}

/// A socket for each family.
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    async fn bind(from: &[IpAddr]) -> Self {
        let bind = async |address: Option<&IpAddr>| {
            let bound = UdpSocket::bind((*address?, 0)).await;
            bound.inspect_err(|error| tracing::error!(%error, "no notices can be sent: secondaries find changes by their own refreshing")).ok()
        };
        let first = |v4: bool| from.iter().find(|address| address.is_ipv4() == v4);
        Self { v4: bind(first(true)).await, v6: bind(first(false)).await }
    }

    async fn send(&self, message: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let missing = || io::Error::other("the service dns has no address of its family");
        socket.as_ref().ok_or_else(missing)?.send_to(message, to).await.map(drop)
    }

    /// The next datagram. Cancel-safe.
    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let receive = async |socket: &Option<UdpSocket>| {
            let Some(socket) = socket else { return std::future::pending().await };
            let mut buffer = vec![0; 4096];
            loop {
                match socket.recv_from(&mut buffer).await {
                    Ok((length, peer)) => {
                        buffer.truncate(length);
                        return (buffer, peer);
                    }
                    // That a secondary does not listen comes out here; the notice is repeated.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::select! {
            received = receive(&self.v4) => received,
            received = receive(&self.v6) => received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::tests::{name, zone};
    use super::*;

    #[test]
    fn a_notice_says_which_version() {
        let version = Version::of(zone("demo.test.", 7, 1)).unwrap();
        let bytes = message(&name("demo.test."), 99, &version).unwrap();
        let notice = Message::from_vec(&bytes).unwrap();
        assert_eq!((notice.metadata.op_code, notice.metadata.authoritative), (OpCode::Notify, true));
        assert_eq!(notice.answers.len(), 1);
        assert_eq!(read(&bytes), None, "what is no answer is none");
        let mut answer = notice.clone();
        answer.metadata.message_type = MessageType::Response;
        assert_eq!(read(&answer.to_vec().unwrap()), Some((99, name("demo.test."))));
    }
}
