//! Delivery: once for each id, one body for all.

use estafeta_core::DeliveryId;

use super::*;

async fn bodies(store: &Store) -> i64 {
    let counted = query("SELECT count(*) FROM blobs").fetch_one(&mut store.reader().await.unwrap()).await;
    counted.unwrap().try_get(0).unwrap()
}

#[tokio::test]
async fn a_body_is_kept_once_for_all_and_each_has_its_own_trace() {
    let (_directory, store, ana) = ana().await;
    let ben = store.create_account(&account("ben", None)).await.unwrap();
    let consignment =
        store.consign(DeliveryId::generate(), &text("body\r\n").with_prefix("Received: x\r\n")).await.unwrap();
    let deliver = async |mail: &AccountMail, trace: &str, folder| {
        mail.deliver(&consignment, trace.as_bytes(), folder).await.unwrap()
    };
    let (first, second) =
        tokio::join!(deliver(&ana, "To: ana\r\n", Folder::Inbox), deliver(&ben, "To: ben\r\n", Folder::Junk));
    assert_eq!((first, second), (Delivered::Stored(Uid(1)), Delivered::Stored(Uid(1))));
    for (mail, folder, expected) in
        [(&ana, "INBOX", "To: ana\r\nReceived: x\r\nbody\r\n"), (&ben, "Junk", "To: ben\r\nReceived: x\r\nbody\r\n")]
    {
        let mailbox = mail.mailbox(&name(folder)).await.unwrap();
        assert_eq!(mailbox.text(Uid(1)).await.unwrap().contiguous(), expected);
        let message = *mailbox.snapshot(RecentClaim::Leave).await.unwrap().messages.get(0).unwrap();
        assert_eq!(message.size as usize, expected.len());
    }
    // Another transaction with the same content, later.
    let again = store.consign(DeliveryId::generate(), &text("body\r\n")).await.unwrap();
    ana.deliver(&again, b"", Folder::Inbox).await.unwrap();
    assert_eq!(bodies(&store).await, 1);
}

#[tokio::test]
async fn a_repeat_stores_nothing_again() {
    let (_directory, store, ana) = ana().await;
    let ben = store.create_account(&account("ben", None)).await.unwrap();
    let id = DeliveryId::generate();
    for round in 0..3 {
        let consignment = store.consign(id, &text("body")).await.unwrap();
        let outcomes = [
            ana.deliver(&consignment, b"", Folder::Inbox).await.unwrap(),
            ben.deliver(&consignment, b"", Folder::Inbox).await.unwrap(),
        ];
        let expected = if round == 0 { Delivered::Stored(Uid(1)) } else { Delivered::Before };
        assert_eq!(outcomes, [expected; 2]);
    }
    // Both at the same moment.
    let consignment = store.consign(DeliveryId::generate(), &text("body")).await.unwrap();
    let (one, other) =
        tokio::join!(ana.deliver(&consignment, b"", Folder::Inbox), ana.deliver(&consignment, b"", Folder::Inbox));
    let mut outcomes = [one.unwrap(), other.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == Delivered::Before);
    assert_eq!(outcomes, [Delivered::Stored(Uid(2)), Delivered::Before]);
    let inbox = ana.mailbox(&name("INBOX")).await.unwrap();
    assert_eq!(uids(&inbox).await, [1, 2]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_may_come_again_under_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let owner = account("ana", Some(5));
    let mail = store.create_account(&owner).await.unwrap();
    let consignment = store.consign(DeliveryId::generate(), &text("123456")).await.unwrap();
    assert!(matches!(mail.deliver(&consignment, b"", Folder::Inbox).await, Err(StoreError::OverQuota)));
    let mail = store.account(&Account { quota_bytes: None, ..owner }).await.unwrap().unwrap();
    assert_eq!(mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap(), Delivered::Stored(Uid(1)));
    assert!(matches!(
        store.consign(DeliveryId::generate(), &text(&"x".repeat(1_000_001))).await,
        Err(StoreError::TooLarge)
    ));
}

#[tokio::test]
async fn without_a_mailbox_for_junk_it_goes_to_inbox() {
    let (_directory, store, mail) = ana().await;
    mail.delete(&name("Junk")).await.unwrap();
    let consignment = store.consign(DeliveryId::generate(), &text("x")).await.unwrap();
    mail.deliver(&consignment, b"", Folder::Junk).await.unwrap();
    assert_eq!(uids(&mail.mailbox(&name("INBOX")).await.unwrap()).await, [1]);
}

#[tokio::test]
async fn who_waits_is_woken() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let mut watcher = inbox.watch();
    let since = inbox.snapshot(RecentClaim::Take).await.unwrap().highest_modseq;
    let waiting = tokio::spawn(async move {
        watcher.changed().await;
        inbox.changes(since, RecentClaim::Take).await.unwrap()
    });
    let consignment = store.consign(DeliveryId::generate(), &text("x")).await.unwrap();
    mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap();
    let changes = waiting.await.unwrap();
    assert_eq!((changes.changed.len(), changes.recent), (1, Uid(1)..Uid(2)));
}

#[tokio::test]
async fn a_folder_that_is_named_gets_it_if_it_is_there() {
    let (_directory, store, mail) = ana().await;
    mail.create(&name("Lists/Ñandú"), None).await.unwrap();
    for (folder, into) in [
        ("lists/ñandú", "Lists/Ñandú"),
        ("Lists/Ñandú", "Lists/Ñandú"),
        ("Lists", "INBOX"),
        ("nowhere", "INBOX"),
        ("a//b", "INBOX"),
    ] {
        let before = mail.status(&name(into)).await.unwrap().messages;
        let consignment = store.consign(DeliveryId::generate(), &text("x")).await.unwrap();
        mail.deliver(&consignment, b"", Folder::Named(folder.to_owned())).await.unwrap();
        assert_eq!(mail.status(&name(into)).await.unwrap().messages, before + 1, "{folder}");
    }
}
