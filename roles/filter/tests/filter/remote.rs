//! Judged by another node: the client against the server, over mutual TLS on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::judge::{Action, Envelope, Judge, Symbol, Verdict, suite};
use estafeta_core::members::{Candidate, Endpoint};
use estafeta_core::{Failure, Message, NodeName, Reason, RoleName};
use estafeta_filter::rspamd::client::{self, RemoteJudge};
use estafeta_filter::rspamd::server::{Server, router};
use estafeta_filter::{SERVICE, role};
use estafeta_net::accept::{self, ConnectionLimits, Security};
use estafeta_net::drain::Drain;
use estafeta_net::http;
use estafeta_net::role::Remote;
use estafeta_net::tls::{KeyFiles, Tls, TlsFiles};
use estafeta_storage::spool::SpoolDirectory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{config, dns::FakeDns, envelope, judge, message};

/// A filter that others can ask.
struct Filter {
    _directory: tempfile::TempDir,
    authority: AuthorityFiles,
    router: axum::Router,
    security: Security,
    address: SocketAddr,
    drain: Drain,
}

const MESSAGE_BYTES: u64 = 8 * 1024 * 1024;

impl Filter {
    async fn start(judge: Arc<dyn Judge>, clear: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = AuthorityFiles::init(&directory.path().join("ca"), SystemTime::now()).unwrap();
        let tls = tls(&authority, "filter1", RoleName::FILTER);
        let security = if clear { Security::Clear } else { Security::Cluster(tls, const { &[RoleName::EDGE] }) };
        let spools = SpoolDirectory::open(&directory.path().join("spool")).unwrap();
        let router = router(Server { judge, spools, message_bytes: MESSAGE_BYTES });
        let mut filter = Self {
            _directory: directory,
            authority,
            router,
            security,
            address: ([127, 0, 0, 1], 0).into(),
            drain: Drain::new(),
        };
        filter.serve().await;
        filter
    }

    async fn serve(&mut self) {
        let listener = tokio::net::TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.drain = Drain::new();
        let (router, drain) = (self.router.clone(), self.drain.clone());
        let talk = move |connection| http::serve(connection, router.clone(), drain.clone());
        let serve = accept::serve(
            listener,
            SERVICE,
            self.security.clone(),
            ConnectionLimits::default(),
            self.drain.clone(),
            talk,
        );
        self.drain.spawn("listener", serve);
    }

    /// The client of a node that holds this role.
    fn client(&self, node: &str, holds: RoleName) -> Arc<dyn Judge> {
        let tls = tls(&self.authority, node, holds);
        let remote = Remote { node: node.parse().unwrap(), hostname: format!("{node}.example.edu"), tls };
        let endpoint = Endpoint { role: RoleName::FILTER, service: SERVICE, address: self.address };
        client::connect(&remote, &Candidate { node: "filter1".parse().unwrap(), endpoint })
    }
}

pub(super) fn tls(authority: &AuthorityFiles, node: &str, role: RoleName) -> Arc<Tls> {
    let name: NodeName = node.parse().unwrap();
    let pair = authority.issue_node(&name, &[role], SystemTime::now()).unwrap();
    let own = KeyFiles { certificate: pair.certificate, key: pair.key };
    Arc::new(Tls::load(TlsFiles { service: None, cluster: Some((own, authority.certificate())) }).unwrap())
}

/// A judge that says what it was asked.
struct Echo;

