//! What a verification finds, and what it mends.

use estafeta_storage::blobs::BlobHash;
use tokio::sync::watch;

use super::*;
use crate::store::contents::Columns;

/// A body too large for a row.
fn large(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.alphanumeric()).take(40_000).collect()
}

pub(super) async fn verify(store: &Store, only: Option<&AccountMail>, repair: bool) -> Vec<Finding> {
    store.verify(only, repair, &watch::Sender::new(Progress::default())).await.unwrap()
}

async fn change(store: &Store, statement: &'static str) {
    store
        .run(async move |connection: &mut Connection| {
            query(statement).execute(connection).await?;
            Ok(())
        })
        .await
        .unwrap();
}

/// The files of bodies.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![crate::tests::engine::body_files(directory)];
    while let Some(path) = waiting.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| !path.ends_with("owner"));
    found.sort();
    found
}

#[tokio::test]
async fn a_whole_store_is_found_whole_and_how_far_it_is_is_told() {
    let (_directory, store, mail) = ana().await;
    append(&mail, "INBOX", "small").await;
    append(&mail, "Sent", &large(1)).await;
    let progress = watch::Sender::new(Progress::default());
    assert_eq!(store.verify(None, false, &progress).await.unwrap(), []);
    let mailboxes = mail.mailboxes().await.unwrap().len() as u64;
    assert_eq!(*progress.borrow(), Progress { done: mailboxes + 2, of: mailboxes + 2, found: 0 });
    assert_eq!(verify(&store, Some(&mail), true).await, []);
}

#[tokio::test]
async fn wrong_numbers_are_told_and_mended() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "one").await;
    append(&mail, "INBOX", "two").await;
    let (usage, status) = (mail.usage().await.unwrap(), mail.status(&name("INBOX")).await.unwrap());
    for statement in [
        "UPDATE mailboxes SET messages = 7, unseen = 0, size_bytes = 1, uidnext = 2, modseq = 2 WHERE name = 'INBOX'",
        "UPDATE accounts SET messages = 9, used_bytes = 0",
        "UPDATE blobs SET refs = 0, condemned = 1",
    ] {
        change(&store, statement).await;
    }
    let told = verify(&store, None, false).await;
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|finding| finding.wrong && finding.mending.starts_with("with --repair")), "{told:?}");
    assert_eq!(verify(&store, None, false).await, told, "nothing was changed");
    let mended = verify(&store, None, true).await;
    assert!(mended.len() == 4 && mended.iter().all(|finding| !finding.wrong), "{mended:?}");
    assert_eq!(verify(&store, None, false).await, []);
    assert_eq!((mail.usage().await.unwrap(), mail.status(&name("INBOX")).await.unwrap()), (usage, status));
    assert_eq!(append(&mail, "INBOX", "three").await, Uid(3));
    assert_eq!(uids(&inbox).await, [1, 2, 3]);
}

#[tokio::test]
async fn flags_that_cannot_be_read_are_an_error_until_they_are_mended() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for body in ["1", "2", "3"] {
        append(&mail, "INBOX", body).await;
    }
    append(&mail, "Sent", "4").await;
    inbox.store_flags(&UidSet::all(), &FlagChange::add(SystemFlags::SEEN), None).await.unwrap();
    let status = mail.status(&name("INBOX")).await.unwrap();
    // Cut off within a mark; and in another mailbox a message without a mark, and a mark without a message.
    let inbox_alone =
        "UPDATE pages SET marks = substr(marks, 1, 7) WHERE mailbox = (SELECT id FROM mailboxes WHERE name = 'INBOX')";
    change(&store, inbox_alone).await;
    change(&store, "UPDATE pages SET page = 5 WHERE mailbox = (SELECT id FROM mailboxes WHERE name = 'Sent')").await;
    let told = inbox.snapshot(RecentClaim::Leave).await.unwrap_err().to_string();
    assert!(told.contains("UIDs 0 to 255") && told.contains("mailbox verify --repair"), "{told}");
    assert!(inbox.store_flags(&UidSet::all(), &FlagChange::add(SystemFlags::DRAFT), None).await.is_err());
    let told = verify(&store, None, false).await;
    assert_eq!(told.len(), 4, "three pages, and the unseen ones of one: {told:?}");
    let mended = verify(&store, None, true).await;
    assert!(mended.len() == 4 && mended.iter().all(|finding| !finding.wrong), "{mended:?}");
    assert_eq!(verify(&store, None, false).await, []);
    let snapshot = inbox.snapshot(RecentClaim::Leave).await.unwrap();
    assert!(snapshot.messages.iter().all(|message| message.flags == Flags::default()));
    assert_eq!(mail.status(&name("INBOX")).await.unwrap(), MailboxStatus { unseen: 3, ..status });
    assert_eq!(uids(&mail.mailbox(&name("Sent")).await.unwrap()).await, [1]);
}

