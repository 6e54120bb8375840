//! UNAUTHENTICATE (RFC 8437) and COMPRESS (RFC 4978).

use super::*;
use bytes::Bytes;
use estafeta_net::deflate::DeflateStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};

#[tokio::test]
async fn somebody_else_may_have_the_connection() {
    let house = House::new().await;
    let mut client = house.connect();
    fill(&mut client, 2).await;
    client.ok("ENABLE UIDONLY QRESYNC").await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let answer = client.ok("UNAUTHENTICATE").await;
    assert!(
        answer.completion.starts_with("OK [CAPABILITY ") && answer.completion.contains(" AUTH=PLAIN"),
        "{answer:?}"
    );
    assert!(!answer.completion.contains("EXTERNAL"));
    client.fails("SELECT INBOX", "BAD Not authenticated").await;
    client.fails("AUTHENTICATE EXTERNAL YW5hQGV4YW1wbGUuZWR1", "NO [CANNOT]").await;
    client.fails("LOGIN ana@example.edu wrong", "NO [AUTHENTICATIONFAILED]").await;
    let elsewhere = "NO [UNAVAILABLE] Your mail cannot be had by this connection: please connect again";
    client.fails("LOGIN bob@example.edu secret", elsewhere).await;
    let answer = client.ok("LOGIN ana@example.edu secret").await;
    assert!(answer.completion.contains(" UNAUTHENTICATE "), "{answer:?}");
    // Nothing is switched on any more, and nothing was expunged.
    assert_eq!(client.ok("SELECT INBOX").await.with("EXISTS"), ["2 EXISTS"]);
    assert_eq!(client.ok("FETCH 1 UID").await.untagged, ["1 FETCH (UID 1)"]);
    client.fails("SELECT INBOX (QRESYNC (1 1))", "BAD").await;
    // "\0ana@example.edu\0secret"
    client.ok("UNAUTHENTICATE").await;
    client.ok("AUTHENTICATE PLAIN AGFuYUBleGFtcGxlLmVkdQBzZWNyZXQ=").await;
    client.ok("UNAUTHENTICATE").await;
    client.send("a LOGIN a b\r\nb LOGIN a b\r\nc LOGIN a b\r\nd NOOP\r\n").await;
    let mut said = Vec::new();
    while let Some(line) = client.response().await {
        said.push(line);
    }
    assert_eq!(said.last().unwrap(), "* BYE Too many wrong passwords");
}

/// The far end of a connection, compressed: a client that knows nothing of it.
fn inflated(stream: tokio::io::DuplexStream) -> Client {
    let (near, mut far) = duplex(64 * 1024);
    let mut through = DeflateStream::new(Box::new(stream), &Bytes::new());
    tokio::spawn(async move { copy_bidirectional(&mut through, &mut far).await });
    Client::new(near)
}

#[tokio::test]
async fn a_conversation_goes_on_compressed() {
    let house = House::new().await;
    let (near, mut far) = duplex(64 * 1024);
    let session = house.session_of(&house.mail);
    tokio::spawn(async move { Box::new(session).serve(Box::new(near), Bytes::new()).await });
    far.write_all(b"a COMPRESS DEFLATE\r\n").await.unwrap();
    let mut answer = vec![0; "a OK DEFLATE begins\r\n".len()];
    far.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"a OK DEFLATE begins\r\n");
    let mut client = inflated(far);
    client.fails("COMPRESS DEFLATE", "NO [COMPRESSIONACTIVE]").await;
    let text = "Subject: long\r\n\r\n".to_owned() + &"all work and no play\r\n".repeat(20_000);
    client.append("INBOX", "", &text).await;
    client.ok("SELECT INBOX").await;
    let answer = client.ok("FETCH 1 BODY.PEEK[]").await;
    assert_eq!(answer.untagged, [format!("1 FETCH (BODY[] {{{}}}\r\n{text})", text.len())]);
    // IDLE is heard at once; leaving stays compressed.
    let tag = client.begin("IDLE").await;
    assert_eq!(client.response().await.unwrap(), "+ idling");
    fill(&mut house.connect(), 1).await;
    assert_eq!(client.response().await.unwrap(), "* 2 EXISTS");
    client.send("DONE\r\n").await;
    client.end(&tag).await;
    client.ok("UNAUTHENTICATE").await;
    client.ok("LOGIN ana@example.edu secret").await;
    house.drain.begin();
    assert_eq!(client.response().await.unwrap(), "* BYE [UNAVAILABLE] Restarting, please connect again");
    assert_eq!(client.response().await, None);
}

#[tokio::test]
async fn who_waits_without_a_mailbox_hears_that_the_mail_has_left() {
    let house = House::new().await;
    let (mut idling, mut notified, mut other) = (house.connect(), house.connect(), house.connect());
    idling.begin("IDLE").await;
    assert_eq!(idling.response().await.unwrap(), "+ idling");
    notified.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))").await;
    other.ok("NOOP").await;
    let leaving = house.mail.store().leaving(house.mail.account().id, "one".to_owned());
    leaving.freeze().await.unwrap();
    for client in [&mut idling, &mut notified, &mut other] {
        assert_eq!(client.hears().await, "BYE [UNAVAILABLE] Your mail is being moved, please connect again");
        assert_eq!(client.response().await, None);
    }
}
