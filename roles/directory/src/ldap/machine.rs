//! The server's side of an LDAP connection as a machine: bytes in, requests out (RFC 4511 §4.1.1, §5.1).
//!
//! Requests are carried out one after the other, in their order; whoever wants several at once opens several
//! connections. So an Abandon always comes too late, which §4.11 allows.
//!
//! Invariants: a message's announced length is checked before its contents are waited for; what cannot be decoded ends
//! the connection with a Notice of Disconnection (§4.1.1); after that nothing is read.

use bytes::{Bytes, BytesMut};
use estafeta_protocols::machine::{Farewell, Machine, Step};
use ldap3_proto::LdapCodec;
use ldap3_proto::proto::{LdapExtendedResponse, LdapMsg, LdapOp, LdapResult, LdapResultCode};
use tokio_util::codec::{Decoder, Encoder};

use super::ber;

/// The largest message that is read: an alias with a thousand targets fits twice.
pub const MESSAGE_BYTES: usize = 1024 * 1024;

/// How deep a message's elements may be nested: a filter of some fifty levels.
const DEPTH: usize = 64;

/// RFC 4511 §4.4.1.
const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

/// The tags of the operations that a client may ask for (§4.2 to §4.12). The decoder knows more, and writes what it
/// does not know to the standard output.
const REQUESTS: [u8; 10] = [
    0x60, // BindRequest
    0x42, // UnbindRequest
    0x63, // SearchRequest
    0x66, // ModifyRequest
    0x68, // AddRequest
    0x4a, // DelRequest
    0x6c, // ModifyDNRequest
    0x6e, // CompareRequest
    0x50, // AbandonRequest
    0x77, // ExtendedRequest
];

/// The machine. Its event is a request, which the handler answers with [`LdapMachine::answer`] or on the driver's
/// output, in the form that [`encode`] gives.
#[derive(Default)]
pub struct LdapMachine {
    received: BytesMut,
    written: BytesMut,
    /// The peer sends no more.
    ended: bool,
    /// The node drains: goodbye, as soon as no request is half received.
    leaving: bool,
    /// Nothing more is read.
    closing: bool,
}

/// A message as bytes.
pub fn encode(message: LdapMsg) -> std::io::Result<BytesMut> {
    let mut bytes = BytesMut::new();
    LdapCodec::default().encode(message, &mut bytes)?;
    Ok(bytes)
}

/// Why bytes are no request.
struct Unreadable(&'static str);

impl LdapMachine {
    /// Writes a message.
    pub fn answer(&mut self, message: LdapMsg) -> std::io::Result<()> {
        self.written.extend_from_slice(&encode(message)?);
        Ok(())
    }

    /// Ends the connection with a notice of why.
    pub fn disconnect(&mut self, code: LdapResultCode, why: &str) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.received.clear();
        let res = LdapResult { code, matcheddn: String::new(), message: why.to_owned(), referral: Vec::new() };
        let notice = LdapExtendedResponse { res, name: Some(NOTICE_OF_DISCONNECTION.to_owned()), value: None };
        if let Err(error) = self.answer(LdapMsg::new(0, LdapOp::ExtendedResponse(notice))) {
            tracing::warn!(%error, "a notice of disconnection could not be written");
        }
    }

    /// The next whole message, if it is there.
    fn take(&mut self) -> Result<Option<LdapMsg>, Unreadable> {
        let Some(header) = header(&self.received)? else { return Ok(None) };
        let end = header.bytes + header.length;
        if self.received.len() < end {
            return Ok(None);
        }
        let mut message = self.received.split_to(end);
        if self.received.is_empty() {
            // An idle connection keeps no buffer.
            self.received = BytesMut::new();
        }
        check_request(&message[header.bytes..])?;
        // The codec gives None for what is too short for itself: a length inside that is longer than the message.
        let decoded = LdapCodec::new(Some(MESSAGE_BYTES), Some(DEPTH)).decode(&mut message);
        match decoded {
            Ok(Some(message)) if message.msgid > 0 => Ok(Some(message)),
            Ok(Some(_)) => Err(Unreadable("the message id must be above zero")),
            Ok(None) | Err(_) => Err(Unreadable("the message cannot be decoded")),
        }
    }
}

