//! The power fails while several write at once: at any moment, nothing that was acknowledged is lost, nothing comes back that
//! was expunged, no UID and no modification sequence is used again, and the store is whole.
//!
//! One process writes; a library that is loaded into it (`record.c`) records what it does to its files, and when it acknowledged
//! what. [`disk`] then plays the record up to any moment and says what a disk may hold after a power cut there; on that the
//! store is opened and looked at. So one recording has as many power cuts in it as one likes.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::DeliveryId;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use disk::{Disk, Event, read_record};

const DIRECTORY: &str = "ESTAFETA_TEST_POWER_DIRECTORY";
const SEED: &str = "ESTAFETA_TEST_POWER_SEED";

/// Who write at once, each into mailboxes of its own.
const TASKS: u8 = 4;

/// How much each does.
const OPERATIONS: u32 = 60;

/// Where each acknowledgement is written down. It is part of the record, and survives everything.
const ACKNOWLEDGED: &str = "acknowledged";

fn owner() -> Account {
    Account { id: AccountId(Uuid::from_u128(11)), ..account("ana", None) }
}

/// What a task does.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Deliver(u32),
    Append(u32),
    Copy(u32),
    Move(u32),
    Mark(u32),
    Expunge,
}

/// One of a task's mailboxes: things are appended to the first, and copied and moved to the second.
fn own(task: u8, which: usize) -> MailboxName {
    name(&format!("{}{task}", ["first", "second"][which]))
}

/// A message's text: some are kept in their row, some in files; no two are alike.
fn body(task: u8, number: u32) -> Message {
    let mut random = fastrand::Rng::with_seed(u64::from(task) << 32 | u64::from(number));
    let length = [10, 500, 20_000, 60_000][number as usize % 4];
    let filler: String = std::iter::repeat_with(|| random.alphanumeric()).take(length).collect();
    text(&format!("Subject: {task}/{number}\r\n\r\n{filler}\r\n"))
}

fn delivery(task: u8, number: u32) -> DeliveryId {
    DeliveryId(Uuid::from_u128(u128::from(task) << 32 | u128::from(number)))
}

/// A message in one of a task's mailboxes: its text and whether it has `\Deleted`.
type Held = (u32, bool);

/// What a task's mailboxes must hold, by UID, and how far their numbers have come.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    boxes: [BTreeMap<u32, Held>; 2],
    delivered: BTreeSet<u32>,
    highest_uid: [u32; 2],
    highest_modseq: [u64; 2],
}

impl Expected {
    /// What has been done; `uid` is what a new message got.
    fn apply(&mut self, operation: Operation, uid: u32) {
        let mut put = |boxes: &mut [BTreeMap<u32, Held>; 2], which: usize, held: Held| {
            boxes[which].insert(uid, held);
            self.highest_uid[which] = self.highest_uid[which].max(uid);
        };
        match operation {
            Operation::Deliver(number) => drop(self.delivered.insert(number)),
            Operation::Append(number) => put(&mut self.boxes, 0, (number, false)),
            Operation::Copy(from) => {
                let held = self.boxes[0][&from];
                put(&mut self.boxes, 1, held);
            }
            Operation::Move(from) => {
                let held = self.boxes[0].remove(&from).unwrap();
                put(&mut self.boxes, 1, held);
            }
            Operation::Mark(uid) => self.boxes[0].get_mut(&uid).unwrap().1 = true,
            Operation::Expunge => self.boxes[0].retain(|_, held| !held.1),
        }
    }

    /// Something that can be done next.
    fn next(&self, number: u32, random: &mut fastrand::Rng) -> Operation {
        let one = random.choice(self.boxes[0].keys()).copied();
        match (random.u8(0..10), one) {
            (0..=2, _) => Operation::Deliver(number),
            (5, Some(uid)) => Operation::Copy(uid),
            (6, Some(uid)) => Operation::Move(uid),
            (7..=8, Some(uid)) => Operation::Mark(uid),
            (9, _) => Operation::Expunge,
            _ => Operation::Append(number),
        }
    }
}