#[async_trait]
impl Judge for Echo {
    async fn judge(&self, envelope: &Envelope, message: &Message) -> Result<Verdict, Failure> {
        if envelope.helo == "fail" {
            return Err(Failure::unavailable("the cause"));
        }
        let options = vec![format!("{envelope:?}"), message.len().to_string()];
        let symbols = vec![Symbol { name: "ECHO".into(), score: 1.5, options }];
        let headers = vec![("B".into(), "1".into()), ("A".into(), "2".into())];
        Ok(Verdict {
            action: Action::Defer,
            score: 1.5,
            required_score: 9.0,
            symbols,
            headers,
            explanation: Some("later".into()),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remote_judge_passes_the_suite() {
    let dns = FakeDns::start(&[]).await;
    let filter = Filter::start(Arc::new(judge(&config(&dns))), false).await;
    suite::run(&*filter.client("edge1", RoleName::EDGE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn question_and_verdict_arrive_unchanged() {
    let filter = Filter::start(Arc::new(Echo), false).await;
    let client = filter.client("edge1", RoleName::EDGE);
    let envelope = Envelope { authenticated: Some("a@b.es".into()), ..envelope("2001:db8::1", "\u{f1}@example.org") };
    // In memory, in a file, and with a prefix.
    for bytes in [0, 10, 3_000_000] {
        let message = Message::new(vec![b'a'; bytes].into()).with_prefix("A: b\r\n");
        let there = client.judge(&envelope, &message).await.unwrap();
        assert_eq!(there, Echo.judge(&envelope, &message).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_edge_may_ask() {
    let filter = Filter::start(Arc::new(Echo), false).await;
    let question = (envelope("192.0.2.1", "a@b.es"), message("a@b.es", "hi"));
    let failure = filter.client("mailbox1", RoleName::MAILBOX).judge(&question.0, &question.1).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unavailable);
    // Nor does clear text get an answer.
    let mut stream = tokio::net::TcpStream::connect(filter.address).await.unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_who_and_why() {
    let filter = Filter::start(Arc::new(Echo), false).await;
    let client = filter.client("edge1", RoleName::EDGE);
    let question = Envelope { helo: "fail".into(), ..envelope("192.0.2.1", "a@b.es") };
    let failure = client.judge(&question, &message("a@b.es", "hi")).await.unwrap_err();
    assert!(
        failure.reason == Reason::Unavailable
            && failure.cause.contains("filter1")
            && failure.cause.contains("the cause"),
        "{failure}"
    );
    let large = Message::new(vec![b'a'; MESSAGE_BYTES as usize + 1].into());
    let failure = client.judge(&envelope("192.0.2.1", "a@b.es"), &large).await.unwrap_err();
    assert_eq!(failure.reason, Reason::TooLarge, "{failure}");
    // The client goes on all the same.
    assert!(client.judge(&envelope("192.0.2.1", "a@b.es"), &message("a@b.es", "hi")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_was_away_is_asked_again() {
    let mut filter = Filter::start(Arc::new(Echo), false).await;
    let client = filter.client("edge1", RoleName::EDGE);
    let (envelope, message) = (envelope("192.0.2.1", "a@b.es"), message("a@b.es", "hi"));
    for _ in 0..2 {
        assert!(client.judge(&envelope, &message).await.is_ok());
        // It closes the connection that the client keeps for the next message, and a new one is made.
        assert_eq!(filter.drain.finish(Duration::from_secs(5)).await, 0);
        filter.serve().await;
        assert!(client.judge(&envelope, &message).await.is_ok());
    }
    filter.drain.finish(Duration::from_secs(5)).await;
    let failure = client.judge(&envelope, &message).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unavailable, "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rspamds_protocol_is_spoken_in_clear_text_too() {
    let dns = FakeDns::start(&[]).await;
    let filter = Filter::start(Arc::new(judge(&config(&dns))), true).await;
    let client = RemoteJudge::rspamd(filter.address);
    suite::run(&client).await;
    // As curl and rspamc speak it.
    let mut stream = tokio::net::TcpStream::connect(filter.address).await.unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("pong"), "{answer}");
    let mut stream = tokio::net::TcpStream::connect(filter.address).await.unwrap();
    let question = "POST /checkv2 HTTP/1.0\r\nFrom: <a@b.es>\r\nRcpt: <c@d.es>\r\nIp: 127.0.0.1\r\nContent-Length: 44\r\n\r\nMessage-ID: <7@b.es>\r\nSubject: a\r\n\r\nHello\r\n   ";
    stream.write_all(question.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let reply: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(
        (&reply["action"], &reply["message-id"], &reply["is_skipped"]),
        (&"no action".into(), &"7@b.es".into(), &false.into())
    );
    assert_eq!(reply["symbols"]["MISSING_DATE"]["score"], 1.0);
}

#[test]
fn the_role_s_row_is_complete() {
    let role = role();
    assert_eq!((role.name, role.cluster), (RoleName::FILTER, Some('B')));
    assert!(role.clients.judge.is_some() && role.services.iter().all(|service| service.between_nodes));
}
