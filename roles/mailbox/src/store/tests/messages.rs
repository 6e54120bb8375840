//! Messages in mailboxes, one operation a test. That they fit together is `model`'s affair.

use super::*;
use std::collections::BTreeSet;

#[tokio::test]
async fn what_is_appended_is_read_back() {
    let (_directory, _store, mail) = ana().await;
    let big = "x".repeat(500_000);
    let prefixed = text(&big).with_prefix("A: b\r\n");
    let huge_prefix = text("body").with_prefix("y".repeat(100_000));
    let new = |message: &Message| NewMessage {
        message: message.clone(),
        system: SystemFlags::SEEN | SystemFlags::DRAFT,
        keywords: vec![keyword("$Forwarded"), keyword("b")],
        internal_date: Some(837_569_065),
    };
    let appended = mail.append(&name("INBOX"), vec![new(&prefixed), new(&huge_prefix), new(&text(""))]).await.unwrap();
    assert_eq!(appended.uids, Uid(1)..Uid(4));
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    assert_eq!(appended.uid_validity, inbox.uid_validity());
    for (uid, message) in [(1, prefixed), (2, huge_prefix), (3, text(""))] {
        assert_eq!(inbox.text(Uid(uid)).await.unwrap().contiguous(), message.contiguous());
    }
    let snapshot = inbox.snapshot(RecentClaim::Leave).await.unwrap();
    let first = *snapshot.messages.get(0).unwrap();
    assert_eq!((first.size, first.internal_date), (500_006, 837_569_065));
    assert_eq!(first.flags.system.names().collect::<Vec<_>>(), ["\\Seen", "\\Draft"]);
    assert_eq!(
        snapshot.keywords.of(first.flags.keywords).map(Keyword::as_str).collect::<Vec<_>>(),
        ["$Forwarded", "b"]
    );
    assert!(matches!(inbox.text(Uid(4)).await, Err(StoreError::NoMessage)));
    assert!(matches!(mail.append(&name("none"), vec![new(&text("x"))]).await, Err(StoreError::NoMailbox)));
    assert!(matches!(
        mail.append(&name("INBOX"), vec![new(&text(&"x".repeat(1_000_001)))]).await,
        Err(StoreError::TooLarge)
    ));
}

#[tokio::test]
async fn quota_counts_every_copy_and_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let mail = store.create_account(&account("ana", Some(1000))).await.unwrap();
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", &"x".repeat(400)).await;
    inbox.copy(&UidSet::all(), &name("Sent")).await.unwrap();
    assert_eq!(
        mail.usage().await.unwrap(),
        Usage { used_bytes: 800, messages: 2, limit_bytes: Some(1000), limit_messages: None }
    );
    assert!(matches!(inbox.copy(&UidSet::all(), &name("Sent")).await, Err(StoreError::OverQuota)));
    assert!(matches!(
        mail.append(&name("INBOX"), vec![NewMessage::received(text(&"x".repeat(201)))]).await,
        Err(StoreError::OverQuota)
    ));
    inbox.move_to(&UidSet::all(), &name("Trash")).await.unwrap();
    assert_eq!(mail.usage().await.unwrap().used_bytes, 800);
    mail.mailbox(&name("Trash")).await.unwrap().remove(&UidSet::all()).await.unwrap();
    assert_eq!(mail.usage().await.unwrap().used_bytes, 400);
    append(&mail, "INBOX", &"x".repeat(600)).await;
}

