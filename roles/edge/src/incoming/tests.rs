//! Dialogs with the real listeners.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estafeta_net::connection::Connection;
use estafeta_net::drive::Upgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SMTP, SUBMISSION, SUBMISSIONS};
use crate::testing::{Dialog, Mode, PASSWORD, World, Zone, until};

const TEXT: &str = "Subject: hello\r\n\r\nbody";

async fn world(config: &str) -> World {
    let world = World::new(config, Zone::default()).await;
    world.serve();
    world
}

#[tokio::test]
async fn a_message_is_in_the_mailbox_before_it_is_acknowledged() {
    let world = world("").await;
    let answers = world.send("a@x.example", &["ana@example.edu"], TEXT).await;
    let stored = world.mailboxes.of("ana@example.edu");
    assert_eq!(answers[1], format!("250 2.0.0 delivered as {}\r\n", stored[0].id));
    let text = &stored[0].text;
    assert!(
        text.starts_with(
            "Authentication-Results: mx.example.edu; spf=none\r\nReceived: from client.example ([127.0.0.1])"
        ),
        "{text}"
    );
    assert!(text.contains(&format!("id {}", stored[0].id)) && text.contains("for <ana@example.edu>"));
    assert!(text.ends_with("\r\nSubject: hello\r\n\r\nbody\r\n"));
    assert_eq!(stored[0].sender.as_ref().map(ToString::to_string).as_deref(), Some("a@x.example"));
    assert_eq!(world.edge.queue.len(), 0);
}

#[tokio::test]
async fn recipients_are_checked_at_rcpt() {
    let world = world("").await;
    let mut dialog = world.dialog().await;
    dialog.say("EHLO c\r\n").await;
    dialog.say("MAIL FROM:<a@x.example>\r\n").await;
    for (recipient, start) in [
        ("nobody@example.edu", "550 5.1.1"),
        ("somebody@elsewhere.example", "550 5.7.1"),
        ("ana@[127.0.0.1]", "550 5.7.1"),
        ("postmaster", "550 5.1.1"),
        ("ANA@Example.EDU", "250 2.1.5"),
    ] {
        let answer = dialog.say(&format!("RCPT TO:<{recipient}>\r\n")).await;
        assert!(answer.starts_with(start), "{recipient}: {answer}");
    }
    world.directory.withdraw();
    assert!(dialog.say("RCPT TO:<bob@example.edu>\r\n").await.starts_with("451 4.3.0"));
    assert!(dialog.say(&format!("MAIL FROM:<{}@x.example>\r\n", "x".repeat(300))).await.starts_with("553"));
}

#[tokio::test]
async fn aliases_lead_to_each_once_and_out_of_the_house() {
    let world = world("").await;
    let answers = world.send("a@x.example", &["staff@example.edu", "ana@example.edu", "away@example.edu"], TEXT).await;
    assert!(answers[3].starts_with("250 2.0.0 queued as"), "{answers:?}");
    assert_eq!(world.mailboxes.of("ana@example.edu").len(), 1);
    assert_eq!(world.mailboxes.of("bob@example.edu").len(), 1);
    // The forward goes nowhere in this world: there is no such domain, so the sender is told, whose domain neither exists.
    world.settled().await;
}

#[tokio::test]
async fn a_verdict_is_obeyed() {
    let world = world("").await;
    let send = async |text| world.send("a@x.example", &["ana@example.edu"], text).await.remove(1);
    // The transaction is named, so that whoever asks why can be answered from the logs.
    let refusal = send("Subject: x\r\n\r\nGTUBE").await;
    assert!(
        refusal.starts_with("550 5.7.1 Gtube pattern (")
            && refusal.len() == "550 5.7.1 Gtube pattern ()\r\n".len() + 36,
        "{refusal}"
    );
    assert!(send("Subject: x\r\n\r\nGREY").await.starts_with("451 4.7.1"));
    assert!(send("Subject: x\r\n\r\nDEFER").await.starts_with("451 4.7.1"));
    assert!(world.mailboxes.of("ana@example.edu").is_empty());
    assert!(send("Subject: x\r\nX-Spam: No\r\n\r\nJUNK").await.starts_with("250"));
    let text = world.mailboxes.of("ana@example.edu")[0].text.clone();
    assert!(text.contains("X-Spam: Yes\r\nReceived:") && !text.contains("X-Spam: No"), "{text}");
    assert_eq!(text.matches("X-Spam").count(), 1, "{text}");
    let (envelope, _) = world.words.0.lock().unwrap()[0].clone();
    assert_eq!((envelope.helo.as_str(), envelope.authenticated), ("client.example", None));
    assert_eq!(envelope.recipients, [crate::testing::address("ana@example.edu")]);
}

