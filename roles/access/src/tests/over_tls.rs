//! The role as it runs: its own listeners on loopback, real TLS.

use std::sync::Arc;
use std::time::SystemTime;

use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::ServiceName;
use estafeta_net::role::{Plan, Transport};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::KeyFiles;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::{IMAP, IMAPS, POP3, POP3S};

/// A running role, and who trusts its certificate.
struct Running {
    addresses: Vec<(ServiceName, SocketAddr)>,
    connector: TlsConnector,
    drain: Drain,
    /// As the node does, whatever becomes of the role.
    _sockets: Arc<Sockets>,
    _directory: tempfile::TempDir,
}

async fn start(config: Config) -> Running {
    let (running, run) = prepare(config).await;
    tokio::spawn(run);
    running
}

/// The role before its run is polled, and that run.
async fn prepare(config: Config) -> (Running, impl Future<Output = Result<(), Failure>> + Send) {
    let directory = tempfile::tempdir().unwrap();
    let authority = AuthorityFiles::init(directory.path(), SystemTime::now()).unwrap();
    let pair = authority.issue_service(&["imap.example.edu".into()], SystemTime::now()).unwrap();
    let service = KeyFiles { certificate: pair.certificate, key: pair.key };
    let (mut context, _) = context(TlsFiles { service: Some(service), cluster: None }).await;

    let mut sockets = Sockets::default();
    for service in [IMAP, IMAPS, POP3, POP3S] {
        sockets.bind(&service, ([127, 0, 0, 1], 0).into(), Transport::Tcp).unwrap();
    }
    let address = |service: ServiceName| (service.clone(), sockets.tcp(&service).unwrap()[0].local_addr().unwrap());
    let addresses = [IMAP, IMAPS, POP3, POP3S].map(address).into();
    let sockets = Arc::new(sockets);
    context.sockets = sockets.clone();
    let drain = context.drain.clone();
    let run = config.start(context).await.unwrap().run;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    (Running { addresses, connector, drain, _sockets: sockets, _directory: directory }, run)
}

impl Running {
    async fn clear(&self, service: ServiceName) -> TcpStream {
        let (_, address) = self.addresses.iter().find(|(name, _)| *name == service).unwrap();
        TcpStream::connect(address).await.unwrap()
    }

    async fn secure(&self, stream: TcpStream) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("imap.example.edu").unwrap();
        self.connector.connect(name, stream).await.unwrap()
    }
}

/// Reads until what was read ends so.
async fn until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let byte = tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await;
        let said_so_far = String::from_utf8_lossy(&said).into_owned();
        said.push(
            byte.unwrap_or_else(|_| panic!("nothing follows {said_so_far:?}"))
                .unwrap_or_else(|error| panic!("{error} after {said_so_far:?}")),
        );
    }
    String::from_utf8(said).unwrap()
}

/// One line.
async fn line(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    until(stream, "\r\n").await
}

#[tokio::test]
async fn nothing_is_served_before_the_run_or_after_it() {
    let (running, run) = prepare(Config::default()).await;
    let is_silent =
        async |mut client: TcpStream| tokio::time::timeout(Duration::from_millis(200), client.read_u8()).await.is_err();
    assert!(is_silent(running.clear(IMAP).await).await);
    let run = tokio::spawn(run);
    line(&mut running.clear(IMAP).await).await;
    run.abort();
    let _ = run.await;
    assert!(is_silent(running.clear(IMAP).await).await);
}

#[tokio::test]
async fn tls_from_the_first_byte() {
    let running = start(Config::default()).await;
    let mut imap = running.secure(running.clear(IMAPS).await).await;
    let greeting = line(&mut imap).await;
    assert!(
        greeting.contains("AUTH=PLAIN") && !greeting.contains("STARTTLS") && !greeting.contains("LOGINDISABLED"),
        "{greeting}"
    );
    imap.write_all(b"a LOGIN ana@example.edu \"correct horse\"\r\nmore\r\n").await.unwrap();
    assert!(line(&mut imap).await.starts_with("a OK [CAPABILITY IMAP4rev1 ECHO]"));
    assert_eq!(line(&mut imap).await, "mail of ana@example.edu over TLSv1_3: more\r\n");

    let mut pop3 = running.secure(running.clear(POP3S).await).await;
    assert!(line(&mut pop3).await.starts_with("+OK"));
    pop3.write_all(b"USER ana@example.edu\r\nPASS correct horse\r\nSTAT\r\n").await.unwrap();
    until(&mut pop3, "mail of ana@example.edu over TLSv1_3: STAT\r\n").await;
}

