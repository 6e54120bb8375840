//! What is collected, when, and what a delivery makes of content that is about to be deleted.

use std::time::Duration;

use estafeta_core::DeliveryId;
use estafeta_storage::blobs::BlobHash;

use super::*;

const AT_ONCE: Duration = Duration::ZERO;
const NEVER: Duration = Duration::from_secs(1 << 40);

/// Ages at which nothing is old.
const KEEP: GarbageAges = GarbageAges {
    grace: NEVER,
    stray: NEVER,
    deliveries: NEVER,
    expunged: NEVER,
    undelete: AT_ONCE,
    gone: NEVER,
    junk: None,
    trash: None,
};

/// A second later: ages are compared in whole seconds.
async fn a_second() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

/// How many blobs there are of this content, whatever their generations and packings.
async fn blobs(store: &Store, body: &str) -> usize {
    let hash = BlobHash::of(body.as_bytes());
    let later = std::time::SystemTime::now() + Duration::from_secs(3600);
    let found = store.inner.blobs.scan(hash.0[0].into(), later).await.unwrap();
    found.into_iter().filter(|name| name.hash == hash).count()
}

/// A body too large for a row.
fn body() -> String {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.alphanumeric()).take(40_000).collect()
}

#[tokio::test]
async fn a_body_goes_in_steps_and_only_when_nobody_names_it() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", &body()).await;
    inbox.copy(&UidSet::all(), &name("Sent")).await.unwrap();
    let at_once = GarbageAges { grace: AT_ONCE, ..KEEP };
    inbox.remove(&UidSet::all()).await.unwrap();
    let lapsed = Collected { lapsed: 1, ..Collected::default() };
    assert_eq!(store.collect_garbage(at_once).await.unwrap(), lapsed, "Sent still names it");
    mail.delete(&name("Sent")).await.unwrap();
    let condemned = Collected { lapsed: 2, condemned: 1, ..Collected::default() };
    assert_eq!(store.collect_garbage(at_once).await.unwrap(), condemned, "a message, and its mailbox");
    assert_eq!(blobs(&store, &body()).await, 1);
    a_second().await;
    assert_eq!(store.collect_garbage(KEEP).await.unwrap(), Collected::default(), "the grace is not over");
    assert_eq!(store.collect_garbage(at_once).await.unwrap(), Collected { deleted: 1, ..Collected::default() });
    assert_eq!(blobs(&store, &body()).await, 0);
    append(&mail, "INBOX", &body()).await;
    assert_eq!(blobs(&store, &body()).await, 1);
}

#[tokio::test]
async fn a_delivery_that_meets_a_condemned_body_writes_a_new_generation() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let uid = append(&mail, "INBOX", &body()).await;
    // It was placed while the body lived, so nothing was written for it.
    let placed_before = store.consign(DeliveryId::generate(), &text(&body())).await.unwrap();
    inbox.remove(&UidSet::from_uids([uid])).await.unwrap();
    assert_eq!(store.collect_garbage(KEEP).await.unwrap().condemned, 1);
    mail.deliver(&placed_before, b"", Folder::Inbox).await.unwrap();
    assert_eq!(blobs(&store, &body()).await, 2);
    a_second().await;
    let collected = store.collect_garbage(GarbageAges { grace: AT_ONCE, ..KEEP }).await.unwrap();
    assert_eq!(collected, Collected { deleted: 1, ..Collected::default() });
    assert_eq!(blobs(&store, &body()).await, 1);
    assert_eq!(inbox.text(Uid(2)).await.unwrap(), text(&body()));
}

#[tokio::test]
async fn a_file_without_a_row_is_condemned_and_its_delivery_survives_that() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    // A crash between file and row, or a delivery that is just there.
    let consignment = store.consign(DeliveryId::generate(), &text(&body())).await.unwrap();
    assert_eq!(blobs(&store, &body()).await, 1);
    assert_eq!(store.collect_garbage(KEEP).await.unwrap().strays, 0, "it is too young");
    let ages = GarbageAges { stray: AT_ONCE, ..KEEP };
    a_second().await;
    assert_eq!(store.collect_garbage(ages).await.unwrap(), Collected { strays: 1, ..Collected::default() });
    assert_eq!(store.collect_garbage(ages).await.unwrap(), Collected::default(), "once");
    mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap();
    a_second().await;
    assert_eq!(store.collect_garbage(GarbageAges { grace: AT_ONCE, ..ages }).await.unwrap().deleted, 1);
    assert_eq!(blobs(&store, &body()).await, 1);
    assert_eq!(inbox.text(Uid(1)).await.unwrap(), text(&body()));
}