/// A judge looks for viruses and signatures in the body: it must find the header there, swept or not.
#[tokio::test]
async fn what_is_swept_is_judged_and_stored_whole() {
    let world = world("").await;
    let mime = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--";
    for forged in ["", "Authentication-Results: x\r\n"] {
        world.send("a@x.example", &["ana@example.edu"], &format!("{forged}{mime}")).await;
        let (_, judged) = world.words.0.lock().unwrap().pop().unwrap();
        assert_eq!(judged.body(), &format!("{mime}\r\n"));
        assert!(judged.prefix().starts_with(b"Received: "));
        let stored = world.mailboxes.stored.lock().unwrap().pop().unwrap();
        assert!(stored.text.ends_with(&format!("\r\n{mime}\r\n")) && !stored.text.contains(": x\r\n"));
    }
    // No header at all: the empty line that is missing belongs to the body as well.
    world.send("a@x.example", &["ana@example.edu"], "hello there").await;
    let (_, judged) = world.words.0.lock().unwrap().pop().unwrap();
    assert_eq!(judged.body(), "\r\nhello there\r\n");
}

#[tokio::test]
async fn without_a_filter_mail_is_deferred_or_accepted_as_configured() {
    for (config, start) in [("", "451 4.7.1"), ("unjudged = 'accept'", "250")] {
        let world = world(config).await;
        world.judge.withdraw();
        let answer = world.send("a@x.example", &["ana@example.edu"], TEXT).await.remove(1);
        assert!(answer.starts_with(start), "{config}: {answer}");
        let stored = world.mailboxes.of("ana@example.edu");
        assert_eq!(
            stored.first().map(|stored| stored.text.starts_with("X-Spam: Unjudged\r\n")),
            (start == "250").then_some(true)
        );
    }
}

#[tokio::test]
async fn what_is_not_delivered_in_time_is_queued_and_delivered_later_once() {
    let world = world(
        "transaction_deadline_seconds = 1\n[queue]\nmailbox_attempt_seconds = 1\nmailbox_retry_shortest_seconds = 1",
    )
    .await;
    world.mailboxes.set("ana@example.edu", Some(Mode::Hang));
    let answers = world.send("a@x.example", &["ana@example.edu"], TEXT).await;
    assert!(answers[1].starts_with("250 2.0.0 queued as"), "{answers:?}");
    world.mailboxes.set("ana@example.edu", None);
    world.settled().await;
    let stored = world.mailboxes.of("ana@example.edu");
    assert_eq!(stored.len(), 1);
    assert!(answers[1].contains(&stored[0].id.to_string()), "the same delivery id");
    assert!(stored[0].text.ends_with("Subject: hello\r\n\r\nbody\r\n"));
}

#[tokio::test]
async fn a_mailbox_that_refuses_is_an_answer_or_a_report() {
    let world = world("").await;
    world.mailboxes.set("bob@example.edu", Some(Mode::Refuse));
    let alone = world.send("a@x.example", &["bob@example.edu"], TEXT).await;
    assert!(alone[1].starts_with("552 5.2.2 Mailbox full ("), "{alone:?}");
    assert_eq!(world.edge.queue.len(), 0);
    let both = world.send("ana@example.edu", &["ana@example.edu", "bob@example.edu"], TEXT).await;
    assert!(both[2].starts_with("250 2.0.0 delivered"), "{both:?}");
    world.settled().await;
    let stored = world.mailboxes.of("ana@example.edu");
    assert_eq!(stored.len(), 2);
    let report = stored.iter().find(|stored| stored.sender.is_none()).unwrap();
    assert!(
        report.text.contains("Final-Recipient: rfc822; bob@example.edu\r\nAction: failed\r\nStatus: 5.2.2\r\n"),
        "{}",
        report.text
    );
}

