//! DNS over a stream (RFC 1035 §4.2.2, RFC 7766): each message behind its length in two bytes. Several requests may
//! come on one connection, also before the first is answered; they are answered in their order.

use bytes::Bytes;
use estafeta_protocols::machine::{Farewell, Machine, Step};

/// The largest request that is read, in bytes: a question and EDNS options fit many times over. Whoever announces more
/// is hung up on.
const REQUEST_BYTES: usize = 4096;

/// A whole request. Answer it with [`RequestStream::answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request(pub Bytes);

/// The server's side of a stream.
#[derive(Default)]
pub(crate) struct RequestStream {
    received: Vec<u8>,
    answer: Option<Bytes>,
    closing: bool,
}

impl RequestStream {
    /// Answers the request that was the last event. Responses are at most 65,535 bytes long.
    pub(crate) fn answer(&mut self, response: &[u8]) {
        let Ok(length) = u16::try_from(response.len()) else {
            self.closing = true;
            return;
        };
        self.answer = Some([length.to_be_bytes().as_slice(), response].concat().into());
    }

    /// Takes the next whole request out of what was received.
    fn request(&mut self) -> Option<Request> {
        let (length, rest) = self.received.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length > REQUEST_BYTES {
            self.closing = true;
            self.received = Vec::new();
            return None;
        }
        let request = Bytes::copy_from_slice(rest.get(..length)?);
        self.received.drain(..2 + length);
        Some(Request(request))
    }
}

impl Machine for RequestStream {
    type Event = Request;

    fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        self.closing = true;
    }

    fn secured(&mut self) {}

    fn next(&mut self) -> Step<Request> {
        if let Some(answer) = self.answer.take() {
            return Step::Write(answer);
        }
        // What came whole before the peer closed its side is still answered.
        match self.request() {
            Some(request) => Step::Event(request),
            None if self.closing => Step::Close,
            None => Step::Read,
        }
    }

    fn farewell(&mut self, _: Farewell) {
        self.closing = true;
        self.received = Vec::new();
    }

    fn take_unread(&mut self) -> Bytes {
        std::mem::take(&mut self.received).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(request: &[u8]) -> Vec<u8> {
        [&(request.len() as u16).to_be_bytes()[..], request].concat()
    }

    /// Feeds bytes in pieces and echoes every request; gives what was written and whether it hung up.
    fn echo(bytes: &[u8], pieces: usize) -> (Vec<u8>, bool) {
        let (mut stream, mut written) = (RequestStream::default(), Vec::new());
        for piece in bytes.chunks(pieces) {
            stream.receive(piece);
            loop {
                match stream.next() {
                    Step::Event(Request(request)) => stream.answer(&request),
                    Step::Write(bytes) => written.extend_from_slice(&bytes),
                    Step::Close => return (written, true),
                    _ => break,
                }
            }
            assert!(stream.received.len() < 2 + REQUEST_BYTES, "bounded between two reads");
        }
        stream.end();
        (written, stream.next() == Step::Close)
    }

    #[test]
    fn several_requests_are_answered_in_their_order() {
        let bytes = [framed(b"one"), framed(b""), framed(&[7; REQUEST_BYTES])].concat();
        for pieces in [1, 2, 5, 16 * 1024] {
            assert_eq!(echo(&bytes, pieces), (bytes.clone(), true));
        }
    }

    #[test]
    fn an_oversized_request_is_hung_up_on_at_its_length() {
        let bytes = [framed(b"one"), framed(&[7; REQUEST_BYTES + 1])].concat();
        assert_eq!(echo(&bytes[..7], 1), (framed(b"one"), true));
    }

    #[test]
    fn after_a_farewell_it_closes() {
        let mut stream = RequestStream::default();
        stream.receive(&[0, 9, 1]);
        assert_eq!(stream.next(), Step::Read);
        stream.farewell(Farewell::Draining);
        assert_eq!((stream.next(), stream.next()), (Step::Close, Step::Close));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20_000), pieces in 1..16_384_usize) {
            echo(&bytes, pieces);
        }
    }
}
