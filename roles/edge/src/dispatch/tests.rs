//! The queue at work: with mailboxes of ours and with other people's servers.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use estafeta_core::{DeliveryId, Message};

use crate::queue::{Letter, Waiting};
use crate::testing::sink::{Manners, Sink};
use crate::testing::{Mode, World, Zone, address, until};

/// A world whose outgoing mail for `far.example` goes to this sink.
async fn world(sink: &Sink, more: &str) -> World {
    let zone = Zone::default()
        .with_mx("far.example", &[(10, "gone.far.example"), (20, "mx.far.example")])
        .with_mx("backed.example", &[(10, "mx.backed.example"), (20, "gone.backed.example")])
        .with_mx("late.example", &[(10, "mx.late.example")])
        .missing_once("late.example")
        .with_mx("null.example", &[(0, "")])
        .with_mx("loop.example", &[(10, "mx.example.edu")])
        .silent("silent.example");
    let port = sink.address.port();
    let world = World::new(&format!("[outgoing]\nport = {port}\nserver_timeout_seconds = 5\n{more}"), zone).await;
    world.serve();
    world
}

async fn sink(manners: Manners) -> (Sink, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Sink::open(manners, directory.path()).await, directory)
}

fn letter(text: &str, recipients: &[&str]) -> Letter {
    Letter {
        id: DeliveryId::generate(),
        sender: Some(address("ana@example.edu")),
        message: Message::new(text.to_owned().into()),
        smtputf8: false,
        arrived: SystemTime::now(),
        recipients: recipients.iter().map(|recipient| Waiting::at(address(recipient))).collect(),
    }
}

/// The report that ana got; the text of it.
async fn report(world: &World) -> String {
    until("ana has a report", async || !world.mailboxes.of("ana@example.edu").is_empty()).await;
    let stored = world.mailboxes.of("ana@example.edu").remove(0);
    assert_eq!(stored.sender, None);
    stored.text
}

const TEXT: &str = "Subject: x\r\n\r\n.dots\r\n..\r\nend\r\n";

#[tokio::test]
async fn mail_goes_out_by_mx_over_tls() {
    let (sink, _files) = sink(Manners { tls: true, ..Manners::default() }).await;
    let world = world(&sink, "").await;
    world.edge.queue.keep(vec![letter(TEXT, &["a@far.example", "b@far.example"])]).await.unwrap();
    world.settled().await;
    let received = sink.all();
    assert_eq!(received.len(), 1);
    assert!(received[0].secured && !received[0].mail.eight_bit);
    assert_eq!(received[0].recipients, ["a@far.example", "b@far.example"]);
    assert_eq!(received[0].mail.sender.to_string(), "ana@example.edu");
    assert_eq!(received[0].mail.size_bytes, Some(TEXT.len() as u64));
    assert_eq!(&received[0].text[..], TEXT.as_bytes());
    assert!(world.mailboxes.stored.lock().unwrap().is_empty());
}

#[tokio::test]
async fn broken_tls_falls_back_to_clear_text() {
    let (sink, _files) = sink(Manners { tls: true, tls_is_broken: true, ..Manners::default() }).await;
    let world = world(&sink, "").await;
    world.edge.queue.keep(vec![letter(TEXT, &["a@far.example"])]).await.unwrap();
    world.settled().await;
    assert_eq!(sink.all().len(), 1);
    assert!(!sink.all()[0].secured);
}

#[tokio::test]
async fn many_messages_share_a_connection_and_a_closed_one_is_replaced() {
    for (messages, most_connections) in [(None, 5), (Some(3), 20)] {
        let (sink, _files) = sink(Manners { messages, ..Manners::default() }).await;
        let world = world(&sink, "").await;
        let letters: Vec<Letter> =
            (0..30).map(|number| letter(&format!("Subject: {number}\r\n\r\n"), &["a@far.example"])).collect();
        world.edge.queue.keep(letters).await.unwrap();
        world.settled().await;
        let mut texts: Vec<_> = sink.all().into_iter().map(|received| received.text).collect();
        texts.sort();
        texts.dedup();
        assert_eq!((texts.len(), sink.all().len()), (30, 30), "each once");
        let connections = sink.connections.load(Ordering::SeqCst);
        assert!(connections <= most_connections, "{connections} connections");
        assert!(world.mailboxes.stored.lock().unwrap().is_empty(), "no reports");
    }
}

