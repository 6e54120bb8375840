//! Random operations on the store and on a model of it, which must agree after each: contents, counts, and what every
//! observer makes of the changes since it looked last.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const MAILBOXES: [&str; 3] = ["INBOX", "Sent", "Archive"];
const KEYWORDS: [&str; 3] = ["k0", "k1", "k2"];

#[derive(Debug, Clone)]
enum Operation {
    Append { to: usize, count: usize, system: u8 },
    Flags { mailbox: usize, uids: Vec<u32>, action: FlagAction, system: u8, keywords: Vec<usize> },
    Expunge { mailbox: usize, uids: Vec<u32> },
    Remove { mailbox: usize, uids: Vec<u32> },
    Copy { mailbox: usize, uids: Vec<u32>, to: usize },
    Move { mailbox: usize, uids: Vec<u32>, to: usize },
    Undelete,
    Look { observer: usize },
}

fn operation() -> impl Strategy<Value = Operation> {
    let mailbox = 0..MAILBOXES.len();
    let uids = || proptest::collection::vec(1u32..25, 0..12);
    let action = prop_oneof![Just(FlagAction::Add), Just(FlagAction::Remove), Just(FlagAction::Replace)];
    let keywords = proptest::collection::vec(0..KEYWORDS.len(), 0..3);
    prop_oneof![
        3 => (mailbox.clone(), 1usize..4, 0u8..32).prop_map(|(to, count, system)| Operation::Append { to, count, system }),
        3 => (mailbox.clone(), uids(), action, 0u8..32, keywords)
            .prop_map(|(mailbox, uids, action, system, keywords)| Operation::Flags { mailbox, uids, action, system, keywords }),
        1 => (mailbox.clone(), uids()).prop_map(|(mailbox, uids)| Operation::Expunge { mailbox, uids }),
        1 => (mailbox.clone(), uids()).prop_map(|(mailbox, uids)| Operation::Remove { mailbox, uids }),
        1 => (mailbox.clone(), uids(), mailbox.clone()).prop_map(|(mailbox, uids, to)| Operation::Copy { mailbox, uids, to }),
        1 => (mailbox.clone(), uids(), mailbox).prop_map(|(mailbox, uids, to)| Operation::Move { mailbox, uids, to }),
        1 => Just(Operation::Undelete),
        2 => (0usize..2).prop_map(|observer| Operation::Look { observer }),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ModelMessage {
    body: String,
    system: SystemFlags,
    keywords: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct ModelMailbox {
    last_uid: u32,
    messages: BTreeMap<u32, ModelMessage>,
    /// What can be had back.
    expunged: BTreeMap<u32, ModelMessage>,
}

impl ModelMailbox {
    fn add(&mut self, message: ModelMessage) -> Uid {
        self.last_uid += 1;
        self.messages.insert(self.last_uid, message);
        Uid(self.last_uid)
    }

    fn expunge(&mut self, uids: impl IntoIterator<Item = u32>) {
        for uid in uids {
            if let Some(message) = self.messages.remove(&uid) {
                self.expunged.insert(uid, message);
            }
        }
    }

    fn undelete(&mut self) -> usize {
        let back = std::mem::take(&mut self.expunged);
        let count = back.len();
        for message in back.into_values() {
            self.add(ModelMessage { system: message.system & !SystemFlags::DELETED, ..message });
        }
        count
    }

    fn chosen(&self, uids: &[u32]) -> Vec<(u32, ModelMessage)> {
        let there = self.messages.iter().filter(|(uid, _)| uids.contains(uid));
        there.map(|(uid, message)| (*uid, message.clone())).collect()
    }
}

/// What a session knows of a mailbox.
#[derive(Debug, Default)]
struct Observer {
    modseq: ModSeq,
    messages: BTreeMap<Uid, Flags>,
}

struct Bench {
    mail: AccountMail,
    mailboxes: Vec<Mailbox>,
    model: Vec<ModelMailbox>,
    observers: Vec<Vec<Observer>>,
    modseqs: Vec<ModSeq>,
    bodies: usize,
}

fn set(uids: &[u32]) -> UidSet {
    UidSet::from_uids(uids.iter().copied().map(Uid))
}

impl Bench {
    async fn new(mail: AccountMail) -> Self {
        let mut mailboxes = Vec::new();
        for one in MAILBOXES {
            mailboxes.push(mail.mailbox(&name(one)).await.unwrap());
        }
        let observers = || MAILBOXES.iter().map(|_| Observer::default()).collect();
        Self {
            mail,
            mailboxes,
            model: MAILBOXES.iter().map(|_| ModelMailbox::default()).collect(),
            observers: vec![observers(), observers()],
            modseqs: vec![ModSeq(0); MAILBOXES.len()],
            bodies: 0,
        }
    }

    async fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Append { to, count, system } => {
                let system = SystemFlags::from_bits(system);
                let mut new = Vec::new();
                let first = self.model[to].last_uid + 1;
                for _ in 0..count {
                    // Every other body is one that was there before.
                    self.bodies += 1;
                    let body = format!("body {}", self.bodies / 2);
                    new.push(NewMessage { system, ..NewMessage::received(text(&body)) });
                    self.model[to].add(ModelMessage { body, system, keywords: BTreeSet::new() });
                }
                let appended = self.mail.append(&name(MAILBOXES[to]), new).await.unwrap();
                assert_eq!(appended.uids, Uid(first)..Uid(first + count as u32));
            }
            Operation::Flags { mailbox, uids, action, system, keywords } => {
                let system = SystemFlags::from_bits(system);
                let names: Vec<_> = keywords.iter().map(|&number| KEYWORDS[number]).collect();
                let change = FlagChange { action, system, keywords: names.iter().map(|one| keyword(one)).collect() };
                let stored = self.mailboxes[mailbox].store_flags(&set(&uids), &change, None).await.unwrap();
                let model = &mut self.model[mailbox];
                let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
                for (uid, message) in &mut model.messages {
                    if uids.contains(uid) {
                        match action {
                            FlagAction::Add => {
                                message.system = message.system | system;
                                message.keywords.extend(names.clone());
                            }
                            FlagAction::Remove => {
                                message.system = message.system & !system;
                                message.keywords.retain(|one| !names.contains(one));
                            }
                            FlagAction::Replace | FlagAction::ReplaceWithin(_) => {
                                (message.system, message.keywords) = (system, names.clone())
                            }
                        }
                    }
                }
                let told: Vec<u32> = stored.messages.iter().map(|message| message.uid.0).collect();
                assert_eq!(told, model.chosen(&uids).iter().map(|(uid, _)| *uid).collect::<Vec<_>>());
            }
            Operation::Expunge { mailbox, uids } => {
                let gone = self.mailboxes[mailbox].expunge(&set(&uids)).await.unwrap();
                let expected = self.model[mailbox]
                    .chosen(&uids)
                    .into_iter()
                    .filter(|(_, message)| message.system.contains(SystemFlags::DELETED));
                assert_eq!(gone, expected.map(|(uid, _)| Uid(uid)).collect::<Vec<_>>());
                self.model[mailbox].expunge(gone.into_iter().map(|uid| uid.0));
            }
            Operation::Remove { mailbox, uids } => {
                let gone = self.mailboxes[mailbox].remove(&set(&uids)).await.unwrap();
                assert_eq!(
                    gone,
                    self.model[mailbox].chosen(&uids).iter().map(|(uid, _)| Uid(*uid)).collect::<Vec<_>>()
                );
                self.model[mailbox].expunge(uids);
            }
            Operation::Copy { mailbox, uids, to } => {
                let copied = self.mailboxes[mailbox].copy(&set(&uids), &name(MAILBOXES[to])).await.unwrap();
                let chosen = self.model[mailbox].chosen(&uids);
                let pairs: Vec<_> =
                    chosen.into_iter().map(|(uid, message)| (Uid(uid), self.model[to].add(message))).collect();
                assert_eq!(copied.uids, pairs);
            }
            Operation::Move { mailbox, uids, to } => {
                let moved = self.mailboxes[mailbox].move_to(&set(&uids), &name(MAILBOXES[to])).await.unwrap();
                let chosen = self.model[mailbox].chosen(&uids);
                self.model[mailbox].messages.retain(|uid, _| !uids.contains(uid));
                let pairs: Vec<_> =
                    chosen.into_iter().map(|(uid, message)| (Uid(uid), self.model[to].add(message))).collect();
                assert_eq!(moved.copied.uids, pairs);
            }
            Operation::Undelete => {
                let mut told: BTreeMap<String, usize> = BTreeMap::new();
                for deleted in self.mail.deleted(&Wanted::default()).await.unwrap() {
                    let more = self.mail.undelete(&deleted, 0).await.unwrap();
                    assert_eq!(more, Holding { messages: deleted.messages, bytes: deleted.bytes });
                    told.insert(deleted.name.to_string(), more.messages as usize);
                }
                for (name, model) in MAILBOXES.iter().zip(&mut self.model) {
                    assert_eq!(told.remove(*name).unwrap_or_default(), model.undelete(), "{name}");
                }
                assert!(told.is_empty(), "{told:?}");
            }
            Operation::Look { observer } => self.look(observer).await,
        }
    }

    /// An observer catches up, and then knows what is there.
    async fn look(&mut self, observer: usize) {
        for (mailbox, seen) in self.mailboxes.iter().zip(&mut self.observers[observer]) {
            let changes = mailbox.changes(seen.modseq, RecentClaim::Leave).await.unwrap();
            assert!(changes.highest_modseq >= seen.modseq);
            for message in &changes.changed {
                assert!(message.modseq > seen.modseq && message.modseq <= changes.highest_modseq);
                assert!(!changes.expunged.contains(&message.uid));
                seen.messages.insert(message.uid, message.flags);
            }
            for uid in &changes.expunged {
                seen.messages.remove(uid);
            }
            seen.modseq = changes.highest_modseq;
            let snapshot = mailbox.snapshot(RecentClaim::Leave).await.unwrap();
            let there: BTreeMap<_, _> = snapshot.messages.iter().map(|message| (message.uid, message.flags)).collect();
            assert_eq!(seen.messages, there);
        }
    }

    /// The store holds what the model holds.
    async fn check(&mut self) {
        let mut used = 0;
        for (index, (mailbox, model)) in self.mailboxes.iter().zip(&self.model).enumerate() {
            let snapshot = mailbox.snapshot(RecentClaim::Leave).await.unwrap();
            assert!(snapshot.highest_modseq >= self.modseqs[index], "a modification sequence went back");
            assert!(snapshot.messages.iter().all(|message| message.modseq <= snapshot.highest_modseq));
            self.modseqs[index] = snapshot.highest_modseq;
            assert_eq!(snapshot.uid_next, Uid(model.last_uid + 1));
            let mut found = BTreeMap::new();
            for message in snapshot.messages.iter() {
                let body = mailbox.text(message.uid).await.unwrap();
                assert_eq!(message.size as usize, body.len());
                let keywords = snapshot.keywords.of(message.flags.keywords).map(ToString::to_string).collect();
                let body = String::from_utf8(body.contiguous().to_vec()).unwrap();
                found.insert(message.uid.0, ModelMessage { body, system: message.flags.system, keywords });
            }
            assert_eq!(&found, &model.messages);
            let status = self.mail.status(&name(MAILBOXES[index])).await.unwrap();
            let count = |flag, set| {
                model.messages.values().filter(|message| message.system.contains(flag) == set).count() as u32
            };
            let size: u64 = snapshot.messages.iter().map(|message| u64::from(message.size)).sum();
            assert_eq!((status.messages as usize, status.size_bytes), (model.messages.len(), size));
            assert_eq!(
                (status.unseen, status.deleted),
                (count(SystemFlags::SEEN, false), count(SystemFlags::DELETED, true))
            );
            used += size;
        }
        assert_eq!(self.mail.usage().await.unwrap().used_bytes, used);
        let progress = tokio::sync::watch::Sender::new(Progress::default());
        assert_eq!(self.mail.store.verify(None, false, &progress).await.unwrap(), []);
    }
}

fn run(operations: Vec<Operation>, servers: impl Fn(&Path) -> Option<Servers>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let store = open_on(directory.path(), servers(directory.path()), BodyPlace::Files).await;
        let mail = store.create_account(&account("ana", None)).await.unwrap();
        let mut bench = Bench::new(mail).await;
        for operation in operations {
            bench.run(operation).await;
            bench.check().await;
        }
        for observer in 0..2 {
            bench.look(observer).await;
        }
        store.close().await;
    });
}

fn cases(in_full: u32) -> ProptestConfig {
    ProptestConfig { cases: if long() { in_full } else { 16 }, max_shrink_iters: 200, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(1000))]
    #[test]
    fn the_store_agrees_with_its_model(operations in proptest::collection::vec(operation(), 1..40)) {
        run(operations, |_| None);
    }
}

proptest! {
    // Each has a database of its own, which takes two seconds to make.
    #![proptest_config(cases(200))]
    #[test]
    fn on_postgresql_it_agrees_too(operations in proptest::collection::vec(operation(), 1..40)) {
        run(operations, |directory| Some(crate::tests::engine::on_postgres(directory)));
    }
}
