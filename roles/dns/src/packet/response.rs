//! Writes responses. What many clients get alike is a [`Body`], which can be kept; what differs from client to client
//! (id, two flags, the case of the name, the OPT record) is added when it is sent.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use super::edns::Opt;
use super::request::{HEADER_BYTES, Head, Question};
use crate::answer::Answer;

/// Bits of a header's third byte.
const IS_RESPONSE: u8 = 0x80;
const OP_CODE: u8 = 0x78;
const AUTHORITATIVE: u8 = 0x04;
const TRUNCATED: u8 = 0x02;

/// A response as far as it is the same for everybody who asks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The message: id 0, the name in lower case, without OPT.
    bytes: Vec<u8>,
    /// The response code.
    pub code: ResponseCode,
}

impl Body {
    /// Writes an answer to `question`, whose name is in lower case: first with everything, then without the additional
    /// section (RFC 2181 §9: nobody needs to ask again for that), then without any record and with the bit that says so.
    /// At most `room_bytes` long. None when a bug stands in the way.
    pub fn new(question: &Query, answer: Answer, room_bytes: usize) -> Option<Self> {
        let code = answer.code;
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.authoritative = answer.authoritative;
        message.queries = vec![question.clone()];
        message.answers = answer.answers;
        message.authorities = answer.authorities;
        message.additionals = answer.additionals;
        let mut bytes = encode(&message)?;
        if bytes.len() > room_bytes {
            message.additionals.clear();
            bytes = encode(&message)?;
        }
        if bytes.len() > room_bytes {
            message.answers.clear();
            message.authorities.clear();
            message.metadata.truncation = true;
            bytes = encode(&message)?;
        }
        Some(Self { bytes, code })
    }

    /// Writes it for one client. `question` is the same but for the case of its name, which comes back as it was asked:
    /// names behind it that are the same point to it (RFC 1035 §4.1.4).
    pub fn write(&self, head: &Head, question: &Question<'_>, opt: Option<&Opt<'_>>, message: &mut Vec<u8>) {
        message.clear();
        message.extend_from_slice(&self.bytes);
        message[..2].copy_from_slice(&head.id);
        message[2] |= head.recursion_desired();
        message[3] |= head.checking_disabled();
        message[HEADER_BYTES..HEADER_BYTES + question.name.len()].copy_from_slice(question.name);
        add(message, opt);
    }
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::MAX);
    let written = message.emit(&mut encoder);
    written.inspect_err(|error| tracing::error!(%error, "a response cannot be written")).ok()?;
    Some(bytes)
}

/// Why a response has no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// It is refused with this code.
    Refused(ResponseCode),
    /// It is answered over TCP alone.
    Truncated,
}

/// Writes a response without records. The question comes back if it could be read.
pub fn write_bare(
    bare: Bare,
    head: &Head,
    question: Option<&Question<'_>>,
    opt: Option<&Opt<'_>>,
    message: &mut Vec<u8>,
) {
    let (flags, code) = match bare {
        Bare::Refused(code) => (0, code),
        Bare::Truncated => (AUTHORITATIVE | TRUNCATED, ResponseCode::NoError),
    };
    message.clear();
    message.extend(head.id);
    message.push(IS_RESPONSE | head.flags_high & OP_CODE | flags | head.recursion_desired());
    message.push(head.checking_disabled() | code.low());
    message.extend([0, u8::from(question.is_some()), 0, 0, 0, 0, 0, 0]);
    if let Some(question) = question {
        message.extend_from_slice(question.bytes);
    }
    add(message, opt);
}

/// Adds the OPT record behind the additional section, and counts it in.
fn add(message: &mut Vec<u8>, opt: Option<&Opt<'_>>) {
    let Some(opt) = opt else { return };
    let additionals = u16::from_be_bytes([message[10], message[11]]).saturating_add(1);
    message[10..HEADER_BYTES].copy_from_slice(&additionals.to_be_bytes());
    opt.write(message);
}