#[tokio::test]
async fn loops_and_headers_without_end_are_refused() {
    let world = world("").await;
    let looped = format!("{}\r\nbody", "Received: x\r\n".repeat(101));
    assert!(world.send("a@x.example", &["ana@example.edu"], &looped).await[1].starts_with("554 5.4.6"));
    let long = format!("{}\r\nbody", "X-Long: x\r\n".repeat(30_000));
    assert!(world.send("a@x.example", &["ana@example.edu"], &long).await[1].starts_with("552 5.3.4"));
    assert!(world.mailboxes.of("ana@example.edu").is_empty());
}

#[tokio::test]
async fn a_large_message_goes_through_a_file_and_a_larger_one_is_refused() {
    let world = world("message_limit_bytes = 1000000").await;
    let large = format!("Subject: x\r\n\r\n{}", "0123456789abcdef\r\n".repeat(40_000));
    assert!(world.send("a@x.example", &["ana@example.edu"], &large).await[1].starts_with("250"));
    assert!(world.mailboxes.of("ana@example.edu")[0].text.ends_with(&format!("{large}\r\n")));
    let larger = format!("Subject: x\r\n\r\n{}", "0123456789abcdef\r\n".repeat(60_000));
    assert!(world.send("a@x.example", &["ana@example.edu"], &larger).await[1].starts_with("552 5.3.4"));
}

fn plain(login: &str, password: &str) -> String {
    format!("AUTH PLAIN {}\r\n", STANDARD.encode(format!("\0{login}\0{password}")))
}

/// A connection over TLS to the service of port 465.
struct Secured(Connection);

impl Secured {
    async fn connect(world: &World) -> Self {
        let stream = TcpStream::connect(world.port(&SUBMISSIONS)).await.unwrap();
        let Upgrade::Connect(connector, name) = world.tls.upgrade_to("mx.example.edu") else { panic!() };
        let connection = Connection::clear(stream).unwrap().connect_tls(&connector, name).await.unwrap();
        let mut secured = Self(connection);
        assert!(secured.hear().await.starts_with("220"));
        secured
    }

    async fn hear(&mut self) -> String {
        let mut heard = vec![0; 4096];
        let count = self.0.stream.read(&mut heard).await.unwrap();
        String::from_utf8_lossy(&heard[..count]).into_owned()
    }

    async fn say(&mut self, text: &str) -> String {
        self.0.stream.write_all(text.as_bytes()).await.unwrap();
        self.0.stream.flush().await.unwrap();
        self.hear().await
    }
}

#[tokio::test]
async fn a_user_submits_over_tls_in_their_own_name() {
    let world = world("").await;
    let mut dialog = Secured::connect(&world).await;
    assert!(dialog.say("EHLO laptop\r\n").await.contains("AUTH PLAIN LOGIN"));
    assert!(dialog.say("MAIL FROM:<ana@example.edu>\r\n").await.starts_with("530"));
    assert!(dialog.say(&plain("ana@example.edu", "wrong")).await.starts_with("535 5.7.8"));
    assert!(dialog.say(&plain("ana@example.edu", PASSWORD)).await.starts_with("235"));
    assert!(dialog.say("MAIL FROM:<bob@example.edu>\r\n").await.starts_with("550 5.7.1"));
    assert!(dialog.say("MAIL FROM:<x@elsewhere.example>\r\n").await.starts_with("550 5.7.1"));
    // An alias that leads to the account is the account's too.
    assert!(dialog.say("MAIL FROM:<staff@example.edu>\r\n").await.starts_with("250"));
    assert!(dialog.say("RCPT TO:<bob@example.edu>\r\n").await.starts_with("250"));
    dialog.say("DATA\r\n").await;
    assert!(
        dialog.say("Subject: x\r\nBcc: secret@example.edu\r\n\r\nhi\r\n.\r\n").await.starts_with("250 2.0.0 delivered")
    );
    let text = &world.mailboxes.of("bob@example.edu")[0].text;
    assert!(
        text.contains("with ESMTPSA\r\n") && text.contains("\r\nDate: ") && text.contains("\r\nMessage-ID: <"),
        "{text}"
    );
    assert!(!text.contains("Bcc"));
    let (envelope, _) = world.words.0.lock().unwrap()[0].clone();
    assert_eq!(envelope.authenticated.as_deref(), Some("ana@example.edu"));
}

