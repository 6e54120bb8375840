//! Mailboxes by name: make, delete, rename, subscribe.

use super::*;

async fn list(mail: &AccountMail) -> Vec<String> {
    let shown = |entry: MailboxEntry| {
        let marks = [(!entry.selectable, "!"), (entry.has_children, "+"), (entry.special_use.is_some(), "*")];
        marks.into_iter().filter(|(set, _)| *set).fold(entry.name.to_string(), |all, (_, mark)| all + mark)
    };
    mail.mailboxes().await.unwrap().into_iter().map(shown).collect()
}

const NEW: [&str; 6] = ["INBOX", "Archive*", "Drafts*", "Junk*", "Sent*", "Trash*"];

#[tokio::test]
async fn a_new_account_has_its_mailboxes_and_is_made_once() {
    let (_directory, store, mail) = ana().await;
    assert_eq!(list(&mail).await, NEW);
    assert_eq!(mail.subscriptions().await.unwrap().len(), 6);
    let again = store.create_account(mail.account()).await.unwrap();
    assert_eq!(again.row, mail.row);
    assert!(store.account(mail.account()).await.unwrap().is_some());
    assert!(store.account(&account("ben", None)).await.unwrap().is_none());
}

#[tokio::test]
async fn superiors_come_and_go_with_what_they_hold() {
    let (_directory, _store, mail) = ana().await;
    mail.create(&name("a/b/c"), None).await.unwrap();
    assert_eq!(list(&mail).await[1..4], ["Archive*", "Drafts*", "Junk*"]);
    assert_eq!(list(&mail).await[6..], ["a!+", "a/b!+", "a/b/c"]);
    assert!(matches!(mail.mailbox(&name("a/b")).await, Err(StoreError::NotSelectable)));
    assert!(matches!(mail.delete(&name("a/b")).await, Err(StoreError::NotAllowed(_))));
    mail.create(&name("a/b"), None).await.unwrap();
    assert!(matches!(mail.create(&name("a/b"), None).await, Err(StoreError::Exists)));
    mail.delete(&name("a/b/c")).await.unwrap();
    assert_eq!(list(&mail).await[6..], ["a!+", "a/b"]);
    mail.delete(&name("a/b")).await.unwrap();
    assert_eq!(list(&mail).await, NEW);
    assert!(matches!(mail.delete(&name("a/b")).await, Err(StoreError::NoMailbox)));
}

#[tokio::test]
async fn a_deleted_mailbox_that_holds_others_keeps_its_name_and_loses_its_messages() {
    let (_directory, _store, mail) = ana().await;
    mail.create(&name("a"), None).await.unwrap();
    mail.create(&name("a/b"), None).await.unwrap();
    append(&mail, "a", "x").await;
    let old = mail.mailbox(&name("a")).await.unwrap();
    let mut watcher = old.watch();
    mail.delete(&name("a")).await.unwrap();
    assert!(watcher.take());
    assert!(matches!(old.snapshot(RecentClaim::Take).await, Err(StoreError::NoMailbox)));
    assert!(matches!(old.remove(&UidSet::all()).await, Err(StoreError::NoMailbox)));
    assert_eq!(list(&mail).await[6..], ["a!+", "a/b"]);
    assert_eq!(
        mail.usage().await.unwrap(),
        Usage { used_bytes: 0, messages: 0, limit_bytes: None, limit_messages: None }
    );
    mail.create(&name("a"), None).await.unwrap();
    let new = mail.mailbox(&name("a")).await.unwrap();
    assert_ne!(new.uid_validity(), old.uid_validity());
    assert!(
        matches!(old.snapshot(RecentClaim::Take).await, Err(StoreError::NoMailbox)),
        "an old handle does not see the new mailbox"
    );
}

