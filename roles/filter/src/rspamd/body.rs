//! A message as the body of a request: sent piece by piece, copied nowhere.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use estafeta_core::Message;
use hyper::body::{Body, Frame, SizeHint};

/// The most bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// What is left to send of a message.
pub struct MessageBody([Bytes; 2]);

impl MessageBody {
    /// The whole message.
    pub fn new(message: &Message) -> Self {
        Self(message.parts().map(Bytes::clone))
    }
}

impl Body for MessageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.0.iter_mut().find(|part| !part.is_empty());
        Poll::Ready(part.map(|part| Ok(Frame::data(part.split_to(part.len().min(PIECE_BYTES))))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}
