//! MULTIAPPEND (RFC 3502), CATENATE (RFC 4469), REPLACE (RFC 8508), binary literals (RFC 3516 §4.4), and APPENDLIMIT
//! (RFC 7889).

use super::*;

/// What APPENDUID says of an answer: the UIDs.
fn appended(answer: &client::Answer) -> &str {
    let all = answer.untagged.iter().chain([&answer.completion]);
    let line = all.map(String::as_str).find(|line| line.contains("APPENDUID")).unwrap();
    line.split(['[', ']']).nth(1).unwrap().split(' ').nth(2).unwrap()
}

#[tokio::test]
async fn several_messages_come_together_or_not_at_all() {
    let house = House::new().await;
    let mut client = house.select().await;
    let (first, second) = (message(1), message(2));
    let both = |size| format!("APPEND INBOX (\\Seen) {{{}+}}\r\n{first} ($Two) {{{size}+}}\r\n{second}", first.len());
    let answer = client.ok(&both(second.len())).await;
    assert_eq!((appended(&answer), answer.with("EXISTS")), ("1:2", vec!["2 EXISTS"]));
    let answer = client.ok("FETCH 1:2 (FLAGS BODY.PEEK[TEXT])").await;
    let expected = [
        "1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {8}\r\nbody 1\r\n)",
        "2 FETCH (FLAGS ($Two \\Recent) BODY[TEXT] {8}\r\nbody 2\r\n)",
    ];
    assert_eq!(answer.untagged, expected);
    // The second is refused, so that the first is not there either.
    client.fails(&format!("APPEND INBOX {{3+}}\r\nabc ({}) {{3+}}\r\nabc", "k".repeat(100)), "NO [CANNOT]").await;
    client.fails("APPEND INBOX {3+}\r\nabc {1000001}", "NO [TOOBIG]").await;
    client.fails("APPEND INBOX {3+}\r\nabc {0+}\r\n", "NO").await;
    client.fails("APPEND INBOX {3+}\r\nabc x", "BAD").await;
    let status = client.ok("STATUS INBOX (MESSAGES UIDNEXT APPENDLIMIT)").await;
    assert_eq!(status.untagged, ["STATUS INBOX (MESSAGES 2 UIDNEXT 3 APPENDLIMIT 1000000)"]);
    assert!(client.ok("CAPABILITY").await.untagged[0].contains(" APPENDLIMIT=1000000 "));
}

#[tokio::test]
async fn the_quota_counts_all_of_them() {
    let house = House::with_quota(Some(1_000)).await;
    let mut client = house.select().await;
    let text = "x".repeat(600);
    client.fails(&format!("APPEND INBOX {{600+}}\r\n{text} {{600}}"), "NO [OVERQUOTA]").await;
    client.append("INBOX", "", &text).await;
    // What is replaced makes room.
    client.ok(&format!("REPLACE 1 INBOX {{700+}}\r\n{}", "y".repeat(700))).await;
    client.fails(&format!("REPLACE 1 INBOX {{1001+}}\r\n{}", "y".repeat(1001)), "NO [OVERQUOTA]").await;
    assert_eq!(client.ok("STATUS INBOX (MESSAGES SIZE)").await.untagged, ["STATUS INBOX (MESSAGES 1 SIZE 702)"]);
}

#[tokio::test]
async fn a_message_is_put_together_of_others() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 1).await;
    client.ok("CREATE Año").await;
    let validity = client.ok("STATUS INBOX (UIDVALIDITY)").await.untagged[0].clone();
    let validity = validity.rsplit([' ', ')']).nth(1).unwrap();
    let answer = client
        .ok(&format!(
            "APPEND Año CATENATE (URL \"/INBOX;UIDVALIDITY={validity}/;UID=1/;SECTION=HEADER\" TEXT {{5+}}\r\nnew\r\n URL \";UID=1/;SECTION=TEXT/;PARTIAL=0.4\")"
        ))
        .await;
    assert_eq!(appended(&answer), "1");
    client.ok("SELECT Año").await;
    let text = "From: Ana <ana@example.edu>\r\nSubject: number 1\r\n\r\nnew\r\nbody\r\n";
    let answer = client.ok("FETCH 1 BODY.PEEK[]").await;
    assert_eq!(answer.untagged, [format!("1 FETCH (BODY[] {{{}}}\r\n{text})", text.len())]);
    for url in [
        "/INBOX/;UID=9",
        "/nowhere/;UID=1",
        "/INBOX;UIDVALIDITY=99999/;UID=1",
        "/INBOX/;UID=1/;SECTION=2",
        "imap://example.edu/INBOX/;UID=1",
    ] {
        client.fails(&format!("APPEND Año CATENATE (URL {url})"), &format!("NO [BADURL \"{url}\"]")).await;
    }
    client.fails("APPEND nowhere CATENATE (URL /INBOX/;UID=1)", "NO [TRYCREATE]").await;
    let huge = "x".repeat(900_000);
    client.append("Año", "", &huge).await;
    let twice = "APPEND Año CATENATE (URL ;UID=2 URL \"/A%C3%B1o/;UID=2\")";
    client.fails(twice, "NO [TOOBIG]").await;
    assert_eq!(client.ok("STATUS Año (MESSAGES)").await.with("MESSAGES 2").len(), 1);
}

