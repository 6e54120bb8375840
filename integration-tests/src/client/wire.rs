//! A connection that reads lines and literals, in clear text or through TLS, with a limit on every wait.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};

/// How long a read or a write may take.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The longest line that is taken from a server.
const LINE_BYTES: usize = 1 << 20;

/// Whom TLS clients believe: the authority that made the test cluster's certificates, and nobody else.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    /// What the server's certificate must name; its address when none.
    name: Option<ServerName<'static>>,
}

impl Trust {
    /// Trust in the authority whose certificate stands in this PEM file.
    pub fn in_file(file: &Path) -> anyhow::Result<Self> {
        Ok(Self { config: Arc::new(believing(file)?.with_no_client_auth()), name: None })
    }

    /// The same, of the node whose certificate and key these files hold, when it talks with the node `peer`.
    pub fn of_node(file: &Path, certificate: &Path, key: &Path, peer: &str) -> anyhow::Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let config = believing(file)?.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        let name = ServerName::try_from(format!("{peer}.node.estafeta.invalid"))?;
        Ok(Self { config: Arc::new(config), name: Some(name) })
    }
}

fn believing(file: &Path) -> anyhow::Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(|| file.display().to_string())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two, while TLS starts.
    Gone,
}

/// A connection.
pub struct Wire {
    stream: Stream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::connect_within(address, Duration::from_secs(10), PATIENCE)
    }

    /// Connects within a time; each read and write may take as long as `patience`.
    pub fn connect_within(address: SocketAddr, limit: Duration, patience: Duration) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit).with_context(|| address.to_string())?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Stream::Clear(stream), address, buffer: Vec::new() })
    }

    /// Connects and starts TLS at once.
    pub fn connect_tls(address: SocketAddr, trust: &Trust) -> anyhow::Result<Self> {
        let mut wire = Self::connect(address)?;
        wire.start_tls(trust)?;
        Ok(wire)
    }

    /// Starts TLS. The server's certificate must name the address, or the node. Bytes that came before in clear text would have
    /// been injected: they are an error.
    pub fn start_tls(&mut self, trust: &Trust) -> anyhow::Result<()> {
        ensure!(self.buffer.is_empty(), "clear text came behind the answer that starts TLS: {:?}", self.buffer);
        let Stream::Clear(mut stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            bail!("TLS is already spoken");
        };
        let name = trust.name.clone().unwrap_or_else(|| ServerName::from(self.address.ip()));
        let mut session = ClientConnection::new(trust.config.clone(), name)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).with_context(|| format!("TLS with {}", self.address))?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(session, stream)));
        Ok(())
    }

    /// How long a read may take from now on.
    pub fn set_patience(&self, patience: Duration) -> anyhow::Result<()> {
        Ok(self.socket()?.set_read_timeout(Some(patience))?)
    }

    fn socket(&self) -> anyhow::Result<&TcpStream> {
        match &self.stream {
            Stream::Clear(stream) => Ok(stream),
            Stream::Tls(stream) => Ok(&stream.sock),
            Stream::Gone => bail!("the connection is gone"),
        }
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.stream {
            Stream::Clear(stream) => stream.write_all(bytes)?,
            Stream::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
            Stream::Gone => bail!("the connection is gone"),
        }
        Ok(())
    }

    /// Closes the sending side.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        Ok(self.socket()?.shutdown(Shutdown::Write)?)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let count = match &mut self.stream {
            Stream::Clear(stream) => stream.read(&mut chunk)?,
            // A peer that dies does not say goodbye.
            Stream::Tls(stream) => match stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                other => other?,
            },
            Stream::Gone => 0,
        };
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// A line without its ending; none at the end of the stream.
    pub fn line_or_end(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            ensure!(self.buffer.len() < LINE_BYTES, "a line of more than {LINE_BYTES} bytes");
            if self.fill().context("waiting for a line")? == 0 {
                ensure!(self.buffer.is_empty(), "the stream ended within a line: {:?}", self.buffer);
                return Ok(None);
            }
        }
    }

    /// A line without its ending.
    pub fn line(&mut self) -> anyhow::Result<Vec<u8>> {
        self.line_or_end()?.context("the server hung up")
    }

    /// A line as text.
    pub fn text_line(&mut self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.line()?).into_owned())
    }

    /// Exactly so many bytes.
    pub fn exact(&mut self, count: usize) -> anyhow::Result<Vec<u8>> {
        while self.buffer.len() < count {
            ensure!(self.fill()? > 0, "the server hung up within {count} bytes");
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads up to a line that begins with `mark` and is the last that has come, and says how many bytes that were. It keeps
    /// nothing and looks at nothing else, so that it is the server who is measured.
    pub fn skip_to(&mut self, mark: &[u8]) -> anyhow::Result<usize> {
        let mut skipped = 0;
        loop {
            let complete = self.buffer.strip_suffix(b"\r\n").unwrap_or_default();
            let last = complete.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            if complete[last..].starts_with(mark) {
                return Ok(skipped + std::mem::take(&mut self.buffer).len());
            }
            // What cannot be part of the last line any more goes.
            let behind = self.buffer.iter().rposition(|&byte| byte == b'\n').unwrap_or_default();
            let kept = self.buffer[..behind].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            skipped += kept;
            self.buffer.drain(..kept);
            ensure!(self.fill().context("waiting for a completion")? > 0, "the server hung up");
        }
    }

    /// Whether the server hangs up without another word.
    pub fn ends(&mut self) -> bool {
        self.buffer.is_empty() && self.fill().is_ok_and(|count| count == 0)
    }

    /// Everything that comes until the server hangs up or resets.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill().is_ok_and(|count| count > 0) {}
        std::mem::take(&mut self.buffer)
    }
}
