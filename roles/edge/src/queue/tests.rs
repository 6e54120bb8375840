use std::time::Duration;

use super::*;
use crate::report::Reporter;
use crate::testing::address;
use estafeta_core::delivery::Answer;

fn letter(text: &str, recipients: &[&str]) -> Letter {
    Letter {
        id: DeliveryId::generate(),
        sender: Some(address("ana@example.edu")),
        message: Message::new(text.to_owned().into()).with_prefix("Received: x\r\n"),
        smtputf8: false,
        arrived: SystemTime::now(),
        recipients: recipients.iter().map(|recipient| Waiting::at(address(recipient))).collect(),
    }
}

fn paces() -> Paces {
    Paces::of(&crate::config::QueueConfig::default())
}

fn later() -> Fate {
    Fate::Later(Answer { code: 451, status: "4.0.0".into(), text: "not now".into() })
}

fn never() -> Fate {
    Fate::Never(Answer { code: 550, status: "5.1.1".into(), text: "nobody".into() })
}

async fn settle(queue: &Queue, job: Job, fates: Vec<Fate>, now: SystemTime) -> Settlement {
    let settlement = Settlement::of(&job, fates, &paces(), &Reporter::new("mx"), now);
    queue.settle(settlement.clone()).await.unwrap();
    settlement
}

fn domain(name: &str) -> Destination {
    Destination::Domain(name.to_owned())
}

/// How many files of bodies stand in the queue's directory, however deep.
fn bodies(path: &Path) -> usize {
    fn files_below(directory: &Path) -> usize {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
    }
    files_below(&path.join("bodies"))
}

#[tokio::test]
async fn a_letter_is_kept_taken_by_destination_and_gone_with_its_last_recipient() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), 100).await.unwrap();
    let kept = letter("Subject: x\r\n\r\nbody\r\n", &["a@one.example", "b@two.example", "c@one.example"]);
    queue.keep(vec![kept.clone()]).await.unwrap();
    let now = SystemTime::now();
    let mut due: Vec<_> =
        queue.due(now).await.unwrap().into_iter().map(|due| (due.destination.to_string(), due.letters)).collect();
    due.sort();
    assert_eq!(due, [("one.example".to_owned(), 1), ("two.example".to_owned(), 1)]);

    let one = queue.take(&domain("one.example"), now).await.unwrap().unwrap();
    assert_eq!(one.message.contiguous(), kept.message.contiguous());
    assert_eq!((one.id, one.sender.clone(), one.warned), (kept.id, kept.sender.clone(), false));
    assert_eq!(
        one.recipients.iter().map(|recipient| recipient.waiting.clone()).collect::<Vec<_>>(),
        [kept.recipients[0].clone(), kept.recipients[2].clone()]
    );
    // Claimed: nobody else gets it, and the other destination is not held up.
    assert!(queue.take(&domain("one.example"), now).await.unwrap().is_none());
    let two = queue.take(&domain("two.example"), now).await.unwrap().unwrap();
    settle(&queue, two, vec![Fate::Done], now).await;
    settle(&queue, one, vec![Fate::Done, Fate::Done], now).await;
    assert_eq!((queue.len(), bodies(directory.path())), (0, 0));
    assert!(queue.due(now).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_late_waits_longer_each_time_is_warned_of_and_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), 100).await.unwrap();
    queue.keep(vec![letter("Subject: x\r\n\r\nbody\r\n", &["a@one.example"])]).await.unwrap();
    let start = SystemTime::now();
    let (mut now, mut attempts, mut warnings, mut failures) = (start, 0, 0, 0);
    loop {
        let Some(job) = queue.take(&domain("one.example"), now).await.unwrap() else { break };
        attempts += 1;
        let settlement = settle(&queue, job, vec![later()], now).await;
        for report in &settlement.reports {
            let text = String::from_utf8(report.message.contiguous().to_vec()).unwrap();
            assert_eq!((report.sender.as_ref(), &report.recipients[0].address), (None, &address("ana@example.edu")));
            warnings += usize::from(text.contains("Action: delayed"));
            failures += usize::from(text.contains("Action: failed\r\nStatus: 5.4.7"));
        }
        match settlement.postponed.first() {
            Some(postponed) => {
                let pause = postponed.next_attempt.duration_since(now).unwrap();
                assert!(pause >= Duration::from_secs(240) && pause <= Duration::from_secs(17_280), "{pause:?}");
                now = postponed.next_attempt + Duration::from_millis(1);
            }
            None => break,
        }
    }
    assert_eq!((warnings, failures), (1, 1));
    assert!((30..60).contains(&attempts), "{attempts}");
    assert!(now.duration_since(start).unwrap() >= Duration::from_secs(5 * 24 * 3600));
    // The two reports are in the queue themselves.
    assert_eq!(queue.len(), 2);
}

