//! The store with its bodies in an object store: what goes on while that is away, and whose bodies they are.

use estafeta_core::DeliveryId;
use estafeta_storage::blobs::suite::{Fault, ObjectServer};

use super::*;

fn large(seed: u64) -> Message {
    let mut random = fastrand::Rng::with_seed(seed);
    text(&std::iter::repeat_with(|| random.alphanumeric()).take(40_000).collect::<String>())
}

async fn open_in(directory: &Path, server: &ObjectServer) -> Result<Store, StoreError> {
    Store::open(StoreOptions {
        servers: None,
        directory: directory.to_owned(),
        bodies: BodyPlace::Objects { options: server.options("g"), cache_bytes: 1 << 20 },
        message_limit_bytes: 1_000_000,
        readers: 2,
        warn_at_percent: Vec::new(),
        keep_expunged: true,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_bodies_a_store_serves_what_needs_none_and_defers_the_rest() {
    let (server, directory) = (ObjectServer::start(), tempfile::tempdir().unwrap());
    let owner = account("ana", None);
    let store = open_in(directory.path(), &server).await.unwrap();
    let mail = store.create_account(&owner).await.unwrap();
    append(&mail, "INBOX", "small").await;
    mail.append(&name("INBOX"), vec![NewMessage::received(large(1))]).await.unwrap();
    assert_eq!(server.bodies("g"), 1);
    store.close().await;

    server.set(Fault::Gone);
    let store = open_in(directory.path(), &server).await.unwrap();
    let mail = store.account(&owner).await.unwrap().unwrap();
    let away = |error: StoreError| matches!(error, StoreError::Storage(error) if error.is_away());
    assert!(away(store.check_bodies().await.unwrap_err()));
    assert!(away(store.collect_garbage(GarbageAges::default()).await.unwrap_err()));
    assert!(away(store.consign(DeliveryId::generate(), &large(2)).await.unwrap_err()));
    let verified = store.verify(None, false, &tokio::sync::watch::Sender::new(Progress::default())).await;
    assert!(away(verified.unwrap_err()), "nothing is said of bodies that cannot be looked at");
    assert_eq!(append(&mail, "INBOX", "small, too").await, Uid(3));
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    assert_eq!(inbox.text(Uid(1)).await.unwrap(), text("small"));
    assert_eq!(inbox.text(Uid(2)).await.unwrap(), large(1), "there is a copy of it");

    server.set(Fault::None);
    store.check_bodies().await.unwrap();
    mail.append(&name("INBOX"), vec![NewMessage::received(large(2))]).await.unwrap();
    assert_eq!(inbox.text(Uid(4)).await.unwrap(), large(2));
    assert_eq!(server.bodies("g"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_does_not_take_anothers_bodies_for_garbage() {
    let (server, directory) = (ObjectServer::start(), tempfile::tempdir().unwrap());
    let store = open_in(&directory.path().join("one"), &server).await.unwrap();
    let mail = store.create_account(&account("ana", None)).await.unwrap();
    mail.append(&name("INBOX"), vec![NewMessage::received(large(1))]).await.unwrap();
    let error = open_in(&directory.path().join("two"), &server).await.err().unwrap();
    assert!(error.to_string().contains("belong to another database"), "{error}");
    // Nor one that was opened while nobody could tell.
    server.set(Fault::Gone);
    let two = open_in(&directory.path().join("three"), &server).await.unwrap();
    server.set(Fault::None);
    let at_once = GarbageAges { stray: std::time::Duration::ZERO, ..GarbageAges::default() };
    assert!(two.collect_garbage(at_once).await.unwrap_err().to_string().contains("belong to another database"));
    assert_eq!(server.bodies("g"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_deleted_is_not_written_again() {
    let (server, directory) = (ObjectServer::start(), tempfile::tempdir().unwrap());
    let store = open_in(directory.path(), &server).await.unwrap();
    let mail = store.create_account(&account("ana", None)).await.unwrap();
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    let zero = std::time::Duration::ZERO;
    let at_once = GarbageAges { grace: zero, undelete: zero, ..GarbageAges::default() };
    let hash = estafeta_storage::blobs::BlobHash::of(&large(1).contiguous());
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..3 {
        mail.append(&name("INBOX"), vec![NewMessage::received(large(1))]).await.unwrap();
        let found = store.inner.blobs.scan(hash.0[0].into(), later).await.unwrap();
        assert!(found.len() == 1 && names.insert(found[0]), "{found:?} {names:?}");
        inbox.remove(&UidSet::all()).await.unwrap();
        store.collect_garbage(at_once).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        assert_eq!(store.collect_garbage(at_once).await.unwrap().deleted, 1);
    }
}
