//! Questions to a name server, over UDP.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

/// The answer section to one question.
pub fn ask(server: SocketAddr, name: &str, kind: RecordType) -> anyhow::Result<Vec<RData>> {
    ask_within(server, name, kind, Duration::from_secs(5))
}

/// The answer section to one question, when it comes within a time.
pub fn ask_within(server: SocketAddr, name: &str, kind: RecordType, patience: Duration) -> anyhow::Result<Vec<RData>> {
    let id = fastrand::u16(..);
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(name)?, kind));
    let socket = UdpSocket::bind((if server.is_ipv4() { "0.0.0.0" } else { "::" }, 0))?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect(server)?;
    socket.send(&question.to_vec()?)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).with_context(|| format!("{server} does not answer for {name}"))?;
    let answer = Message::from_vec(&buffer[..length])?;
    ensure!(answer.metadata.id == id, "the answer to another question");
    Ok(answer.answers.into_iter().map(|record| record.data).collect())
}

/// The IPv4 addresses of a host, in the order of the answer.
pub fn addresses(server: SocketAddr, host: &str) -> anyhow::Result<Vec<IpAddr>> {
    let answers = ask(server, host, RecordType::A)?;
    Ok(answers
        .into_iter()
        .filter_map(|data| if let RData::A(a) = data { Some(IpAddr::V4(a.0)) } else { None })
        .collect())
}

/// The mail exchanges of a domain, the preferred ones first.
pub fn exchanges(server: SocketAddr, domain: &str) -> anyhow::Result<Vec<(u16, String)>> {
    let answers = ask(server, domain, RecordType::MX)?;
    let exchange = |data| if let RData::MX(mx) = data { Some((mx.preference, mx.exchange.to_ascii())) } else { None };
    let mut exchanges: Vec<_> = answers.into_iter().filter_map(exchange).collect();
    exchanges.sort_by_key(|(preference, _)| *preference);
    Ok(exchanges)
}
