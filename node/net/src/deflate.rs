//! A stream through DEFLATE (RFC 1951), as COMPRESS asks for (RFC 4978 §4): raw, in both directions, one dictionary for the
//! whole connection.
//!
//! Invariants: what was flushed can be read whole at the other end; at most [`OUTGOING_BYTES`] and one write wait
//! compressed, and nothing is read before the reader has taken what came before: a stream that blows up is read in
//! pieces like any other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use estafeta_core::sessions::BoxStream;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// From so many compressed bytes on that wait to be sent, no more is taken. In bytes.
const OUTGOING_BYTES: usize = 32 * 1024;

/// How much is read and compressed at once, in bytes.
const PIECE_BYTES: usize = 4 * 1024;

/// The stream.
pub struct DeflateStream {
    stream: BoxStream,
    inflate: Decompress,
    deflate: Compress,
    /// Compressed, from the peer.
    incoming: BytesMut,
    /// Compressed, for the peer.
    outgoing: BytesMut,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The peer has ended its data.
    ended: bool,
}

impl DeflateStream {
    /// Over `stream`, of which `unread` was read ahead.
    pub fn new(stream: BoxStream, unread: &Bytes) -> Self {
        Self {
            stream,
            inflate: Decompress::new(false),
            deflate: Compress::new(Compression::fast(), false),
            incoming: unread.as_ref().into(),
            outgoing: BytesMut::new(),
            unflushed: false,
            ended: false,
        }
    }

    /// Compresses `bytes`, and with `flush` all that came before them.
    fn compress(&mut self, mut bytes: &[u8], flush: FlushCompress) -> io::Result<()> {
        let mut piece = [0; PIECE_BYTES];
        loop {
            let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
            self.deflate.compress(bytes, &mut piece, flush).map_err(io::Error::other)?;
            bytes.advance((self.deflate.total_in() - read) as usize);
            let count = (self.deflate.total_out() - written) as usize;
            self.outgoing.extend_from_slice(&piece[..count]);
            // With room left, there was nothing more to give.
            if bytes.is_empty() && count < piece.len() {
                return Ok(());
            }
        }
    }

    /// Sends until no more than `rest` bytes wait.
    fn poll_send(&mut self, context: &mut Context<'_>, rest: usize) -> Poll<io::Result<()>> {
        while self.outgoing.len() > rest {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.outgoing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outgoing.advance(count),
            }
        }
        if self.outgoing.is_empty() {
            // A silent connection keeps no buffer.
            self.outgoing = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Decompresses into `buffer`. Says whether there was anything.
    fn decompress(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let done = self.inflate.decompress(&self.incoming, buffer.initialize_unfilled(), FlushDecompress::None);
        let status = done.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.incoming.advance((self.inflate.total_in() - read) as usize);
        let count = (self.inflate.total_out() - written) as usize;
        buffer.advance(count);
        self.ended |= status == Status::StreamEnd;
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        Ok(count > 0)
    }
}

impl AsyncRead for DeflateStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while buffer.remaining() > 0 && !this.ended {
            // What is in already comes first; there may be some of it although nothing waits.
            if this.decompress(buffer)? {
                break;
            }
            let mut piece = [0; PIECE_BYTES];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            this.incoming.extend_from_slice(read.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DeflateStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(context, OUTGOING_BYTES))?;
        let taken = &bytes[..bytes.len().min(OUTGOING_BYTES)];
        this.compress(taken, FlushCompress::None)?;
        this.unflushed = true;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.unflushed) {
            this.compress(&[], FlushCompress::Sync)?;
        }
        ready!(this.poll_send(context, 0))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn pair(room: usize) -> (DeflateStream, DeflateStream) {
        let (near, far) = duplex(room);
        let over = |stream| DeflateStream::new(Box::new(stream), &Bytes::new());
        (over(near), over(far))
    }

    #[tokio::test]
    async fn what_is_flushed_can_be_read() {
        let (mut near, mut far) = pair(64 * 1024);
        for text in ["a NOOP\r\n", "b NOOP\r\n"] {
            near.write_all(text.as_bytes()).await.unwrap();
            near.flush().await.unwrap();
            // Nothing new: nothing is sent.
            near.flush().await.unwrap();
            let mut read = vec![0; text.len()];
            far.read_exact(&mut read).await.unwrap();
            assert_eq!(read, text.as_bytes());
        }
        drop(near);
        assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn much_goes_through_little_room() {
        let (mut near, mut far) = pair(100);
        let mut seed = 7_u32;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        });
        let text: Vec<u8> = noise.take(300_000).chain(vec![b'x'; 3_000_000]).collect();
        let sent = text.clone();
        let writer = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
            assert!(near.outgoing.is_empty());
        });
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap();
        assert!(read == text);
    }

    #[tokio::test]
    async fn it_saves_bytes_and_takes_what_was_read_ahead() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = DeflateStream::new(Box::new(near), &Bytes::new());
        near.write_all(&b"From: ana@example.edu\r\n".repeat(1_000)).await.unwrap();
        near.flush().await.unwrap();
        drop(near);
        let mut compressed = Vec::new();
        far.read_to_end(&mut compressed).await.unwrap();
        assert!(compressed.len() < 1_000, "{}", compressed.len());
        // RFC 1951 §3.2.3, flushed: an empty block without compression ends it.
        assert!(compressed.ends_with(&[0, 0, 0xff, 0xff]));
        let (quiet, _other) = duplex(10);
        let mut reader = DeflateStream::new(Box::new(quiet), &compressed.into());
        let mut text = vec![0; 23_000];
        reader.read_exact(&mut text).await.unwrap();
        assert!(text == b"From: ana@example.edu\r\n".repeat(1_000));
    }

    #[tokio::test]
    async fn what_is_not_compressed_is_an_error() {
        let (near, mut far) = duplex(100);
        let mut near = DeflateStream::new(Box::new(near), &Bytes::new());
        far.write_all(b"a NOOP\r\nb NOOP\r\n").await.unwrap();
        let error = near.read(&mut [0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
