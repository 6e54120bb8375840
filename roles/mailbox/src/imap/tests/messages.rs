//! STORE, EXPUNGE, COPY and MOVE.

use super::*;

#[tokio::test]
async fn flags() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 2).await;
    let mut other = house.select().await;
    let answer = client.ok("STORE 1:2 +FLAGS (\\Seen Work)").await;
    assert_eq!(answer.untagged[0], "FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work)");
    assert_eq!(
        answer.with("FETCH"),
        ["1 FETCH (FLAGS (\\Seen Work \\Recent))", "2 FETCH (FLAGS (\\Seen Work \\Recent))"]
    );
    assert_eq!(client.ok("UID STORE 2 -FLAGS work").await.untagged, ["2 FETCH (UID 2 FLAGS (\\Seen \\Recent))"]);
    assert_eq!(client.ok("STORE 2 FLAGS ()").await.untagged, ["2 FETCH (FLAGS (\\Recent))"]);
    assert!(client.ok("STORE 2 FLAGS.SILENT (\\Draft)").await.untagged.is_empty());
    let answer = other.ok("NOOP").await;
    assert_eq!(answer.with("FETCH"), ["1 FETCH (FLAGS (\\Seen Work))", "2 FETCH (FLAGS (\\Draft))"], "{answer:?}");
    // Silence does not hide what another did to the same message.
    other.ok("STORE 2 +FLAGS (\\Answered)").await;
    assert_eq!(
        client.ok("STORE 2 +FLAGS.SILENT (\\Seen)").await.untagged,
        ["2 FETCH (FLAGS (\\Answered \\Seen \\Draft \\Recent))"]
    );
    client.ok("EXAMINE INBOX").await;
    client.fails("STORE 1 FLAGS ()", "NO").await;
    client.fails("EXPUNGE", "NO").await;
    client.fails("MOVE 1 Sent", "NO").await;
}

#[tokio::test]
async fn expunge_tells_numbers_as_they_shift() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 5).await;
    let mut other = house.select().await;
    client.ok("STORE 2,3,5 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("UID EXPUNGE 3:4").await.with("EXPUNGE"), ["3 EXPUNGE"]);
    assert_eq!(client.ok("EXPUNGE").await.with("EXPUNGE"), ["4 EXPUNGE", "2 EXPUNGE"]);
    assert_eq!(client.ok("UID FETCH 1:* UID").await.untagged, ["1 FETCH (UID 1)", "2 FETCH (UID 4)"]);
    assert_eq!(other.ok("NOOP").await.with("EXPUNGE"), ["5 EXPUNGE", "3 EXPUNGE", "2 EXPUNGE"]);
    assert!(client.ok("EXPUNGE").await.untagged.is_empty());
}

#[tokio::test]
async fn copies_and_moves() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 3).await;
    client.ok("STORE 3 +FLAGS (\\Flagged work)").await;
    let answer = client.ok("COPY 2:3 Archive").await;
    assert!(answer.completion.contains(" 2:3 1:2]") && answer.completion.starts_with("OK [COPYUID "), "{answer:?}");
    client.fails("COPY 1 nowhere", "NO [TRYCREATE]").await;
    client.fails("COPY 9 Archive", "BAD").await;
    assert_eq!(client.ok("UID COPY 900 Archive").await.completion, "OK COPY completed");
    let answer = client.ok("UID MOVE 1,3 Archive").await;
    assert!(answer.untagged[0].starts_with("OK [COPYUID ") && answer.untagged[0].contains(" 1,3 3:4]"), "{answer:?}");
    assert_eq!(answer.with("EXPUNGE"), ["3 EXPUNGE", "1 EXPUNGE"]);
    assert_eq!(client.ok("UID FETCH 1:* UID").await.untagged, ["1 FETCH (UID 2)"]);
    // Into the same mailbox: a new message, which is told at once.
    let answer = client.ok("COPY 1 INBOX").await;
    assert_eq!(answer.with("EXISTS"), ["2 EXISTS"]);
    let answer = client.ok("MOVE 1 INBOX").await;
    assert_eq!((answer.with("EXPUNGE"), answer.with("EXISTS")), (vec!["1 EXPUNGE"], vec!["2 EXISTS"]));
    client.ok("SELECT Archive").await;
    let answer = client.ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])").await;
    assert!(answer.untagged[1].contains("\\Flagged work") && answer.untagged[1].contains("number 3"), "{answer:?}");
    assert!(answer.untagged[2].contains("number 1"), "{answer:?}");
}