/// Does it, and gives the UID of what is new.
async fn perform(store: &Store, mail: &AccountMail, task: u8, operation: Operation) -> u32 {
    let first = mail.mailbox(&own(task, 0)).await.unwrap();
    let of = |uid| UidSet::from_uids([Uid(uid)]);
    match operation {
        Operation::Deliver(number) => {
            let consignment = store.consign(delivery(task, number), &body(task, number)).await.unwrap();
            mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap();
            0
        }
        Operation::Append(number) => {
            let new = vec![NewMessage::received(body(task, number))];
            mail.append(&own(task, 0), new).await.unwrap().uids.start.0
        }
        Operation::Copy(uid) => first.copy(&of(uid), &own(task, 1)).await.unwrap().uids[0].1.0,
        Operation::Move(uid) => first.move_to(&of(uid), &own(task, 1)).await.unwrap().copied.uids[0].1.0,
        Operation::Mark(uid) => {
            first.store_flags(&of(uid), &FlagChange::add(SystemFlags::DELETED), None).await.unwrap();
            0
        }
        Operation::Expunge => {
            first.expunge(&UidSet::all()).await.unwrap();
            0
        }
    }
}

/// What a task will do, one after the other, follows from the seed and the UIDs that it gets.
fn random(seed: u64, task: u8) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed << 8 | u64::from(task))
}

