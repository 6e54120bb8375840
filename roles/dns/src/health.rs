//! The probes of the services: a question over UDP and one over TCP, one over TLS, and a handshake for what is between nodes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use estafeta_core::sessions::BoxStream;
use estafeta_net::probe::{self, Answer};
use estafeta_net::role::Probing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::transfer::ASKED_BY;

/// How long a datagram's answer is waited for before it is asked again: either of the two may be lost on the way.
const AGAIN: Duration = Duration::from_millis(300);

/// The largest answer that is looked at, in bytes: nothing that we ask for is larger.
const ANSWER_BYTES: usize = 1232;

/// The question's id. It keeps nobody out who wants to lie, and need not: whoever can forge an answer of this server can
/// be this server for others too.
const ID: [u8; 2] = [0xe5, 0x7a];

/// RFC 1035 §4.1.1: the response code of a server that is broken.
const SERVER_FAILURE: u8 = 2;

/// Asks for the SOA of the root. No server of ours has it; whatever one answers shows that it reads questions.
pub fn probe(probing: Probing) -> Answer {
    Box::pin(async move {
        let address = probing.candidate.endpoint.address;
        over_udp(address).await.map_err(|why| format!("over UDP: {why}"))?;
        let over_tcp = async { ask(probe::clear(address).await?).await };
        over_tcp.await.map_err(|why: String| format!("over TCP: {why}"))
    })
}

/// The same over TLS.
pub fn probe_over_tls(probing: Probing) -> Answer {
    Box::pin(async move { ask(probe::over_tls(&probing).await?).await })
}

/// That the right node is there, by the handshake: versions are large, and asked for often enough.
pub fn probe_transfer(probing: Probing) -> Answer {
    Box::pin(async move { probe::between_nodes(&probing, ASKED_BY).await.map(drop) })
}

async fn over_udp(address: SocketAddr) -> Result<(), String> {
    let broken = |error: io::Error| error.to_string();
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(broken)?;
    // Connected, the socket takes nothing from elsewhere and hears of a port that nobody has.
    socket.connect(address).await.map_err(broken)?;
    let mut answer = [0; ANSWER_BYTES];
    loop {
        socket.send(&question()).await.map_err(broken)?;
        match tokio::time::timeout(AGAIN, socket.recv(&mut answer)).await {
            Ok(received) => return read(&answer[..received.map_err(broken)?]),
            // Whoever probes sets the limit.
            Err(_) => continue,
        }
    }
}

async fn ask(mut stream: BoxStream) -> Result<(), String> {
    let asked = async {
        let question = question();
        // RFC 1035 §4.2.2: two bytes of length before each message.
        let mut message = (question.len() as u16).to_be_bytes().to_vec();
        message.extend_from_slice(&question);
        stream.write_all(&message).await?;
        stream.flush().await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?).min(ANSWER_BYTES)];
        stream.read_exact(&mut answer).await?;
        let _ = stream.shutdown().await;
        Ok(answer)
    };
    let answer: Vec<u8> = asked.await.map_err(|error: io::Error| format!("the connection broke: {error}"))?;
    read(&answer)
}

/// RFC 1035 §4.1: a header with one question, the root's SOA in the class IN.
fn question() -> [u8; 17] {
    let [high, low] = ID;
    [high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1]
}

/// Whether it is a response to our question by a server that works.
fn read(answer: &[u8]) -> Result<(), String> {
    match answer {
        [high, low, flags, codes, ..] if [*high, *low] == ID && flags & 0x80 != 0 => match codes & 0x0f {
            SERVER_FAILURE => Err("it answers SERVFAIL".into()),
            _ => Ok(()),
        },
        _ => Err("what it answers is no response to the question".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn responses_are_told_from_what_is_none() {
        assert_eq!(read(&[ID[0], ID[1], 0x80, 5, 0, 0]), Ok(()));
        assert_eq!(read(&[ID[0], ID[1], 0x80, 2, 0, 0]), Err("it answers SERVFAIL".into()));
        for wrong in [&[ID[0], ID[1], 0x00, 0][..], &[0, 0, 0x80, 0], &[ID[0], ID[1], 0x80], &[]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_lost_datagram_is_sent_again_and_a_port_without_a_server_is_seen() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let lossy = tokio::spawn(async move {
            let mut question = [0; 512];
            server.recv_from(&mut question).await.unwrap();
            let (length, from) = server.recv_from(&mut question).await.unwrap();
            question[2] |= 0x80;
            server.send_to(&question[..length], from).await.unwrap();
        });
        assert_eq!(over_udp(address).await, Ok(()));
        lossy.await.unwrap();
        assert!(over_udp(address).await.is_err(), "the server is gone");
        let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = closing.local_addr().unwrap();
        let asked = async { ask(probe::clear(address).await?).await };
        let (asked, _) = tokio::join!(asked, async { drop(closing.accept().await) });
        assert!(asked.unwrap_err().starts_with("the connection broke"));
    }
}
