//! The suite of `Sessions`: what every implementation must do, whether it opens the mail itself or asks another node.
//! What IMAP and POP3 can do is the engines' own affair; here a few commands show whose mail it is, and that bytes pass.
// A suite is test code, built for the tests of others: a panic is how it speaks.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::any::Any;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{Protocol, Session, SessionRequest, Sessions};
use crate::directory::Account;
use crate::failure::Reason;

/// Sessions to try.
pub struct Fixture {
    /// The sessions.
    pub sessions: Arc<dyn Sessions>,
    /// Two accounts whose mailboxes are empty.
    pub accounts: [Account; 2],
    /// An account that is disabled.
    pub disabled: Account,
    /// An account that the directory does not know.
    pub unknown: Account,
    /// What lives as long as it.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Runs the suite; each part on sessions of its own.
pub async fn run(make: impl AsyncFn() -> Fixture) {
    what_one_session_stores_another_reads(make().await).await;
    everyone_sees_their_own(make().await).await;
    what_was_sent_ahead_is_heard(make().await).await;
    much_passes_both_ways(make().await).await;
    a_client_that_goes_ends_its_session(make().await).await;
    who_may_not_is_refused(make().await).await;
}

fn request(protocol: Protocol, account: &Account) -> SessionRequest {
    SessionRequest { protocol, account: account.clone(), client: "192.0.2.7:4711".parse().unwrap(), tls: None }
}

async fn open(fixture: &Fixture, protocol: Protocol, account: &Account) -> Box<dyn Session> {
    let opened = fixture.sessions.open(&request(protocol, account)).await;
    opened.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Opens, and plays a client that sends `ahead` before and `input` after the hand-over, and reads to the end.
async fn talk(fixture: &Fixture, protocol: Protocol, account: &Account, ahead: &str, input: &str) -> String {
    let session = open(fixture, protocol, account).await;
    let (near, far) = duplex(4096);
    let (served, said) = both(session.serve(Box::new(near), Bytes::from(ahead.to_owned())), client(far, input)).await;
    served.unwrap_or_else(|error| panic!("{error}"));
    said
}

async fn client(stream: DuplexStream, input: &str) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(input.as_bytes()).await.unwrap();
        writer.flush().await.unwrap();
    };
    let mut said = Vec::new();
    let read = reader.read_to_end(&mut said);
    let ((), read) = both(write, read).await;
    read.unwrap();
    String::from_utf8(said).unwrap()
}

/// Both, side by side.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|context| {
        use std::task::Poll;
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(context)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(one), Some(other)) => Poll::Ready((one, other)),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

fn append(tag: &str, text: &str) -> String {
    format!("{tag} APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len())
}

async fn what_one_session_stores_another_reads(fixture: Fixture) {
    let ana = &fixture.accounts[0];
    assert!(open(&fixture, Protocol::Imap, ana).await.capabilities().split(' ').any(|one| one == "IMAP4rev1"));
    let text = "Subject: hello\r\n\r\n.dots\r\n";
    let said = talk(&fixture, Protocol::Imap, ana, "", &(append("a", text) + "b LOGOUT\r\n")).await;
    assert!(said.contains("\r\na OK") || said.starts_with("a OK"), "{said}");
    assert!(said.ends_with("b OK LOGOUT completed\r\n") || said.contains("\r\nb OK"), "{said}");
    let said = talk(&fixture, Protocol::Imap, ana, "", "a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[]\r\nc LOGOUT\r\n").await;
    assert!(said.contains("* 1 EXISTS\r\n") && said.contains(&format!("{{{}}}\r\n{text}", text.len())), "{said}");
    let said = talk(&fixture, Protocol::Pop3, ana, "", "STAT\r\nRETR 1\r\nQUIT\r\n").await;
    assert!(said.contains(&format!("+OK 1 {}\r\n", text.len())), "{said}");
    assert!(said.contains("Subject: hello\r\n\r\n..dots\r\n.\r\n"), "{said}");
}

async fn everyone_sees_their_own(fixture: Fixture) {
    let [ana, ben] = &fixture.accounts;
    talk(&fixture, Protocol::Imap, ana, "", &(append("a", "x\r\n") + "b LOGOUT\r\n")).await;
    assert!(talk(&fixture, Protocol::Pop3, ana, "", "STAT\r\nQUIT\r\n").await.contains("+OK 1 3\r\n"));
    assert!(talk(&fixture, Protocol::Pop3, ben, "", "STAT\r\nQUIT\r\n").await.contains("+OK 0 0\r\n"));
    assert!(talk(&fixture, Protocol::Imap, ben, "", "a SELECT INBOX\r\nb LOGOUT\r\n").await.contains("* 0 EXISTS\r\n"));
}

async fn what_was_sent_ahead_is_heard(fixture: Fixture) {
    let ana = &fixture.accounts[0];
    let said = talk(&fixture, Protocol::Imap, ana, "a NOOP\r\nb SEL", "ECT INBOX\r\nc LOGOUT\r\n").await;
    let place = |answer: &str| said.find(answer).unwrap_or_else(|| panic!("no {answer} in {said}"));
    assert!(place("a OK") < place("b OK") && place("b OK") < place("c OK"), "{said}");
    let said = talk(&fixture, Protocol::Pop3, ana, "STAT\r\nQU", "IT\r\n").await;
    assert!(said.starts_with("+OK 0 0\r\n+OK"), "{said}");
}

async fn much_passes_both_ways(fixture: Fixture) {
    let ana = &fixture.accounts[0];
    let text = format!("Subject: large\r\n\r\n{}", "line of a large message\r\n".repeat(40_000));
    let commands = append("a", &text) + "b SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\nd LOGOUT\r\n";
    let said = talk(&fixture, Protocol::Imap, ana, "", &commands).await;
    assert!(said.contains(&text));
    let said = talk(&fixture, Protocol::Pop3, ana, "RETR 1\r\nDELE 1\r\nQUIT\r\n", "").await;
    assert!(said.contains(&text));
    assert!(talk(&fixture, Protocol::Pop3, ana, "", "STAT\r\nQUIT\r\n").await.contains("+OK 0 0\r\n"));
}

async fn a_client_that_goes_ends_its_session(fixture: Fixture) {
    let ana = &fixture.accounts[0];
    for protocol in [Protocol::Imap, Protocol::Pop3] {
        let session = open(&fixture, protocol, ana).await;
        let (near, far) = duplex(64);
        drop(far);
        // Well or with an error of the stream, but it ends.
        let _: io::Result<()> = session.serve(Box::new(near), Bytes::new()).await;
    }
}

async fn who_may_not_is_refused(fixture: Fixture) {
    for protocol in [Protocol::Imap, Protocol::Pop3] {
        for (account, reasons) in [
            (&fixture.disabled, [Reason::Denied, Reason::Denied]),
            (&fixture.unknown, [Reason::NotFound, Reason::Denied]),
        ] {
            match fixture.sessions.open(&request(protocol, account)).await {
                Err(failure) => {
                    assert!(reasons.contains(&failure.reason), "{protocol:?} {}: {failure}", account.address)
                }
                Ok(_) => panic!("{} was let in", account.address),
            }
        }
    }
}
