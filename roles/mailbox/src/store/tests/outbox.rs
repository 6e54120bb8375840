//! Letters: there until somebody has taken them over.

use estafeta_core::DeliveryId;

use super::*;

fn letter() -> Letter {
    Letter {
        id: DeliveryId::generate(),
        recipient: "ana@elsewhere.example".parse().unwrap(),
        message: Bytes::from_static(b"Subject: report\r\n\r\nx\r\n"),
    }
}

#[tokio::test]
async fn a_letter_comes_again_until_it_is_taken() {
    let (directory, store, _) = ana().await;
    let letters = [letter(), letter()];
    let patience = std::time::Duration::from_secs(60);
    for letter in &letters {
        let (written, woken) =
            tokio::join!(store.write_letter(letter.clone()), tokio::time::timeout(patience, store.letter_written()));
        assert!(written.unwrap() && woken.is_ok());
    }
    assert_eq!(store.letters_waiting().await.unwrap(), (2, Some(0)));
    store.close().await;
    let store = open(directory.path()).await;
    let claimed = store.claim_letters(1).await.unwrap();
    let [one] = &claimed[..] else { panic!("{claimed:?}") };
    // The other one is nobody's yet; this one is somebody's for a while.
    let [other] = &store.claim_letters(10).await.unwrap()[..] else { panic!() };
    assert_ne!(one.letter.id, other.letter.id);
    assert!(store.claim_letters(10).await.unwrap().is_empty());
    assert!(matches!(store.letters_waiting().await.unwrap(), (2, Some(1..=600))));
    store.postpone_letter(one, 0).await.unwrap();
    let [again] = &store.claim_letters(10).await.unwrap()[..] else { panic!() };
    assert_eq!((&again.letter, again.attempts), (&one.letter, 2));
    // Who claimed it before has nothing to say any more.
    store.postpone_letter(one, 0).await.unwrap();
    assert!(store.claim_letters(10).await.unwrap().is_empty());
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
    for _ in 0..40 {
        assert!(one.write_letter(letter()).await.unwrap());
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
