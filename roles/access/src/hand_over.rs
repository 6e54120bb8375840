//! From login to mail: the stream goes to the session, and nothing of the login stays in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use estafeta_core::sessions::{BoxStream, Protocol, Session};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a session may be silent, once the node drains, before it is ended.
const QUIET: Duration = Duration::from_secs(1);

/// RFC 3501 §7.1.5, RFC 5530 §3.
const IMAP_FAREWELL: &[u8] = b"* BYE [UNAVAILABLE] Restarting, please connect again\r\n";

/// Lets the session and its client talk until either ends it, or until the node drains and the client is silent. Until
/// then nothing of this role's is held but the stream itself.
pub async fn hand_over(
    session: Box<dyn Session>,
    protocol: Protocol,
    connection: Connection,
    unread: Bytes,
    drain: &Drain,
) {
    let (label, farewell) = match protocol {
        Protocol::Imap => ("imap", IMAP_FAREWELL),
        // POP3 has no word for it (RFC 1939 §3: a server speaks when it is spoken to).
        Protocol::Pop3 => ("pop3", &b""[..]),
    };
    let open = metrics::gauge!("estafeta_access_sessions_open", "protocol" => label);
    open.increment(1.0);
    let _closed = Closed(open);
    let (client, began, drain) = (connection.peer, Instant::now(), drain.clone());
    let over = Box::pin(async move {
        drain.begun().await;
        tokio::time::sleep(QUIET).await;
    });
    let stream = UntilDrained { stream: connection.stream, over: Some(over), at_line_start: true, farewell, owed: b"" };
    let ended = session.serve(Box::new(stream), unread).await;
    let seconds = began.elapsed().as_secs();
    match ended {
        Ok(()) => tracing::debug!(%client, seconds, "session ended"),
        Err(error) => tracing::debug!(%client, seconds, %error, "session broken off"),
    }
}

/// Tells the metrics what they are.
pub fn describe_metrics() {
    metrics::describe_gauge!("estafeta_access_sessions_open", "Clients that are logged in, by protocol.");
}

/// Counts a session out, also when it is cut off.
struct Closed(metrics::Gauge);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A client's stream that seems to end when the node drains and the client is silent. The session then finishes what
/// runs and closes, as if the client had gone; the client reads a goodbye and connects again, to another node.
struct UntilDrained {
    stream: BoxStream,
    /// None when it has come.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whether all that was written ends a line: only there may a goodbye stand.
    at_line_start: bool,
    farewell: &'static [u8],
    /// What is left to say before the stream closes.
    owed: &'static [u8],
}

impl AsyncRead for UntilDrained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        if let Some(over) = &mut self.over {
            if over.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.over = None;
            self.owed = self.farewell;
        }
        // Nothing read: the end.
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UntilDrained {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count @ 1..)) = written {
            self.at_line_start = bytes[count - 1] == b'\n';
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.at_line_start && !self.owed.is_empty() {
            let owed = self.owed;
            match ready!(Pin::new(&mut self.stream).poll_write(context, owed))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.owed = &owed[count..],
            }
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Echoes what it reads, and closes properly at its end.
    struct Echo;

    #[async_trait]
    impl Session for Echo {
        fn capabilities(&self) -> &str {
            ""
        }

        async fn serve(self: Box<Self>, mut stream: BoxStream, unread: Bytes) -> io::Result<()> {
            stream.write_all(&unread).await?;
            let mut buffer = [0; 64];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return stream.shutdown().await,
                    count => stream.write_all(&buffer[..count]).await?,
                }
            }
        }
    }

    async fn said(protocol: Protocol, unread: &'static str) -> String {
        let (near, mut far) = duplex(1024);
        let drain = Drain::new();
        let address = ([192, 0, 2, 1], 40_000).into();
        let connection =
            Connection { stream: Box::new(near), peer: address, local: address, tls: None, identity: None };
        let client = async {
            far.write_all(b" more\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            drain.begin();
            let mut said = String::new();
            far.read_to_string(&mut said).await.unwrap();
            said
        };
        tokio::join!(hand_over(Box::new(Echo), protocol, connection, unread.into(), &drain), client).1
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_session_ends_with_a_goodbye_when_the_node_drains() {
        assert_eq!(
            said(Protocol::Imap, "unread").await,
            "unread more\r\n* BYE [UNAVAILABLE] Restarting, please connect again\r\n"
        );
        assert_eq!(said(Protocol::Pop3, "unread").await, "unread more\r\n");
    }

    #[tokio::test]
    async fn no_goodbye_stands_within_a_line() {
        let (near, mut far) = duplex(1024);
        let mut stream = UntilDrained {
            stream: Box::new(near),
            over: None,
            at_line_start: true,
            farewell: b"",
            owed: IMAP_FAREWELL,
        };
        stream.write_all(b"half").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        far.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "half");
    }
}