#[tokio::test]
async fn renaming_takes_what_is_below_along_and_keeps_messages_and_uids() {
    let (_directory, _store, mail) = ana().await;
    for one in ["a", "a/b", "a0", "ab"] {
        mail.create(&name(one), None).await.unwrap();
    }
    append(&mail, "a/b", "x").await;
    let before = mail.mailbox(&name("a/b")).await.unwrap();
    mail.rename(&name("a"), &name("c/d")).await.unwrap();
    assert_eq!(list(&mail).await[6..], ["a0", "ab", "c!+", "c/d+", "c/d/b"]);
    let after = mail.mailbox(&name("c/d/b")).await.unwrap();
    assert_eq!((after.row, after.uid_validity()), (before.row, before.uid_validity()));
    assert_eq!(uids(&before).await, [1], "an open session goes on");
    mail.rename(&name("c/d"), &name("e")).await.unwrap();
    assert_eq!(list(&mail).await[6..], ["a0", "ab", "e+", "e/b"]);
    assert!(matches!(mail.rename(&name("e"), &name("e/f")).await, Err(StoreError::NotAllowed(_))));
    assert!(matches!(mail.rename(&name("e"), &name("ab")).await, Err(StoreError::Exists)));
    assert!(matches!(mail.rename(&name("e"), &name("inbox")).await, Err(StoreError::Exists)));
    assert!(matches!(mail.rename(&name("nothing"), &name("f")).await, Err(StoreError::NoMailbox)));
    // What fails leaves nothing behind.
    let deep = format!("{}/x", ["y"; 30].join("/"));
    mail.create(&name(&format!("e/b/{}", ["z"; 25].join("/"))), None).await.unwrap();
    let before = list(&mail).await;
    assert!(matches!(mail.rename(&name("e"), &name(&deep)).await, Err(StoreError::Limit(_))));
    assert_eq!(list(&mail).await, before);
}

#[tokio::test]
async fn renaming_inbox_moves_its_messages() {
    let (_directory, _store, mail) = ana().await;
    append(&mail, "INBOX", "1").await;
    append(&mail, "INBOX", "2").await;
    let inbox = mail.mailbox(&name("inbox")).await.unwrap();
    mail.rename(&name("INBOX"), &name("INBOX/old")).await.unwrap();
    assert!(uids(&inbox).await.is_empty());
    let old = mail.mailbox(&name("INBOX/old")).await.unwrap();
    assert_eq!(uids(&old).await, [1, 2]);
    assert_eq!(append(&mail, "INBOX", "3").await, Uid(3));
    assert!(matches!(mail.delete(&MailboxName::inbox()).await, Err(StoreError::NotAllowed(_))));
}

#[tokio::test]
async fn a_use_belongs_to_one_mailbox() {
    let (_directory, _store, mail) = ana().await;
    assert!(matches!(mail.create(&name("Spam"), Some(SpecialUse::Junk)).await, Err(StoreError::NotAllowed(_))));
    mail.delete(&name("Junk")).await.unwrap();
    mail.create(&name("Spam"), Some(SpecialUse::Junk)).await.unwrap();
    assert!(list(&mail).await.contains(&"Spam*".to_owned()));
}

#[tokio::test]
async fn subscriptions_outlive_mailboxes() {
    let (_directory, _store, mail) = ana().await;
    mail.subscribe(&name("none/such")).await.unwrap();
    mail.subscribe(&name("none/such")).await.unwrap();
    mail.delete(&name("Sent")).await.unwrap();
    mail.unsubscribe(&name("Junk")).await.unwrap();
    mail.unsubscribe(&name("Junk")).await.unwrap();
    let names: Vec<_> = mail.subscriptions().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["Archive", "Drafts", "INBOX", "Sent", "Trash", "none/such"]);
    assert!(mail.mailboxes().await.unwrap().iter().all(|entry| entry.subscribed == (entry.name.as_str() != "Junk")));
}

/// What belongs to an account or a mailbox moves with it: whoever adds a table has to say how.
#[tokio::test]
async fn every_table_of_an_account_is_carried() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_on(directory.path(), None, BodyPlace::Files).await;
    let mut reader = store.reader().await.unwrap();
    let tables = estafeta_storage::sql::query(
        "SELECT name FROM sqlite_master t WHERE type = 'table' AND (name = 'accounts' OR EXISTS
             (SELECT 1 FROM pragma_table_info(t.name) c WHERE c.name IN ('account', 'mailbox'))) ORDER BY name",
    );
    let tables = tables.fetch_all(&mut reader).await.unwrap();
    let tables: Vec<String> = tables.iter().map(|row| row.try_get::<&str>(0).unwrap().to_owned()).collect();
    let mut known = [sql::relocation::CARRIED, sql::relocation::LEFT].concat();
    known.sort_unstable();
    assert_eq!(tables, known);
}
