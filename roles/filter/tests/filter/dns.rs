//! A DNS server with known answers, over UDP on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// What a name has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These texts.
    Txt(String),
    /// An address.
    A(std::net::Ipv4Addr),
    /// SERVFAIL, whatever is asked.
    Broken,
    /// No answer ever.
    Silent,
}

/// Answers until it is dropped. What it does not know does not exist.
pub struct FakeDns {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl FakeDns {
    /// Starts it with these names, without final dots.
    pub async fn start(names: &[(&str, Answer)]) -> Self {
        let names: HashMap<String, Answer> =
            names.iter().map(|(name, answer)| (format!("{}.", name.to_lowercase()), answer.clone())).collect();
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                if let Some(reply) = reply(&names, &buffer[..length]) {
                    socket.send_to(&reply, peer).await.unwrap();
                }
            }
        });
        Self { address, _task: AbortOnDropHandle::new(task) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn reply(names: &HashMap<String, Answer>, question: &[u8]) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let mut reply = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.add_query(query.clone());
    let data = match names.get(&query.name().to_lowercase().to_string()) {
        Some(Answer::Silent) => return None,
        Some(Answer::Broken) => {
            reply.metadata.response_code = ResponseCode::ServFail;
            None
        }
        Some(Answer::Txt(text)) if query.query_type() == RecordType::TXT => {
            // Each text in pieces of at most 255 octets (RFC 1035 §3.3.14).
            Some(RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect())))
        }
        Some(Answer::A(address)) if query.query_type() == RecordType::A => Some(RData::A((*address).into())),
        Some(_) => None,
        None => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            None
        }
    };
    if let Some(data) = data {
        let name: Name = query.name().clone();
        reply.add_answer(Record::from_rdata(name, 60, data));
    }
    Some(reply.to_vec().unwrap())
}
