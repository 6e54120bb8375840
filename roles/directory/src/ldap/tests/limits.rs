//! What is unreachable, strange, slow or too much.

use std::time::{Duration, Instant};

use estafeta_core::directory::Directory as _;
use estafeta_core::{Failure, Reason, RoleName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

async fn asked(directory: &RemoteDirectory) -> Failure {
    directory.account(&"ana@example.edu".parse().unwrap()).await.unwrap_err()
}

#[tokio::test]
async fn whoever_cannot_be_reached_is_unavailable() {
    let served = Served::start().await;
    let edge = served.tls("edge1", &[RoleName::EDGE]);
    // Nobody listens.
    let mut nobody = served.candidate("directory1");
    nobody.endpoint.address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let failure = asked(&RemoteDirectory::new(edge.clone(), nobody)).await;
    assert_eq!(failure.reason, Reason::Unavailable);
    assert!(failure.cause.contains("directory1") && !failure.client.contains("directory1"), "{failure}");
    // Another node answers there.
    let failure = asked(&RemoteDirectory::new(edge.clone(), served.candidate("directory2"))).await;
    assert_eq!(failure.reason, Reason::Unavailable);
    // The node answers, and no longer holds the role.
    let mut other_role = served.candidate("directory1");
    other_role.endpoint.role = RoleName::MAILBOX;
    let failure = asked(&RemoteDirectory::new(edge, other_role)).await;
    assert!(failure.reason == Reason::Unavailable && failure.cause.contains("role mailbox"), "{failure}");
    // A node of another cluster.
    let stranger = Served::start().await.tls("edge1", &[RoleName::EDGE]);
    let failure = asked(&RemoteDirectory::new(stranger, served.candidate("directory1"))).await;
    assert_eq!(failure.reason, Reason::Unavailable);
    // Without any cluster.
    let alone = Arc::new(Tls::load(TlsFiles::default()).unwrap());
    let failure = asked(&RemoteDirectory::new(alone, served.candidate("directory1"))).await;
    assert!(failure.cause.contains("[cluster]"), "{failure}");
}

#[tokio::test]
async fn whoever_does_not_answer_is_given_up() {
    let served = Served::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut candidate = served.candidate("directory1");
    candidate.endpoint.address = silent.local_addr().unwrap();
    let begun = Instant::now();
    let failure = asked(&RemoteDirectory::new(served.tls("edge1", &[RoleName::EDGE]), candidate)).await;
    assert_eq!(failure.reason, Reason::Unavailable);
    assert!((4..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_that_was_closed_is_made_anew() {
    let served = Served::start().await;
    served.add("ana@example.edu", None).await;
    let client = served.client("edge1", &[RoleName::EDGE]);
    let ana = "ana@example.edu".parse().unwrap();
    client.account(&ana).await.unwrap();
    // The server drains: it says goodbye on the idle connection, and the client finds nobody.
    served.drain.finish(Duration::from_secs(5)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.account(&ana).await.unwrap_err().reason, Reason::Unavailable);
    // It is back at the same place.
    let listener = TcpListener::bind(served.address).await.unwrap();
    let (store, drain) = (served.store.clone(), Drain::new());
    let again = drain.clone();
    let talk = move |connection| server::talk(connection, store.clone(), again.clone());
    let security = Security::Cluster(served.tls("directory1", &[RoleName::DIRECTORY]), &[]);
    tokio::spawn(serve(listener, LDAPS, security, ConnectionLimits::default(), drain, talk));
    client.account(&ana).await.unwrap();
}

#[tokio::test]
async fn what_is_no_ldap_gets_a_notice_and_the_door() {
    let served = Served::start().await;
    let tls = served.tls("edge1", &[RoleName::EDGE]);
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x30\x84\x7f\xff\xff\xff rest", b"\x30\x05\x02\x01\x01\x5f\x00"]
    {
        let mut connection = tls.connect(&served.candidate("directory1")).await.unwrap();
        connection.stream.write_all(bytes).await.unwrap();
        connection.stream.flush().await.unwrap();
        let mut answer = Vec::new();
        connection.stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("1.3.6.1.4.1.1466.20036"), "{bytes:?}: {answer:?}");
    }
    // The others talk on.
    served.add("ana@example.edu", None).await;
    served.client("edge1", &[RoleName::EDGE]).account(&"ana@example.edu".parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_login_is_limited_by_its_client_and_not_by_the_node_that_asks() {
    let served = Served::start().await;
    served.add("ana@example.edu", Some("correct horse")).await;
    let guess = async |client: &RemoteDirectory, password: &str, from: &str| {
        client
            .authenticate("ana@example.edu", &Secret::new(password.into()), from.parse().unwrap())
            .await
            .map_err(|failure| failure.reason)
    };
    let access = served.client("access1", &[RoleName::ACCESS]);
    for _ in 0..10 {
        assert_eq!(guess(&access, "wrong horse", "192.0.2.66").await.unwrap_err(), Reason::Credentials);
    }
    assert_eq!(guess(&access, "correct horse", "192.0.2.66").await.unwrap_err(), Reason::Busy);
    guess(&access, "correct horse", "192.0.2.67").await.unwrap();
    // A node without clients of its own cannot say that it has many.
    let dns = served.client("dns1", &[RoleName::DNS]);
    for i in 0..10 {
        assert_eq!(guess(&dns, "wrong horse", &format!("198.51.100.{i}")).await.unwrap_err(), Reason::Credentials);
    }
    assert_eq!(guess(&dns, "correct horse", "198.51.100.99").await.unwrap_err(), Reason::Busy);
}