#[tokio::test]
async fn lost_and_damaged_bodies_are_told_with_their_messages_and_the_rest_is_read_on() {
    let (directory, store, mail) = ana().await;
    for seed in 0..4 {
        append(&mail, "INBOX", &large(seed)).await;
    }
    append(&mail, "Sent", "small, and kept in a row").await;
    let files = files(directory.path());
    assert_eq!(files.len(), 4);
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(&files[1], "damaged").unwrap();
    change(&store, "UPDATE bodies SET bytes = (SELECT hash FROM blobs WHERE blobs.id = bodies.blob)").await;
    // One has its content under another generation.
    let file_name = files[2].file_name().unwrap().to_str().unwrap();
    let [hash, generation, "zst"] = file_name.split('.').collect::<Vec<_>>()[..] else { panic!("{file_name}") };
    let copy = files[2].with_file_name(format!("{hash}.{}.zst", generation.parse::<u32>().unwrap() + 1));
    std::fs::rename(&files[2], &copy).unwrap();
    let told = verify(&store, Some(&mail), false).await;
    let hopeless: Vec<_> = told.iter().filter(|finding| !finding.mending.starts_with("with --repair")).collect();
    assert_eq!((told.len(), hopeless.len()), (4, 3), "{told:?}");
    assert!(hopeless.iter().all(|finding| finding.what.contains(" UID ")), "{told:?}");
    let mended = verify(&store, None, true).await;
    assert_eq!(mended.iter().filter(|finding| finding.wrong).count(), 3, "{mended:?}");
    assert!(files[2].exists());
    assert_eq!(verify(&store, None, false).await.len(), 3);
}

#[tokio::test]
async fn what_lists_show_is_compared_with_the_body_and_read_anew() {
    let (_directory, store, mail) = ana().await;
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    append(&mail, "INBOX", "Subject: small\r\n\r\nx").await;
    append(&mail, "INBOX", &format!("Subject: large\r\n\r\n{}", large(1))).await;
    append(&mail, "INBOX", "Subject: unharmed\r\n\r\nx").await;
    append(&mail, "INBOX", "Subject: of another type\r\n\r\nx").await;
    let columns = Columns { summary: true, header: true, hash: false };
    let shown = async || format!("{:?}", inbox.contents(&UidSet::all(), columns).await.unwrap());
    let before = shown().await;
    for statement in [
        "UPDATE contents SET header = substr(header, 1, 9) WHERE blob = (SELECT min(blob) FROM contents)",
        "UPDATE contents SET summary = substr(summary, 2) WHERE blob = (SELECT min(blob) + 1 FROM contents)",
    ] {
        change(&store, statement).await;
    }
    assert_ne!(shown().await, before);
    // Only SQLite lets a column have values of another type, as a damaged page may.
    let of_another_type = usize::from(store.inner.database.engine() == Engine::Sqlite);
    if of_another_type > 0 {
        change(&store, "UPDATE contents SET summary = 7 WHERE blob = (SELECT max(blob) FROM contents)").await;
    }
    let told = verify(&store, Some(&mail), false).await;
    let mendable = told.iter().filter(|finding| finding.mending.starts_with("with --repair")).count();
    assert_eq!((mendable, told.len()), (2 + of_another_type, 2 + of_another_type), "{told:?}");
    assert!(verify(&store, None, true).await.iter().all(|finding| !finding.wrong));
    assert_eq!((verify(&store, None, false).await, shown().await), (vec![], before));
}

#[tokio::test]
async fn a_lost_body_is_written_anew_when_its_text_comes_again() {
    let (directory, store, mail) = ana().await;
    let lost = append(&mail, "INBOX", &large(1)).await;
    std::fs::remove_file(&files(directory.path())[0]).unwrap();
    assert_eq!(verify(&store, None, false).await.len(), 1);
    let again = append(&mail, "Sent", &large(1)).await;
    let text =
        async |mailbox: &str, uid| mail.mailbox(&name(mailbox)).await.unwrap().text(uid).await.unwrap().contiguous();
    assert_eq!(text("Sent", again).await, large(1).as_bytes(), "what was acknowledged can be read");
    assert_eq!(text("INBOX", lost).await, large(1).as_bytes(), "and so can what was lost");
    assert_eq!(verify(&store, None, false).await, []);
}

#[tokio::test]
async fn bodies_out_of_a_backup_are_put_back() {
    let (directory, store, mail) = ana().await;
    let bodies = [large(1), large(2), "small, and kept in a row".to_owned()];
    for body in &bodies {
        append(&mail, "INBOX", body).await;
    }
    let files = files(directory.path());
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(&files[1], "damaged").unwrap();
    change(&store, "UPDATE bodies SET bytes = (SELECT hash FROM blobs WHERE blobs.id = bodies.blob)").await;
    assert_eq!(verify(&store, None, false).await.len(), 3);
    for body in &bodies {
        assert!(store.lacks_body(BlobHash::of(body.as_bytes())).await.unwrap());
        store.put_body_back(body.clone().into()).await.unwrap();
        assert!(!store.lacks_body(BlobHash::of(body.as_bytes())).await.unwrap());
    }
    store.put_body_back("nobody's".into()).await.unwrap();
    assert_eq!(verify(&store, None, false).await, []);
}