#[tokio::test]
async fn a_message_is_recent_for_one_session() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "1").await;
    append(&mail, "INBOX", "2").await;
    assert_eq!(mail.status(&name("INBOX")).await.unwrap().recent, 2);
    assert_eq!(inbox.snapshot(RecentClaim::Leave).await.unwrap().recent, Uid(1)..Uid(3));
    let first = inbox.snapshot(RecentClaim::Take).await.unwrap();
    assert_eq!(first.recent, Uid(1)..Uid(3));
    assert_eq!(mail.status(&name("INBOX")).await.unwrap().recent, 0);
    assert!(inbox.snapshot(RecentClaim::Take).await.unwrap().recent.is_empty());
    append(&mail, "INBOX", "3").await;
    assert_eq!(inbox.changes(first.highest_modseq, RecentClaim::Take).await.unwrap().recent, Uid(3)..Uid(4));
    assert!(inbox.changes(first.highest_modseq, RecentClaim::Take).await.unwrap().recent.is_empty());
}

#[tokio::test]
async fn flags_that_are_set_already_change_nothing() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "1").await;
    append(&mail, "INBOX", "2").await;
    let mut watcher = inbox.watch();
    let seen = FlagChange::add(SystemFlags::SEEN);
    let one = UidSet::from_uids([Uid(1), Uid(77)]);
    let first = inbox.store_flags(&one, &seen, None).await.unwrap();
    assert!(watcher.take());
    assert_eq!(first.messages.len(), 1);
    assert_eq!(first.messages[0].modseq, first.modseq);
    let again = inbox.store_flags(&one, &seen, None).await.unwrap();
    assert!(!watcher.take());
    assert_eq!(again.modseq, first.modseq);
    let both = inbox.store_flags(&UidSet::all(), &seen, None).await.unwrap();
    assert!(both.modseq > first.modseq);
    assert_eq!(both.messages.iter().map(|message| message.modseq).collect::<Vec<_>>(), [first.modseq, both.modseq]);
    assert_eq!(mail.status(&name("INBOX")).await.unwrap().unseen, 0);
}

#[tokio::test]
async fn very_many_are_changed_in_several_turns_and_none_is_passed_over() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for body in ["1", "2", "3", "4", "5"] {
        append(&mail, "INBOX", body).await;
    }
    for _ in 0..10 {
        inbox.copy(&UidSet::all(), &name("INBOX")).await.unwrap();
    }
    inbox.remove(&UidSet::from_ranges([Uid(1000)..=Uid(1099)])).await.unwrap();
    let (kept, status) = (UidSet::from_uids([Uid(7), Uid(5000)]), async || mail.status(&name("INBOX")).await.unwrap());
    let both = FlagChange::add(SystemFlags::SEEN | SystemFlags::DELETED);
    // First read from the database, then known by the snapshot before it.
    for turn in 0..2 {
        let before = status().await.highest_modseq;
        let stored = inbox.store_flags(&UidSet::all(), &both, None).await.unwrap();
        assert_eq!((stored.messages.len(), stored.before, stored.alone), (5020, before, true));
        let turns: BTreeSet<_> = stored.messages.iter().map(|message| message.modseq.0).collect();
        assert_eq!(turns.into_iter().collect::<Vec<_>>(), [before.0 + 1, before.0 + 2]);
        assert_eq!((status().await.unseen, status().await.deleted, stored.modseq.0), (0, 5020, before.0 + 2));
        let changes = inbox.changes(before, RecentClaim::Leave).await.unwrap();
        let told = changes.changed.iter().map(|entry| (entry.uid, entry.modseq, entry.flags));
        assert!(told.eq(stored.messages.iter().map(|mark| (mark.uid, mark.modseq, mark.flags))));
        if turn == 0 {
            let back = FlagChange { action: FlagAction::Remove, ..both.clone() };
            inbox.store_flags(&UidSet::all(), &back, None).await.unwrap();
            assert_eq!(status().await.unseen, 5020);
            inbox.snapshot(RecentClaim::Leave).await.unwrap();
        }
    }
    let keep = FlagChange { action: FlagAction::Remove, ..FlagChange::add(SystemFlags::DELETED) };
    inbox.store_flags(&kept, &keep, None).await.unwrap();
    let since = status().await.highest_modseq;
    assert_eq!(inbox.expunge(&UidSet::all()).await.unwrap().len(), 5018);
    assert_eq!((uids(&inbox).await, status().await.messages), (vec![7, 5000], 2));
    assert_eq!(inbox.changes(since, RecentClaim::Leave).await.unwrap().expunged.len(), 5018);
    assert_eq!(mail.usage().await.unwrap().messages, 2);
}