/// The header of an LDAPMessage, a SEQUENCE of definite length (§5.1); none when there is too little of it.
fn header(received: &[u8]) -> Result<Option<ber::Header>, Unreadable> {
    if received.first().is_some_and(|&tag| tag != ber::SEQUENCE) {
        return Err(Unreadable("an LDAP message begins with a SEQUENCE"));
    }
    let header = ber::header(received).map_err(|_| Unreadable("the length of the message cannot be read"))?;
    if header.as_ref().is_some_and(|header| header.bytes + header.length > MESSAGE_BYTES) {
        return Err(Unreadable("the message is too large"));
    }
    Ok(header)
}

/// That behind the message id stands a request.
fn check_request(contents: &[u8]) -> Result<(), Unreadable> {
    let [0x02, length @ 1..=4, rest @ ..] = contents else { return Err(Unreadable("the message id cannot be read")) };
    match rest.get(usize::from(*length)) {
        Some(tag) if REQUESTS.contains(tag) => Ok(()),
        _ => Err(Unreadable("the operation is not a request")),
    }
}

impl Machine for LdapMachine {
    type Event = LdapMsg;

    fn receive(&mut self, bytes: &[u8]) {
        if !self.closing {
            self.received.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn secured(&mut self) {}

    fn next(&mut self) -> Step<LdapMsg> {
        if !self.written.is_empty() {
            return Step::Write(self.written.split().freeze());
        }
        if self.closing {
            return Step::Close;
        }
        match self.take() {
            Ok(Some(LdapMsg { op: LdapOp::UnbindRequest, .. })) => {
                self.closing = true;
                Step::Close
            }
            Ok(Some(message)) => Step::Event(message),
            Ok(None) if self.ended => {
                self.closing = true;
                Step::Close
            }
            Ok(None) if self.leaving && self.received.is_empty() => {
                self.disconnect(LdapResultCode::Unavailable, "this node is going down, ask another");
                self.next()
            }
            Ok(None) => Step::Read,
            Err(Unreadable(why)) => {
                self.disconnect(LdapResultCode::ProtocolError, why);
                self.next()
            }
        }
    }

    fn farewell(&mut self, why: Farewell) {
        match why {
            Farewell::Draining => self.leaving = true,
            Farewell::Idle => self.disconnect(LdapResultCode::Unavailable, "idle for too long"),
            Farewell::Internal => self.disconnect(LdapResultCode::Other, "internal error"),
        }
    }

    fn take_unread(&mut self) -> Bytes {
        self.received.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ldap3_proto::proto::{LdapBindCred, LdapBindRequest, LdapExtendedRequest};
    use proptest::prelude::*;

    fn whoami(id: i32) -> BytesMut {
        let request = LdapExtendedRequest { name: "1.3.6.1.4.1.4203.1.11.3".into(), value: None };
        encode(LdapMsg::new(id, LdapOp::ExtendedRequest(request))).unwrap()
    }

    /// Feeds and steps until the machine reads or closes; gives the events, and the notice if one was written.
    fn run(machine: &mut LdapMachine, bytes: &[u8]) -> (Vec<LdapMsg>, Option<LdapExtendedResponse>, bool) {
        let (mut events, mut notice) = (Vec::new(), None);
        machine.receive(bytes);
        loop {
            match machine.next() {
                Step::Read => return (events, notice, false),
                Step::Close => return (events, notice, true),
                Step::Event(message) => events.push(message),
                Step::Write(bytes) => {
                    let message = LdapCodec::default().decode(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
                    let LdapOp::ExtendedResponse(response) = message.op else { panic!("{message:?}") };
                    assert_eq!((message.msgid, response.name.as_deref()), (0, Some(NOTICE_OF_DISCONNECTION)));
                    notice = Some(response);
                }
                Step::StartTls | Step::Compress => panic!(),
            }
        }
    }

    #[test]
    fn messages_in_pieces_of_any_size() {
        let input: Vec<u8> = (1..=3).flat_map(|id| whoami(id).to_vec()).collect();
        for size in 1..input.len() {
            let mut machine = LdapMachine::default();
            let mut ids = Vec::new();
            for piece in input.chunks(size) {
                ids.extend(run(&mut machine, piece).0.into_iter().map(|message| message.msgid));
            }
            assert_eq!(ids, [1, 2, 3]);
        }
    }

    #[test]
    fn what_is_no_request_gets_a_notice() {
        let zero = whoami(1).iter().enumerate().map(|(at, &byte)| if at == 4 { 0 } else { byte }).collect::<Vec<_>>();
        let answer = encode(LdapMsg::new(1, LdapOp::AddResponse(super::super::outcome::result(Ok(()))))).unwrap();
        for (bytes, why) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "SEQUENCE"),
            (b"\x30\x84\x7f\xff\xff\xff", "too large"),
            (b"\x30\x83\x10\x00\x00", "too large"),
            (b"\x30\x80", "length"),
            (b"\x30\x88\x00", "length"),
            (b"\x30\x00", "message id"),
            (b"\x30\x05\x02\x01\x01\x5f\x00", "not a request"),
            (b"\x30\x05\x02\x01\x01\x60\x7f", "decoded"),
            (b"\x30\x05\x02\x01\x01\x60\x00", "decoded"),
            (&zero, "above zero"),
            (&answer, "not a request"),
        ] {
            let (events, notice, closed) = run(&mut LdapMachine::default(), bytes);
            let notice = notice.unwrap_or_else(|| panic!("{bytes:?}"));
            assert!(events.is_empty() && closed && notice.res.message.contains(why), "{bytes:?}: {notice:?}");
            assert_eq!(notice.res.code, LdapResultCode::ProtocolError);
        }
    }

    #[test]
    fn unbind_and_the_end_close_without_a_word() {
        let unbind = encode(LdapMsg::new(2, LdapOp::UnbindRequest)).unwrap();
        let (events, notice, closed) =
            run(&mut LdapMachine::default(), &[&whoami(1)[..], &unbind, &whoami(3)].concat());
        assert!(events.len() == 1 && notice.is_none() && closed);
        let mut machine = LdapMachine::default();
        machine.end();
        let (events, _, closed) = run(&mut machine, &whoami(1));
        assert!(events.len() == 1 && closed);
    }

    #[test]
    fn a_drain_lets_a_request_come_to_its_end() {
        let mut machine = LdapMachine::default();
        let request = whoami(1);
        run(&mut machine, &request[..5]);
        machine.farewell(Farewell::Draining);
        assert!(!run(&mut machine, &request[5..7]).2);
        let (events, notice, closed) = run(&mut machine, &request[7..]);
        assert!(events.len() == 1 && closed);
        assert_eq!(notice.unwrap().res.code, LdapResultCode::Unavailable);
    }

    #[test]
    fn nesting_is_bounded() {
        // (!(!(!…))) of a thousand levels: [2] { [2] { … } }.
        let mut filter = vec![0x87, 0x01, b'a'];
        for _ in 0..1000 {
            let mut outer = vec![0xa2, 0x82];
            outer.extend(u16::try_from(filter.len()).unwrap().to_be_bytes());
            outer.append(&mut filter);
            filter = outer;
        }
        let wrap = |tag: u8, contents: Vec<u8>| {
            [vec![tag, 0x82], u16::try_from(contents.len()).unwrap().to_be_bytes().to_vec(), contents].concat()
        };
        let search = [
            b"\x04\x00\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00".to_vec(),
            filter,
            b"\x30\x00".to_vec(),
        ]
        .concat();
        let message = wrap(0x30, [b"\x02\x01\x01".to_vec(), wrap(0x63, search)].concat());
        let (events, notice, closed) = run(&mut LdapMachine::default(), &message);
        assert!(events.is_empty() && notice.is_some() && closed);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic(
            head in prop_oneof![Just(vec![]), Just(b"\x30\x0c\x02\x01\x01\x60\x07".to_vec()), Just(b"\x30\x20\x02\x01\x01\x63\x1b".to_vec())],
            tail in prop::collection::vec(any::<u8>(), 0..64),
            size in 1_usize..16,
        ) {
            let bytes = [head, tail].concat();
            let mut machine = LdapMachine::default();
            for piece in bytes.chunks(size) {
                run(&mut machine, piece);
                prop_assert!(machine.received.len() <= MESSAGE_BYTES + size);
            }
        }

        #[test]
        fn a_message_with_a_wrong_byte_never_panics(at in 0_usize..64, byte in any::<u8>()) {
            let cred = LdapBindCred::Simple("correct horse".into());
            let bind = LdapBindRequest { version: 3, dn: "uid=ana,ou=people,dc=example,dc=edu".into(), cred };
            let mut bytes = encode(LdapMsg::new(7, LdapOp::BindRequest(bind))).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            run(&mut LdapMachine::default(), &bytes);
        }
    }
}
