//! The store against the contract, and what only it can be asked.

use estafeta_storage::sql::query;
use std::net::IpAddr;

use estafeta_core::directory::{Directory, NewAccount, suite};
use estafeta_core::settings::{Settings, SettingsStore};
use estafeta_core::{Reason, Secret};

use super::*;
use crate::guesses::Attempt;
use crate::sql::domains::Uses;
use crate::sql::{failed_logins, now};

async fn fixture() -> (tempfile::TempDir, Store) {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path().to_owned()).await.unwrap();
    for domain in ["example.edu", "example.org"] {
        store.add_domain(&domain.parse().unwrap()).await.unwrap();
    }
    (data, store)
}

fn ana(password: Option<&str>) -> NewAccount {
    NewAccount {
        address: "ana@example.edu".parse().unwrap(),
        name: String::new(),
        store_group: "group1".parse().unwrap(),
        quota_bytes: None,
        quota_messages: None,
        password: password.map(|password| Secret::new(password.into())),
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    suite::run(async || {
        let (data, store) = fixture().await;
        suite::Fixture { directory: Arc::new(store), keep: Box::new(data) }
    })
    .await;
}

#[tokio::test]
async fn settings_count_their_versions() {
    let (_data, store) = fixture().await;
    let domain = |text: &str| text.parse::<Domain>().unwrap();
    assert_eq!(
        store.read().await.unwrap(),
        Settings { version: 2, domains: vec![domain("example.edu"), domain("example.org")], ..Settings::default() }
    );
    assert_eq!(store.add_domain(&domain("EXAMPLE.edu")).await.unwrap_err().reason, Reason::Exists);
    store.add_account(&ana(None)).await.unwrap();
    let denied = store.remove_domain(&domain("example.edu")).await.unwrap_err();
    assert_eq!(
        (denied.reason, denied.client.as_str()),
        (Reason::Denied, "example.edu is in use by 1 account and 0 aliases: remove them first")
    );
    assert_eq!(store.remove_domain(&domain("foreign.net")).await.unwrap_err().reason, Reason::NotFound);
    store.remove_domain(&domain("example.org")).await.unwrap();
    assert_eq!(
        store.read().await.unwrap(),
        Settings { version: 3, domains: vec![domain("example.edu")], ..Settings::default() }
    );
    assert_eq!(store.domains().await.unwrap(), [(domain("example.edu"), Uses { accounts: 1, aliases: 0 })]);
}

#[tokio::test]
async fn a_password_is_two_rows_and_a_new_one_takes_their_place() {
    let (_data, store) = fixture().await;
    let account = store.add_account(&ana(Some("correct horse"))).await.unwrap();
    let rows = async || -> Vec<(String, String)> {
        let rows = query("SELECT scheme, verifier FROM credentials ORDER BY scheme")
            .fetch_all(&mut store.database.reader().await.unwrap())
            .await
            .unwrap();
        rows.iter().map(|row| (row.try_get(0).unwrap(), row.try_get(1).unwrap())).collect()
    };
    let before = rows().await;
    assert_eq!(before.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["argon2id", "scram-sha-256"]);
    store.set_password(&account.address, &Secret::new("battery staple".into())).await.unwrap();
    let after = rows().await;
    assert_eq!(after.len(), 2);
    assert!(before.iter().all(|row| !after.contains(row)));
    store.remove_account(&account.address).await.unwrap();
    assert_eq!(rows().await, []);
}

#[tokio::test]
async fn the_database_itself_guards_names_and_ids() {
    let (_data, store) = fixture().await;
    let account = store.add_account(&ana(None)).await.unwrap();
    let alias = Alias { address: account.address.clone(), targets: vec!["x@foreign.net".parse().unwrap()] };
    let taken =
        store.database.run(async move |connection| aliases::insert(connection, &alias).await).await.unwrap_err();
    assert!(sql::is_taken(&taken), "{taken}");
    store.remove_account(&account.address).await.unwrap();
    let back =
        store.database.run(async move |connection| accounts::insert(connection, &account).await).await.unwrap_err();
    assert!(back.to_string().contains("never used again"), "{back}");
    let foreign = Account {
        address: "ana@foreign.net".parse().unwrap(),
        id: AccountId::random(),
        ..store.add_account(&ana(None)).await.unwrap()
    };
    let foreign =
        store.database.run(async move |connection| accounts::insert(connection, &foreign).await).await.unwrap_err();
    assert!(foreign.to_string().contains("FOREIGN KEY"), "{foreign}");
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_name() {
    let (_data, store) = fixture().await;
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                if i % 2 == 0 {
                    return store.add_account(&ana(None)).await.map(|_| ());
                }
                let alias = Alias { address: ana(None).address, targets: vec!["x@foreign.net".parse().unwrap()] };
                store.add_alias(&alias).await
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => made += 1,
            Err(failure) => assert_eq!(failure.reason, Reason::Exists),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let (data, store) = fixture().await;
    let account = store.add_account(&ana(Some("correct horse"))).await.unwrap();
    store.close().await;
    let store = Store::open(data.path().to_owned()).await.unwrap();
    let client = "192.0.2.1".parse().unwrap();
    assert_eq!(
        store.authenticate("ana@example.edu", &Secret::new("correct horse".into()), client).await.unwrap(),
        account
    );
    assert_eq!(store.read().await.unwrap().version, 2);
}

#[tokio::test]
async fn guesses_are_forgotten_with_time_and_bounded_in_number() {
    let (_data, store) = fixture().await;
    let client: IpAddr = "192.0.2.1".parse().unwrap();
    let mut connection = store.database.reader().await.unwrap();
    for _ in 0..10 {
        assert!(Attempt::new("ana@example.edu", client).is_allowed(&mut connection, now()).await.unwrap());
        store.note_failure(Attempt::new("ana@example.edu", client)).await.unwrap();
    }
    let attempt = Attempt::new("ana@example.edu", client);
    assert!(!attempt.is_allowed(&mut connection, now()).await.unwrap());
    assert!(attempt.is_allowed(&mut connection, now() + 61).await.unwrap());
    drop(connection);
    store
        .database
        .run(async |connection| {
            for i in 0..50 {
                Attempt::new(&format!("a{i}@example.edu"), "192.0.2.9".parse().unwrap())
                    .has_failed(&mut *connection, now())
                    .await?;
            }
            failed_logins::prune(connection, 0, 20).await
        })
        .await
        .unwrap();
    let count: i64 = query("SELECT count(*) FROM failed_logins")
        .fetch_one(&mut store.database.reader().await.unwrap())
        .await
        .unwrap()
        .try_get(0)
        .unwrap();
    assert_eq!(count, 20);
}
