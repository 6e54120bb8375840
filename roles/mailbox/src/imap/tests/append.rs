//! APPEND.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_message_comes_back_as_it_was() {
    let house = House::new().await;
    let mut client = house.select().await;
    let text = "Subject: ñ\r\n\r\nline\r\n".to_owned() + &"x".repeat(100_000) + "\r\n";
    let answer = client.append("INBOX", "(\\Seen $Label1) \" 7-Feb-1994 21:52:25 -0800\"", &text).await;
    let code = answer.completion.split(' ').collect::<Vec<_>>();
    assert_eq!((code[1], code[3]), ("[APPENDUID", "1]"), "{answer:?}");
    // The session that appended hears of it at once (RFC 3501 §6.3.11), keywords first.
    assert_eq!(answer.with("EXISTS"), ["1 EXISTS"]);
    assert!(answer.untagged.iter().any(|line| line.starts_with("FLAGS") && line.contains("$Label1")));
    let answer = client.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])").await;
    let size = text.len();
    assert_eq!(
        answer.untagged,
        [format!(
            "1 FETCH (FLAGS (\\Seen $Label1 \\Recent) INTERNALDATE \" 8-Feb-1994 05:52:25 +0000\" RFC822.SIZE {size} BODY[] {{{size}}}\r\n{text})"
        )]
    );
}

#[tokio::test]
async fn refused_before_the_message_is_sent() {
    let house = House::with_quota(Some(1_000)).await;
    let mut client = house.select().await;
    client.fails("APPEND nowhere {10}", "NO [TRYCREATE]").await;
    client.fails("APPEND INBOX {1000001}", "NO [TOOBIG]").await;
    client.fails("APPEND INBOX {1001}", "NO [OVERQUOTA]").await;
    client.fails("APPEND INBOX {0+}\r\n", "NO").await;
    client.fails("APPEND \"a*\" {3+}\r\nabc", "NO [CANNOT]").await;
    client.fails("APPEND nowhere {3+}\r\nabc", "NO [TRYCREATE]").await;
    // Two that fit alone and not together: whoever comes second is refused.
    client.append("INBOX", "", &"x".repeat(600)).await;
    client.fails(&format!("APPEND INBOX {{600+}}\r\n{}", "x".repeat(600)), "NO [OVERQUOTA]").await;
    client.fails(&format!("APPEND INBOX ({}) {{3+}}\r\nabc", "k".repeat(100)), "NO [CANNOT]").await;
    assert_eq!(client.ok("STATUS INBOX (MESSAGES)").await.untagged, ["STATUS INBOX (MESSAGES 1)"]);
}

#[tokio::test]
async fn half_a_message_is_no_message() {
    let house = House::new().await;
    let mut client = house.connect();
    client.send("a APPEND INBOX {100+}\r\nhalf").await;
    drop(client);
    let mut client = house.connect();
    client.fails("APPEND INBOX {4+}\r\nabcd more", "BAD").await;
    assert_eq!(client.ok("STATUS INBOX (MESSAGES UIDNEXT)").await.untagged, ["STATUS INBOX (MESSAGES 0 UIDNEXT 1)"]);
}

#[tokio::test]
async fn lines_are_made_whole_so_that_pop3_announces_what_it_sends() {
    let house = House::new().await;
    let mut client = house.select().await;
    let whole = "Subject: a\r\n\r\nb\r\nc\r\n";
    let size = whole.len();
    for (number, text) in [(1, "Subject: a\n\nb\nc"), (2, "Subject: a\r\n\r\nb\nc\r"), (3, whole)] {
        client.append("INBOX", "", text).await;
        let answer = client.ok(&format!("FETCH {number} (RFC822.SIZE BODY.PEEK[])")).await;
        let expected = format!("{number} FETCH (RFC822.SIZE {size} BODY[] {{{size}}}\r\n{whole})");
        assert_eq!(answer.untagged, [expected], "{text:?}");
    }
    let session = Pop3Session::open(&house.mail, ([127, 0, 0, 1], 1).into(), Drain::new()).await.unwrap();
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move { Box::new(session).serve(Box::new(near), bytes::Bytes::new()).await });
    far.write_all(b"STAT\r\nRETR 1\r\nQUIT\r\n").await.unwrap();
    let mut said = String::new();
    far.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, format!("+OK 3 {}\r\n+OK {size} octets\r\n{whole}.\r\n+OK Goodbye\r\n", 3 * size));
}
