//! The real server, asked by Debian's `dig` and over raw sockets.

use std::net::SocketAddr;

use estafeta_core::members::MembersView;
use estafeta_core::settings::{Settings, SettingsView};
use estafeta_net::tls::{KeyFiles, Tls, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Config;
use crate::content::tests::cluster;
use crate::cookie::secrets::Secrets;
use crate::limit::{self, Limiter};

struct Server {
    address: SocketAddr,
    /// Over TLS.
    secure: SocketAddr,
    members: MembersView,
    drain: Drain,
    running: JoinHandle<Result<(), Failure>>,
}

/// What clients see; made by openssl.
fn certificate(directory: &std::path::Path) -> Arc<Tls> {
    let files = KeyFiles { certificate: directory.join("service.pem"), key: directory.join("service.key") };
    let made = std::process::Command::new("openssl")
        .args(
            "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 -subj /CN=dns1.demo.test".split(' '),
        )
        .arg("-keyout")
        .arg(&files.key)
        .arg("-out")
        .arg(&files.certificate)
        .output()
        .expect("openssl is not installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Arc::new(Tls::load(TlsFiles { service: Some(files), cluster: None }).unwrap())
}

async fn server(tcp_connections: usize) -> Server {
    server_with(tcp_connections, TCP_PATIENCE).await
}

async fn server_with(tcp_connections: usize, patience: Duration) -> Server {
    let files = tempfile::tempdir().unwrap();
    let tls = certificate(files.path());
    let over_tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secure = over_tls.local_addr().unwrap();
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The same port may be taken for UDP.
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = tcp.local_addr().unwrap();
    let settings = Settings { version: 1, domains: vec!["demo.test".parse().unwrap()], ..Settings::default() };
    let members = MembersView::new(cluster([true; 4]));
    let zones = Arc::new(ZonesView::new(Config::default(), SettingsView::new(settings), members.clone()));
    let drain = Drain::new();
    let limiter = Limiter::new(limit::Config::default());
    let responder = Responder::new(limiter, Secrets::own().unwrap(), None, "dns1");
    let serving = Serving { patience, ..Serving::new(zones, Arc::new(responder)) };
    let mut loops = Listeners::default();
    let sockets =
        Sockets { udp: vec![udp], tcp: vec![tcp], tls: Some((vec![over_tls], Security::TlsFor(tls, b"dot"))) };
    serve(sockets, &serving, tcp_connections, &mut loops, &drain);
    let ended = drain.clone();
    let running = tokio::spawn(async move { loops.run(&ended).await });
    Server { address, secure, members, drain, running }
}

impl Server {
    /// What `dig` prints.
    async fn dig(&self, arguments: &str) -> String {
        let address = if arguments.contains("+tls") { self.secure } else { self.address };
        let output = Command::new("dig")
            .arg(format!("@{}", address.ip()))
            .args(["-p", &address.port().to_string(), "+time=5", "+tries=1", "+norecurse"])
            .args(arguments.split(' '))
            .output()
            .await
            .expect("dig, of Debian's package dnsutils, is not installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "dig {arguments}: {text}");
        text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_reads_what_we_write() {
    let server = server(10).await;
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(
            server
                .dig(&format!("demo.test MX +short {transport}"))
                .await
                .lines()
                .collect::<std::collections::BTreeSet<_>>(),
            ["10 mx.demo.test.", "20 edge1.demo.test.", "20 edge2.demo.test."].into(),
        );
        let whole = server.dig(&format!("MX.demo.test A {transport}")).await;
        assert!(whole.contains("status: NOERROR") && whole.contains("flags: qr aa;"), "{whole}");
        assert!(whole.contains("MX.demo.test.\t\t30\tIN\tA\t192.0.2.11"), "{whole}");
        assert!(whole.contains("EDNS: version: 0, flags:; udp: 1232"), "{whole}");
        let nobody = server.dig(&format!("nobody.demo.test A {transport}")).await;
        assert!(nobody.contains("status: NXDOMAIN") && nobody.contains("hostmaster.demo.test."), "{nobody}");
        let nothing = server.dig(&format!("demo.test AAAA {transport}")).await;
        assert!(nothing.contains("status: NOERROR") && nothing.contains("ANSWER: 0, AUTHORITY: 1"), "{nothing}");
        assert!(server.dig(&format!("example.com A {transport}")).await.contains("status: REFUSED"));
        assert!(server.dig(&format!("version.bind TXT -c CH {transport}")).await.contains("status: REFUSED"));
        assert!(
            server
                .dig(&format!("demo.test MX +edns=1 +noednsnegotiation {transport}"))
                .await
                .contains("status: BADVERS")
        );
        assert!(server.dig(&format!("demo.test SOA +opcode=NOTIFY {transport}")).await.contains("status: NOTIMP"));
        assert!(!server.dig(&format!("demo.test ANY {transport}")).await.contains("TXT"));
        let text = server.dig(&format!("demo.test TXT +short {transport}")).await;
        assert_eq!(text.trim(), "\"v=spf1 ip4:192.0.2.11 ip4:192.0.2.12 -all\"");
    }
    assert!(server.dig("demo.test AXFR +tcp").await.contains("Transfer failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_rotate_and_follow_the_members() {
    let server = server(10).await;
    let first = server.dig("imap.demo.test A +short").await;
    let edge2 = "edge2".parse().unwrap();
    server.members.change(&edge2, |member| member.draining = true);
    assert_eq!(first.trim(), "192.0.2.21");
    for _ in 0..2 {
        assert_eq!(server.dig("mx.demo.test A +short").await.trim(), "192.0.2.11", "the dead one is not named");
    }
    server.members.change(&edge2, |member| member.draining = false);
    let (one, two) = (server.dig("mx.demo.test A +short").await, server.dig("mx.demo.test A +short").await);
    let (mut one, mut two): (Vec<_>, Vec<_>) = (one.lines().collect(), two.lines().collect());
    assert_eq!(one.len(), 2);
    assert_ne!(one[0], two[0], "another one comes first");
    one.sort_unstable();
    two.sort_unstable();
    assert_eq!(one, two);
}

/// A question for the addresses of mx.demo.test, as it goes over TCP.
fn question(id: u8) -> Vec<u8> {
    let mut message = vec![0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x02mx\x04demo\x04test\x00\x00\x01\x00\x01");
    [&(message.len() as u16).to_be_bytes()[..], &message].concat()
}

async fn response(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_takes_several_questions_and_no_garbage() {
    let server = server(10).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[question(1), question(2)].concat()).await.unwrap();
    for id in [1, 2] {
        let message = response(&mut stream).await.unwrap();
        assert_eq!((message[1], message[7]), (id, 2));
    }
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "hung up");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_answers_are_padded_and_other_protocols_refused() {
    let server = server(10).await;
    let answer = server.dig("demo.test MX +tls +padding=128").await;
    assert!(answer.contains("status: NOERROR") && answer.contains("mx.demo.test."), "{answer}");
    assert!(answer.contains("MSG SIZE  rcvd: 468") && answer.contains("PAD"), "{answer}");
    let answer = server.dig("demo.test MX +tcp +padding=128 +keepalive +nsid").await;
    assert!(!answer.contains("PAD") && answer.contains("TCP KEEPALIVE: 10.0 secs"), "{answer}");
    assert!(answer.contains("NSID") && answer.contains("dns1"), "{answer}");
    let handshake = |protocol: &'static str| async move {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-alpn", protocol, "-connect", &server.secure.to_string()]);
        let output = client.stdin(std::process::Stdio::null()).output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let refused = handshake("imap").await;
    assert!(refused.contains("no application protocol"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_learnt_and_taken() {
    let server = server(10).await;
    let answer = server.dig("demo.test SOA +notcp +cookie=0102030405060708").await;
    let (_, shown) = answer.split_once("COOKIE: ").expect("a cookie");
    let cookie = shown.split_whitespace().next().unwrap();
    assert!(cookie.starts_with("010203040506070801000000") && cookie.len() == 48, "{answer}");
    let answer = server.dig(&format!("demo.test SOA +notcp +cookie={cookie}")).await;
    assert!(answer.contains(&format!("COOKIE: {cookie} (good)")), "{answer}");
}

/// A request that never ends, byte by byte: its sender is busy all the time, and is not waited for longer.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_slowly_is_not_waited_for_and_whoever_sends_much_is_hung_up_on() {
    let server = server_with(10, Duration::from_millis(600)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for byte in question(1) {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(response(&mut stream).await.unwrap()[1], 1, "slow enough");
    let begun = Instant::now();
    let mut sent = 0;
    for byte in [0xff; 100] {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if sent == 1 {
            // The length's second byte: a request of 255 bytes, of which few ever come.
            assert!(stream.write_all(&[0xff]).await.is_ok());
        } else if stream.write_all(&[if sent == 0 { 0 } else { byte }]).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(begun.elapsed() < Duration::from_secs(3) && sent < 60, "it was waited for {:?}", begun.elapsed());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let much = [&[0xff, 0xff][..], &[0; 65_535]].concat();
    let _ = stream.write_all(&much).await;
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "hung up");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_the_next_one_waits() {
    let server = server(2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&question(1)).await.unwrap();
        response(&mut stream).await.unwrap();
        held.push(stream);
    }
    let mut third = TcpStream::connect(server.address).await.unwrap();
    third.write_all(&question(3)).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(300), third.readable()).await;
    assert!(waiting.is_err(), "answered beyond the bound");
    held.pop();
    assert_eq!(response(&mut third).await.unwrap()[1], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_it() {
    let server = server(10).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(&question(1)).await.unwrap();
    response(&mut idle).await.unwrap();
    server.drain.begin();
    server.running.await.unwrap().unwrap();
    assert_eq!(server.drain.finish(Duration::from_secs(5)).await, 0);
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap_or(0), 0);
}
