//! The one loop that drives a protocol machine over a connection: it reads, writes, starts TLS, watches the time and
//! the drain, and hands the machine's events to a role's handler.
//!
//! Invariants: bytes leave in the order in which machine and handler gave them; what was written is sent before the
//! loop waits for the peer; a conversation that is silent, slow or drained ends in the protocol's own words.

use std::future::{pending, ready};
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use estafeta_core::sessions::BoxStream;
use estafeta_protocols::machine::{Farewell, Machine, READ_BYTES, Step};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::connection::Connection;
use crate::drain::Drain;

/// How much is gathered before it is sent without being asked to, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// The first read of a conversation that was quiet: small, because most conversations are quiet most of the time.
const QUIET_READ_BYTES: usize = 512;

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To send anything, when it is its turn.
    pub read: Duration,
    /// To take what was sent: each write of at most 64 KB.
    pub write: Duration,
}

/// How [`Step::StartTls`] is carried out.
#[derive(Clone)]
pub enum Upgrade {
    /// Not at all: the machine must not ask for it.
    Never,
    /// As the server.
    Accept(TlsAcceptor),
    /// As the client, to a server of this name.
    Connect(TlsConnector, ServerName<'static>),
}

/// What a handler wants after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Ask the machine for its next step.
    Continue,
    /// End the loop here and give the connection back, with the bytes that the machine has not consumed.
    HandOver,
    /// Send what was written and close.
    Close,
}

/// What a role does with a machine's events.
pub trait Handler<M: Machine>: Send {
    /// Carries an event out and answers it by the method of the machine that the event's documentation names. Large
    /// answers may be written to `output` directly: they go behind what the machine has written. An error ends the
    /// conversation as if the peer were gone.
    fn handle(
        &mut self,
        event: M::Event,
        machine: &mut M,
        output: &mut Output<'_>,
    ) -> impl Future<Output = io::Result<Flow>> + Send;

    /// Completes when something happened that the machine should hear of while it waits for the peer (a change in a
    /// mailbox during IDLE). Cancel-safe: it is dropped and made anew around every read.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }

    /// What to do then.
    fn wake(&mut self, _machine: &mut M, _output: &mut Output<'_>) -> impl Future<Output = io::Result<Flow>> + Send {
        ready(Ok(Flow::Continue))
    }

    /// How long the peer may be silent now; the loop's own limit when none.
    fn patience(&self, _machine: &M) -> Option<Duration> {
        None
    }

    /// TLS was started: these are its facts now.
    fn secured(&mut self, _connection: &Facts<'_>) {}
}

/// What a handler is told of its connection.
pub struct Facts<'a> {
    /// What TLS is spoken.
    pub tls: Option<&'a estafeta_core::sessions::TlsFacts>,
    /// Who the peer is inside the cluster.
    pub identity: Option<&'a crate::identity::PeerIdentity>,
}

/// Where a handler writes large answers.
pub struct Output<'a> {
    stream: &'a mut BoxStream,
    gathered: &'a mut BytesMut,
    limit: Duration,
}

impl Output<'_> {
    /// Sends bytes behind all that was written before; waits for the peer when it is slow.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.gathered.len() + bytes.len() <= GATHER_BYTES {
            self.gathered.extend_from_slice(bytes);
            return Ok(());
        }
        self.send_gathered().await?;
        for chunk in bytes.chunks(GATHER_BYTES) {
            in_time(self.limit, self.stream.write_all(chunk)).await?;
        }
        Ok(())
    }

    /// Sends all that was written: for a handler that is about to wait for something else than the peer.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.send_gathered().await?;
        in_time(self.limit, self.stream.flush()).await
    }

    async fn send_gathered(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            in_time(self.limit, self.stream.write_all(self.gathered)).await?;
            self.gathered.clear();
        }
        Ok(())
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
}

/// How a conversation ended, when no error ended it.
#[allow(clippy::large_enum_variant, reason = "one a conversation, and taken apart at once")]
pub enum Ended {
    /// It is closed.
    Closed,
    /// The handler asked for the connection, with what the machine had not consumed.
    HandedOver(Connection, Bytes),
}