#[tokio::test]
async fn unchanged_since_leaves_alone_what_changed_later() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "1").await;
    append(&mail, "INBOX", "2").await;
    let since = inbox.snapshot(RecentClaim::Leave).await.unwrap().highest_modseq;
    inbox.store_flags(&UidSet::from_uids([Uid(1)]), &FlagChange::add(SystemFlags::FLAGGED), None).await.unwrap();
    let replaced = FlagChange { action: FlagAction::Replace, system: SystemFlags::SEEN, keywords: vec![keyword("k")] };
    let stored = inbox.store_flags(&UidSet::all(), &replaced, Some(since)).await.unwrap();
    assert_eq!(stored.modified, [Uid(1)]);
    let flags: Vec<_> = stored.messages.iter().map(|message| message.flags.system).collect();
    assert_eq!(flags, [SystemFlags::FLAGGED, SystemFlags::SEEN]);
    assert_eq!(stored.keywords.of(stored.messages[1].flags.keywords).count(), 1);
}

#[tokio::test]
async fn a_mailbox_has_so_many_keywords_and_no_more() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "1").await;
    let add = |keywords: Vec<Keyword>| FlagChange { action: FlagAction::Add, system: SystemFlags::NONE, keywords };
    let all: Vec<_> = (0..64).map(|number| keyword(&format!("k{number}"))).collect();
    let stored = inbox.store_flags(&UidSet::all(), &add(all.clone()), None).await.unwrap();
    assert_eq!(stored.keywords.of(stored.messages[0].flags.keywords).count(), 64);
    assert!(!stored.keywords.has_room());
    assert!(matches!(
        inbox.store_flags(&UidSet::all(), &add(vec![keyword("one-more")]), None).await,
        Err(StoreError::Limit(_))
    ));
    let remove = FlagChange {
        action: FlagAction::Remove,
        system: SystemFlags::NONE,
        keywords: vec![keyword("K63"), keyword("unknown")],
    };
    let stored = inbox.store_flags(&UidSet::all(), &remove, None).await.unwrap();
    assert_eq!(stored.keywords.of(stored.messages[0].flags.keywords).count(), 63);
    // The last one goes to another mailbox under another number, and the others do not fit beside what is there.
    let sent = mail.mailbox(&name("Sent")).await.unwrap();
    append(&mail, "Sent", "2").await;
    sent.store_flags(&UidSet::all(), &add(vec![keyword("own"), keyword("k62")]), None).await.unwrap();
    inbox.copy(&UidSet::all(), &name("Sent")).await.unwrap();
    let snapshot = sent.snapshot(RecentClaim::Leave).await.unwrap();
    let names: Vec<_> =
        snapshot.keywords.of(snapshot.messages.get(1).unwrap().flags.keywords).map(Keyword::as_str).collect();
    assert_eq!(names.len(), 63);
    assert!(names.contains(&"k62") && names.contains(&"k0") && !names.contains(&"own"));
}

