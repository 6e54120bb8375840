//! GETQUOTA, GETQUOTAROOT, SETQUOTA, what no longer fits, and the warnings before (RFC 9208).

use std::time::Duration;

use super::*;
use crate::imap::engine::Engine;
use crate::imap::owner::Owner;
use crate::imap::session::serve_engine;

/// With room for four messages.
async fn house() -> House {
    let directory = tempfile::tempdir().unwrap();
    let account = Account { quota_messages: Some(4), ..account(Some(10_240)) };
    let mail = open(directory.path()).await.create_account(&account).await.unwrap();
    House { mail, neighbours: Arc::default(), drain: Drain::new(), _directory: directory }
}

#[tokio::test]
async fn roots_and_figures() {
    let house = house().await;
    let mut client = house.connect();
    client.append("INBOX", "", &message(1)).await;
    let quota = "QUOTA ana@example.edu (STORAGE 1 10 MESSAGE 1 4)";
    assert_eq!(client.ok("GETQUOTAROOT INBOX").await.untagged, ["QUOTAROOT INBOX ana@example.edu", quota]);
    assert_eq!(client.ok("GETQUOTA ANA@example.edu").await.untagged, [quota]);
    client.fails("GETQUOTA \"\"", "NO [NONEXISTENT]").await;
    client.fails("GETQUOTAROOT nowhere", "NO [NONEXISTENT]").await;
    client.fails("SETQUOTA ana@example.edu (STORAGE 100)", "NO [NOPERM]").await;
    assert_eq!(client.ok("GETQUOTA ana@example.edu").await.untagged, [quota]);
    let capabilities = client.ok("CAPABILITY").await.untagged.remove(0);
    assert!(capabilities.contains(" QUOTA QUOTA=RES-MESSAGE QUOTA=RES-STORAGE "), "{capabilities}");
    // Without limits there is no root.
    let house = House::new().await;
    let mut client = house.connect();
    assert_eq!(client.ok("GETQUOTAROOT INBOX").await.untagged, ["QUOTAROOT INBOX"]);
    client.fails("GETQUOTA ana@example.edu", "NO [NONEXISTENT]").await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_count_too() {
    let house = house().await;
    let mut client = house.select().await;
    fill(&mut client, 3).await;
    client.fails("COPY 1:2 Sent", "NO [OVERQUOTA]").await;
    client.fails("APPEND INBOX {20000}", "NO [OVERQUOTA]").await;
    client.ok("COPY 1 Sent").await;
    client.fails("APPEND INBOX {10}", "NO [OVERQUOTA]").await;
    // Nothing is added by a move.
    client.ok("MOVE 1 Sent").await;
}

#[tokio::test]
async fn what_expunging_would_free() {
    let house = House::new().await;
    let mut client = house.select().await;
    client.append("INBOX", "(\\Deleted)", &"x".repeat(1500)).await;
    client.append("INBOX", "(\\Deleted)", &"x".repeat(600)).await;
    client.append("INBOX", "", &"x".repeat(9000)).await;
    assert_eq!(
        client.ok("STATUS INBOX (DELETED-STORAGE DELETED)").await.untagged,
        ["STATUS INBOX (DELETED-STORAGE 2104 DELETED 2)"]
    );
    client.ok("EXPUNGE").await;
    assert_eq!(client.ok("STATUS INBOX (DELETED-STORAGE)").await.untagged, ["STATUS INBOX (DELETED-STORAGE 0)"]);
}

#[tokio::test]
async fn a_warning_comes_once_for_each_crossing() {
    let house = House::with_quota(Some(10_000)).await;
    let mut client = house.select().await;
    let big = "x".repeat(7_000);
    assert_eq!(client.append("Sent", "", &big).await.with("EXISTS"), [""; 0]);
    let warned = client.append("Sent", "", &"x".repeat(1_200)).await;
    assert_eq!(warned.with("EXISTS"), ["1 EXISTS"]);
    let fetched = client.ok("FETCH 1 BODY[]").await.untagged.join("");
    for line in
        ["Subject: Your mailbox is 80% full", "Auto-Submitted: auto-generated", "Return-Path: <>", "10000 bytes"]
    {
        assert!(fetched.contains(line), "{fetched}");
    }
    let envelope = client.ok("FETCH 1 ENVELOPE").await.untagged.join("");
    assert!(envelope.ends_with("@example.edu>\"))"), "{envelope}");
    // Above it, nothing is said again, until it was below.
    assert_eq!(client.append("Sent", "", "x").await.with("EXISTS"), [""; 0]);
    client.ok("SELECT Sent").await;
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    // By a copy this time, over two thresholds at once: the higher one is told.
    client.append("Drafts", "", &"x".repeat(3_900)).await;
    client.ok("SELECT Drafts").await;
    client.ok("COPY 1 Trash").await;
    client.ok("SELECT INBOX").await;
    let subjects = client.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]").await;
    assert_eq!((subjects.untagged.len(), subjects.with("95% full").len()), (2, 1), "{subjects:?}");
    let ids = client.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]").await.untagged;
    let id = |line: &String| line.split_once("Message-ID: <").unwrap().1.to_owned();
    assert_ne!(id(&ids[0]), id(&ids[1]));
}

#[tokio::test]
async fn limits_that_an_administrator_changes_hold_for_open_sessions() {
    let house = House::new().await;
    let owner = Owner::serving(Duration::from_millis(300));
    let engine = Engine::new(house.mail.clone(), house.neighbours.clone()).with_owner(owner);
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(serve_engine(engine, Box::new(near), house.drain.clone()));
    let mut client = Client::new(far);
    client.append("INBOX", "", &"x".repeat(1000)).await;
    client.ok("SELECT INBOX").await;
    let known = house.mail.account().clone();
    house.neighbours.0.lock().unwrap().push(Account { quota_bytes: Some(1024), ..known.clone() });
    let limited = ["QUOTAROOT INBOX ana@example.edu", "QUOTA ana@example.edu (STORAGE 1 1)"];
    for _ in 0..100 {
        if client.ok("GETQUOTAROOT INBOX").await.untagged == limited {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.ok("GETQUOTAROOT INBOX").await.untagged, limited);
    client.fails("APPEND INBOX {100}", "NO [OVERQUOTA]").await;
    client.fails("COPY 1 Sent", "NO [OVERQUOTA]").await;
    // A limit that falls away; and while the directory does not say, what was known holds.
    *house.neighbours.0.lock().unwrap() = vec![known.clone()];
    tokio::time::sleep(Duration::from_millis(310)).await;
    client.append("INBOX", "", &"x".repeat(1000)).await;
    *house.neighbours.0.lock().unwrap() = vec![Account { store_group: "other".parse().unwrap(), ..known }];
    tokio::time::sleep(Duration::from_millis(310)).await;
    client.ok("COPY 1 Sent").await;
}
