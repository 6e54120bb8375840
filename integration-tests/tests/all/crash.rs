//! SIGKILL to any process of a cluster at random moments while clients send: after a restart, every message that was
//! answered 250 is in its mailbox exactly once. What a client sent again, because it saw no 250, may be there more than
//! once and is counted apart (DESIGN.md, invariant 2).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use estafeta_integration_tests::client::Smtp;
use estafeta_integration_tests::cluster::Cluster;
use estafeta_integration_tests::random;
use estafeta_integration_tests::tokens;
use estafeta_integration_tests::topology::Topology;

/// How long clients send in one round.
const SENDING: Duration = Duration::from_secs(20);

/// How many clients send at once.
const CLIENTS: u64 = 4;

/// How long queues may take to empty after the last restart.
const SETTLING: Duration = Duration::from_secs(120);

/// What became of one message, as its client saw it.
#[derive(Debug, Default, Clone)]
struct Sent {
    to: String,
    /// How often the whole message was sent and no reply was seen.
    unanswered: usize,
    /// How often it was answered 250.
    accepted: usize,
}

/// One client: sends messages of its own one after the other, each until it is accepted.
fn client(
    number: u64,
    edges: &[SocketAddr],
    accounts: &[String],
    seed: u64,
    stop: &AtomicBool,
) -> BTreeMap<String, Sent> {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(31).wrapping_add(number));
    let mut sent = BTreeMap::new();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let token = format!("{seed:x}-{number}-{count}");
        let to = accounts[random.usize(..accounts.len())].clone();
        // Most mail is small; some is larger than what is kept in memory.
        let size_bytes = if random.u8(..10) == 0 { random.usize(100_000..600_000) } else { random.usize(500..8_000) };
        let message = tokens::message(&token, &to, size_bytes);
        let mut record = Sent { to: to.clone(), ..Sent::default() };
        // Once begun it is sent until it is accepted, as a real sender does, or until the round is over.
        while record.accepted == 0 && !stop.load(Ordering::Relaxed) {
            match attempt(edges[random.usize(..edges.len())], &to, &message) {
                Attempt::Accepted => record.accepted += 1,
                Attempt::Refused => thread::sleep(Duration::from_millis(random.u64(20..200))),
                Attempt::Unanswered => record.unanswered += 1,
            }
        }
        sent.insert(token, record);
    }
    sent
}

enum Attempt {
    Accepted,
    /// No, or not now, or not reached: it is certain that the message was not taken.
    Refused,
    /// The whole message was sent and the connection ended before its answer came.
    Unanswered,
}

fn attempt(edge: SocketAddr, to: &str, message: &[u8]) -> Attempt {
    let begun = || -> anyhow::Result<Smtp> {
        let mut smtp = Smtp::connect(edge)?;
        smtp.command("MAIL FROM:<sender@example.com>")?.expect(250)?;
        smtp.command(&format!("RCPT TO:<{to}>"))?.expect(250)?;
        smtp.command("DATA")?.expect(354)?;
        Ok(smtp)
    };
    let Ok(mut smtp) = begun() else { return Attempt::Refused };
    // From the first byte of the message on, a broken connection leaves the client in doubt.
    if smtp.wire.write(&estafeta_integration_tests::client::smtp::stuffed(message)).is_err() {
        return Attempt::Unanswered;
    }
    match smtp.reply() {
        Ok(reply) if reply.code == 250 => Attempt::Accepted,
        Ok(_) => Attempt::Refused,
        Err(_) => Attempt::Unanswered,
    }
}

/// Kills and restarts nodes at random moments until the time is over; gives how many deaths there were.
fn kill_at_random(cluster: &mut Cluster, random: &mut fastrand::Rng) -> anyhow::Result<usize> {
    let begun = Instant::now();
    let mut deaths = 0;
    while begun.elapsed() < SENDING {
        thread::sleep(Duration::from_millis(random.u64(50..1_500)));
        let victim = random.usize(..cluster.nodes.len());
        cluster.nodes[victim].kill()?;
        deaths += 1;
        thread::sleep(Duration::from_millis(random.u64(0..1_500)));
        // Not waiting until it is ready: the next death may hit a node that is just starting.
        cluster.nodes[victim].spawn()?;
    }
    Ok(deaths)
}

