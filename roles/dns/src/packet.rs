//! From the bytes of a request to the bytes of its response: pure.
//!
//! Invariants: no bytes make it panic; what is no request gets no answer, so that two servers never answer each other's
//! answers; over UDP a response is at most what the client takes and never above [`UDP_BYTES`], which no path on the
//! Internet fragments (RFC 9715 §3); a response in which records had to be left out says so (TC).

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use crate::answer::{Answer, answer};
use crate::zones::Zones;

/// The largest UDP message that is sent or advertised, in bytes (DNS flag day 2020).
pub const UDP_BYTES: u16 = 1232;

/// The largest UDP message for a client that does not speak EDNS, in bytes (RFC 1035 §4.2.1).
const PLAIN_UDP_BYTES: u16 = 512;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In one datagram.
    Udp,
    /// Over a stream.
    Tcp,
}

impl Transport {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A response, and what of it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The message.
    pub bytes: Vec<u8>,
    /// The type that was asked for, when there was a readable question.
    pub kind: Option<RecordType>,
    /// The response code.
    pub code: ResponseCode,
}

/// Answers a request out of `zones`; nothing when it deserves no answer. `turn` says which of several equals comes
/// first.
pub fn respond(
    request: &[u8],
    transport: Transport,
    zones: &Zones,
    turn: impl FnOnce(RecordType) -> usize,
) -> Option<Response> {
    let header = Header::read(&mut BinDecoder::new(request)).ok()?;
    if header.metadata.message_type == MessageType::Response {
        return None;
    }
    let Request { question, edns } = match read(header, request) {
        Ok(request) => request,
        Err(code) => return finish(&header.metadata, None, None, Answer::refusal(code), PLAIN_UDP_BYTES),
    };
    let answer = match &edns {
        // RFC 6891 §6.1.3.
        Some(edns) if edns.version() > 0 => Answer::refusal(ResponseCode::BADVERS),
        _ => answer(zones, &question, turn(question.query_type())),
    };
    let limit_bytes = match (transport, &edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_UDP_BYTES,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_UDP_BYTES, UDP_BYTES),
    };
    finish(&header.metadata, Some(question), edns.as_ref(), answer, limit_bytes)
}

/// What of a request matters.
struct Request {
    question: Query,
    edns: Option<Edns>,
}

/// Reads a request, or says with which code it is refused.
fn read(header: Header, request: &[u8]) -> Result<Request, ResponseCode> {
    if header.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    // RFC 9619 §4: one question. Bounded before anything is allocated by these numbers.
    let counts = header.counts;
    if counts.queries != 1 || counts.answers != 0 || counts.authorities > 1 {
        return Err(ResponseCode::FormErr);
    }
    let mut message = Message::from_vec(request).map_err(|_| ResponseCode::FormErr)?;
    let question = message.queries.pop().ok_or(ResponseCode::FormErr)?;
    Ok(Request { question, edns: message.edns })
}

/// Writes the response: first with everything, then without the additional section (RFC 2181 §9: nobody needs to ask
/// again for that), then without any record and with the bit that says so.
fn finish(
    request: &Metadata,
    question: Option<Query>,
    edns: Option<&Edns>,
    answer: Answer,
    limit_bytes: u16,
) -> Option<Response> {
    let (kind, code) = (question.as_ref().map(Query::query_type), answer.code);
    let mut message = Message::new(request.id, MessageType::Response, request.op_code);
    message.metadata = Metadata::response_from_request(request);
    message.metadata.response_code = code;
    message.metadata.authoritative = answer.authoritative;
    // The name as it was asked, in its own case.
    message.queries = question.into_iter().collect();
    message.answers = answer.answers;
    message.authorities = answer.authorities;
    message.additionals = answer.additionals;
    if let Some(edns) = edns {
        // RFC 6891 §6.1.1, §7; RFC 3225 §3: DO is copied.
        let mut ours = Edns::new();
        ours.set_max_payload(UDP_BYTES).set_version(0).set_dnssec_ok(edns.flags().dnssec_ok);
        message.edns = Some(ours);
    }
    let fits = |bytes: &Vec<u8>| bytes.len() <= usize::from(limit_bytes);
    let mut bytes = write(&message)?;
    if !fits(&bytes) {
        message.additionals.clear();
        bytes = write(&message)?;
    }
    if !fits(&bytes) {
        message.answers.clear();
        message.authorities.clear();
        message.metadata.truncation = true;
        bytes = write(&message)?;
    }
    Some(Response { bytes, kind, code })
}

fn write(message: &Message) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::from(PLAIN_UDP_BYTES));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::MAX);
    let written = message.emit(&mut encoder);
    written.inspect_err(|error| tracing::error!(%error, "a response cannot be written")).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