#[tokio::test]
async fn what_is_put_behind_starttls_in_clear_text_is_dropped() {
    let running = start(Config::default()).await;
    let mut imap = running.clear(IMAP).await;
    let greeting = line(&mut imap).await;
    assert!(greeting.contains("STARTTLS LOGINDISABLED") && !greeting.contains("AUTH="), "{greeting}");
    // In one packet, so that the server reads it at once.
    imap.write_all(b"a STARTTLS\r\nb LOGIN ana@example.edu \"correct horse\"\r\nc NOOP\r\n").await.unwrap();
    assert!(line(&mut imap).await.starts_with("a OK"));
    let mut imap = running.secure(imap).await;
    imap.write_all(b"d CAPABILITY\r\ne LOGIN ana@example.edu \"correct horse\"\r\nf\r\n").await.unwrap();
    let said = until(&mut imap, "over TLSv1_3: f\r\n").await;
    assert!(said.starts_with("* CAPABILITY") && said.contains("d OK") && said.contains("e OK"), "{said}");
    assert!(!said.contains("b ") && !said.contains("c OK") && !said.contains("STARTTLS"), "{said}");

    let mut pop3 = running.clear(POP3).await;
    assert!(line(&mut pop3).await.starts_with("+OK"));
    pop3.write_all(b"STLS\r\nUSER ana@example.edu\r\nPASS correct horse\r\n").await.unwrap();
    assert!(line(&mut pop3).await.starts_with("+OK"));
    let mut pop3 = running.secure(pop3).await;
    pop3.write_all(b"NOOP\r\nQUIT\r\n").await.unwrap();
    let mut said = String::new();
    pop3.read_to_string(&mut said).await.unwrap();
    assert_eq!(said.matches("\r\n").count(), 2, "{said}");
    assert!(!said.contains("mail of"), "{said}");
}

#[tokio::test]
async fn garbage_ends_one_connection_and_not_the_others() {
    let running = start(Config::default()).await;
    let mut good = running.secure(running.clear(IMAPS).await).await;
    line(&mut good).await;
    for service in [IMAP, IMAPS, POP3, POP3S] {
        let mut bad = running.clear(service).await;
        // The peer may be gone before all of it is written.
        let _ = bad.write_all(&[0xff, 0, b'\r', b'\n'].repeat(10_000)).await;
        let _ = bad.shutdown().await;
        let _ = tokio::time::timeout(Duration::from_secs(10), bad.read_to_end(&mut Vec::new())).await.unwrap();
    }
    good.write_all(b"a NOOP\r\n").await.unwrap();
    assert!(line(&mut good).await.starts_with("a OK"));
}

#[tokio::test]
async fn one_address_has_only_so_many_connections() {
    let running = start(Config { connections_per_address_limit: 2, ..Config::default() }).await;
    let mut first = running.clear(IMAP).await;
    let mut second = running.clear(IMAP).await;
    line(&mut first).await;
    line(&mut second).await;
    let mut third = running.clear(IMAP).await;
    assert_eq!(third.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    drop(first);
    // The place is free once the server has noticed.
    for _ in 0..100 {
        let mut again = running.clear(IMAP).await;
        if again.read_u8().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place is never free");
}

#[tokio::test]
async fn a_drain_says_goodbye_to_all_and_waits_for_nobody() {
    let running = start(Config::default()).await;
    let mut waiting = running.secure(running.clear(IMAPS).await).await;
    line(&mut waiting).await;
    let mut reading = running.secure(running.clear(IMAPS).await).await;
    line(&mut reading).await;
    reading.write_all(b"a LOGIN ana@example.edu \"correct horse\"\r\nrest\r\n").await.unwrap();
    until(&mut reading, "rest\r\n").await;

    let goodbye = async {
        let (mut waited, mut read) = (String::new(), String::new());
        waiting.read_to_string(&mut waited).await.unwrap();
        reading.read_to_string(&mut read).await.unwrap();
        (waited, read)
    };
    let (cut_off, (waited, read)) = tokio::join!(running.drain.finish(Duration::from_secs(20)), goodbye);
    assert_eq!(cut_off, 0);
    assert!(waited.starts_with("* BYE [UNAVAILABLE]"), "{waited}");
    assert!(read.starts_with("* BYE [UNAVAILABLE]"), "{read}");
}