fn round(number: usize) -> anyhow::Result<()> {
    let (seed, mut random) = random::round(number);
    let topology = Topology::default()
        .with("directory1", &["directory"], None)
        .with("mailbox1", &["mailbox"], Some("a"))
        .with("mailbox2", &["mailbox"], Some("b"))
        .with("filter1", &["filter"], None)
        .with("edge1", &["edge"], None)
        .with("edge2", &["edge"], None)
        .with("access1", &["access"], None);
    Cluster::run(&topology, |cluster| {
        let mut accounts = Vec::new();
        for (name, group) in [("ana", "a"), ("luis", "b"), ("eva", "a"), ("juan", "b")] {
            accounts.push(cluster.account_in(name, Some(group))?);
        }
        let edges = cluster.all_at("smtp")?;
        let stop = AtomicBool::new(false);
        let (sent, deaths) = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (edges, accounts, stop) = (&edges, &accounts, &stop);
                    scope.spawn(move || client(number, edges, accounts, seed, stop))
                })
                .collect();
            let deaths = kill_at_random(cluster, &mut random);
            stop.store(true, Ordering::Relaxed);
            let sent: BTreeMap<String, Sent> =
                clients.into_iter().filter_map(|client| client.join().ok()).flatten().collect();
            deaths.map(|deaths| (sent, deaths))
        })?;
        for node in &mut cluster.nodes {
            node.wait_healthy()?;
        }
        judge(cluster, &accounts, &sent, deaths)
            .with_context(|| format!("seed {seed}: run again with {}={seed}", random::VARIABLE))
    })
}

/// Compares what clients were told with what mailboxes hold.
fn judge(cluster: &Cluster, accounts: &[String], sent: &BTreeMap<String, Sent>, deaths: usize) -> anyhow::Result<()> {
    let accepted = sent.values().filter(|record| record.accepted > 0).count();
    ensure!(accepted > 10, "only {accepted} messages were accepted in {SENDING:?}: this shows nothing");
    let begun = Instant::now();
    let found = loop {
        let mut found: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for account in accounts {
            found.insert(account.clone(), tokens::in_mailbox(cluster.at("imaps")?, &cluster.trust, account)?);
        }
        let missing = sent
            .iter()
            .filter(|(token, record)| record.accepted > 0 && !found[&record.to].contains_key(*token))
            .count();
        if missing == 0 || begun.elapsed() > SETTLING {
            break found;
        }
        thread::sleep(Duration::from_millis(500));
    };
    // What is still queued a second time would come now.
    thread::sleep(Duration::from_secs(3));
    let (mut repeated, mut copies) = (0, 0);
    for (token, record) in sent {
        let there = found[&record.to].get(token).copied().unwrap_or_default();
        let elsewhere = found.iter().any(|(account, tokens)| *account != record.to && tokens.contains_key(token));
        ensure!(!elsewhere, "{token} is in a mailbox that it was not sent to: {record:?}");
        ensure!(there > 0 || record.accepted == 0, "lost: {token} was answered 250 and is not there: {record:?}");
        // Each unanswered attempt may have been taken.
        ensure!(there <= record.accepted + record.unanswered, "{token} is there {there} times: {record:?}");
        repeated += usize::from(record.unanswered > 0);
        copies += there.saturating_sub(1);
    }
    println!(
        "{deaths} deaths, {} messages, {accepted} accepted and there; {repeated} were sent again without an answer, {copies} \
         of these are there more than once",
        sent.len()
    );
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_doubled() -> anyhow::Result<()> {
    for number in 0..random::rounds(2, 40) {
        round(number)?;
    }
    Ok(())
}
