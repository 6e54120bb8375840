//! ClamAV's daemon, asked by INSTREAM (clamd(8)) over TCP or a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use estafeta_core::{Failure, Message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::verdict::Finding;

/// What is sent first: it makes clamd take what follows for a mail message, whatever its own first field is.
const MAIL_MARK: &[u8] = b"Received: by filter\r\n";

/// The most bytes sent as one chunk. Any number will do: clamd puts them together again.
const CHUNK_BYTES: usize = 64 * 1024;

/// The longest reply that is read, in bytes.
const REPLY_BYTES: u64 = 4096;

/// Where clamd listens: an address with a port, or the absolute path of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClamdAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

impl std::str::FromStr for ClamdAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Socket(text.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| format!("{text:?} is neither an address with a port (127.0.0.1:3310) nor the path of a socket (/run/clamav/clamd.ctl)"))
    }
}

/// A clamd and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clamd {
    /// Where it is.
    pub address: ClamdAddress,
    /// How long it may take for one message.
    pub time_limit: Duration,
}

impl Clamd {
    /// Scans a message. [`estafeta_core::Reason::Unavailable`] when clamd gives no verdict.
    pub async fn scan(&self, message: &Message) -> Result<Option<Finding>, Failure> {
        let unavailable =
            |cause: &dyn std::fmt::Display| Failure::unavailable(format!("clamd at {}: {cause}", self.address));
        let scan = async {
            match &self.address {
                ClamdAddress::Tcp(address) => scan(TcpStream::connect(address).await?, message).await,
                ClamdAddress::Socket(path) => scan(UnixStream::connect(path).await?, message).await,
            }
        };
        let reply = tokio::time::timeout(self.time_limit, scan)
            .await
            .map_err(|_| unavailable(&format!("no answer in {} s", self.time_limit.as_secs())))?
            .map_err(|error| unavailable(&error))?;
        verdict(&reply).map_err(|reply| unavailable(&reply))
    }
}

/// Sends the message and gives the reply. Both at once: clamd answers and closes in the middle of a message that is
/// larger than its `StreamMaxLength`, and that answer is what the operator must read.
async fn scan(stream: impl AsyncRead + AsyncWrite, message: &Message) -> io::Result<Vec<u8>> {
    let (read, mut write) = tokio::io::split(stream);
    let send = async {
        write.write_all(b"zINSTREAM\0").await?;
        let [prefix, body] = message.parts();
        for chunk in [MAIL_MARK, prefix, body].into_iter().flat_map(|part| part.chunks(CHUNK_BYTES)) {
            // At most CHUNK_BYTES.
            write.write_all(&(chunk.len() as u32).to_be_bytes()).await?;
            write.write_all(chunk).await?;
        }
        write.write_all(&0u32.to_be_bytes()).await?;
        write.flush().await
    };
    let mut reply = Vec::new();
    let mut limited = read.take(REPLY_BYTES);
    let (sent, received) = tokio::join!(send, limited.read_to_end(&mut reply));
    // Where it closed on what it did not want to read, the reply ends in an error.
    if reply.is_empty() { sent.and(received).map(|_| reply) } else { Ok(reply) }
}

impl std::fmt::Display for ClamdAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// `stream: OK`, `stream: NAME FOUND`, or an error, which is given back.
fn verdict(reply: &[u8]) -> Result<Option<Finding>, String> {
    let reply = String::from_utf8_lossy(reply);
    let reply = reply.trim_end_matches(['\0', '\n', '\r']);
    let answer = reply.strip_prefix("stream: ").unwrap_or(reply);
    match answer.strip_suffix(" FOUND") {
        Some(name) => Ok(Some(super::found(name))),
        None if answer == "OK" => Ok(None),
        None => Err(format!("answered {:?}", answer.chars().take(200).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read() {
        assert_eq!(verdict(b"stream: OK\0"), Ok(None));
        let found = verdict(b"stream: Eicar-Test-Signature FOUND\0").unwrap().unwrap();
        assert_eq!(found.symbol.options, ["Eicar-Test-Signature"]);
        assert!(verdict(b"INSTREAM size limit exceeded. ERROR\0").is_err());
        assert!(verdict(b"").is_err());
    }

    #[test]
    fn addresses_are_told_apart() {
        assert_eq!("127.0.0.1:3310".parse(), Ok(ClamdAddress::Tcp(([127, 0, 0, 1], 3310).into())));
        assert_eq!("/run/c.ctl".parse(), Ok(ClamdAddress::Socket("/run/c.ctl".into())));
        assert!("localhost".parse::<ClamdAddress>().is_err());
    }

    #[tokio::test]
    async fn an_answer_in_the_middle_is_read() {
        let (near, mut far) = tokio::io::duplex(1024);
        let far = tokio::spawn(async move {
            far.read_exact(&mut [0; 2000]).await.unwrap();
            far.write_all(b"INSTREAM size limit exceeded. ERROR\0").await.unwrap();
        });
        let reply = scan(near, &Message::new(vec![b'a'; 1_000_000].into())).await.unwrap();
        assert_eq!(verdict(&reply), Err("answered \"INSTREAM size limit exceeded. ERROR\"".into()));
        far.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_there_is_unavailable() {
        let clamd = Clamd { address: "/nowhere/clamd".parse().unwrap(), time_limit: Duration::from_secs(1) };
        assert!(clamd.scan(&Message::new("hello".into())).await.unwrap_err().is_temporary());
    }
}