#[tokio::test]
async fn failures_are_reported_together_and_a_report_is_not_reported_about() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), 100).await.unwrap();
    queue.keep(vec![letter("Subject: x\r\n\r\n", &["a@one.example", "b@one.example", "c@one.example"])]).await.unwrap();
    let now = SystemTime::now();
    let job = queue.take(&domain("one.example"), now).await.unwrap().unwrap();
    let settlement = settle(&queue, job, vec![never(), Fate::Done, never()], now).await;
    assert_eq!(settlement.reports.len(), 1);
    assert_eq!(queue.len(), 1);
    let later = SystemTime::now();
    let report = queue.take(&domain("example.edu"), later).await.unwrap().unwrap();
    let text = String::from_utf8(report.message.contiguous().to_vec()).unwrap();
    assert!(
        text.contains("rfc822; a@one.example") && text.contains("rfc822; c@one.example") && !text.contains("b@one")
    );
    let settlement = settle(&queue, report, vec![never()], later).await;
    assert!(settlement.reports.is_empty());
    assert_eq!((queue.len(), bodies(directory.path())), (0, 0));
}

#[tokio::test]
async fn a_recipient_may_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), 100).await.unwrap();
    queue.keep(vec![letter("Subject: x\r\n\r\n", &["staff@example.edu"])]).await.unwrap();
    let now = SystemTime::now();
    let job = queue.take(&domain("example.edu"), now).await.unwrap().unwrap();
    let others = vec![Waiting::at(address("a@one.example")), Waiting::at(address("b@two.example"))];
    settle(&queue, job, vec![Fate::Replaced(others)], now).await;
    assert_eq!(queue.len(), 1);
    let listed = queue.list(10).await.unwrap();
    assert_eq!(
        listed.iter().map(|listed| listed.recipient.as_str()).collect::<Vec<_>>(),
        ["a@one.example", "b@two.example"]
    );
}

#[tokio::test]
async fn everything_is_there_after_a_crash_and_orphans_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), 100).await.unwrap();
    let letters: Vec<Letter> =
        (0..20).map(|number| letter(&format!("Subject: {number}\r\n\r\n"), &["a@one.example"])).collect();
    for letter in &letters {
        queue.keep(vec![letter.clone()]).await.unwrap();
    }
    // A body that was written just before the crash, its rows not yet.
    queue.blobs.put(blob_name(DeliveryId::generate()), bytes::Bytes::from_static(b"x")).await.unwrap();
    let held = queue.take(&domain("one.example"), SystemTime::now()).await.unwrap();
    assert_eq!(bodies(directory.path()), 21);
    queue.close().await;
    drop((held, queue));

    let queue = Queue::open(directory.path(), 100).await.unwrap();
    assert_eq!((queue.len(), bodies(directory.path())), (20, 20));
    let now = SystemTime::now();
    let mut found = Vec::new();
    while let Some(job) = queue.take(&domain("one.example"), now).await.unwrap() {
        found.push((job.id, job.message.contiguous()));
        settle(&queue, job, vec![Fate::Done], now).await;
    }
    found.sort();
    let mut expected: Vec<_> = letters.iter().map(|letter| (letter.id, letter.message.contiguous())).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_body_that_is_gone_does_not_hold_the_queue_up() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), 100).await.unwrap();
    let kept = letter("Subject: x\r\n\r\n", &["a@one.example"]);
    queue.keep(vec![kept.clone()]).await.unwrap();
    queue.blobs.delete(vec![blob_name(kept.id)]).await.unwrap();
    let job = queue.take(&domain("one.example"), SystemTime::now()).await.unwrap().unwrap();
    assert!(job.is_lost);
}

#[tokio::test]
async fn the_queue_is_bounded_hastened_and_cleared_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), 2).await.unwrap();
    let kept = letter("Subject: x\r\n\r\n", &["a@one.example"]);
    queue.keep(vec![kept.clone(), letter("y", &["b@one.example"])]).await.unwrap();
    let refused = queue.keep(vec![letter("z", &["c@one.example"])]).await;
    assert!(matches!(refused, Err(KeepError::Full(2))));

    let now = SystemTime::now();
    while let Some(job) = queue.take(&domain("one.example"), now).await.unwrap() {
        settle(&queue, job, vec![later()], now).await;
    }
    let next = queue.next_due(now).await.unwrap().unwrap();
    assert!(next > now + Duration::from_secs(200));
    assert_eq!(queue.list(10).await.unwrap()[0].last_answer, "451 4.0.0 not now");
    assert_eq!(queue.retry(Some(kept.id)).await.unwrap(), 1);
    assert_eq!(queue.due(SystemTime::now()).await.unwrap().len(), 1);
    assert_eq!(queue.retry(Some(DeliveryId::generate())).await.unwrap(), 0);
    assert!(queue.remove(kept.id).await.unwrap());
    assert!(!queue.remove(kept.id).await.unwrap());
    assert_eq!((queue.len(), bodies(directory.path())), (1, 1));
}
