//! What an idle IMAP client costs: opens many connections, logs in on each, lets them be silent, and compares the
//! memory of the processes that hold them before and after.
//!
//! ```text
//! cargo run --release -p estafeta-access --example idle_connections -- ADDRESS LOGIN COUNT PID...
//! ```
//!
//! ADDRESS is where `imaps` listens; the password is read from standard input; the PIDs are those of the access node
//! and, when the mail is elsewhere, of the mailbox node. Both sides need as many file descriptors: `ulimit -n`.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How many log in at once.
const AT_ONCE: usize = 8;

/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(3);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, login, count, pids @ ..] = &arguments[..] else {
        return Err("usage: idle_connections ADDRESS LOGIN COUNT PID...".into());
    };
    let (address, count): (SocketAddr, usize) = (address.parse()?, count.parse()?);
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    let command = Arc::new(format!("a LOGIN \"{login}\" \"{}\"\r\nb SELECT INBOX\r\nc IDLE\r\n", password.trim_end()));

    // The first connection pays for what all share: code, caches, the mailbox itself.
    let first = open(address, command.clone()).await?;
    tokio::time::sleep(SETTLE).await;
    let before = pids.iter().map(|pid| memory_kb(pid)).collect::<Result<Vec<_>>>()?;
    let mut held = vec![first];
    while held.len() <= count {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE.min(count + 1 - held.len()) {
            opening.spawn(open(address, command.clone()));
        }
        while let Some(opened) = opening.join_next().await {
            held.push(opened??);
        }
    }
    tokio::time::sleep(SETTLE).await;
    for (pid, before) in pids.iter().zip(before) {
        let grown = memory_kb(pid)?.saturating_sub(before);
        println!(
            "process {pid}: {before} KB before, {grown} KB more, {:.1} KB a connection",
            grown as f64 / count as f64
        );
    }
    drop(held);
    Ok(())
}

/// A connection that is logged in and in IDLE.
async fn open(address: SocketAddr, command: Arc<String>) -> Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await?;
    let mut stream = BufReader::new(stream);
    stream.write_all(command.as_bytes()).await?;
    stream.flush().await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line.contains(" NO ") || line.contains(" BAD ") {
            return Err(format!("the server said {line:?}").into());
        }
        if line.starts_with('+') {
            return Ok(stream.into_inner());
        }
    }
}

/// The resident memory of a process.
fn memory_kb(pid: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// This program measures; whom it measures it was told.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
