//! From login to mail: the stream goes to the session, and nothing of the login stays in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use estafeta_core::sessions::{BoxStream, Protocol, Session};
use estafeta_net::drain::Drain;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::front::protocol_label;

/// How long a session may be silent, once the node drains, before it is ended.
const QUIET: Duration = Duration::from_secs(1);

/// Mail that is open and the client that waits for it.
pub struct HandOver {
    /// The mail.
    pub session: Box<dyn Session>,
    /// The client.
    pub stream: BoxStream,
    /// What it sent behind its login.
    pub unread: Bytes,
    /// The language.
    pub protocol: Protocol,
}

impl HandOver {
    /// Lets the two talk until either ends it, or until the node drains and the client has nothing more to say.
    pub async fn serve(self, drain: &Drain) -> io::Result<()> {
        let open = metrics::gauge!("estafeta_access_sessions_open", "protocol" => protocol_label(self.protocol));
        open.increment(1.0);
        let _closed = Closed(open);
        let drain = drain.clone();
        let over = Box::pin(async move {
            drain.begun().await;
            tokio::time::sleep(QUIET).await;
        });
        let stream = UntilDrained { stream: self.stream, over: Some(over) };
        self.session.serve(Box::new(stream), self.unread).await
    }
}

/// Counts a session out, also when it is cut off.
struct Closed(metrics::Gauge);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A client's stream that seems to end when the node drains and the client is silent. The session then finishes what
/// runs and closes, as if the client had gone, and the client connects again, to another node.
struct UntilDrained {
    stream: BoxStream,
    /// None when it has come.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl AsyncRead for UntilDrained {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        if let Some(over) = &mut self.over {
            if over.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.over = None;
        }
        // Nothing read: the end.
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UntilDrained {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
