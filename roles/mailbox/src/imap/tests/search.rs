//! SEARCH.

use super::client::Answer;
use super::*;

#[tokio::test]
async fn keys() {
    let house = House::new().await;
    let mut client = house.select().await;
    client.append("INBOX", "(\\Seen) \" 1-Feb-2020 10:00:00 +0000\"", &message(1)).await;
    client.append("INBOX", "(work) \" 2-Feb-2020 10:00:00 +0000\"", &message(2)).await;
    let encoded = "Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nDate: Sat, 1 Feb 2020 00:00:00 +0000\r\n\r\nsmall\r\n";
    client.append("INBOX", "(\\Deleted)", encoded).await;
    for (keys, found) in [
        ("ALL", "1 2 3"),
        ("SEEN", "1"),
        ("NOT SEEN", "2 3"),
        ("KEYWORD WORK", "2"),
        ("KEYWORD unknown", ""),
        ("SINCE 2-Feb-2020", "2 3"),
        ("ON 1-Feb-2020", "1"),
        ("SENTON 1-Feb-2020", "3"),
        ("SUBJECT \"NUMBER\"", "1 2"),
        ("CHARSET UTF-8 SUBJECT {7+}\r\ngrüße", "3"),
        ("BODY \"body 2\"", "2"),
        ("TEXT \"number 1\"", "1"),
        ("OR BODY small SEEN", "1 3"),
        ("2:* UNDELETED", "2"),
        ("UID 3", "3"),
        ("FROM ana TO ana", ""),
    ] {
        let answer = client.ok(&format!("SEARCH {keys}")).await;
        assert_eq!(answer.untagged, [format!("SEARCH {found}").trim_end()], "{keys}");
    }
    client.ok("EXPUNGE").await;
    client.append("INBOX", "", &message(4)).await;
    assert_eq!(client.ok("UID SEARCH ALL").await.untagged, ["SEARCH 1 2 4"]);
    assert_eq!(client.ok("SEARCH ALL").await.untagged, ["SEARCH 1 2 3"]);
    client.fails("SEARCH CHARSET X ALL", "NO [BADCHARSET").await;
}

/// An ESEARCH response without its tag.
fn extended(answer: &Answer) -> &str {
    let line = answer.with("ESEARCH (TAG ");
    line.first().and_then(|line| line.split_once(')')).unwrap_or_else(|| panic!("{answer:?}")).1
}

#[tokio::test]
async fn results_as_asked_for_and_saved() {
    let house = House::new().await;
    let mut client = house.select().await;
    for (number, flags) in [(1, ""), (2, "\\Seen"), (3, ""), (4, "\\Seen"), (5, "\\Seen")] {
        client.append("INBOX", &format!("({flags})"), &message(number)).await;
    }
    client.ok("NOOP").await;
    for (options, given) in [
        ("()", " ALL 2,4:5"),
        ("(MIN)", " MIN 2"),
        ("(MAX COUNT)", " MAX 5 COUNT 3"),
        ("(ALL MIN MAX COUNT)", " MIN 2 MAX 5 ALL 2,4:5 COUNT 3"),
    ] {
        assert_eq!(extended(&client.ok(&format!("SEARCH RETURN {options} SEEN")).await), given, "{options}");
        let by_uid = client.ok(&format!("UID SEARCH RETURN {options} SEEN")).await;
        assert_eq!(extended(&by_uid), format!(" UID{given}"), "{options}");
    }
    assert_eq!(extended(&client.ok("SEARCH RETURN (ALL COUNT MIN) FLAGGED").await), " COUNT 0");

    assert!(client.ok("SEARCH RETURN (SAVE) SEEN").await.untagged.is_empty());
    assert_eq!(client.ok("FETCH $ UID").await.untagged.len(), 3);
    assert_eq!(client.ok("SEARCH $ SUBJECT \"number 4\"").await.untagged, ["SEARCH 4"]);
    // An expunged message leaves it; what comes later does not join it.
    client.ok("STORE 4 +FLAGS (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    client.append("INBOX", "(\\Seen)", &message(6)).await;
    client.ok("NOOP").await;
    assert_eq!(client.ok("UID FETCH $ UID").await.untagged, ["2 FETCH (UID 2)", "4 FETCH (UID 5)"]);
    client.ok("UID STORE $ +FLAGS (\\Flagged)").await;
    assert_eq!(client.ok("SEARCH FLAGGED").await.untagged, ["SEARCH 2 4"]);
    assert!(client.ok("COPY $ Sent").await.completion.starts_with("OK [COPYUID "));
    // With MIN or MAX alone only those are saved; with COUNT all are.
    assert_eq!(extended(&client.ok("SEARCH RETURN (SAVE MIN) SEEN").await), " MIN 2");
    assert_eq!(client.ok("FETCH $ UID").await.untagged, ["2 FETCH (UID 2)"]);
    assert_eq!(extended(&client.ok("SEARCH RETURN (SAVE COUNT) SEEN").await), " COUNT 3");
    assert_eq!(client.ok("FETCH $ UID").await.untagged.len(), 3);
    // Another mailbox starts with nothing saved.
    client.ok("SELECT Sent").await;
    assert!(client.ok("FETCH $ UID").await.untagged.is_empty());
}

#[tokio::test]
async fn sizes_ages_and_dates_of_saving() {
    let house = House::new().await;
    let mut client = house.select().await;
    client.append("INBOX", "(\\Deleted) \" 1-Feb-2020 10:00:00 +0000\"", &message(1)).await;
    client.append("INBOX", "", &message(2)).await;
    client.ok("NOOP").await;
    assert_eq!(client.ok("SEARCH YOUNGER 3600").await.untagged, ["SEARCH 2"]);
    assert_eq!(client.ok("SEARCH OLDER 3600").await.untagged, ["SEARCH 1"]);
    assert_eq!(client.ok("SEARCH SAVEDSINCE 1-Feb-2021 SAVEDATESUPPORTED").await.untagged, ["SEARCH 1 2"]);
    assert_eq!(client.ok("FETCH 1 SAVEDATE").await.with("1 FETCH (SAVEDATE \"").len(), 1);
    let sizes: usize = [1, 2].iter().map(|number| message(*number).len()).sum();
    let status = client.ok("STATUS INBOX (SIZE DELETED)").await;
    assert_eq!(status.untagged, [format!("STATUS INBOX (SIZE {sizes} DELETED 1)")]);
}
