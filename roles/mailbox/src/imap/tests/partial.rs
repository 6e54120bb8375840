//! PARTIAL (RFC 9394): results page by page.

use super::*;

#[tokio::test]
async fn pages_of_a_search() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 6).await;
    client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    for (options, expected) in [
        ("PARTIAL 1:2", "UID PARTIAL (1:2 1,3)"),
        ("PARTIAL -1:-2", "UID PARTIAL (-1:-2 5:6)"),
        ("PARTIAL 4:9 COUNT", "UID PARTIAL (4:9 5:6) COUNT 5"),
        ("PARTIAL 7:9", "UID PARTIAL (7:9 NIL)"),
        ("MIN PARTIAL 2:3", "UID MIN 1 PARTIAL (2:3 3:4)"),
    ] {
        let answer = client.ok(&format!("UID SEARCH RETURN ({options}) ALL")).await;
        assert!(
            answer.untagged[0].starts_with("ESEARCH (TAG ") && answer.untagged[0].ends_with(expected),
            "{answer:?}"
        );
    }
    client.fails("UID SEARCH RETURN (ALL PARTIAL 1:2) ALL", "BAD").await;
    client.fails("UID SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL", "BAD").await;
    // What is saved is what is shown.
    client.ok("UID SEARCH RETURN (SAVE PARTIAL -1:-2) ALL").await;
    assert_eq!(client.ok("UID FETCH $ UID").await.untagged, ["4 FETCH (UID 5)", "5 FETCH (UID 6)"]);
    client.ok("UID SEARCH RETURN (SAVE MIN PARTIAL 2:2) ALL").await;
    assert_eq!(client.ok("UID FETCH $ UID").await.untagged, ["1 FETCH (UID 1)", "2 FETCH (UID 3)"]);
    client.ok("UID SEARCH RETURN (SAVE COUNT PARTIAL 2:2) ALL").await;
    assert_eq!(client.ok("UID FETCH $ UID").await.untagged.len(), 5);
}

#[tokio::test]
async fn pages_of_a_fetch() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 5).await;
    let answer = client.ok("UID FETCH 1:* UID (PARTIAL -1:-2)").await;
    assert_eq!(answer.untagged, ["4 FETCH (UID 4)", "5 FETCH (UID 5)"]);
    let answer = client.ok("UID FETCH 2:4 UID (PARTIAL 2:9)").await;
    assert_eq!(answer.untagged, ["3 FETCH (UID 3)", "4 FETCH (UID 4)"]);
    assert!(client.ok("UID FETCH 1:* UID (PARTIAL 6:9)").await.untagged.is_empty());
    // Of the page, only what has changed (RFC 9394 §3.4).
    let modseq = client.ok("STATUS INBOX (HIGHESTMODSEQ)").await.with("STATUS")[0].to_owned();
    let modseq = modseq.rsplit([' ', ')']).nth(1).unwrap();
    client.ok("STORE 2,4 +FLAGS.SILENT (\\Seen)").await;
    let answer = client.ok(&format!("UID FETCH 1:* UID (PARTIAL -1:-2 CHANGEDSINCE {modseq})")).await;
    assert!(answer.with("FETCH").iter().all(|line| line.starts_with("4 FETCH (UID 4 MODSEQ ")), "{answer:?}");
    assert_eq!(answer.with("FETCH").len(), 1);
    let answer = client.ok(&format!("UID FETCH 1:* UID (CHANGEDSINCE {modseq} PARTIAL 5:5)")).await;
    assert!(answer.with("FETCH").is_empty(), "{answer:?}");
    client.fails("FETCH 1:* UID (PARTIAL 1:2)", "BAD").await;
}
