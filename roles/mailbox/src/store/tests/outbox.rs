//! Letters: written with their cause, and there until somebody has taken them over.

use estafeta_core::DeliveryId;

use super::*;

fn letter() -> Letter {
    Letter {
        id: DeliveryId::generate(),
        recipient: "ana@elsewhere.example".parse().unwrap(),
        message: Bytes::from_static(b"Subject: report\r\n\r\nx\r\n"),
    }
}

/// Delivers under this id, with a letter that says so.
async fn deliver(mail: &AccountMail, id: DeliveryId, body: &str, letter: Letter) -> Result<Delivered, StoreError> {
    let consignment = mail.store.consign(id, &text(body)).await?.with_receipt(letter);
    mail.deliver(&consignment, b"", Folder::Inbox).await
}

#[tokio::test]
async fn a_letter_is_written_with_its_cause_and_once() {
    let (directory, store, ana) = ana().await;
    let (id, first) = (DeliveryId::generate(), letter());
    tokio::time::timeout(std::time::Duration::from_secs(60), async {
        let (delivered, ()) = tokio::join!(deliver(&ana, id, "x", first.clone()), store.letter_written());
        assert_eq!(delivered.unwrap(), Delivered::Stored(Uid(1)));
    })
    .await
    .unwrap();
    // What was delivered before is not told again, and what is not delivered never.
    assert_eq!(deliver(&ana, id, "x", letter()).await.unwrap(), Delivered::Before);
    let small = store.create_account(&account("small", Some(2))).await.unwrap();
    assert!(matches!(deliver(&small, DeliveryId::generate(), "xxx", letter()).await, Err(StoreError::OverQuota)));
    assert_eq!(store.letters_waiting().await.unwrap(), (1, Some(0)));
    store.close().await;
    let store = open(directory.path()).await;
    let [Waiting { letter, attempts: 1, .. }] = &store.claim_letters(10).await.unwrap()[..] else { panic!() };
    assert_eq!(letter, &first);
}

#[tokio::test]
async fn a_letter_comes_again_until_it_is_taken() {
    let (_directory, store, ana) = ana().await;
    let letters = [letter(), letter()];
    for letter in &letters {
        deliver(&ana, DeliveryId::generate(), "x", letter.clone()).await.unwrap();
    }
    let claimed = store.claim_letters(1).await.unwrap();
    let [one] = &claimed[..] else { panic!("{claimed:?}") };
    // The other one is nobody's yet; this one is somebody's for a while.
    let [other] = &store.claim_letters(10).await.unwrap()[..] else { panic!() };
    assert_ne!(one.letter.id, other.letter.id);
    assert!(store.claim_letters(10).await.unwrap().is_empty());
    assert!(matches!(store.letters_waiting().await.unwrap(), (2, Some(1..=600))));
    store.postpone_letter(one.letter.id, 0).await.unwrap();
    let [again] = &store.claim_letters(10).await.unwrap()[..] else { panic!() };
    assert_eq!((&again.letter, again.attempts), (&one.letter, 2));
    for letter in &letters {
        store.letter_taken(letter.id).await.unwrap();
    }
    assert_eq!(store.letters_waiting().await.unwrap(), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_tries_a_letter() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let shared = directories[0].path();
    let node = async |directory: &Path| {
        let servers = crate::tests::engine::on_postgres(shared);
        open_on(directory, Some(servers), crate::tests::engine::in_objects(shared)).await
    };
    let (one, other) = (node(shared).await, node(directories[1].path()).await);
    let ana = one.create_account(&account("ana", None)).await.unwrap();
    for _ in 0..40 {
        deliver(&ana, DeliveryId::generate(), "x", letter()).await.unwrap();
    }
    let mut claimed = std::collections::BTreeSet::new();
    while claimed.len() < 40 {
        let (first, second) = tokio::join!(one.claim_letters(10), other.claim_letters(10));
        for waiting in first.unwrap().into_iter().chain(second.unwrap()) {
            assert!(claimed.insert(waiting.letter.id), "claimed twice");
        }
    }
    assert!(other.claim_letters(10).await.unwrap().is_empty());
}
