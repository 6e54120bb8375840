//! Bytes between a client and a mailbox node, both ways, until either is done.
//!
//! A session is quiet most of its life, and there are tens of thousands of them. So a quiet one holds no buffer at all:
//! bytes are read into one that lies on the stack while they are passed on, and only what the other side does not take
//! at once is kept, up to [`BUFFER_BYTES`].
//!
//! A side that takes nothing of what is kept for it ends the session after [`PATIENCE`], as it ends a conversation that
//! a node leads itself. A session that is quiet because nobody speaks has no such clock, and not even a timer.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use estafeta_core::sessions::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How much is read at once, and the most that is kept of one direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// How many reads one poll does in one direction before others have their turn.
const READS: usize = 8;

/// How long a side may take nothing while something waits for it. Behind TLS it is the time for all that TLS holds, at
/// most 64 KB.
const PATIENCE: Duration = Duration::from_secs(120);

/// The two streams, and what is on its way between them.
pub(super) struct Copy {
    client: BoxStream,
    node: BoxStream,
    to_node: Direction,
    to_client: Direction,
}

/// One direction.
struct Direction {
    /// What was read and not yet taken by the other side.
    kept: Bytes,
    /// Something was written and not yet flushed.
    unflushed: bool,
    state: State,
    /// Runs while something waits for the writing side, anew with each byte that it takes.
    patience: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The reading side has ended: the writing side is told when all is written.
    Ending,
    Ended,
}

impl Copy {
    /// Each stream with what was already read from it.
    pub(super) fn new((client, from_client): (BoxStream, Bytes), (node, from_node): (BoxStream, Bytes)) -> Self {
        let direction = |kept| Direction { kept, unflushed: false, state: State::Open, patience: None };
        Self { client, node, to_node: direction(from_client), to_client: direction(from_node) }
    }
}

impl Future for Copy {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { client, node, to_node, to_client } = &mut *self;
        let sent = to_node.poll(context, client, node)?;
        let received = to_client.poll(context, node, client)?;
        // Once the node has nothing more to say the session is over, whatever the client still sends. A client that
        // closes its own side may still be told something.
        if received.is_ready() && (sent.is_ready() || to_client.state == State::Ended) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl Direction {
    /// Passes on what there is, and fails when nobody takes it. Ready when the reading side has ended and the writing
    /// side knows.
    fn poll(&mut self, context: &mut Context<'_>, from: &mut BoxStream, to: &mut BoxStream) -> Poll<io::Result<()>> {
        let passed = self.pass(context, from, to)?;
        if self.state == State::Ended || (self.state == State::Open && self.kept.is_empty() && !self.unflushed) {
            self.patience = None;
        } else {
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
            if patience.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        passed.map(Ok)
    }

    fn pass(&mut self, context: &mut Context<'_>, from: &mut BoxStream, to: &mut BoxStream) -> Poll<io::Result<()>> {
        for _ in 0..READS {
            while !self.kept.is_empty() {
                let count = ready!(Pin::new(&mut *to).poll_write(context, &self.kept))?;
                self.wrote(count)?;
                self.kept.advance(count);
            }
            // Frees what the kept bytes were part of.
            self.kept = Bytes::new();
            if self.state != State::Open {
                return self.finish(context, to);
            }
            let mut memory = [const { MaybeUninit::<u8>::uninit() }; BUFFER_BYTES];
            let mut buffer = ReadBuf::uninit(&mut memory);
            if Pin::new(&mut *from).poll_read(context, &mut buffer)?.is_pending() {
                // Nothing more to read: what was written must not wait in the other side's TLS.
                return self.flush(context, to);
            }
            let mut read = buffer.filled();
            if read.is_empty() {
                self.state = State::Ending;
            }
            while !read.is_empty() {
                match Pin::new(&mut *to).poll_write(context, read)? {
                    Poll::Ready(count) => {
                        self.wrote(count)?;
                        read = &read[count..];
                    }
                    Poll::Pending => {
                        self.kept = Bytes::copy_from_slice(read);
                        return Poll::Pending;
                    }
                }
            }
        }
        // There may be more: come back after the others.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn wrote(&mut self, count: usize) -> io::Result<()> {
        self.unflushed = true;
        self.patience = None;
        if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    /// Pending in any case: more may come.
    fn flush(&mut self, context: &mut Context<'_>, to: &mut BoxStream) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    fn finish(&mut self, context: &mut Context<'_>, to: &mut BoxStream) -> Poll<io::Result<()>> {
        if self.state == State::Ending {
            ready!(Pin::new(to).poll_shutdown(context))?;
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn ends(size: usize) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let (client, near_client) = duplex(size);
        let (node, near_node) = duplex(size);
        let copy = Copy::new((Box::new(near_client), "early ".into()), (Box::new(near_node), "hello ".into()));
        (client, node, tokio::spawn(copy))
    }

    #[tokio::test]
    async fn both_ways_with_what_was_read_before() {
        let (mut client, mut node, copying) = ends(64);
        client.write_all(b"question").await.unwrap();
        let mut heard = [0; 14];
        node.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"early question");
        node.write_all(b"answer").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(node.read(&mut heard).await.unwrap(), 0, "the node hears that the client is done");
        node.write_all(b" bye").await.unwrap();
        drop(node);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "hello answer bye");
        copying.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn when_the_node_ends_it_is_over() {
        let (mut client, node, copying) = ends(64);
        drop(node);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert!(all.is_empty() || all == "hello ");
        copying.await.unwrap().ok();
    }

    #[tokio::test]
    async fn much_through_narrow_pipes_arrives_whole() {
        let (mut client, mut node, copying) = ends(1000);
        let sent: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            node.write_all(&sent).await.unwrap();
            node.shutdown().await.unwrap();
            let mut rest = Vec::new();
            node.read_to_end(&mut rest).await.unwrap();
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(&received[6..], expected);
        drop(client);
        copying.await.unwrap().unwrap();
        writer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_let_go_and_who_is_slow_or_silent_is_not() {
        let (mut client, mut node, copying) = ends(64);
        let silence = PATIENCE * 100;
        tokio::time::sleep(silence).await;
        // Slow: a few bytes at a time, while more waits than the pipe holds.
        node.write_all(&[b'x'; 128]).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(PATIENCE * 9 / 10).await;
            client.read_exact(&mut [0; 8]).await.unwrap();
        }
        assert!(!copying.is_finished());
        let stalled = tokio::time::Instant::now();
        let ended = tokio::time::timeout(PATIENCE * 2, copying).await.unwrap().unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(stalled.elapsed() >= PATIENCE - Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_the_last_words_is_let_go() {
        let (client, mut node, copying) = ends(64);
        node.read_exact(&mut [0; 6]).await.unwrap();
        node.write_all(&[b'x'; 64]).await.unwrap();
        drop(node);
        let ended = tokio::time::timeout(PATIENCE * 2, copying).await.unwrap().unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