#[tokio::test]
async fn each_recipient_has_its_own_fate() {
    let (sink, _files) = sink(Manners::default()).await;
    let world = world(&sink, "[queue]\nretry_shortest_seconds = 1\nretry_longest_seconds = 1").await;
    world
        .edge
        .queue
        .keep(vec![letter(TEXT, &["a@far.example", "nobody@far.example", "later@far.example"])])
        .await
        .unwrap();
    let text = report(&world).await;
    assert!(
        text.contains("Final-Recipient: rfc822; nobody@far.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"),
        "{text}"
    );
    assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 mx.far.example said: Nobody of that name"), "{text}");
    assert!(!text.contains("later@"));
    until("the late one is tried again", async || sink.postponed.load(Ordering::SeqCst) >= 2).await;
    assert_eq!(sink.all().len(), 1, "the one that was taken is not sent again");
    let listed = world.edge.queue.list(10).await.unwrap();
    assert_eq!((listed.len(), listed[0].recipient.as_str()), (1, "later@far.example"));
    assert!(listed[0].last_answer.starts_with("450 4.2.1"), "{listed:?}");
}

#[tokio::test]
async fn what_can_never_be_sent_comes_back() {
    let (sink, _files) = sink(Manners::default()).await;
    for (recipient, status) in
        [("a@null.example", "5.1.10"), ("a@missing.example", "5.1.2"), ("a@loop.example", "5.4.6")]
    {
        let world = world(&sink, "").await;
        world.edge.queue.keep(vec![letter(TEXT, &[recipient])]).await.unwrap();
        let text = report(&world).await;
        assert!(text.contains(&format!("Action: failed\r\nStatus: {status}\r\n")), "{recipient}: {text}");
        world.settled().await;
    }
}

