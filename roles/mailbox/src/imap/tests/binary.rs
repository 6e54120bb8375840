//! BINARY (RFC 3516): parts without their transfer encoding.

use super::*;

const PARTS: &str = "Subject: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
    Content-Transfer-Encoding: base64\r\n\r\naGUAbGxv\r\n--b\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\nca=C3=B1a\r\n--b\r\n\
    Content-Transfer-Encoding: x-new\r\n\r\n?\r\n--b--\r\n";

#[tokio::test]
async fn parts_are_decoded() {
    let house = House::new().await;
    let mut client = house.select().await;
    client.append("INBOX", "", PARTS).await;
    let answer =
        client.ok("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1] BINARY.PEEK[2] BINARY.PEEK[1]<1.3> BINARY.PEEK[9])").await;
    assert_eq!(
        answer.untagged,
        [
            "1 FETCH (BINARY.SIZE[1] 6 BINARY[1] ~{6}\r\nhe\0llo BINARY[2] {5}\r\ncaña BINARY[1]<1> ~{3}\r\ne\0l BINARY[9] NIL)"
        ]
    );
    let answer = client.ok("UID FETCH 1 BINARY[]").await;
    let size = PARTS.len();
    let expected = format!("1 FETCH (UID 1 BINARY[] {{{size}}}\r\n{PARTS} FLAGS (\\Seen \\Recent))");
    assert_eq!(answer.untagged, [expected]);
    client.fails("FETCH 1 BINARY[1.TEXT]", "BAD").await;
}

#[tokio::test]
async fn an_unknown_encoding_is_named_and_the_rest_is_told() {
    let house = House::new().await;
    let mut client = house.select().await;
    client.append("INBOX", "", PARTS).await;
    for item in ["BINARY.PEEK[3]", "BINARY.SIZE[3]"] {
        let answer = client.command(&format!("FETCH 1 (BINARY.PEEK[2] {item})")).await;
        assert!(answer.completion.starts_with("NO [UNKNOWN-CTE]"), "{answer:?}");
        assert_eq!(answer.with("BINARY[2] {5}\r\ncaña").len(), 1);
        assert_eq!(answer.with("BINARY.SIZE").len(), 0, "{answer:?}");
    }
    // Of whose parts nothing is known, nothing is told.
    client.append("INBOX", "", PARTS.replace("x-new", "8bit").as_str()).await;
    let answer = client.command("FETCH 1:2 BINARY.SIZE[3]").await;
    assert!(answer.completion.starts_with("NO [UNKNOWN-CTE]"), "{answer:?}");
    assert_eq!(answer.with("FETCH"), ["2 FETCH (BINARY.SIZE[3] 1)"]);
    let answer = client.command("UID FETCH 1 BINARY.SIZE[3]").await;
    assert_eq!(answer.with("FETCH"), ["1 FETCH (UID 1)"]);
}
