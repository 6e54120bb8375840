//! What a client has switched on: IMAP4rev2 (RFC 9051), UTF8=ACCEPT (RFC 9755), UIDONLY (RFC 9586).

use super::*;

#[tokio::test]
async fn revision_two_says_nothing_of_what_was_taken_away() {
    let house = House::new().await;
    let mut client = house.connect();
    assert!(client.ok("CAPABILITY").await.untagged[0].starts_with("CAPABILITY IMAP4rev1 IMAP4rev2 "));
    assert_eq!(client.ok("ENABLE imap4rev2 X-FOO").await.untagged, ["ENABLED IMAP4rev2"]);
    fill(&mut client, 2).await;
    let answer = client.ok("SELECT inbox").await;
    assert_eq!((answer.with("RECENT"), answer.with("UNSEEN")), (vec![], vec![]));
    assert_eq!((answer.with("LIST"), answer.with("EXISTS")), (vec!["LIST () \"/\" INBOX"], vec!["2 EXISTS"]));
    assert_eq!(client.ok("FETCH 1 FLAGS").await.untagged, ["1 FETCH (FLAGS ())"]);
    fill(&mut client, 1).await;
    assert_eq!(client.ok("NOOP").await.with("RECENT"), Vec::<&str>::new());
    // One form of a search's answer.
    let answer = client.ok("SEARCH ALL").await;
    assert!(answer.untagged[0].starts_with("ESEARCH (TAG ") && answer.untagged[0].ends_with(" ALL 1:3"), "{answer:?}");
    let answer = client.ok("UID SEARCH DELETED").await;
    assert!(answer.untagged[0].starts_with("ESEARCH (TAG ") && answer.untagged[0].ends_with(" UID"), "{answer:?}");
    let answer = client.ok("EXAMINE Drafts").await;
    assert!(answer.untagged[0].starts_with("OK [CLOSED]"), "{answer:?}");
    client.fails("SELECT nowhere", "NO [NONEXISTENT]").await;
    assert_eq!(client.ok("STATUS INBOX (MESSAGES DELETED SIZE)").await.with("MESSAGES 3 DELETED 0").len(), 1);
}

#[tokio::test]
async fn revision_one_is_as_it_was() {
    let house = House::new().await;
    let mut client = house.connect();
    fill(&mut client, 1).await;
    client.ok("CREATE \"A&AOQ-\"").await;
    let answer = client.ok("SELECT INBOX").await;
    assert_eq!((answer.with("RECENT"), answer.with("LIST")), (vec!["1 RECENT"], vec![]));
    assert_eq!(client.ok("SEARCH ALL").await.untagged, ["SEARCH 1"]);
    assert_eq!(client.ok("LIST \"\" A%").await.untagged.last().unwrap(), "LIST (\\HasNoChildren) \"/\" A&AOQ-");
    client.fails("APPEND INBOX UTF8 (~{3+}\r\nabc)", "BAD").await;
}

#[tokio::test]
async fn names_travel_in_utf8() {
    let house = House::new().await;
    for enabled in ["UTF8=ACCEPT", "IMAP4rev2"] {
        let mut client = house.connect();
        assert_eq!(client.ok(&format!("ENABLE {enabled}")).await.untagged, [format!("ENABLED {enabled}")]);
        client.ok("CREATE \"Año & más/ñ\"").await;
        let answer = client.ok("LIST \"\" \"Año*\"").await;
        assert_eq!(answer.with("ñ\""), ["LIST (\\HasNoChildren) \"/\" \"Año & más/ñ\""]);
        assert_eq!(client.ok("STATUS \"Año & más/ñ\" (MESSAGES)").await.with("\"Año & más/ñ\" (MESSAGES 0)").len(), 1);
        // A client that has switched nothing on finds the same mailbox under its other name.
        let mut other = house.connect();
        other.ok("DELETE \"A&APE-o &- m&AOE-s/&APE-\"").await;
    }
}

#[tokio::test]
async fn messages_in_utf8() {
    let house = House::new().await;
    let mut client = house.connect();
    client.ok("ENABLE UTF8=ACCEPT").await;
    client.ok("SELECT INBOX").await;
    let text = "Subject: mañana\r\nFrom: ñ@example.edu\r\n\r\nñ";
    client.ok(&format!("APPEND INBOX UTF8 (~{{{}+}}\r\n{text})", text.len())).await;
    client.append("INBOX", "", text).await;
    let answer = client.ok("FETCH 1:2 RFC822.SIZE").await;
    let size = text.len() + 2;
    assert_eq!(answer.untagged, [1, 2].map(|number| format!("{number} FETCH (RFC822.SIZE {size})")));
    assert!(client.ok("FETCH 1 ENVELOPE").await.untagged[0].contains("mañana"));
    assert_eq!(client.ok("SEARCH SUBJECT mañana").await.untagged, ["SEARCH 1 2"]);
    client.fails("SEARCH CHARSET UTF-8 SUBJECT mañana", "BAD").await;
}

#[tokio::test]
async fn messages_are_named_by_uid_alone() {
    let house = House::new().await;
    let mut client = house.connect();
    fill(&mut client, 4).await;
    assert_eq!(client.ok("ENABLE UIDONLY").await.untagged, ["ENABLED UIDONLY"]);
    let answer = client.ok("SELECT INBOX").await;
    assert_eq!((answer.with("UNSEEN"), answer.with("EXISTS")), (vec![], vec!["4 EXISTS"]));
    let mut other = house.select().await;
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    assert_eq!(client.ok("NOOP").await.with("1"), ["VANISHED 1"]);
    let answer = client.ok("UID FETCH 1:3 FLAGS").await;
    assert_eq!(answer.untagged, ["2 UIDFETCH (FLAGS (\\Recent))", "3 UIDFETCH (FLAGS (\\Recent))"]);
    // The UID a second time, where it is asked for.
    assert_eq!(client.ok("UID FETCH 2 (UID RFC822.SIZE)").await.with("UID 2").len(), 1);
    let answer = client.ok("UID STORE 3 +FLAGS (\\Flagged)").await;
    assert_eq!(answer.untagged, ["3 UIDFETCH (FLAGS (\\Flagged \\Recent))"]);
    other.ok("UID STORE 4 +FLAGS.SILENT (\\Seen)").await;
    assert_eq!(client.ok("NOOP").await.untagged, ["4 UIDFETCH (FLAGS (\\Seen \\Recent))"]);
    for command in [
        "FETCH 1 FLAGS",
        "STORE 1 FLAGS ()",
        "COPY 1 Drafts",
        "MOVE 1 Drafts",
        "SEARCH ALL",
        "UID SEARCH 1:2",
        "UID SEARCH NOT 1",
        "REPLACE 1 INBOX {3}",
        "REPLACE 1 INBOX CATENATE (URL x)",
    ] {
        client.fails(command, "BAD [UIDREQUIRED]").await;
    }
    assert_eq!(client.ok("UID SEARCH UID 1:3").await.untagged, ["SEARCH 2 3"]);
    let answer = client.ok("UID MOVE 2 Drafts").await;
    assert_eq!(answer.with("VANISHED"), ["VANISHED 2"]);
    client.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("EXPUNGE").await.with("3"), ["VANISHED 3"]);
    let answer = client.ok("UID REPLACE 4 INBOX {3+}\r\nabc").await;
    assert_eq!(answer.with("VANISHED"), ["VANISHED 4"]);
    client.ok("ENABLE QRESYNC").await;
    client.fails("SELECT INBOX (QRESYNC (1 1 1:3 (1 1)))", "BAD [UIDREQUIRED]").await;
}
