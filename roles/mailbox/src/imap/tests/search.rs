//! SEARCH.

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