#[tokio::test]
async fn delivery_ids_and_expunged_messages_are_forgotten_in_time() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let consignment = store.consign(DeliveryId::generate(), &text(&body())).await.unwrap();
    mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap();
    let since = inbox.snapshot(RecentClaim::Leave).await.unwrap().highest_modseq;
    inbox.remove(&UidSet::all()).await.unwrap();
    a_second().await;
    let collected =
        store.collect_garbage(GarbageAges { deliveries: AT_ONCE, expunged: AT_ONCE, ..KEEP }).await.unwrap();
    assert_eq!((collected.deliveries, collected.expunged), (1, 1));
    assert!(matches!(inbox.changes(since, RecentClaim::Leave).await, Err(StoreError::Forgotten)));
    let now = inbox.snapshot(RecentClaim::Leave).await.unwrap().highest_modseq;
    assert!(inbox.changes(now, RecentClaim::Leave).await.is_ok());
    assert!(matches!(mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap(), Delivered::Stored(Uid(2))));
}

#[tokio::test]
async fn a_small_body_comes_and_goes_with_its_row() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let at_once = GarbageAges { grace: AT_ONCE, ..KEEP };
    let small = "The same line again. ".repeat(100);
    let placed_before = store.consign(DeliveryId::generate(), &text(&small)).await.unwrap();
    for round in 1..4 {
        let uid = append(&mail, "INBOX", &small).await;
        assert_eq!(blobs(&store, &small).await, 0, "it has no file");
        assert_eq!(inbox.text(uid).await.unwrap(), text(&small));
        inbox.remove(&UidSet::from_uids([uid])).await.unwrap();
        assert_eq!(store.collect_garbage(KEEP).await.unwrap().condemned, 1);
        // The next round meets a condemned row, or none, in turn.
        if round % 2 == 0 {
            a_second().await;
            assert_eq!(store.collect_garbage(at_once).await.unwrap().deleted, 2);
        }
    }
    mail.deliver(&placed_before, b"", Folder::Inbox).await.unwrap();
    assert_eq!(inbox.text(Uid(4)).await.unwrap(), text(&small));
}

#[tokio::test]
async fn junk_and_trash_are_emptied_after_an_age() {
    let (_directory, store, mail) = ana().await;
    for mailbox in ["INBOX", "Junk", "Trash"] {
        append(&mail, mailbox, mailbox).await;
    }
    for _ in 0..3 {
        a_second().await;
    }
    append(&mail, "Trash", "later").await;
    let trash = mail.mailbox(&name("Trash")).await.unwrap();
    let (mut watcher, since) = (trash.watch(), trash.snapshot(RecentClaim::Leave).await.unwrap().highest_modseq);
    assert_eq!(store.collect_garbage(KEEP).await.unwrap().emptied, 0);
    let ages = GarbageAges { trash: Some(Duration::from_secs(2)), junk: Some(Duration::from_secs(3600)), ..KEEP };
    assert_eq!(store.collect_garbage(ages).await.unwrap().emptied, 1);
    assert_eq!(uids(&trash).await, [2]);
    assert!(watcher.take());
    assert_eq!(trash.changes(since, RecentClaim::Leave).await.unwrap().expunged, [Uid(1)]);
    assert_eq!(uids(&mail.mailbox(&name("Junk")).await.unwrap()).await, [1]);
    assert_eq!(uids(&mail.mailbox(&name("INBOX")).await.unwrap()).await, [1]);
    assert_eq!(mail.usage().await.unwrap().messages, 3);
}

/// Whoever deletes a row that others may name has all of those read, were it not for an index.
#[tokio::test]
async fn who_names_what_is_deleted_is_found_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_on(directory.path(), None, BodyPlace::Files).await;
    let unindexed = query(
        "SELECT m.name || '.' || f.\"from\" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
         WHERE m.type = 'table' AND f.\"table\" IN ('blobs', 'mailboxes')
           AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name) i JOIN pragma_index_info(i.name) c
               WHERE c.seqno = 0 AND c.name = f.\"from\")
           AND NOT EXISTS (SELECT 1 FROM pragma_table_info(m.name) c WHERE c.pk = 1 AND c.name = f.\"from\")",
    );
    let rows = unindexed.fetch_all(&mut store.reader().await.unwrap()).await.unwrap();
    let named: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
    assert_eq!(named, [""; 0]);
}
