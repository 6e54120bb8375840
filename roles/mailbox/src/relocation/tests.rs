//! Two store groups, and accounts that go from one to the other: whole, and broken off at every step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use estafeta_core::Message;
use estafeta_core::directory::memory::MemoryDirectory;
use estafeta_core::directory::{Directory, NewAccount};
use estafeta_core::settings::SettingsStore as _;
use estafeta_protocols::imap::command::acl::RightsChange;
use estafeta_protocols::imap::types::Rights;

use super::*;
use crate::store::{
    AccountMail, Columns, Delivered, FlagAction, FlagChange, Folder, MailboxName, ModSeq, NewMessage, RecentClaim,
    Scope, Store, StoreOptions, SystemFlags, UidSet,
};

/// The two groups, and what may go wrong between them.
struct World {
    directory: Arc<MemoryDirectory>,
    groups: BTreeMap<&'static str, Accounts>,
    wire: Arc<Wire>,
    _files: tempfile::TempDir,
}

/// Carries questions, and breaks at one of them, before or after it was answered.
struct Wire {
    groups: BTreeMap<&'static str, Accounts>,
    asked: AtomicUsize,
    breaks_at: AtomicUsize,
    answered: bool,
}

#[async_trait]
impl Administration for Wire {
    async fn perform(&self, operation: &str, input: Value) -> Result<Value, Failure> {
        assert_eq!(operation, ASK);
        // As between two nodes.
        let input: Value = serde_json::from_str(&input.to_string()).unwrap();
        let accounts = &self.groups[input["group"].as_str().unwrap()];
        let breaks = self.asked.fetch_add(1, Ordering::SeqCst) == self.breaks_at.load(Ordering::SeqCst);
        if breaks && !self.answered {
            return Err(Failure::unavailable("the question is lost"));
        }
        let answer = answer(accounts, input).await;
        if breaks { Err(Failure::unavailable("the answer is lost")) } else { answer }
    }
}

async fn store(directory: &Path) -> Store {
    let options = StoreOptions {
        directory: directory.to_owned(),
        servers: crate::tests::engine::servers(directory),
        bodies: crate::tests::engine::bodies(directory),
        message_limit_bytes: 20_000_000,
        readers: 2,
        warn_at_percent: Vec::new(),
        keep_expunged: true,
    };
    Store::open(options).await.unwrap()
}

