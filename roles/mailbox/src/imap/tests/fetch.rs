//! FETCH, and what is told of messages that others expunged.

use super::*;

#[tokio::test]
async fn seen_is_set_and_told() {
    let house = House::new().await;
    let (mut client, mut other) = (house.connect(), house.select().await);
    fill(&mut client, 2).await;
    other.ok("NOOP").await;
    client.ok("SELECT INBOX").await;
    assert_eq!(client.ok("FETCH 1 BODY.PEEK[TEXT]").await.untagged, ["1 FETCH (BODY[TEXT] {8}\r\nbody 1\r\n)"]);
    assert_eq!(client.ok("FETCH 1 RFC822.HEADER").await.untagged.len(), 1);
    assert!(other.ok("NOOP").await.untagged.is_empty());
    assert_eq!(
        client.ok("FETCH 1 BODY[TEXT]").await.untagged,
        ["1 FETCH (BODY[TEXT] {8}\r\nbody 1\r\n FLAGS (\\Seen))"]
    );
    assert_eq!(client.ok("FETCH 1 BODY[TEXT]").await.untagged, ["1 FETCH (BODY[TEXT] {8}\r\nbody 1\r\n)"]);
    assert_eq!(
        client.ok("UID FETCH 1:* (FLAGS RFC822.TEXT)").await.untagged,
        [
            "1 FETCH (UID 1 FLAGS (\\Seen) RFC822.TEXT {8}\r\nbody 1\r\n)",
            "2 FETCH (UID 2 FLAGS (\\Seen) RFC822.TEXT {8}\r\nbody 2\r\n)",
        ]
    );
    assert_eq!(
        other.ok("UID FETCH 1 UID").await.untagged,
        ["1 FETCH (UID 1)", "1 FETCH (UID 1 FLAGS (\\Seen \\Recent))", "2 FETCH (UID 2 FLAGS (\\Seen \\Recent))",]
    );
    // Not in a mailbox that is open for reading.
    fill(&mut client, 1).await;
    client.ok("EXAMINE INBOX").await;
    client.ok("FETCH 3 BODY[]").await;
    assert!(!client.ok("FETCH 3 FLAGS").await.untagged[0].contains("Seen"));
}

#[tokio::test]
async fn what_is_asked_for() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 3).await;
    let envelope = "(NIL \"number 2\" ((\"Ana\" NIL \"ana\" \"example.edu\")) ((\"Ana\" NIL \"ana\" \"example.edu\")) \
                    ((\"Ana\" NIL \"ana\" \"example.edu\")) NIL NIL NIL NIL NIL)";
    assert_eq!(
        client.ok("FETCH 2 (ENVELOPE BODY)").await.untagged,
        [format!(
            "2 FETCH (ENVELOPE {envelope} BODY (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 8 1))"
        )]
    );
    assert_eq!(
        client.ok("FETCH 2 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[]<6.3> BODY.PEEK[2])").await.untagged,
        ["2 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {21}\r\nSubject: number 2\r\n\r\n BODY[]<6> {3}\r\nAna BODY[2] NIL)"]
    );
    let uids = client.ok("UID FETCH 2:*,1 UID").await;
    assert_eq!(uids.untagged, ["1 FETCH (UID 1)", "2 FETCH (UID 2)", "3 FETCH (UID 3)"]);
    // A UID that is not there is passed over; the last one is always in n:*.
    assert_eq!(client.ok("UID FETCH 700:* UID").await.untagged, ["3 FETCH (UID 3)"]);
    assert!(client.ok("UID FETCH 700:800 UID").await.untagged.is_empty());
    // A sequence number that is not there is an error.
    client.fails("FETCH 4 UID", "BAD").await;
    client.fails("FETCH 1:4 UID", "BAD").await;
    client.ok("SELECT Sent").await;
    assert!(client.ok("FETCH 1:* UID").await.untagged.is_empty());
}

#[tokio::test]
async fn expunged_messages_keep_their_numbers_until_it_is_told() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 4).await;
    let mut other = house.select().await;
    other.ok("STORE 2 +FLAGS (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    // Not in answer to FETCH, STORE and SEARCH: the numbers stay.
    let answer = client.ok("FETCH 1:4 (UID RFC822.SIZE)").await;
    assert_eq!((answer.with("UID").len(), answer.with("EXPUNGE").len()), (4, 0), "{answer:?}");
    let answer = client.ok("FETCH 1:4 BODY.PEEK[TEXT]").await;
    assert_eq!((answer.with("body 2").len(), answer.with("body 3").len()), (0, 1), "{answer:?}");
    assert!(answer.completion.starts_with("OK [EXPUNGEISSUED]"));
    let answer = client.ok("STORE 1:4 +FLAGS (\\Flagged)").await;
    assert_eq!(answer.with("\\Flagged").len(), 3);
    assert!(answer.completion.starts_with("OK [EXPUNGEISSUED]"), "{answer:?}");
    assert_eq!(client.ok("SEARCH TEXT body").await.untagged, ["SEARCH 1 3 4"]);
    let answer = client.command("COPY 2 Sent").await;
    assert!(answer.completion.starts_with("NO [EXPUNGEISSUED]"), "{answer:?}");
    assert_eq!(answer.with("EXPUNGE"), ["2 EXPUNGE"]);
    assert_eq!(client.ok("SEARCH TEXT body").await.untagged, ["SEARCH 1 2 3"]);
}

#[tokio::test]
async fn much_is_sent_at_the_pace_of_the_client() {
    let house = House::new().await;
    let mut client = house.select().await;
    for _ in 0..20 {
        client.append("INBOX", "", &"x".repeat(500_000)).await;
    }
    // 100 MB in one command; the stream between holds 64 KB.
    let answer = client
        .ok("FETCH 1:* (BODY.PEEK[] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[]<0.400000> BODY.PEEK[]<1.499999>)")
        .await;
    assert_eq!(answer.untagged.len(), 20);
}