#[tokio::test]
async fn one_message_takes_the_place_of_another() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 3).await;
    let new = message(4);
    let size = new.len();
    // RFC 8508 §3.3: APPENDUID, then EXPUNGE.
    let answer = client.ok(&format!("REPLACE 2 INBOX (\\Draft) {{{size}+}}\r\n{new}")).await;
    assert!(answer.untagged[0].starts_with("OK [APPENDUID ") && appended(&answer) == "4", "{answer:?}");
    assert_eq!((answer.with("EXPUNGE"), answer.with("EXISTS")), (vec!["2 EXPUNGE"], vec!["3 EXISTS"]));
    assert_eq!(client.ok("UID SEARCH ALL").await.untagged, ["SEARCH 1 3 4"]);
    // Into another mailbox, by UID.
    let answer = client.ok(&format!("UID REPLACE 3 Drafts {{{size}+}}\r\n{new}")).await;
    assert_eq!((appended(&answer), answer.with("EXPUNGE")), ("1", vec!["2 EXPUNGE"]));
    let answer = client.ok("UID REPLACE * INBOX CATENATE (URL ;UID=4)").await;
    assert_eq!(appended(&answer), "5");
    assert_eq!(client.ok("UID SEARCH ALL").await.untagged, ["SEARCH 1 5"]);
    client.fails("REPLACE 9 INBOX {3+}\r\nabc", "BAD").await;
    client.fails("UID REPLACE 4 INBOX {3+}\r\nabc", "NO").await;
    client.fails("REPLACE 1 nowhere {3+}\r\nabc", "NO [TRYCREATE]").await;
    // Another session expunges what is to be replaced: nothing comes in its place.
    let mut other = house.select().await;
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.begin(&format!("REPLACE 1 INBOX {{{size}}}")).await;
    assert!(client.response().await.unwrap().starts_with("+ "));
    other.ok("EXPUNGE").await;
    client.send(&format!("{new}\r\n")).await;
    let answer = client.end(&tag).await;
    assert!(answer.completion.starts_with("NO [EXPUNGEISSUED]"), "{answer:?}");
    assert_eq!((answer.with("EXPUNGE"), answer.with("EXISTS")), (vec!["1 EXPUNGE"], vec![]));
    client.ok("EXAMINE INBOX").await;
    client.fails("REPLACE 1 INBOX {3+}\r\nabc", "NO").await;
    client.ok("UNSELECT").await;
    client.fails("REPLACE 1 INBOX {3+}\r\nabc", "BAD No mailbox selected").await;
}

#[tokio::test]
async fn a_replacement_is_told_by_vanished_after_qresync() {
    let house = House::new().await;
    let mut client = house.connect();
    client.ok("ENABLE QRESYNC").await;
    client.ok("SELECT INBOX").await;
    fill(&mut client, 2).await;
    let answer = client.ok("REPLACE 1 INBOX {3+}\r\nabc").await;
    assert_eq!((appended(&answer), answer.with("VANISHED")), ("3", vec!["VANISHED 1"]));
    assert!(answer.completion.starts_with("OK [HIGHESTMODSEQ "), "{answer:?}");
}

#[tokio::test]
async fn binary_messages_stay_as_they_are() {
    let house = House::new().await;
    let mut client = house.select().await;
    let text = "Content-Transfer-Encoding: binary\r\n\r\na\nb\rc";
    let size = text.len();
    client.ok(&format!("APPEND INBOX ~{{{size}+}}\r\n{text}")).await;
    let answer = client.ok("FETCH 1 BODY.PEEK[]").await;
    assert_eq!(answer.untagged, [format!("1 FETCH (BODY[] {{{size}}}\r\n{text})")]);
    client.fails("APPEND INBOX ~{3+}\r\na\0b", "NO [UNKNOWN-CTE]").await;
}