#[tokio::test]
async fn a_directory_that_cannot_check_blames_nobody() {
    let world = world("").await;
    let mut dialog = Secured::connect(&world).await;
    dialog.say("EHLO laptop\r\n").await;
    world.directory.withdraw();
    for _ in 0..7 {
        assert!(dialog.say(&plain("ana@example.edu", PASSWORD)).await.starts_with("454 4.7.0"));
    }
}

/// Says something harmless again and again, until the server has had enough; gives its last words.
async fn drip(dialog: &mut Dialog) -> String {
    for _ in 0..100 {
        let answer = dialog.say("NOOP\r\n").await;
        if !answer.starts_with("250") {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server would wait for ever");
}

#[tokio::test]
async fn a_client_that_is_never_silent_and_never_gets_on_is_sent_away() {
    let greeted = world("client_step_seconds = 1").await;
    assert!(drip(&mut greeted.dialog().await).await.starts_with("421 4.4.2"));

    let mut begun = greeted.dialog().await;
    begun.say("EHLO c\r\n").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(begun.say("MAIL FROM:<a@x.example>\r\n").await.starts_with("250"));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(begun.say("NOOP\r\n").await.starts_with("250"), "MAIL is a step on");
    assert!(drip(&mut begun).await.starts_with("421 4.4.2"));

    let bounded = world("session_limit_seconds = 1").await;
    let mut dialog = bounded.dialog().await;
    dialog.say("EHLO c\r\n").await;
    dialog.say("MAIL FROM:<a@x.example>\r\n").await;
    dialog.say("RCPT TO:<ana@example.edu>\r\n").await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    dialog.say("DATA\r\n").await;
    assert!(dialog.say("Subject: x\r\n\r\nhi\r\n.\r\n").await.starts_with("250"), "what has begun may come in");
    assert!(dialog.hear().await.starts_with("421 4.4.2"));
}

#[tokio::test]
async fn guessing_is_stopped() {
    let world = world("").await;
    let mut dialog = Secured::connect(&world).await;
    dialog.say("EHLO laptop\r\n").await;
    let mut last = String::new();
    for _ in 0..6 {
        last = dialog.say(&plain("ana@example.edu", "wrong")).await;
    }
    assert!(last.starts_with("421 4.7.0"), "{last}");
}

#[tokio::test]
async fn port_587_takes_nothing_in_the_clear() {
    let world = world("").await;
    let (mut dialog, _) = Dialog::connect(world.port(&SUBMISSION)).await;
    let offered = dialog.say("EHLO laptop\r\n").await;
    assert!(offered.contains("STARTTLS") && !offered.contains("AUTH"));
    assert!(dialog.say(&plain("ana@example.edu", PASSWORD)).await.starts_with("538"));
    assert!(dialog.say("MAIL FROM:<ana@example.edu>\r\n").await.starts_with("530"));
    assert!(dialog.say("STARTTLS\r\n").await.starts_with("220"));
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_refuses_the_rest() {
    let world = Arc::new(world("").await);
    let mut busy = world.dialog().await;
    busy.say("EHLO c\r\n").await;
    busy.say("MAIL FROM:<a@x.example>\r\n").await;
    busy.say("RCPT TO:<ana@example.edu>\r\n").await;
    let mut idle = world.dialog().await;
    world.edge.drain.begin();
    assert!(idle.hear().await.starts_with("421 4.3.2"));
    busy.say("DATA\r\n").await;
    assert!(busy.say("Subject: x\r\n\r\nhi\r\n.\r\n").await.starts_with("250"));
    assert!(busy.hear().await.starts_with("421"));
    assert_eq!(world.edge.drain.finish(Duration::from_secs(5)).await, 0);
    assert_eq!(world.mailboxes.of("ana@example.edu").len(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_is_delivered_once() {
    let world = world("[queue]\nmailbox_retry_shortest_seconds = 1").await;
    world.mailboxes.set("bob@example.edu", Some(Mode::Later));
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        let text = format!("Subject: {number}\r\n\r\nbody");
        let answers = world.send("a@x.example", &["ana@example.edu", "bob@example.edu"], &text).await;
        assert!(answers[2].starts_with("250 2.0.0 queued as"), "{answers:?}");
        acknowledged.push(answers[2].trim().rsplit(' ').next().unwrap().to_owned());
    }
    let world = world.crash().await;
    assert_eq!(world.edge.queue.len(), 10);
    world.mailboxes.set("bob@example.edu", None);
    world.edge.queue.retry(None).await.unwrap();
    world.serve();
    world.settled().await;
    let mut delivered: Vec<String> =
        world.mailboxes.of("bob@example.edu").iter().map(|stored| stored.id.to_string()).collect();
    delivered.sort();
    acknowledged.sort();
    assert_eq!(delivered, acknowledged);
    assert_eq!(world.mailboxes.repeats.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_half_way_leaves_nothing() {
    let world = world("").await;
    let mut dialog = world.dialog().await;
    dialog.say("EHLO c\r\n").await;
    dialog.say("MAIL FROM:<a@x.example>\r\n").await;
    dialog.say("RCPT TO:<ana@example.edu>\r\n").await;
    dialog.say("DATA\r\n").await;
    dialog.tell("Subject: x\r\n\r\nhalf").await;
    drop(dialog);
    until("the port still answers", async || {
        let (_, greeting) = Dialog::connect(world.port(&SMTP)).await;
        greeting.starts_with("220")
    })
    .await;
    assert!(world.mailboxes.of("ana@example.edu").is_empty());
}

/// Sends until the connection breaks; gives the ids that were acknowledged.
async fn send_until_broken(to: std::net::SocketAddr, client: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(stream) = TcpStream::connect(to).await else { return acknowledged };
    let mut stream = tokio::io::BufReader::new(stream);
    for number in 0..500 {
        let text = format!(
            "EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<ana@example.edu>\r\nRCPT TO:<bob@example.edu>\r\nDATA\r\n\
             Subject: {client} {number}\r\n\r\nbody\r\n.\r\n"
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            break;
        }
        loop {
            let mut line = String::new();
            match tokio::io::AsyncBufReadExt::read_line(&mut stream, &mut line).await {
                Ok(1..) if line.starts_with("250 2.0.0") => {
                    acknowledged.push(line.trim().rsplit(' ').next().unwrap().to_owned());
                    break;
                }
                Ok(1..) if line.starts_with("2") || line.starts_with("354") => {}
                _ => return acknowledged,
            }
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_at_any_moment_nothing_acknowledged_is_lost_or_doubled() {
    for round in 0..6 {
        let pause = Duration::from_millis(20 + 70 * round);
        let mut world = world("[queue]\nmailbox_retry_shortest_seconds = 1\nmailbox_retry_longest_seconds = 1").await;
        let mut acknowledged = Vec::new();
        for life in 0..3 {
            // Bob's mailbox is there in every second life, so that the queue fills and empties.
            world.mailboxes.set("bob@example.edu", (life != 1).then_some(Mode::Later));
            let port = world.port(&SMTP);
            let clients: Vec<_> = (0..4).map(|client| tokio::spawn(send_until_broken(port, client))).collect();
            tokio::time::sleep(pause).await;
            world = world.crash().await;
            for client in clients {
                acknowledged.extend(client.await.unwrap());
            }
            world.serve();
        }
        world.mailboxes.set("bob@example.edu", None);
        world.edge.queue.retry(None).await.unwrap();
        world.settled().await;
        for mailbox in ["ana@example.edu", "bob@example.edu"] {
            let mut stored: Vec<String> =
                world.mailboxes.of(mailbox).iter().map(|stored| stored.id.to_string()).collect();
            let count = stored.len();
            stored.sort();
            stored.dedup();
            assert_eq!(stored.len(), count, "nothing twice in {mailbox}");
            let lost: Vec<_> = acknowledged.iter().filter(|id| stored.binary_search(id).is_err()).collect();
            assert!(lost.is_empty(), "lost from {mailbox}: {lost:?} of {}", acknowledged.len());
        }
        assert!(round < 2 || !acknowledged.is_empty());
    }
}
