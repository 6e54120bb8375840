//! What a person's machine would do: ask DNS, send by SMTP, read by IMAPS and POP3S. Small, and strict about answers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use estafeta_core::sessions::BoxStream;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a name server over UDP.
pub async fn ask_dns(server: SocketAddr, name: &str, kind: RecordType) -> anyhow::Result<Vec<RData>> {
    let mut question = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(format!("{name}."))?, kind));
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.send_to(&question.to_vec()?, server).await?;
    let mut buffer = [0; 1500];
    let (length, _) = tokio::time::timeout(Duration::from_secs(2), socket.recv_from(&mut buffer))
        .await
        .with_context(|| format!("{server} does not answer"))??;
    let answer = Message::from_vec(&buffer[..length])?;
    Ok(answer.answers.iter().filter(|record| record.record_type() == kind).map(|record| record.data.clone()).collect())
}

/// The addresses that mail for `domain` goes to, in the order to try them (RFC 5321 §5.1): each with its MX name.
pub async fn mail_exchangers(servers: &[SocketAddr], domain: &str) -> anyhow::Result<Vec<(String, IpAddr)>> {
    let mut found = Vec::new();
    for server in servers {
        let Ok(records) = ask_dns(*server, domain, RecordType::MX).await else { continue };
        let mut exchangers: Vec<(u16, String)> = records
            .into_iter()
            .filter_map(|data| match data {
                RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii().trim_end_matches('.').to_owned())),
                _ => None,
            })
            .collect();
        exchangers.sort();
        for (_, name) in exchangers {
            found.extend(addresses(&[*server], &name).await?.into_iter().map(|address| (name.clone(), address)));
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    bail!("no name server names an MX for {domain}")
}

/// The addresses of a name, as the first server that answers gives them.
pub async fn addresses(servers: &[SocketAddr], name: &str) -> anyhow::Result<Vec<IpAddr>> {
    for server in servers {
        let Ok(records) = ask_dns(*server, name, RecordType::A).await else { continue };
        return Ok(records.into_iter().filter_map(|data| data.ip_addr()).collect());
    }
    bail!("no name server answers for {name}")
}

/// A connection that sends at once what is written to it: times are shown, and waiting for an acknowledgement is nobody's hop.
async fn reach(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A conversation in lines.
pub struct Lines(BufReader<BoxStream>);

impl Lines {
    /// In clear text.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(BufReader::new(Box::new(reach(address).await?))))
    }

    /// Through TLS, with a certificate that the authority vouches for under this name.
    pub async fn connect_tls(address: SocketAddr, name: &str, authority: &Path) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = reach(address).await?;
        let stream =
            TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned())?, stream).await?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let length =
            tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.context("no answer in time")??;
        ensure!(length > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }

    async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.0.write_all(text.as_bytes()).await?;
        Ok(self.0.flush().await?)
    }

    /// The last line of an SMTP reply.
    async fn smtp_reply(&mut self) -> anyhow::Result<String> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    async fn smtp(&mut self, command: &str) -> anyhow::Result<String> {
        self.send(&format!("{command}\r\n")).await?;
        self.smtp_reply().await
    }
}

/// Sends a message by SMTP and gives the reply to it, or the first refusal.
pub async fn send(server: SocketAddr, sender: &str, recipients: &[&str], message: &str) -> anyhow::Result<String> {
    let mut smtp = Lines::connect(server).await?;
    let greeting = smtp.smtp_reply().await?;
    ensure!(greeting.starts_with("220"), "greeted with {greeting}");
    let mut commands = vec!["EHLO sender.example".to_owned(), format!("MAIL FROM:<{sender}>")];
    commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
    for command in commands {
        let reply = smtp.smtp(&command).await?;
        if !reply.starts_with('2') {
            return Ok(reply);
        }
    }
    let reply = smtp.smtp("DATA").await?;
    ensure!(reply.starts_with("354"), "DATA answered with {reply}");
    smtp.send(&message.replace("\r\n.", "\r\n..")).await?;
    let reply = smtp.smtp(".").await?;
    let _ = smtp.smtp("QUIT").await;
    Ok(reply)
}

/// The newest message of INBOX, whole, and how many there are, by IMAP.
pub async fn read_imap(
    server: SocketAddr,
    name: &str,
    authority: &Path,
    login: &str,
    password: &str,
) -> anyhow::Result<(usize, String)> {
    let mut imap = Lines::connect_tls(server, name, authority).await?;
    let greeting = imap.line().await?;
    ensure!(greeting.starts_with("* OK"), "greeted with {greeting}");
    imap_command(&mut imap, "a", &format!("LOGIN \"{login}\" \"{password}\"")).await?;
    let selected = imap_command(&mut imap, "b", "SELECT INBOX").await?;
    let count = selected
        .iter()
        .find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse::<usize>().ok())
        .context("SELECT names no EXISTS")?;
    ensure!(count > 0, "INBOX is empty");
    imap.send(&format!("c FETCH {count} BODY.PEEK[]\r\n")).await?;
    let head = imap.line().await?;
    let size = head.rsplit_once('{').and_then(|(_, size)| size.trim_end_matches('}').parse::<usize>().ok());
    let size = size.filter(|size| *size <= 1 << 20).with_context(|| format!("FETCH answers {head}"))?;
    let mut message = vec![0; size];
    imap.0.read_exact(&mut message).await?;
    while !imap.line().await?.starts_with("c OK") {}
    imap_command(&mut imap, "d", "LOGOUT").await?;
    Ok((count, String::from_utf8_lossy(&message).into_owned()))
}

async fn imap_command(imap: &mut Lines, tag: &str, command: &str) -> anyhow::Result<Vec<String>> {
    imap.send(&format!("{tag} {command}\r\n")).await?;
    let mut untagged = Vec::new();
    loop {
        let line = imap.line().await?;
        match line.strip_prefix(&format!("{tag} ")) {
            Some(status) if status.starts_with("OK") => return Ok(untagged),
            Some(status) => bail!("{} answered {status}", command.split(' ').next().unwrap_or_default()),
            None => untagged.push(line),
        }
    }
}

/// The newest message, whole, and how many there are, by POP3.
pub async fn read_pop3(
    server: SocketAddr,
    name: &str,
    authority: &Path,
    login: &str,
    password: &str,
) -> anyhow::Result<(usize, String)> {
    let mut pop3 = Lines::connect_tls(server, name, authority).await?;
    let greeting = pop3.line().await?;
    ensure!(greeting.starts_with("+OK"), "greeted with {greeting}");
    let mut status = String::new();
    for command in [format!("USER {login}"), format!("PASS {password}"), "STAT".to_owned()] {
        pop3.send(&format!("{command}\r\n")).await?;
        status = pop3.line().await?;
        ensure!(status.starts_with("+OK"), "{} answered {status}", command.split(' ').next().unwrap_or_default());
    }
    let count: usize =
        status.split(' ').nth(1).unwrap_or_default().parse().with_context(|| format!("STAT answered {status}"))?;
    pop3.send(&format!("RETR {count}\r\n")).await?;
    let status = pop3.line().await?;
    ensure!(status.starts_with("+OK"), "RETR answered {status}");
    let mut message = String::new();
    loop {
        let line = pop3.line().await?;
        if line == "." {
            break;
        }
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
        message.push('\n');
    }
    pop3.send("QUIT\r\n").await?;
    Ok((count, message))
}
