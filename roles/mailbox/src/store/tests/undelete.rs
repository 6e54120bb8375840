//! What was expunged can be had back: from mailboxes that are there, are called otherwise, or are gone; once, for a while.

use std::time::Duration;

use super::*;

/// Brings back all that is wanted, and says what came back into which mailbox.
async fn undelete(mail: &AccountMail, wanted: Wanted) -> Vec<(String, u64)> {
    let mut came = Vec::new();
    for deleted in mail.deleted(&wanted).await.unwrap() {
        let mut messages = 0;
        loop {
            let more = mail.undelete(&deleted, wanted.since).await.unwrap();
            messages += more.messages;
            if more.messages == 0 {
                break;
            }
        }
        assert_eq!(messages, deleted.messages);
        came.push((deleted.name.to_string(), messages));
    }
    came
}

/// Flags, keywords, date and text of each message, by UID.
async fn shown(mailbox: &Mailbox) -> Vec<(u32, SystemFlags, Vec<String>, i64, String)> {
    let snapshot = mailbox.snapshot(RecentClaim::Leave).await.unwrap();
    let mut shown = Vec::new();
    for entry in snapshot.messages.iter() {
        let text = mailbox.text(entry.uid).await.unwrap().contiguous().to_vec();
        let keywords = snapshot.keywords.of(entry.flags.keywords).map(ToString::to_string).collect();
        let text = String::from_utf8(text).unwrap();
        shown.push((entry.uid.0, entry.flags.system, keywords, entry.internal_date, text));
    }
    shown
}

async fn check(store: &Store) {
    let progress = tokio::sync::watch::Sender::new(Progress::default());
    assert_eq!(store.verify(None, false, &progress).await.unwrap(), []);
}

/// A message with everything that a message can have.
fn adorned(body: &str, keywords: &[&str]) -> NewMessage {
    NewMessage {
        system: SystemFlags::FLAGGED | SystemFlags::DELETED,
        keywords: keywords.iter().map(|one| keyword(one)).collect(),
        internal_date: Some(1_000_000_000),
        ..NewMessage::received(text(body))
    }
}

#[tokio::test]
async fn expunged_messages_come_back_under_new_uids_once() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    mail.append(&name("INBOX"), vec![adorned("one", &["k1", "k2"]), adorned("two", &["k2"])]).await.unwrap();
    append(&mail, "INBOX", "three").await;
    inbox.expunge(&UidSet::all()).await.unwrap();
    assert_eq!(mail.usage().await.unwrap().messages, 1, "what can be had back counts for no quota");
    let [told] = &mail.deleted(&Wanted::default()).await.unwrap()[..] else { panic!("one mailbox") };
    assert_eq!((told.name.as_str(), told.messages, told.bytes), ("INBOX", 2, 6));
    assert!(told.first > 1_000_000_000 && told.first <= told.last);
    check(&store).await;

    let (mut watcher, since) = (inbox.watch(), inbox.snapshot(RecentClaim::Leave).await.unwrap().highest_modseq);
    assert_eq!(undelete(&mail, Wanted::default()).await, [("INBOX".to_owned(), 2)]);
    assert!(watcher.take());
    let changes = inbox.changes(since, RecentClaim::Leave).await.unwrap();
    assert_eq!(changes.changed.iter().map(|entry| entry.uid.0).collect::<Vec<_>>(), [4, 5]);
    let keywords = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let shown = shown(&inbox).await;
    assert_eq!(
        shown[1..],
        [
            (4, SystemFlags::FLAGGED, keywords(&["k1", "k2"]), 1_000_000_000, "one".to_owned()),
            (5, SystemFlags::FLAGGED, keywords(&["k2"]), 1_000_000_000, "two".to_owned()),
        ]
    );
    assert_eq!(mail.usage().await.unwrap().messages, 3);
    assert_eq!(undelete(&mail, Wanted::default()).await, [], "once");
    check(&store).await;
}

