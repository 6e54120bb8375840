//! SELECT, EXAMINE, CLOSE, UNSELECT, \Recent, NOOP and IDLE.

use super::*;
use std::time::{Duration, Instant};

#[tokio::test]
async fn what_select_says() {
    let house = House::new().await;
    let mut client = house.connect();
    client.append("INBOX", "(\\Seen work)", &message(1)).await;
    client.append("INBOX", "", &message(2)).await;
    let answer = client.ok("SELECT inbox").await;
    let validity = answer.with("[UIDVALIDITY ")[0].to_owned();
    let name = answer.with("[MAILBOXID (F")[0].to_owned();
    assert_eq!(
        answer.untagged,
        [
            "FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft work)",
            "OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft work \\*)] Flags that can be changed",
            "2 EXISTS",
            "2 RECENT",
            "OK [UNSEEN 2] First message that is not seen",
            validity.as_str(),
            name.as_str(),
            "OK [UIDNEXT 3] The next UID",
            "OK [HIGHESTMODSEQ 3] The last change",
        ]
    );
    assert_eq!(answer.completion, "OK [READ-WRITE] SELECT completed");
    // Each message is recent in one session only.
    let mut other = house.connect();
    let answer = other.ok("EXAMINE INBOX").await;
    assert_eq!(
        (answer.with("RECENT"), answer.completion.as_str()),
        (vec!["0 RECENT"], "OK [READ-ONLY] EXAMINE completed")
    );
    assert_eq!(answer.with("PERMANENTFLAGS"), ["OK [PERMANENTFLAGS ()] Flags that can be changed"]);
    // A SELECT that fails leaves nothing open.
    client.fails("SELECT nowhere", "NO [NONEXISTENT]").await;
    client.fails("FETCH 1 FLAGS", "BAD No mailbox selected").await;
    client.fails("SELECT a%b", "BAD").await;
    client.fails("SELECT \"a%b\"", "NO [CANNOT]").await;
}

#[tokio::test]
async fn recent_is_given_to_one_session() {
    let house = House::new().await;
    let (mut one, mut two) = (house.select().await, house.select().await);
    house.connect().append("INBOX", "", &message(1)).await;
    assert_eq!(one.ok("NOOP").await.untagged, ["1 EXISTS", "1 RECENT"]);
    assert_eq!(two.ok("NOOP").await.untagged, ["1 EXISTS", "0 RECENT"]);
    assert_eq!(one.ok("FETCH 1 FLAGS").await.untagged, ["1 FETCH (FLAGS (\\Recent))"]);
    assert_eq!(two.ok("FETCH 1 FLAGS").await.untagged, ["1 FETCH (FLAGS ())"]);
    assert_eq!(one.ok("SEARCH RECENT").await.untagged, ["SEARCH 1"]);
    // EXAMINE shows and leaves what is recent.
    house.connect().append("Sent", "", &message(2)).await;
    assert_eq!(one.ok("EXAMINE Sent").await.with("RECENT"), ["1 RECENT"]);
    assert_eq!(two.ok("SELECT Sent").await.with("RECENT"), ["1 RECENT"]);
    assert_eq!(one.ok("EXAMINE Sent").await.with("RECENT"), ["0 RECENT"]);
}

#[tokio::test]
async fn close_expunges_without_a_word_and_unselect_does_not() {
    let house = House::new().await;
    let mut client = house.select().await;
    fill(&mut client, 3).await;
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    client.ok("UNSELECT").await;
    client.fails("CLOSE", "BAD").await;
    assert_eq!(client.ok("EXAMINE INBOX").await.with("EXISTS"), ["3 EXISTS"]);
    // Nothing is changed in a mailbox that is open for reading.
    client.ok("CLOSE").await;
    assert_eq!(client.ok("SELECT INBOX").await.with("EXISTS"), ["3 EXISTS"]);
    assert!(client.ok("CLOSE").await.untagged.is_empty());
    assert_eq!(client.ok("SELECT INBOX").await.with("EXISTS"), ["2 EXISTS"]);
}

#[tokio::test]
async fn idle_tells_within_a_second() {
    let house = House::new().await;
    let (mut idler, mut other) = (house.select().await, house.select().await);
    let tag = idler.begin("IDLE").await;
    assert_eq!(idler.response().await.unwrap(), "+ idling");
    let began = Instant::now();
    fill(&mut other, 1).await;
    assert_eq!(idler.response().await.unwrap(), "* 1 EXISTS");
    assert!(idler.response().await.unwrap().ends_with("RECENT"));
    other.ok("STORE 1 FLAGS (\\Deleted)").await;
    assert!(idler.response().await.unwrap().starts_with("* 1 FETCH (FLAGS (\\Deleted"));
    other.ok("EXPUNGE").await;
    assert_eq!(idler.response().await.unwrap(), "* 1 EXPUNGE");
    assert!(began.elapsed() < Duration::from_secs(1));
    idler.send("DONE\r\n").await;
    let answer = idler.end(&tag).await;
    // Whoever heard of it first has one recent message less.
    assert!(answer.completion.starts_with("OK") && answer.untagged.iter().all(|line| line == "0 RECENT"), "{answer:?}");
    // Without an open mailbox there is nothing to hear.
    let mut idler = house.connect();
    let tag = idler.begin("IDLE").await;
    assert_eq!(idler.response().await.unwrap(), "+ idling");
    fill(&mut other, 1).await;
    idler.send("DONE\r\n").await;
    assert!(idler.end(&tag).await.untagged.is_empty());
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_ends_its_sessions() {
    let house = House::new().await;
    let (mut client, mut other) = (house.connect(), house.connect());
    client.ok("CREATE a").await;
    client.ok("SELECT a").await;
    other.ok("DELETE a").await;
    client.send("x NOOP\r\n").await;
    let mut last = String::new();
    while let Some(line) = client.response().await {
        last = line;
    }
    assert_eq!(last, "* BYE [UNAVAILABLE] The selected mailbox was deleted");
}

#[tokio::test]
async fn a_drain_says_goodbye() {
    let house = House::new().await;
    let mut client = house.select().await;
    house.drain.begin();
    assert_eq!(client.response().await.unwrap(), "* BYE [UNAVAILABLE] Restarting, please connect again");
    assert_eq!(client.response().await, None);
}

#[tokio::test]
async fn the_small_commands() {
    let house = House::new().await;
    let mut client = house.connect();
    assert_eq!(client.ok("NAMESPACE").await.untagged, ["NAMESPACE ((\"\" \"/\")) ((\"Other users/\" \"/\")) NIL"]);
    assert_eq!(client.ok("ENABLE X-FOO CONDSTORE").await.untagged, ["ENABLED CONDSTORE"]);
    assert_eq!(client.ok("ID NIL").await.untagged, ["ID (\"name\" \"Estafeta\")"]);
    assert!(client.ok("CAPABILITY").await.untagged[0].contains(" UIDPLUS"));
    let tags = [client.begin("NOOP").await, client.begin("SELECT INBOX").await, client.begin("CHECK").await];
    for tag in tags {
        assert!(client.end(&tag).await.completion.starts_with("OK"));
    }
    client.send("bye LOGOUT\r\n").await;
    assert_eq!(client.response().await.unwrap(), "* BYE Logging out");
    assert!(client.response().await.unwrap().starts_with("bye OK"));
    assert_eq!(client.response().await, None);
}