/// Drives `machine` until the conversation ends.
pub async fn drive<M: Machine, H: Handler<M>>(
    mut connection: Connection,
    machine: &mut M,
    handler: &mut H,
    upgrade: Upgrade,
    timeouts: Timeouts,
    drain: &Drain,
) -> io::Result<Ended> {
    let mut gathered = BytesMut::new();
    let mut read = Reader::default();
    let mut told_to_drain = false;
    let mut silent = false;
    loop {
        macro_rules! output {
            () => {
                Output { stream: &mut connection.stream, gathered: &mut gathered, limit: timeouts.write }
            };
        }
        let flow = match machine.next() {
            Step::Write(bytes) => {
                output!().write(&bytes).await?;
                Flow::Continue
            }
            // In a box that lasts as long as the event: a conversation that waits keeps no room for its largest command.
            Step::Event(event) => Box::pin(handler.handle(event, machine, &mut output!())).await?,
            Step::Close => Flow::Close,
            Step::StartTls => {
                output!().flush().await?;
                connection = match &upgrade {
                    Upgrade::Accept(acceptor) => connection.accept_tls(acceptor).await?,
                    Upgrade::Connect(connector, name) => connection.connect_tls(connector, name.clone()).await?,
                    Upgrade::Never => return Err(io::Error::other("a bug: TLS was offered and cannot be started")),
                };
                machine.secured();
                handler.secured(&Facts { tls: connection.tls.as_ref(), identity: connection.identity.as_ref() });
                Flow::Continue
            }
            Step::Compress => {
                output!().flush().await?;
                connection = connection.compressed(&machine.take_unread());
                machine.compressed();
                Flow::Continue
            }
            // A machine that was told of the silence, and still wants to read, has nothing to say about it.
            Step::Read if silent => Flow::Close,
            Step::Read => {
                output!().flush().await?;
                // An idle conversation keeps no buffer of ours.
                gathered = BytesMut::new();
                let patience = handler.patience(machine).unwrap_or(timeouts.read);
                tokio::select! {
                    bytes = read.some(&mut connection.stream) => {
                        match bytes? {
                            [] => machine.end(),
                            bytes => machine.receive(bytes),
                        }
                        Flow::Continue
                    }
                    () = handler.woken() => Box::pin(handler.wake(machine, &mut output!())).await?,
                    () = drain.begun(), if !told_to_drain => {
                        told_to_drain = true;
                        machine.farewell(Farewell::Draining);
                        Flow::Continue
                    }
                    () = tokio::time::sleep(patience) => {
                        silent = true;
                        machine.farewell(Farewell::Idle);
                        Flow::Continue
                    }
                }
            }
        };
        match flow {
            Flow::Continue => {}
            Flow::HandOver => {
                output!().flush().await?;
                let unread = machine.take_unread();
                return Ok(Ended::HandedOver(connection, unread));
            }
            Flow::Close => {
                output!().flush().await?;
                // Not waiting for the peer's own goodbye longer than for a write.
                let _ = in_time(timeouts.write.min(Duration::from_secs(5)), connection.stream.shutdown()).await;
                return Ok(Ended::Closed);
            }
        }
    }
}

/// Reads into a buffer that is small while the peer says little and grows when it sends much.
struct Reader {
    buffer: Vec<u8>,
    size: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { buffer: Vec::new(), size: QUIET_READ_BYTES }
    }
}