/// Not a test by itself: without the variable it does nothing.
#[test]
fn the_child() {
    let Ok(root) = std::env::var(DIRECTORY) else { return };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let acknowledged = Path::new(&root).join(ACKNOWLEDGED);
    let acknowledged = Arc::new(fs::OpenOptions::new().append(true).create(true).open(acknowledged).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open_on(&Path::new(&root).join("store"), None, BodyPlace::Files).await;
        let mail = store.create_account(&owner()).await.unwrap();
        for task in 0..TASKS {
            mail.create(&own(task, 0), None).await.unwrap();
            mail.create(&own(task, 1), None).await.unwrap();
        }
        (&*acknowledged).write_all(b"begun\n").unwrap();
        let tasks = (0..TASKS).map(|task| {
            let (store, mail, acknowledged) = (store.clone(), mail.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let (mut random, mut expected) = (random(seed, task), Expected::default());
                for number in 0..OPERATIONS {
                    let operation = expected.next(number, &mut random);
                    let uid = perform(&store, &mail, task, operation).await;
                    expected.apply(operation, uid);
                    let mut modseqs = Vec::new();
                    for which in 0..2 {
                        modseqs.push(mail.status(&own(task, which)).await.unwrap().highest_modseq.0);
                    }
                    let line = format!("{task} {uid} {} {}\n", modseqs[0], modseqs[1]);
                    (&*acknowledged).write_all(line.as_bytes()).unwrap();
                    if number % 16 == 15 {
                        let at_once = GarbageAges { grace: Duration::ZERO, ..GarbageAges::default() };
                        store.collect_garbage(at_once).await.unwrap();
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        store.close().await;
    });
}

/// Records a process's life.
fn record(seed: u64) -> (PathBuf, Vec<Event>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let (root, library, written) = (path.join("disk"), path.join("record.so"), path.join("record"));
    fs::create_dir(&root).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/tests/power/record.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-lpthread").status();
    assert!(compiled.expect("a C compiler is needed for this test: cc").success());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::power::the_child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, &root)
        .env(SEED, seed.to_string())
        .env("LD_PRELOAD", library)
        .env("POWER_ROOT", &root)
        .env("POWER_RECORD", &written)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    (root, read_record(&fs::read(written).unwrap()), directory)
}

/// What was acknowledged up to a moment, a line each.
#[derive(Default)]
struct Acknowledged {
    inode: Option<u64>,
    lines: String,
}

impl Acknowledged {
    fn happen(&mut self, event: &Event) {
        match event {
            Event::Create { path, inode } if path.ends_with(ACKNOWLEDGED) => self.inode = Some(*inode),
            Event::Write { inode, bytes, .. } if self.inode == Some(*inode) => {
                self.lines.push_str(std::str::from_utf8(bytes).unwrap());
            }
            _ => {}
        }
    }

    /// For each task what there must be, and what it was doing. None while not even the mailboxes were made.
    fn expected(&self, seed: u64) -> Option<Vec<(Expected, Option<Operation>)>> {
        let mut lines = self.lines.lines();
        lines.next()?;
        let lines: Vec<Vec<u64>> =
            lines.map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect();
        let of_task = |task: u8| {
            let (mut random, mut expected) = (random(seed, task), Expected::default());
            let mut number = 0;
            for line in lines.iter().filter(|line| line[0] == u64::from(task)) {
                let operation = expected.next(number, &mut random);
                expected.apply(operation, line[1] as u32);
                expected.highest_modseq = [line[2], line[3]];
                number += 1;
            }
            let under_way = (number < OPERATIONS).then(|| expected.next(number, &mut random));
            (expected, under_way)
        };
        Some((0..TASKS).map(of_task).collect())
    }
}

/// What a mailbox holds.
async fn held(mailbox: &Mailbox) -> BTreeMap<u32, (u8, Held)> {
    let mut found = BTreeMap::new();
    for message in mailbox.snapshot(RecentClaim::Leave).await.unwrap().messages.iter() {
        let content = mailbox.text(message.uid).await.unwrap().contiguous();
        let first = std::str::from_utf8(&content).unwrap().lines().next().unwrap().to_owned();
        let (task, number) = first.strip_prefix("Subject: ").unwrap().split_once('/').unwrap();
        let (task, number) = (task.parse().unwrap(), number.parse().unwrap());
        assert_eq!(content, body(task, number).contiguous(), "the text of {task}/{number}");
        found.insert(message.uid.0, (task, (number, message.flags.system.contains(SystemFlags::DELETED))));
    }
    found
}

async fn check(directory: &Path, expected: Option<Vec<(Expected, Option<Operation>)>>) {
    let store = open_on(directory, None, BodyPlace::Files).await;
    let findings = store.verify(None, false, &watch::Sender::new(Progress::default())).await.unwrap();
    assert_eq!(findings, [], "verify finds the store whole");
    let mail = store.create_account(&owner()).await.unwrap();
    let inbox = mail.mailbox(&MailboxName::inbox()).await.unwrap();
    let mut delivered: BTreeMap<(u8, u32), u32> = BTreeMap::new();
    for (task, (number, _)) in held(&inbox).await.into_values() {
        *delivered.entry((task, number)).or_default() += 1;
    }
    assert!(delivered.values().all(|times| *times == 1), "delivered more than once: {delivered:?}");
    for (task, (expected, under_way)) in (0..).zip(expected.into_iter().flatten()) {
        let mut boxes = [BTreeMap::new(), BTreeMap::new()];
        for (which, found) in boxes.iter_mut().enumerate() {
            let mailbox = mail.mailbox(&own(task, which)).await.unwrap();
            *found = held(&mailbox).await.into_iter().map(|(uid, (_, held))| (uid, held)).collect();
            let status = mail.status(&own(task, which)).await.unwrap();
            assert!(
                status.uid_next.0 > expected.highest_uid[which],
                "a UID would be used again: {status:?}, {expected:?}"
            );
            assert!(status.highest_modseq.0 >= expected.highest_modseq[which], "{status:?}, {expected:?}");
        }
        let done = |state: &Expected| state.boxes == boxes;
        // What was under way is done or is not; what it made has the highest UID of its mailbox.
        let also = under_way.map(|operation| {
            let mut also = expected.clone();
            let target = usize::from(!matches!(operation, Operation::Append(_)));
            also.apply(operation, boxes[target].keys().next_back().copied().unwrap_or_default());
            also
        });
        assert!(
            done(&expected) || also.as_ref().is_some_and(done),
            "task {task} was doing {under_way:?}; there must be {:?}, and there is {boxes:?}",
            expected.boxes
        );
        for number in &expected.delivered {
            assert!(delivered.contains_key(&(task, *number)), "delivery {task}/{number} is lost");
        }
        // Its sender saw no answer, and comes again under the same id.
        if let Some(Operation::Deliver(number)) = under_way {
            let consignment = store.consign(delivery(task, number), &body(task, number)).await.unwrap();
            let again = mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap();
            assert_eq!(again == Delivered::Before, delivered.contains_key(&(task, number)));
        }
    }
    store.close().await;
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let first = std::env::var("ESTAFETA_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (recordings, cuts) = if long() { (20, 150) } else { (2, 15) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for seed in first..first + recordings {
        let (root, events, _directory) = record(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        let moments: BTreeSet<usize> = std::iter::repeat_with(|| random.usize(0..=events.len())).take(cuts).collect();
        let (mut disk, mut acknowledged, mut happened) = (Disk::default(), Acknowledged::default(), 0);
        for moment in moments {
            for event in &events[happened..moment] {
                disk.happen(event);
                acknowledged.happen(event);
            }
            happened = moment;
            println!("seed {seed}: the power fails after {moment} of {} events", events.len());
            let found = tempfile::tempdir().unwrap();
            disk.after_power_cut(&mut random, &root, found.path());
            runtime.block_on(check(&found.path().join("store"), acknowledged.expected(seed)));
        }
        assert!(acknowledged.lines.lines().count() > 20, "the child did next to nothing");
    }
}