impl World {
    async fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let directory = Arc::new(MemoryDirectory::default());
        directory.add_domain(&"example.edu".parse().unwrap()).await.unwrap();
        let contracts = crate::tests::contracts(&directory);
        let mut groups = BTreeMap::new();
        for group in ["g1", "g2"] {
            let store = store(&files.path().join(group)).await;
            groups.insert(group, Accounts::new(store, group.parse().unwrap(), &contracts));
        }
        let mut world = Self { directory, wire: Arc::new(Wire::whole(&groups)), groups, _files: files };
        world.mend();
        world
    }

    fn mend(&mut self) {
        self.wire = Arc::new(Wire::whole(&self.groups));
    }

    fn break_at(&mut self, question: usize, answered: bool) {
        self.wire = Arc::new(Wire { breaks_at: question.into(), answered, ..Wire::whole(&self.groups) });
    }

    async fn account(&self, name: &str) -> Address {
        let address: Address = format!("{name}@example.edu").parse().unwrap();
        let new = NewAccount {
            address: address.clone(),
            name: String::new(),
            store_group: "g1".parse().unwrap(),
            quota_bytes: None,
            quota_messages: None,
            password: None,
        };
        self.directory.add_account(&new).await.unwrap();
        address
    }

    async fn bring(&self, address: &Address, to: &str) -> Result<Value, Failure> {
        let relocation = Relocation::new(self.groups[to].clone(), self.wire.clone());
        relocation.bring(address, &watch::Sender::new(Progress::default())).await
    }

    async fn mail(&self, address: &Address, group: &str) -> Result<AccountMail, Failure> {
        let account = self.directory.account(address).await.unwrap();
        self.groups[group].open(&account).await
    }

    /// Delivers where the account lives, as edge does: again and again until it is acknowledged.
    async fn deliver(&self, address: &Address, id: DeliveryId, text: &str) {
        for _ in 0..10_000 {
            let account = self.directory.account(address).await.unwrap();
            let group = account.store_group.as_str();
            if let Ok(mail) = self.mail(address, group).await {
                let store = self.groups[group].store();
                let consignment = store.consign(id, &Message::new(text.to_owned().into())).await.unwrap();
                match mail.deliver(&consignment, b"Return-Path: <>\r\n", Folder::Inbox).await {
                    Ok(_) => return,
                    Err(StoreError::Moving | StoreError::Gone) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never delivered");
    }

    /// The subjects in INBOX, in their order; the account must live in this group alone.
    async fn inbox(&self, address: &Address, group: &str) -> Vec<String> {
        // What a node last heard of the directory serves for a moment.
        tokio::time::sleep(Duration::from_millis(150)).await;
        for (other, accounts) in &self.groups {
            let account = self.directory.account(address).await.unwrap();
            let there = accounts.store().account(&account).await;
            assert_eq!(matches!(there, Ok(Some(_))), *other == group, "{other}");
            let findings =
                accounts.store().verify(None, false, &watch::Sender::new(Progress::default())).await.unwrap();
            assert_eq!(findings, [], "{other}");
        }
        let mail = self.mail(address, group).await.unwrap();
        let inbox = mail.mailbox(&MailboxName::inbox()).await.unwrap();
        let mut texts = Vec::new();
        for entry in inbox.snapshot(RecentClaim::Leave).await.unwrap().messages.iter() {
            let text = inbox.text(entry.uid).await.unwrap().contiguous();
            let text = String::from_utf8_lossy(&text).into_owned();
            texts.push(text.strip_prefix("Return-Path: <>\r\nSubject: ").unwrap_or(&text).trim_end().to_owned());
        }
        texts
    }
}

impl Wire {
    fn whole(groups: &BTreeMap<&'static str, Accounts>) -> Self {
        let never = AtomicUsize::new(usize::MAX);
        Self { groups: groups.clone(), asked: AtomicUsize::new(0), breaks_at: never, answered: false }
    }
}

fn name(text: &str) -> MailboxName {
    text.parse().unwrap()
}

/// All that can be seen of an account, mailbox by mailbox.
async fn seen(mail: &AccountMail) -> Vec<String> {
    let mut seen = vec![
        format!("{:?} {:?} {:?}", mail.subscriptions().await, mail.entries().await, mail.usage().await),
        format!("{:?}", mail.mailboxes().await),
    ];
    for entry in mail.mailboxes().await.unwrap().into_iter().filter(|entry| entry.selectable) {
        let mailbox = mail.mailbox(&entry.name).await.unwrap();
        let snapshot = mailbox.snapshot(RecentClaim::Leave).await.unwrap();
        let mut of = format!(
            "{} {snapshot:?} {:?}",
            mailbox.object_number(),
            mailbox.changes(ModSeq(1), RecentClaim::Leave).await
        );
        for scope in [Scope::Shared, Scope::Private] {
            of += &format!("{:?}", mailbox.entries(scope, mail).await);
        }
        of += &format!("{:?} {:?}", mailbox.grants().await, mail.status(&entry.name).await);
        let columns = Columns { summary: true, header: true, hash: true };
        for message in mailbox.contents(&UidSet::all(), columns).await.unwrap() {
            of += &format!("{:?} {:?}", message.email_id(), message.thread_id());
        }
        for entry in snapshot.messages.iter() {
            let text = mailbox.text(entry.uid).await.unwrap().contiguous();
            of += &estafeta_storage::blobs::BlobHash::of(&text).to_string();
        }
        seen.push(of);
    }
    seen
}

#[tokio::test]
async fn an_account_moves_with_all_that_it_has() {
    let world = World::new().await;
    let ana = world.account("ana").await;
    let mail = world.mail(&ana, "g1").await.unwrap();
    let id = DeliveryId::generate();
    world.deliver(&ana, id, "Subject: delivered\r\n\r\n").await;
    mail.create(&name("Old/2025/May"), None).await.unwrap();
    mail.rename(&name("Archive"), &name("Old/Archive")).await.unwrap();
    mail.unsubscribe(&name("Junk")).await.unwrap();
    mail.set_entries(vec![("/comment".into(), Some(b"mine".to_vec()))]).await.unwrap();
    let messages = (0..30).map(|number| NewMessage {
        system: if number % 2 == 0 { SystemFlags::SEEN } else { SystemFlags::DELETED },
        keywords: vec![format!("k{}", number % 7).parse().unwrap()],
        internal_date: Some(1_000_000_000 + number),
        // The last has no room in one answer.
        ..NewMessage::received(Message::new(
            vec![b'x'; if number == 29 { 9_000_000 } else { 100 + number as usize * 300 }].into(),
        ))
    });
    mail.append(&name("Old/2025/May"), messages.collect()).await.unwrap();
    let may = mail.mailbox(&name("Old/2025/May")).await.unwrap();
    let deleted = UidSet::from_ranges([crate::store::Uid(2)..=crate::store::Uid(9)]);
    may.expunge(&deleted).await.unwrap();
    let flagged = FlagChange { action: FlagAction::Add, system: SystemFlags::FLAGGED, keywords: Vec::new() };
    may.store_flags(&UidSet::from_uids([crate::store::Uid(1)]), &flagged, None).await.unwrap();
    may.snapshot(RecentClaim::Take).await.unwrap();
    let note = |scope, text: &str| ((scope, "/comment".to_owned()), Some(text.as_bytes().to_vec()));
    may.set_entries(&mail, vec![note(Scope::Shared, "for all"), note(Scope::Private, "for me")]).await.unwrap();
    let rights = RightsChange::Replace(Rights::READ.with(Rights::LOOKUP));
    may.grant(("ben@example.edu", false), Some(AccountId::random()), rights).await.unwrap();

    let before = seen(&mail).await;
    let told = world.bring(&ana, "g2").await.unwrap();
    assert_eq!((told[0]["messages"].as_u64(), told[0]["to"].as_str()), (Some(27), Some("g2")));
    let moved = world.mail(&ana, "g2").await.unwrap();
    for (before, after) in before.iter().zip(seen(&moved).await) {
        assert_eq!(*before, after);
    }
    // Who still has the old place is told so, whatever they do.
    assert!(matches!(mail.create(&name("x"), None).await, Err(StoreError::Gone)));
    assert!(matches!(may.changes(ModSeq(1), RecentClaim::Leave).await, Err(StoreError::Gone)));
    assert!(matches!(mail.status(&name("INBOX")).await, Err(StoreError::Gone)));
    let known = Account { store_group: "g1".parse().unwrap(), ..mail.account().clone() };
    assert_eq!(world.groups["g1"].open(&known).await.err().map(|failure| failure.reason), Some(Reason::Elsewhere));
    // A repeat is known here too, and the numbers go on.
    let consignment = world.groups["g2"].store().consign(id, &Message::default()).await.unwrap();
    assert_eq!(moved.deliver(&consignment, b"", Folder::Inbox).await.unwrap(), Delivered::Before);
    let appended =
        moved.append(&name("Old/2025/May"), vec![NewMessage::received(Message::new("x".into()))]).await.unwrap();
    assert_eq!(appended.uids.start.0, 31);
    assert_eq!(world.inbox(&ana, "g2").await, ["delivered"]);

    // Long after, nothing of it is left there, and it may come back.
    let cleared = world.groups["g1"]
        .store()
        .collect_garbage(crate::store::GarbageAges { gone: Duration::ZERO, ..Default::default() });
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(cleared.await.unwrap().cleared, 1);
    let before = seen(&moved).await;
    world.bring(&ana, "g1").await.unwrap();
    assert_eq!(seen(&world.mail(&ana, "g1").await.unwrap()).await, before);
    assert_eq!(world.inbox(&ana, "g1").await, ["delivered"]);
}

#[tokio::test]
async fn a_move_that_is_broken_off_anywhere_is_ended_by_the_next() {
    let mut world = World::new().await;
    let mut broken = 0;
    for (question, answered) in (0..60).flat_map(|question| [(question, false), (question, true)]) {
        let address = world.account(&format!("ana{question}{answered}")).await;
        for number in 0..3 {
            world.deliver(&address, DeliveryId::generate(), &format!("Subject: {number}\r\n\r\n")).await;
        }
        world.break_at(question, answered);
        let first = world.bring(&address, "g2").await;
        world.mend();
        if first.is_ok() {
            break;
        }
        broken += 1;
        let lives_there = world.mail(&address, "g1").await.is_ok();
        if lives_there {
            world.deliver(&address, DeliveryId::generate(), "Subject: between\r\n\r\n").await;
        }
        world.bring(&address, "g2").await.unwrap();
        let expected: &[&str] = if lives_there { &["0", "1", "2", "between"] } else { &["0", "1", "2"] };
        assert_eq!(world.inbox(&address, "g2").await, expected, "{question} {answered}");
    }
    assert!(broken > 20, "{broken}");
}

#[tokio::test]
async fn one_that_came_and_could_not_tell_is_told_of_afterwards() {
    let world = World::new().await;
    let ana = world.account("ana").await;
    world.deliver(&ana, DeliveryId::generate(), "Subject: 1\r\n\r\n").await;
    let account = world.directory.account(&ana).await.unwrap();
    let relocation = Relocation::new(world.groups["g2"].clone(), world.wire.clone());
    let Arrival::Arriving(arriving) = world.groups["g2"].store().arrival(&account, &account.store_group).await.unwrap()
    else {
        panic!("it does not come")
    };
    let progress = watch::Sender::new(Progress::default());
    let mut bringing = Bringing {
        relocation: &relocation,
        account: &account,
        arriving,
        progress: &progress,
        messages: 0,
        delivered: 0,
    };
    bringing.all().await.unwrap();
    // The node ends here. Nobody is served until it is up again.
    assert!(world.mail(&ana, "g1").await.is_err() && world.mail(&ana, "g2").await.is_err());
    assert_eq!(world.groups["g2"].store().arrivals().await.unwrap(), [ana.to_string()]);
    world.bring(&ana, "g2").await.unwrap();
    assert_eq!(world.inbox(&ana, "g2").await, ["1"]);
    assert!(world.groups["g2"].store().arrivals().await.unwrap().is_empty());
    world.bring(&ana, "g2").await.unwrap();
}

#[tokio::test]
async fn a_move_is_given_up_until_the_account_has_gone() {
    let mut world = World::new().await;
    let ana = world.account("ana").await;
    world.deliver(&ana, DeliveryId::generate(), "Subject: 1\r\n\r\n").await;
    // Find the question that freezes: after it the account is refused.
    let mut question = 0;
    loop {
        world.break_at(question, true);
        world.bring(&ana, "g2").await.unwrap_err();
        if world.mail(&ana, "g1").await.is_err() {
            break;
        }
        question += 1;
    }
    world.mend();
    assert!(world.bring(&ana, "g1").await.unwrap()[0]["outcome"].as_str().unwrap().contains("stays"));
    world.deliver(&ana, DeliveryId::generate(), "Subject: 2\r\n\r\n").await;
    // The old attempt finds itself void, and leaves nothing behind.
    assert_eq!(world.bring(&ana, "g2").await.unwrap_err().reason, Reason::Denied);
    assert_eq!(world.inbox(&ana, "g1").await, ["1", "2"]);
    assert!(world.groups["g2"].store().arrivals().await.unwrap().is_empty());
    world.bring(&ana, "g2").await.unwrap();
    assert_eq!(world.inbox(&ana, "g2").await, ["1", "2"]);
}

#[tokio::test]
async fn mail_that_arrives_meanwhile_is_there_once() {
    let world = Arc::new(World::new().await);
    let ana = world.account("ana").await;
    world.deliver(&ana, DeliveryId::generate(), "Subject: first\r\n\r\n").await;
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (world, ana) = (world.clone(), ana.clone());
            tokio::spawn(async move {
                for number in 0..40 {
                    let id = DeliveryId::generate();
                    let text = format!("Subject: {sender}.{number}\r\n\r\n");
                    world.deliver(&ana, id, &text).await;
                    // Once more, as after an answer that was lost.
                    world.deliver(&ana, id, &text).await;
                }
            })
        })
        .collect();
    for to in ["g2", "g1", "g2"] {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.bring(&ana, to).await.unwrap();
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let mut inbox = world.inbox(&ana, "g2").await;
    inbox.sort();
    let mut expected: Vec<String> =
        (0..4).flat_map(|sender| (0..40).map(move |number| format!("{sender}.{number}"))).collect();
    expected.push("first".into());
    expected.sort();
    assert_eq!(inbox, expected);
}

#[tokio::test]
async fn an_account_that_never_came_moves_too() {
    let world = World::new().await;
    let ana = world.account("ana").await;
    // To where it belongs, nothing happens.
    assert_eq!(world.bring(&ana, "g1").await.unwrap()[0]["outcome"], "it lives there already");
    assert!(world.groups["g1"].store().arrivals().await.unwrap().is_empty());
    world.bring(&ana, "g2").await.unwrap();
    world.deliver(&ana, DeliveryId::generate(), "Subject: 1\r\n\r\n").await;
    assert_eq!(world.inbox(&ana, "g2").await, ["1"]);
}

#[tokio::test]
async fn backups_are_added_to_each_other_and_come_back_whole() {
    let world = World::new().await;
    let (ana, ben) = (world.account("ana").await, world.account("ben").await);
    for (address, text) in [(&ana, "Subject: 1\r\n\r\n"), (&ana, "Subject: 2\r\n\r\n"), (&ben, "Subject: 2\r\n\r\n")] {
        world.deliver(address, DeliveryId::generate(), text).await;
    }
    let mail = world.mail(&ana, "g1").await.unwrap();
    mail.create(&name("Old/May"), None).await.unwrap();
    mail.rename(&name("Junk"), &name("Spam")).await.unwrap();
    let flagged = NewMessage {
        system: SystemFlags::SEEN,
        keywords: vec!["$Forwarded".parse().unwrap()],
        internal_date: Some(1_000_000_000),
        ..NewMessage::received(Message::new("y".repeat(50_000).into()))
    };
    mail.append(&name("Old/May"), vec![flagged.clone(), flagged]).await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let place = files.path().join("backup");
    let progress = watch::Sender::new(Progress::default());
    let g1 = &world.groups["g1"];
    let back_up = || crate::transfer::backup(g1.store(), g1.directory_uncached(), None, &place, &progress);
    let done = back_up().await.unwrap();
    assert_eq!((done.messages, done.there_already, done.refused), (3, 2, 0), "bodies are kept once");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.deliver(&ana, DeliveryId::generate(), "Subject: 3\r\n\r\n").await;
    let done = back_up().await.unwrap();
    assert_eq!((done.messages, done.there_already, done.refused), (1, 5, 0), "and are not written again");

    // Into a store that is empty.
    let empty = tempfile::tempdir().unwrap();
    let contracts = crate::tests::contracts(&world.directory);
    let rebuilt = Accounts::new(store(empty.path()).await, "g1".parse().unwrap(), &contracts);
    let choice = crate::transfer::Choice::default;
    let done = crate::transfer::restore(&rebuilt, choice(), &place, &progress).await.unwrap();
    assert_eq!((done.messages, done.there_already, done.refused), (6, 0, 0));
    let done = crate::transfer::restore(&rebuilt, choice(), &place, &progress).await.unwrap();
    assert_eq!((done.messages, done.there_already), (0, 6), "twice is once");
    let account = world.directory.account(&ana).await.unwrap();
    let restored = rebuilt.open(&account).await.unwrap();
    let names = |entries: Vec<crate::store::MailboxEntry>| -> Vec<_> {
        entries.into_iter().map(|entry| (entry.name, entry.special_use, entry.subscribed)).collect()
    };
    let mut here = names(restored.mailboxes().await.unwrap());
    // A new account has one called Junk; its use stayed with it.
    here.retain(|(mailbox, ..)| *mailbox != name("Junk") && *mailbox != name("Spam"));
    let mut there = names(mail.mailboxes().await.unwrap());
    there.retain(|(mailbox, ..)| *mailbox != name("Spam"));
    assert_eq!(here, there);
    for mailbox in ["INBOX", "Old/May"] {
        let (one, other) =
            (mail.mailbox(&name(mailbox)).await.unwrap(), restored.mailbox(&name(mailbox)).await.unwrap());
        assert_ne!(one.uid_validity(), other.uid_validity());
        let (before, after) =
            (one.snapshot(RecentClaim::Leave).await.unwrap(), other.snapshot(RecentClaim::Leave).await.unwrap());
        let shape = |snapshot: &crate::store::Snapshot| -> Vec<_> {
            snapshot.messages.iter().map(|entry| (entry.flags, entry.size, entry.internal_date)).collect()
        };
        assert_eq!(shape(&before), shape(&after));
        let columns = Columns { hash: true, ..Columns::default() };
        let named = async |mailbox: &crate::store::Mailbox| -> Vec<Option<String>> {
            let kept = mailbox.contents(&UidSet::all(), columns).await.unwrap();
            kept.iter().map(|message| message.email_id().map(str::to_owned)).collect()
        };
        assert_eq!(named(&one).await, named(&other).await);
    }

    // What was lost since is put back, and nothing comes twice.
    restored.lose_small_bodies().await;
    let inbox = restored.mailbox(&name("INBOX")).await.unwrap();
    assert!(inbox.text(crate::store::Uid(1)).await.is_err());
    let done = crate::transfer::restore(&rebuilt, choice(), &place, &progress).await.unwrap();
    assert_eq!((done.messages, done.there_already, done.refused), (0, 6, 0));
    inbox.text(crate::store::Uid(1)).await.unwrap();

    // Beside what is there, in another account.
    let choice = crate::transfer::Choice { account: Some(ana), into: Some(ben.clone()), below: Some(name("Restored")) };
    let done = crate::transfer::restore(g1, choice, &place, &progress).await.unwrap();
    assert_eq!((done.messages, done.refused), (5, 0));
    let ben = world.mail(&ben, "g1").await.unwrap();
    assert_eq!(ben.status(&name("Restored/INBOX")).await.unwrap().messages, 3);
    assert_eq!(ben.status(&name("INBOX")).await.unwrap().messages, 1);

    // What is damaged is refused by its hash, and the rest comes.
    let mut damaged = 0;
    for shard in std::fs::read_dir(place.join("bodies")).unwrap() {
        for body in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            if damaged == 0 {
                std::fs::write(body.unwrap().path(), "other").unwrap();
                damaged += 1;
            }
        }
    }
    let again = tempfile::tempdir().unwrap();
    let rebuilt = Accounts::new(store(again.path()).await, "g1".parse().unwrap(), &contracts);
    let done = crate::transfer::restore(&rebuilt, crate::transfer::Choice::default(), &place, &progress).await.unwrap();
    assert!(done.refused > 0 && done.messages + done.refused == 6, "{done:?}");
    let wrong = crate::transfer::backup(g1.store(), g1.directory_uncached(), None, files.path(), &progress).await;
    assert_eq!(wrong.unwrap_err().reason, Reason::Invalid, "a directory that holds something else");
}