impl Reader {
    /// Some bytes; none at the end of the stream. Cancel-safe.
    async fn some(&mut self, stream: &mut BoxStream) -> io::Result<&[u8]> {
        if self.buffer.len() != self.size {
            self.buffer = vec![0; self.size];
        }
        let count = match stream.read(&mut self.buffer).await {
            Ok(count) => count,
            // A peer that goes without a TLS goodbye is gone all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        if count == self.size {
            self.size = READ_BYTES;
        } else if count <= QUIET_READ_BYTES {
            self.size = QUIET_READ_BYTES;
        }
        Ok(&self.buffer[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::duplex;

    /// Echoes lines in capitals; `quit` closes, `over` hands over.
    #[derive(Default)]
    struct Lines {
        buffer: Vec<u8>,
        out: Vec<Bytes>,
        closing: bool,
    }

    impl Machine for Lines {
        type Event = String;
        fn receive(&mut self, bytes: &[u8]) {
            self.buffer.extend_from_slice(bytes);
        }
        fn end(&mut self) {
            self.closing = true;
        }
        fn secured(&mut self) {}
        fn next(&mut self) -> Step<String> {
            if !self.out.is_empty() {
                return Step::Write(self.out.remove(0));
            }
            if self.closing {
                return Step::Close;
            }
            let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else { return Step::Read };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            Step::Event(String::from_utf8_lossy(&line).trim().to_owned())
        }
        fn farewell(&mut self, why: Farewell) {
            self.out.push(format!("bye {why:?}\n").into());
            self.closing = true;
        }
        fn take_unread(&mut self) -> Bytes {
            std::mem::take(&mut self.buffer).into()
        }
    }

    struct Capitals(Arc<tokio::sync::Notify>);

    impl Handler<Lines> for Capitals {
        async fn handle(&mut self, line: String, machine: &mut Lines, output: &mut Output<'_>) -> io::Result<Flow> {
            match line.as_str() {
                "quit" => return Ok(Flow::Close),
                "over" => return Ok(Flow::HandOver),
                "big" => output.write(&vec![b'x'; 200_000]).await?,
                _ => machine.out.push(format!("{}\n", line.to_uppercase()).into()),
            }
            Ok(Flow::Continue)
        }
        async fn woken(&mut self) {
            self.0.notified().await;
        }
        async fn wake(&mut self, machine: &mut Lines, _: &mut Output<'_>) -> io::Result<Flow> {
            machine.out.push("news\n".into());
            Ok(Flow::Continue)
        }
    }

    async fn talk(
        input: &[u8],
        drain: Drain,
        news: Arc<tokio::sync::Notify>,
        read: Duration,
    ) -> (Vec<u8>, Option<Bytes>) {
        let (near, mut far) = duplex(1 << 20);
        let address = "127.0.0.1:1".parse().unwrap();
        let connection =
            Connection { stream: Box::new(near), peer: address, local: address, tls: None, identity: None };
        far.write_all(input).await.unwrap();
        let timeouts = Timeouts { read, write: Duration::from_secs(5) };
        let ended = drive(connection, &mut Lines::default(), &mut Capitals(news), Upgrade::Never, timeouts, &drain)
            .await
            .unwrap();
        let unread = match ended {
            Ended::Closed => None,
            Ended::HandedOver(connection, unread) => {
                drop(connection);
                Some(unread)
            }
        };
        let mut output = Vec::new();
        far.read_to_end(&mut output).await.unwrap();
        (output, unread)
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn answers_in_order_and_hands_over_what_is_unread() {
        let (output, unread) = talk(b"a\nbig\nb\nover\nrest", Drain::new(), Arc::default(), LONG).await;
        let expected = [b"A\n".as_slice(), &vec![b'x'; 200_000], b"B\n"].concat();
        assert_eq!(output, expected);
        assert_eq!(unread.unwrap(), "rest");
    }

    #[tokio::test]
    async fn a_drain_says_goodbye() {
        let drain = Drain::new();
        drain.begin();
        let (output, _) = talk(b"a\n", drain, Arc::default(), LONG).await;
        assert!(output.ends_with(b"bye Draining\n"), "{output:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_and_news_wake() {
        let news = Arc::new(tokio::sync::Notify::new());
        news.notify_one();
        let (output, _) = talk(b"a\n", Drain::new(), news, Duration::from_secs(60)).await;
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains("A\n") && text.contains("news\n") && text.ends_with("bye Idle\n"), "{text}");
    }
}
