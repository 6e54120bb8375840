use std::sync::Arc;
use std::time::SystemTime;

use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::ServiceName;
use estafeta_core::members::{Candidate, Endpoint};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::accept::{ConnectionLimits, Security, serve};
use crate::drain::Drain;
use crate::role::Remote;
use crate::tls::{KeyFiles, Tls, TlsFiles};

/// A server of one connection: what it says first, and what it answers to each line. It gives the lines that it heard.
async fn server(script: &'static [&'static str]) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut heard = Vec::new();
        for answer in script {
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut line = String::new();
            if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                break;
            }
            heard.push(line);
        }
        heard
    });
    (address, heard)
}

fn probing(tls: Arc<Tls>, own: &str, node: &str, address: SocketAddr) -> Probing {
    let endpoint = Endpoint { role: RoleName::MAILBOX, service: ServiceName::fixed("test"), address };
    Probing {
        remote: Remote { node: own.parse().unwrap(), hostname: "probe.example.edu".into(), tls },
        candidate: Candidate { node: node.parse().unwrap(), endpoint },
    }
}

async fn ask(probe: fn(Probing) -> Answer, script: &'static [&'static str]) -> (Result<(), String>, Vec<String>) {
    let (address, heard) = server(script).await;
    let tls = Arc::new(Tls::load(TlsFiles::default()).unwrap());
    let answer = probe(probing(tls, "me", "other", address)).await;
    (answer, heard.await.unwrap())
}

#[tokio::test]
async fn each_protocol_is_asked_in_its_own_words() {
    let (answer, heard) =
        ask(smtp, &["220-mx\r\n220 ready\r\n", "250-mx\r\n250-SIZE 1\r\n250 OK\r\n", "221 bye\r\n"]).await;
    assert_eq!((answer, heard.join("")), (Ok(()), "EHLO probe.example.edu\r\nQUIT\r\n".to_owned()));
    let (answer, heard) = ask(imap, &["* OK [CAPABILITY IMAP4rev1] hi\r\n", "* BYE\r\np OK\r\n"]).await;
    assert_eq!((answer, heard.join("")), (Ok(()), "p LOGOUT\r\n".to_owned()));
    let (answer, heard) = ask(pop3, &["+OK hi\r\n", "+OK bye\r\n"]).await;
    assert_eq!((answer, heard.join("")), (Ok(()), "QUIT\r\n".to_owned()));
}

#[tokio::test]
async fn what_comes_in_place_of_an_answer_is_said() {
    let wrong = async |probe, script| ask(probe, script).await.0.unwrap_err();
    assert_eq!(wrong(smtp, &["421 4.3.2 going down\r\n"]).await, "it answers \"421 4.3.2 going down\"");
    assert_eq!(wrong(smtp, &["220 ready\r\n", "500 what\r\n"]).await, "it answers \"500 what\"");
    assert_eq!(wrong(imap, &["* BYE full\r\n"]).await, "it answers \"* BYE full\"");
    assert_eq!(wrong(pop3, &["-ERR no\r\n"]).await, "it answers \"-ERR no\"");
    assert_eq!(wrong(pop3, &[]).await, "the connection was closed in place of an answer");
    // A listener that has gone.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let tls = Arc::new(Tls::load(TlsFiles::default()).unwrap());
    let refused = imap(probing(tls.clone(), "me", "other", address)).await.unwrap_err();
    assert!(refused.starts_with("no connection: "), "{refused}");
    // A listener that speaks no TLS.
    let (address, _) = server(&["* OK hi\r\n"]).await;
    let clear = imap_over_tls(probing(tls, "me", "other", address)).await.unwrap_err();
    assert!(clear.starts_with("no TLS: "), "{clear}");
}

#[tokio::test]
async fn a_line_and_a_reply_are_bounded() {
    let endless: &'static str = Box::leak(format!("220 {}", "a".repeat(100_000)).into_boxed_str());
    let (address, heard) = server(Box::leak(Box::new([endless, "250 OK\r\n"]))).await;
    let mut conversation = Conversation::new(clear(address).await.unwrap());
    assert_eq!(conversation.line().await.unwrap().len(), 4096);
    drop(conversation);
    heard.abort();
    let many: &'static str = Box::leak("220-more\r\n".repeat(1_000).into_boxed_str());
    let (address, heard) = server(Box::leak(Box::new([many]))).await;
    let mut conversation = Conversation::new(clear(address).await.unwrap());
    assert_eq!(conversation.expect_reply("220").await, Err("a reply without an end".into()));
    heard.abort();
}

fn tls(authority: &AuthorityFiles, node: &str, role: RoleName) -> Arc<Tls> {
    let files = authority.issue_node(&node.parse().unwrap(), &[role], SystemTime::now()).unwrap();
    let own = KeyFiles { certificate: files.certificate, key: files.key };
    Arc::new(Tls::load(TlsFiles { service: None, cluster: Some((own, authority.certificate())) }).unwrap())
}

#[tokio::test]
async fn a_service_between_nodes_is_asked_as_far_as_this_node_may() {
    static EDGE: &[RoleName] = &[RoleName::EDGE];
    let directory = tempfile::tempdir().unwrap();
    let authority = AuthorityFiles::init(directory.path(), SystemTime::now()).unwrap();
    let server = tls(&authority, "mailbox1", RoleName::MAILBOX);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drain = Drain::new();
    // It greets wrongly, so that it shows who has read the greeting.
    let talk = |mut connection: Connection| async move {
        let _ = connection.stream.write_all(b"554 no\r\n").await;
        let _ = connection.stream.shutdown().await;
    };
    let security = Security::Cluster(server.clone(), EDGE);
    let service = ServiceName::fixed("test");
    drain.spawn("test", serve(listener, service, security, ConnectionLimits::default(), drain.clone(), talk));
    let wrong = Err("it answers \"554 no\"".to_owned());

    // Whoever may ask it, and the node itself, hear what it says.
    let edge = probing(tls(&authority, "edge1", RoleName::EDGE), "edge1", "mailbox1", address);
    assert_eq!(lmtp_between_nodes(edge, EDGE).await, wrong);
    let itself = probing(server, "mailbox1", "mailbox1", address);
    assert_eq!(lmtp_between_nodes(itself, EDGE).await, wrong);
    // To the others it proves by its handshake that it is there, and who it is.
    let dns = tls(&authority, "dns1", RoleName::DNS);
    let other = probing(dns.clone(), "dns1", "mailbox1", address);
    assert_eq!(imap_between_nodes(other, EDGE).await, Ok(()));
    let taken_for = probing(dns, "dns1", "mailbox2", address);
    assert!(pop3_between_nodes(taken_for, EDGE).await.is_err());
    drain.begin();
}