#[tokio::test]
async fn a_move_gives_pairs_and_may_stay_in_its_mailbox() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for body in ["1", "2", "3", "4"] {
        append(&mail, "INBOX", body).await;
    }
    inbox.remove(&UidSet::from_uids([Uid(2)])).await.unwrap();
    let moved = inbox.move_to(&UidSet::from_ranges([Uid(1)..=Uid(3)]), &name("Trash")).await.unwrap();
    assert_eq!(moved.copied.uids, [(Uid(1), Uid(1)), (Uid(3), Uid(2))]);
    let trash = mail.mailbox(&name("Trash")).await.unwrap();
    assert_eq!(trash.text(Uid(2)).await.unwrap(), text("3"));
    let moved = inbox.move_to(&UidSet::all(), &name("INBOX")).await.unwrap();
    assert_eq!(moved.copied.uids, [(Uid(4), Uid(5))]);
    assert_eq!(uids(&inbox).await, [5]);
    assert!(inbox.move_to(&UidSet::from_uids([Uid(4)]), &name("Trash")).await.unwrap().copied.uids.is_empty());
    assert!(matches!(inbox.move_to(&UidSet::all(), &name("none")).await, Err(StoreError::NoMailbox)));
    assert_eq!(uids(&inbox).await, [5]);
}

#[tokio::test]
async fn expunge_looks_at_all_when_what_was_expected_is_not_all() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for body in ["1", "2", "3", "4"] {
        append(&mail, "INBOX", body).await;
    }
    let marked = UidSet::from_uids([Uid(1), Uid(3), Uid(4)]);
    inbox.store_flags(&marked, &FlagChange::add(SystemFlags::DELETED), None).await.unwrap();
    // Not what lies beyond what was meant, nor what is not marked.
    let (meant, likely) = (UidSet::from_ranges([Uid(1)..=Uid(3)]), UidSet::from_uids([Uid(2), Uid(3)]));
    assert_eq!(inbox.expunge_likely(&meant, &likely).await.unwrap(), [Uid(1), Uid(3)]);
    assert_eq!(inbox.expunge_likely(&UidSet::all(), &UidSet::from_uids([Uid(4)])).await.unwrap(), [Uid(4)]);
    assert!(inbox.expunge_likely(&UidSet::all(), &UidSet::default()).await.unwrap().is_empty());
    assert_eq!(uids(&inbox).await, [2]);
}

#[tokio::test]
async fn expunge_takes_what_is_marked_and_tells() {
    let (_directory, _store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for body in ["1", "2", "3"] {
        append(&mail, "INBOX", body).await;
    }
    let marked = UidSet::from_uids([Uid(1), Uid(3)]);
    inbox.store_flags(&marked, &FlagChange::add(SystemFlags::DELETED), None).await.unwrap();
    assert_eq!(mail.status(&name("INBOX")).await.unwrap().deleted, 2);
    let since = inbox.snapshot(RecentClaim::Leave).await.unwrap().highest_modseq;
    assert_eq!(inbox.expunge(&UidSet::from_ranges([Uid(2)..=Uid(9)])).await.unwrap(), [Uid(3)]);
    assert_eq!(inbox.expunge(&UidSet::all()).await.unwrap(), [Uid(1)]);
    assert_eq!(inbox.expunge(&UidSet::all()).await.unwrap(), []);
    let changes = inbox.changes(since, RecentClaim::Leave).await.unwrap();
    assert_eq!((changes.expunged, changes.changed.len()), (vec![Uid(1), Uid(3)], 0));
    assert_eq!(append(&mail, "INBOX", "4").await, Uid(4));
}

#[tokio::test]
async fn what_is_durable_is_there_when_the_store_opens_again() {
    let (directory, store, mail) = ana().await;
    append(&mail, "INBOX", "1").await;
    let owner = mail.account().clone();
    assert!(
        Store::open(StoreOptions {
            servers: crate::tests::engine::servers(directory.path()),
            bodies: BodyPlace::Files,
            directory: directory.path().into(),
            message_limit_bytes: 1,
            readers: 1,
            warn_at_percent: Vec::new(),
            keep_expunged: true,
        })
        .await
        .is_err()
    );
    store.close().await;
    assert!(matches!(mail.mailboxes().await, Err(StoreError::Storage(_))));
    let store = open(directory.path()).await;
    let mail = store.account(&owner).await.unwrap().unwrap();
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    assert_eq!(inbox.text(Uid(1)).await.unwrap(), text("1"));
    store.check().await.unwrap();
}
