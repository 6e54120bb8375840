//! The search index.

use estafeta_protocols::imap::message::search::Place::{Body, Header};

use super::*;

/// What the index says of the messages 1 to `count`, for a text in the body.
async fn asked(mailbox: &Mailbox, text: &str, count: u32) -> Vec<Option<bool>> {
    let indexed = mailbox.indexed(&[(Body, text)]).await;
    (1..=count).map(|uid| indexed.as_ref().and_then(|indexed| indexed.holds(Uid(uid), Body, text))).collect()
}

#[tokio::test]
async fn it_knows_what_it_was_given_and_no_more() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "Subject: Mañana\r\n\r\nLa oficina\r\nde CORREOS, 100%_\\ \"x\"\r\n").await;
    assert_eq!(asked(&inbox, "oficina", 1).await, [None]);
    store.index_all().await;
    append(&mail, "INBOX", "Subject: a\r\n\r\noficina\r\n").await;
    let yes_and_unknown = [Some(true), None];
    for text in ["oficina", "ofi", "cina de correos", "100%_\\ \"x\"", "\"x\""] {
        assert_eq!(asked(&inbox, text, 2).await, yes_and_unknown, "{text}");
    }
    for text in ["manana", "correos de", "100%a", "1000", "oficinas", "x%y", "%_\\\\"] {
        assert_eq!(asked(&inbox, text, 2).await, [Some(false), None], "{text}");
    }
    // Too short to be looked up.
    assert_eq!(asked(&inbox, "of", 2).await, [None, None]);
    let header = inbox.indexed(&[(Header, "subject: manana"), (Header, "oficina")]).await.unwrap();
    assert_eq!(header.holds(Uid(1), Header, "subject: manana"), Some(true));
    assert_eq!(header.holds(Uid(1), Header, "oficina"), Some(false));
    assert_eq!(header.holds(Uid(1), Header, "not asked for"), None);
    store.index_all().await;
    assert_eq!(asked(&inbox, "oficina", 3).await, [Some(true), Some(true), None]);
    // Another mailbox is another.
    append(&mail, "Sent", "\r\nnada\r\n").await;
    store.index_all().await;
    assert_eq!(asked(&mail.mailbox(&name("Sent")).await.unwrap(), "oficina", 1).await, [Some(false)]);
}

#[tokio::test]
async fn of_a_long_message_it_knows_the_beginning_and_of_a_long_text() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", &format!("\r\nbegin {} end", "some words ".repeat(60_000))).await;
    let long = "palabra ".repeat(20);
    append(&mail, "INBOX", &format!("\r\n{long}\r\n")).await;
    store.index_all().await;
    assert_eq!(asked(&inbox, "begin", 2).await, [Some(true), Some(false)]);
    assert_eq!(asked(&inbox, " end", 2).await, [None, Some(false)]);
    assert_eq!(asked(&inbox, &long, 2).await, [None, None]);
    assert_eq!(asked(&inbox, &format!("x{long}"), 2).await, [None, Some(false)]);
}

#[tokio::test]
async fn what_is_expunged_leaves_it() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for number in 1..=70 {
        append(&mail, "INBOX", &format!("\r\nnumber {number}\r\n")).await;
    }
    mail.create(&name("other"), None).await.unwrap();
    append(&mail, "other", "\r\nnumber 1\r\n").await;
    store.index_all().await;
    assert_eq!(store.indexed_messages().await, 71);
    let expunge = async |uids: std::ops::RangeInclusive<u32>| {
        let uids = UidSet::from_uids(uids.map(Uid));
        inbox.store_flags(&uids, &FlagChange::add(SystemFlags::DELETED), None).await.unwrap();
        inbox.expunge(&uids).await.unwrap();
    };
    expunge(1..=30).await;
    store.index_all().await;
    assert_eq!(store.indexed_messages().await, 41);
    // And when it is forgotten what was expunged.
    expunge(40..=50).await;
    let ages = GarbageAges { expunged: std::time::Duration::ZERO, ..GarbageAges::default() };
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(store.collect_garbage(ages).await.unwrap().expunged, 41);
    store.index_all().await;
    assert_eq!(store.indexed_messages().await, 30);
    mail.delete(&name("other")).await.unwrap();
    store.index_all().await;
    assert_eq!(store.indexed_messages().await, 29);
}

#[tokio::test]
async fn it_follows_by_itself() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "\r\nbefore\r\n").await;
    let follower = tokio::spawn({
        let store = store.clone();
        async move { store.keep_indexed().await }
    });
    let until = async |text: &str, expected: &[Option<bool>]| {
        for _ in 0..600 {
            if asked(&inbox, text, expected.len() as u32).await == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{text} is not indexed");
    };
    until("before", &[Some(true)]).await;
    append(&mail, "INBOX", "\r\nafter\r\n").await;
    until("after", &[Some(false), Some(true)]).await;
    follower.abort();
}

#[tokio::test]
async fn an_index_that_is_lost_or_damaged_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("search.db");
    // A file of its own it is on SQLite alone.
    let open = || open_on(directory.path(), None, BodyPlace::Files);
    let store = open().await;
    let mail = store.create_account(&account("ana", None)).await.unwrap();
    let owner = mail.account.clone();
    append(&mail, "INBOX", "\r\nword\r\n").await;
    store.index_all().await;
    store.close().await;
    let lose: fn(&Path) = |path| std::fs::remove_file(path).unwrap();
    let damage: fn(&Path) = |path| std::fs::write(path, "x".repeat(9000)).unwrap();
    for harm in [lose, damage] {
        for suffix in ["-wal", "-shm"] {
            std::fs::remove_file(directory.path().join(format!("search.db{suffix}"))).ok();
        }
        harm(&path);
        let store = open().await;
        let inbox = store.account(&owner).await.unwrap().unwrap().mailbox(&name("INBOX")).await.unwrap();
        assert_eq!(asked(&inbox, "word", 1).await, [None]);
        store.index_all().await;
        assert_eq!(asked(&inbox, "word", 1).await, [Some(true)]);
        store.close().await;
    }
}