#[tokio::test]
async fn deleted_mailboxes_come_back_with_their_messages() {
    let (_directory, store, mail) = ana().await;
    for mailbox in ["a/b", "a/b/c", "renamed"] {
        mail.create(&name(mailbox), None).await.unwrap();
    }
    mail.append(&name("a/b"), vec![adorned("of b", &["x", "kept"])]).await.unwrap();
    append(&mail, "a/b/c", "of c").await;
    append(&mail, "Archive", "of the archive").await;
    let uid = append(&mail, "renamed", "of renamed").await;
    mail.mailbox(&name("renamed")).await.unwrap().remove(&UidSet::from_uids([uid])).await.unwrap();
    mail.rename(&name("renamed"), &name("otherwise")).await.unwrap();
    // It stays to hold the one below it, which has other keywords than it had.
    mail.delete(&name("a/b")).await.unwrap();
    mail.delete(&name("a/b/c")).await.unwrap();
    mail.delete(&name("Archive")).await.unwrap();
    assert!(mail.mailbox(&name("a/b")).await.is_err());
    check(&store).await;

    // Another mailbox has the name now, and other numbers for its keywords.
    mail.create(&name("a/b"), None).await.unwrap();
    mail.append(&name("a/b"), vec![adorned("new", &["kept"])]).await.unwrap();
    let only = Wanted { mailbox: Some(name("a/b")), since: 0 };
    assert_eq!(undelete(&mail, only).await, [("a/b".to_owned(), 1)]);
    let shown = shown(&mail.mailbox(&name("a/b")).await.unwrap()).await;
    let mut keywords = shown[1].2.clone();
    keywords.sort();
    assert_eq!((shown.len(), shown[1].0, keywords), (2, 2, vec!["kept".to_owned(), "x".to_owned()]));

    let came = undelete(&mail, Wanted::default()).await;
    let names: Vec<&str> = came.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Archive", "a/b/c", "otherwise"]);
    let entries = mail.mailboxes().await.unwrap();
    let archive = entries.iter().find(|entry| entry.name.as_str() == "Archive").unwrap();
    assert_eq!(archive.special_use, Some(SpecialUse::Archive));
    assert_eq!(uids(&mail.mailbox(&name("otherwise")).await.unwrap()).await, [2]);
    assert_eq!(mail.usage().await.unwrap().messages, 5);
    check(&store).await;
}

#[tokio::test]
async fn what_is_moved_leaves_nothing_and_what_is_replaced_does() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let uid = append(&mail, "INBOX", "moved").await;
    inbox.move_to(&UidSet::from_uids([uid]), &name("Sent")).await.unwrap();
    assert_eq!(mail.deleted(&Wanted::default()).await.unwrap(), []);
    let draft = append(&mail, "INBOX", "first draft").await;
    mail.replace((&inbox, draft), &name("INBOX"), NewMessage::received(text("second draft"))).await.unwrap();
    assert_eq!(undelete(&mail, Wanted::default()).await, [("INBOX".to_owned(), 1)]);
    let texts: Vec<String> = shown(&inbox).await.into_iter().map(|(.., text)| text).collect();
    assert_eq!(texts, ["second draft", "first draft"]);
    check(&store).await;
}

#[tokio::test]
async fn it_lapses_in_time_and_its_body_with_it() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let ages = GarbageAges { grace: Duration::ZERO, ..GarbageAges::default() };
    let uid = append(&mail, "INBOX", "kept").await;
    inbox.remove(&UidSet::from_uids([uid])).await.unwrap();
    assert_eq!(store.collect_garbage(ages).await.unwrap(), Collected::default(), "its body lives");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let late = mail.deleted(&Wanted::default()).await.unwrap()[0].last + 2;
    append(&mail, "Sent", "later").await;
    mail.delete(&name("Sent")).await.unwrap();
    let told = mail.deleted(&Wanted { mailbox: None, since: late }).await.unwrap();
    assert_eq!(told.iter().map(|deleted| deleted.name.as_str()).collect::<Vec<_>>(), ["Sent"]);
    let undelete_age = GarbageAges { undelete: Duration::from_secs(2), ..ages };
    let collected = store.collect_garbage(undelete_age).await.unwrap();
    assert_eq!((collected.lapsed, collected.condemned), (1, 1));
    check(&store).await;
    assert_eq!(undelete(&mail, Wanted::default()).await, [("Sent".to_owned(), 1)]);
    // The mailbox's name is forgotten with its messages, or after them.
    assert_eq!(store.collect_garbage(GarbageAges { undelete: Duration::ZERO, ..ages }).await.unwrap().lapsed, 1);
    check(&store).await;
}

#[tokio::test]
async fn more_than_fits_into_one_transaction_comes_back_as_far_as_the_quota_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let mail = store.create_account(&account("ana", Some(7_000))).await.unwrap();
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for half in 0..2 {
        let many = (0..350).map(|_| NewMessage::received(text("0123456789"))).collect();
        mail.append(&name("INBOX"), many).await.unwrap();
        if half == 0 {
            inbox.remove(&UidSet::all()).await.unwrap();
        }
    }
    inbox.remove(&UidSet::all()).await.unwrap();
    append(&mail, "INBOX", "1").await;
    let told = mail.deleted(&Wanted::default()).await.unwrap();
    assert_eq!(told[0].messages, 700);
    assert_eq!(mail.undelete(&told[0], 0).await.unwrap(), Holding { messages: 500, bytes: 5_000 });
    assert!(matches!(mail.undelete(&told[0], 0).await, Err(StoreError::OverQuota)));
    assert_eq!(mail.deleted(&Wanted::default()).await.unwrap()[0].messages, 200, "the rest waits");
    assert_eq!(mail.usage().await.unwrap().messages, 501);
    check(&store).await;
}
