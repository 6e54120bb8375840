//! The store on a real pair of PostgreSQL servers, the second a synchronous standby of the first. The first is killed under
//! deliveries, APPEND, COPY, MOVE, STORE and EXPUNGE, and the second promoted; the store follows by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use estafeta_core::DeliveryId;
use estafeta_storage::sql::suite::PostgresServer;

use super::verify::verify;
use super::*;

const ACCOUNTS: usize = 4;

/// What the clients were told.
#[derive(Default)]
struct Told {
    /// Texts that are there for good: nobody moves or removes them.
    stored: Mutex<BTreeSet<String>>,
    /// Which text a mailbox has under a UID.
    uids: Mutex<BTreeMap<(usize, &'static str, u32), String>>,
    /// UIDs that are gone.
    expunged: Mutex<BTreeSet<(usize, &'static str, u32)>>,
    /// The highest modification sequence of a mailbox.
    modseqs: Mutex<BTreeMap<(usize, &'static str), ModSeq>>,
    failures: std::sync::atomic::AtomicUsize,
}

impl Told {
    fn uid(&self, account: usize, mailbox: &'static str, uid: Uid, text: &str) {
        let before = self.uids.lock().unwrap().insert((account, mailbox, uid.0), text.to_owned());
        assert!(before.is_none(), "{mailbox} gave UID {uid} to {before:?} and to {text}");
    }

    fn modseq(&self, account: usize, mailbox: &'static str, modseq: ModSeq) {
        let mut modseqs = self.modseqs.lock().unwrap();
        let known = modseqs.entry((account, mailbox)).or_default();
        *known = modseq.max(*known);
    }

    /// What an operation gave; none when the database was away, which alone is no surprise.
    fn answered<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(StoreError::Storage(error)) if error.is_away() => {
                self.failures.fetch_add(1, Ordering::SeqCst);
                None
            }
            // Its UIDs began another life with the promotion.
            Err(StoreError::NoMailbox) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Works on one account until it is told to stop.
async fn work(store: Store, mail: AccountMail, number: usize, told: Arc<Told>, stop: Arc<AtomicBool>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut texts = 0;
    while !stop.load(Ordering::SeqCst) {
        texts += 1;
        let body = format!("{seed}/{texts}");
        match random.u32(0..6) {
            0..=2 => deliver(&store, &mail, number, &body, &told, &stop).await,
            3 => {
                let new = vec![NewMessage::received(text(&body))];
                if let Some(appended) = told.answered(mail.append(&name("Archive"), new).await) {
                    told.uid(number, "Archive", appended.uids.start, &body);
                    told.stored.lock().unwrap().insert(body);
                }
            }
            4 => {
                let Some(inbox) = told.answered(mail.mailbox(&name("INBOX")).await) else { continue };
                let chosen = UidSet::from_ranges([Uid(1)..=Uid(random.u32(1..6))]);
                if let Some(copied) = told.answered(inbox.copy(&chosen, &name("Sent")).await) {
                    for (_, uid) in copied.uids {
                        told.uid(number, "Sent", uid, "a copy");
                    }
                }
                let flagged = FlagChange { action: FlagAction::Add, system: SystemFlags::SEEN, keywords: Vec::new() };
                if let Some(stored) = told.answered(inbox.store_flags(&chosen, &flagged, None).await) {
                    told.modseq(number, "INBOX", stored.modseq);
                }
            }
            _ => {
                let Some(sent) = told.answered(mail.mailbox(&name("Sent")).await) else { continue };
                let Some(there) = told.answered(sent.messages(&UidSet::all()).await) else { continue };
                let Some(first) = there.first() else { continue };
                let one = UidSet::from_uids([first.uid]);
                if random.bool() {
                    for uid in told.answered(sent.remove(&one).await).unwrap_or_default() {
                        told.expunged.lock().unwrap().insert((number, "Sent", uid.0));
                    }
                } else if let Some(moved) = told.answered(sent.move_to(&one, &name("Trash")).await) {
                    for (here, uid) in moved.copied.uids {
                        told.expunged.lock().unwrap().insert((number, "Sent", here.0));
                        told.uid(number, "Trash", uid, "moved");
                    }
                }
            }
        }
    }
}

/// Delivers under one id until it is acknowledged, as edge does.
async fn deliver(store: &Store, mail: &AccountMail, number: usize, body: &str, told: &Told, stop: &AtomicBool) {
    let id = DeliveryId::generate();
    while !stop.load(Ordering::SeqCst) {
        let delivered = async {
            let consignment = store.consign(id, &text(body)).await?;
            mail.deliver(&consignment, b"", Folder::Inbox).await
        };
        let Some(delivered) = told.answered(delivered.await) else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if let Delivered::Stored(uid) = delivered {
            told.uid(number, "INBOX", uid, body);
        }
        told.stored.lock().unwrap().insert(body.to_owned());
        return;
    }
}

/// Everything that was told is so.
async fn check(mails: &[AccountMail], told: &Told) {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    let mut there: BTreeMap<(usize, &str, u32), String> = BTreeMap::new();
    for (number, mail) in mails.iter().enumerate() {
        let mut used = 0;
        for entry in mail.mailboxes().await.unwrap() {
            let mailbox = mail.mailbox(&entry.name).await.unwrap();
            let snapshot = mailbox.snapshot(RecentClaim::Leave).await.unwrap();
            let mailbox_name =
                ["INBOX", "Archive", "Sent", "Trash"].into_iter().find(|one| *one == entry.name.as_str());
            for message in snapshot.messages.iter() {
                let body = String::from_utf8(mailbox.text(message.uid).await.unwrap().contiguous().to_vec()).unwrap();
                used += u64::from(message.size);
                let mailbox_name = mailbox_name.expect("nothing was put elsewhere");
                assert!(message.uid < snapshot.uid_next && message.modseq <= snapshot.highest_modseq);
                if ["INBOX", "Archive"].contains(&mailbox_name) {
                    *found.entry(body.clone()).or_default() += 1;
                }
                there.insert((number, mailbox_name, message.uid.0), body);
            }
            if let Some(told) = mailbox_name.and_then(|name| told.modseqs.lock().unwrap().get(&(number, name)).copied())
            {
                assert!(snapshot.highest_modseq >= told, "a modification sequence went back");
            }
        }
        assert_eq!(mail.usage().await.unwrap().used_bytes, used);
    }
    let stored = told.stored.lock().unwrap();
    let lost: Vec<_> = stored.iter().filter(|text| !found.contains_key(*text)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // An APPEND whose answer was lost may be there too; twice is never right.
    let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "there twice: {twice:?}");
    let expunged = told.expunged.lock().unwrap();
    for (place, text) in &*told.uids.lock().unwrap() {
        match there.get(place) {
            Some(found) if ["INBOX", "Archive"].contains(&place.1) => assert_eq!(found, text, "{place:?}"),
            Some(_) => assert!(!expunged.contains(place), "{place:?} is back"),
            None => assert!(place.1 == "Sent", "{place:?} is gone"),
        }
    }
}

async fn round(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut primary = PostgresServer::start(true);
    let standby = primary.standby();
    let directory = tempfile::tempdir().unwrap();
    let store =
        open_on(directory.path(), Some(PostgresServer::together(&[&primary, &standby])), BodyPlace::Files).await;
    let mut mails = Vec::new();
    for number in 0..ACCOUNTS {
        mails.push(store.create_account(&account(&format!("a{number}"), None)).await.unwrap());
    }
    let (told, stop) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    // Two clients an account.
    let clients: Vec<_> = (0..ACCOUNTS * 2)
        .map(|client| {
            let (number, seed) = (client % ACCOUNTS, seed * 100 + client as u64);
            let (mail, mail_number) = (mails[number].clone(), number);
            let (store, told, stop) = (store.clone(), told.clone(), stop.clone());
            tokio::spawn(work(store, mail, mail_number, told, stop, seed))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(random.u64(300..1500))).await;
    primary.kill();
    let before = told.stored.lock().unwrap().len();
    standby.promote();
    let started = Instant::now();
    while told.stored.lock().unwrap().len() < before + 20 {
        assert!(started.elapsed() < Duration::from_secs(60), "the store does not follow the primary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(before > 10 && told.failures.load(Ordering::SeqCst) > 0, "{before} before the end of the primary");
    // UIDVALIDITY may have changed: then the mailboxes are read under their new lives.
    check(&mails, &told).await;
    assert_eq!(verify(&store, None, false).await, []);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_primary_is_killed() {
    let first: u64 = std::env::var("ESTAFETA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + if long() { 40 } else { 1 } {
        round(seed).await;
    }
}

#[tokio::test]
async fn two_nodes_of_a_group_see_each_others_changes() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let servers = crate::tests::engine::on_postgres(here.path());
    let bodies = crate::tests::engine::in_objects(here.path());
    let one = open_on(here.path(), Some(servers.clone()), bodies.clone()).await;
    let other = open_on(there.path(), Some(servers), bodies).await;
    let owner = account("ana", None);
    let made = tokio::join!(one.create_account(&owner), other.create_account(&owner));
    let (mail, same) = (made.0.unwrap(), made.1.unwrap());
    let inbox = same.mailbox(&name("INBOX")).await.unwrap();
    let mut watcher = inbox.watch();
    let told = Instant::now();
    for number in 0..3 {
        append(&mail, "INBOX", &format!("body {number}")).await;
        tokio::time::timeout(Duration::from_secs(5), watcher.changed()).await.expect("nothing was heard");
    }
    assert!(told.elapsed() < Duration::from_secs(3));
    assert_eq!(uids(&inbox).await, [1, 2, 3]);
    // Both write at once: no UID twice.
    let both = (0..40).map(|number| {
        let mail = if number % 2 == 0 { mail.clone() } else { same.clone() };
        tokio::spawn(async move { append(&mail, "INBOX", &format!("more {number}")).await.0 })
    });
    let mut given = BTreeSet::new();
    for one in both.collect::<Vec<_>>() {
        assert!(given.insert(one.await.unwrap()));
    }
    assert_eq!(uids(&inbox).await, (1..=43).collect::<Vec<_>>());
    // A body that one has written, the other reads.
    let mut random = fastrand::Rng::with_seed(7);
    let large: String = std::iter::repeat_with(|| random.alphanumeric()).take(40_000).collect();
    let uid = append(&mail, "INBOX", &large).await;
    assert_eq!(inbox.text(uid).await.unwrap(), text(&large));
}
