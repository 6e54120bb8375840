//! A process that delivers is killed at a random moment; what it had acknowledged must be there once.
//!
//! The child is this test binary again, told by an environment variable to run the test `the_child` alone. It delivers
//! one message after the other from four tasks, and writes a line to its standard output for each that is acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use estafeta_core::DeliveryId;
use uuid::Uuid;

use super::verify::verify;
use super::*;

const DIRECTORY: &str = "ESTAFETA_TEST_CRASH_DIRECTORY";
const ROUND: &str = "ESTAFETA_TEST_CRASH_ROUND";
const TASKS: u32 = 4;

fn owner() -> Account {
    Account { id: AccountId(Uuid::from_u128(7)), ..account("ana", None) }
}

fn delivery(round: u32, task: u32, number: u32) -> (DeliveryId, Message) {
    let id = DeliveryId(Uuid::from_u128(u128::from(round) << 64 | u128::from(task) << 32 | u128::from(number)));
    // Every third body is large enough for a file of its own kind, and all are different.
    let filler = if number.is_multiple_of(3) { "x".repeat(300_000) } else { String::new() };
    (id, text(&format!("{round}/{task}/{number}\r\n{filler}")))
}

/// Not a test by itself: without the variable it does nothing.
#[test]
fn the_child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round: u32 = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open_on(Path::new(&directory), None, BodyPlace::Files).await;
        let mail = store.create_account(&owner()).await.unwrap();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (store, mail) = (store.clone(), mail.clone());
                tokio::spawn(async move {
                    for number in 0.. {
                        let (id, message) = delivery(round, task, number);
                        let consignment = store.consign(id, &message).await.unwrap();
                        mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap();
                        // One write a line, so that a line is whole or not there.
                        std::io::stdout().write_all(format!("acknowledged {task} {number}\n").as_bytes()).unwrap();
                        std::io::stdout().flush().unwrap();
                        if number % 5 == 4 {
                            let inbox = mail.mailbox(&MailboxName::inbox()).await.unwrap();
                            inbox.copy(&UidSet::from_uids([Uid(1)]), &name("Sent")).await.unwrap();
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// How often a store is killed.
const LIVES: u32 = 6;

/// Runs the child until it is killed, and gives back how many each of its tasks had acknowledged.
fn run_and_kill(directory: &Path, round: u32) -> BTreeMap<u32, u32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::the_child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (begun, beginning) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut acknowledged = BTreeMap::new();
        for line in output.lines() {
            let line = line.unwrap();
            // The test harness writes the test's name without ending the line.
            let Some((_, numbers)) = line.split_once("acknowledged ") else { continue };
            let mut numbers = numbers.split(' ').map(|number| number.parse::<u32>().unwrap());
            acknowledged.insert(numbers.next().unwrap(), numbers.next().unwrap() + 1);
            // Nobody waits for the later ones.
            begun.send(()).ok();
        }
        acknowledged
    });
    // On a busy machine it takes a while until it delivers.
    beginning.recv_timeout(Duration::from_secs(60)).unwrap();
    std::thread::sleep(Duration::from_millis(fastrand::Rng::with_seed(round.into()).u64(0..700)));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn what_was_acknowledged_is_there_once_after_a_kill() {
    let mut directory = tempfile::tempdir().unwrap();
    let mut total = 0;
    let mut expected: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for round in 0..if long() { 200 } else { 6 } {
        // Each check reads all that is there: a store has a few lives, then comes a new one.
        if round % LIVES == 0 {
            directory = tempfile::tempdir().unwrap();
            expected.clear();
        }
        for (task, count) in run_and_kill(directory.path(), round) {
            expected.insert((round, task), count);
            total += count;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(directory.path(), &expected));
    }
    assert!(total > 20, "the children did next to nothing: {total} messages");
}

async fn check(directory: &Path, expected: &BTreeMap<(u32, u32), u32>) {
    let store = open_on(directory, None, BodyPlace::Files).await;
    assert_eq!(verify(&store, None, false).await, []);
    let mail = store.create_account(&owner()).await.unwrap();
    let inbox = mail.mailbox(&MailboxName::inbox()).await.unwrap();
    let snapshot = inbox.snapshot(RecentClaim::Leave).await.unwrap();
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for message in snapshot.messages.iter() {
        let body = inbox.text(message.uid).await.unwrap();
        assert_eq!(body.len(), message.size as usize);
        let line = String::from_utf8_lossy(body.body()).lines().next().unwrap().to_owned();
        *found.entry(line).or_default() += 1;
    }
    for (&(round, task), &count) in expected {
        for number in 0..count {
            assert_eq!(
                found.get(&format!("{round}/{task}/{number}")),
                Some(&1),
                "round {round}, task {task}, message {number} of {count}"
            );
        }
        // What was under way when it was killed may be there or not; the sender comes again under the same id.
        let (id, message) = delivery(round, task, count);
        let there = found.contains_key(&format!("{round}/{task}/{count}"));
        let consignment = store.consign(id, &message).await.unwrap();
        let delivered = mail.deliver(&consignment, b"", Folder::Inbox).await.unwrap();
        assert_eq!(delivered == Delivered::Before, there);
    }
    assert!(found.values().all(|&times| times == 1), "something is there twice");
    store.close().await;
}