#[tokio::test]
async fn what_cannot_be_sent_now_waits_and_shares_one_wait() {
    let (sink, _files) = sink(Manners { is_closed: true, ..Manners::default() }).await;
    let world = world(&sink, "").await;
    let mut letters: Vec<Letter> = (0..20).map(|_| letter(TEXT, &["a@far.example"])).collect();
    letters.push(letter(TEXT, &["a@silent.example"]));
    world.edge.queue.keep(letters).await.unwrap();
    until("all were tried", async || {
        let listed = world.edge.queue.list(100).await.unwrap();
        listed.iter().all(|listed| listed.attempts == 1)
    })
    .await;
    let listed = world.edge.queue.list(100).await.unwrap();
    assert_eq!(listed.len(), 21);
    assert!(listed.iter().all(|listed| listed.last_answer.starts_with("451 4.4")), "{listed:?}");
    assert!(sink.connections.load(Ordering::SeqCst) <= 5, "one look a worker");
    assert!(world.mailboxes.stored.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_backup_that_is_not_there_bounces_nothing() {
    let (sink, _files) = sink(Manners { is_closed: true, ..Manners::default() }).await;
    let world = world(&sink, "").await;
    world.edge.queue.keep(vec![letter(TEXT, &["a@backed.example"])]).await.unwrap();
    until("it was tried", async || {
        let listed = world.edge.queue.list(1).await.unwrap();
        listed.is_empty() || listed[0].attempts == 1
    })
    .await;
    let listed = world.edge.queue.list(1).await.unwrap();
    assert!(listed[0].last_answer.starts_with("451 4.4.1 mx.backed.example does not serve"), "{listed:?}");
    assert!(world.mailboxes.stored.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_letter_that_bounces_takes_none_with_it() {
    let (sink, _files) = sink(Manners::default()).await;
    let world = world(&sink, "[queue]\ndestination_concurrency = 1").await;
    let letters = (0..3).map(|_| letter(TEXT, &["a@late.example"])).collect();
    world.edge.queue.keep(letters).await.unwrap();
    world.settled().await;
    assert_eq!((world.mailboxes.of("ana@example.edu").len(), sink.all().len()), (1, 2));
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_sent_again() {
    let (sink, _files) = sink(Manners::default()).await;
    let world = world(&sink, "").await;
    world.edge.queue.fail_settlements(true).await;
    world.edge.queue.keep(vec![letter(TEXT, &["a@far.example"])]).await.unwrap();
    until("it is sent", async || sink.all().len() == 1).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    world.edge.queue.retry(None).await.unwrap();
    assert_eq!(sink.all().len(), 1);
    world.edge.queue.fail_settlements(false).await;
    world.settled().await;
    assert_eq!(sink.all().len(), 1);
}

#[tokio::test]
async fn mailboxes_do_not_wait_for_servers_that_do_not_answer() {
    let (sink, _files) = sink(Manners::default()).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = format!("routes = {{ '*' = '{}' }}\n[queue]\nconcurrency = 2", silent.local_addr().unwrap());
    let world = world(&sink, &routes).await;
    let letters = (0..12).map(|number| letter(TEXT, &[&format!("a@dead{number}.example")])).collect();
    world.edge.queue.keep(letters).await.unwrap();
    // Two conversations that nobody answers.
    let _held = (silent.accept().await.unwrap(), silent.accept().await.unwrap());
    world.edge.queue.keep(vec![letter(TEXT, &["ana@example.edu"])]).await.unwrap();
    until("ana has hers", async || !world.mailboxes.of("ana@example.edu").is_empty()).await;
}

#[tokio::test]
async fn a_route_goes_before_mx() {
    let (sink, _files) = sink(Manners::default()).await;
    let routes = format!("routes = {{ '*' = '{}' }}", sink.address);
    let world = world(&sink, &routes).await;
    world.edge.queue.keep(vec![letter(TEXT, &["a@null.example"])]).await.unwrap();
    world.settled().await;
    assert_eq!(sink.all().len(), 1);
}

#[tokio::test]
async fn a_report_finds_its_way_through_an_alias_and_a_report_to_nobody_ends() {
    let (sink, _files) = sink(Manners::default()).await;
    let world = world(&sink, "").await;
    let mut to_staff = letter(TEXT, &["nobody@far.example"]);
    to_staff.sender = Some(address("staff@example.edu"));
    let mut to_nobody = letter(TEXT, &["nobody@far.example"]);
    to_nobody.sender = Some(address("unknown@example.edu"));
    world.edge.queue.keep(vec![to_staff, to_nobody]).await.unwrap();
    world.settled().await;
    assert_eq!(world.mailboxes.of("ana@example.edu").len(), 1);
    assert_eq!(world.mailboxes.of("bob@example.edu").len(), 1);
}

#[tokio::test]
async fn a_mailbox_that_comes_back_gets_what_waited() {
    let (sink, _files) = sink(Manners::default()).await;
    let world = world(&sink, "[queue]\nmailbox_retry_shortest_seconds = 1\nmailbox_retry_longest_seconds = 1").await;
    world.mailboxes.set("ana@example.edu", Some(Mode::Later));
    let mut waiting = letter(TEXT, &["ana@example.edu"]);
    waiting.recipients[0].account = Some(world.people.account(&address("ana@example.edu")).await.unwrap());
    world.edge.queue.keep(vec![waiting]).await.unwrap();
    until("it was tried", async || world.edge.queue.list(1).await.unwrap()[0].attempts >= 1).await;
    world.mailboxes.set("ana@example.edu", None);
    world.settled().await;
    assert_eq!(world.mailboxes.of("ana@example.edu").len(), 1);
}

#[tokio::test]
async fn an_account_that_is_gone_is_reported_and_its_successor_gets_nothing() {
    let (sink, _files) = sink(Manners::default()).await;
    let world = world(&sink, "").await;
    let bob = address("bob@example.edu");
    let mut waiting = letter(TEXT, &["bob@example.edu"]);
    let mut old = world.people.account(&bob).await.unwrap();
    old.id = estafeta_core::AccountId::random();
    waiting.recipients[0].account = Some(old);
    world.edge.queue.keep(vec![waiting]).await.unwrap();
    let text = report(&world).await;
    assert!(text.contains("Status: 5.1.1"), "{text}");
    assert!(world.mailboxes.of("bob@example.edu").is_empty());
}

#[tokio::test]
async fn a_slow_server_does_not_hold_up_the_others() {
    let (sink, _files) = sink(Manners::default()).await;
    // Accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes =
        format!("routes = {{ 'slow.example' = '{}' }}\n[queue]\nconcurrency = 8", silent.local_addr().unwrap());
    let world = world(&sink, &routes).await;
    let mut letters: Vec<Letter> = (0..50).map(|_| letter(TEXT, &["a@slow.example"])).collect();
    letters.extend((0..10).map(|_| letter(TEXT, &["a@far.example"])));
    world.edge.queue.keep(letters).await.unwrap();
    until("the others have theirs", async || sink.all().len() == 10).await;
    let listed = world.edge.queue.list(100).await.unwrap();
    let untried = listed.iter().filter(|listed| listed.recipient == "a@slow.example" && listed.attempts == 0).count();
    assert!(untried > 30, "{untried} of 50 still wait for the slow one");
}

#[tokio::test]
async fn the_drain_lets_a_message_finish_and_leaves_the_rest_queued() {
    let (sink, _files) = sink(Manners::default()).await;
    let world = world(&sink, "").await;
    let letters: Vec<Letter> = (0..200).map(|_| letter(TEXT, &["a@far.example"])).collect();
    world.edge.queue.keep(letters).await.unwrap();
    until("some have gone", async || sink.all().len() > 5).await;
    assert_eq!(world.edge.drain.finish(Duration::from_secs(10)).await, 0);
    let (gone, left) = (sink.all().len(), world.edge.queue.len());
    assert_eq!(gone + left, 200, "{gone} gone, {left} left");
}
