//! Accounts that move from one store group to the other while mail arrives and clients are connected, and while the nodes
//! of both groups are killed at random moments: every message that was answered 250 is there once (what a client sent
//! again, because it saw no 250, may be there more than once), and the client finds its mailbox as it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::client::{Imap, Smtp};
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};
use estafeta_integration_tests::random;
use estafeta_integration_tests::tokens;
use estafeta_integration_tests::topology::Topology;

/// How often the account goes to the other group.
const MOVES: usize = 4;

/// How long a move may take, the nodes' restarts included.
const PATIENCE: Duration = Duration::from_secs(120);

fn two_groups() -> Topology {
    Topology::default()
        .with("directory1", &["directory"], None)
        .with("mailbox1", &["mailbox"], Some("a"))
        .with("mailbox2", &["mailbox"], Some("b"))
        .with("filter1", &["filter"], None)
        .with("edge1", &["edge"], None)
        .with("access1", &["access"], None)
}

/// What a client was answered for each of its messages.
#[derive(Default)]
struct Sent {
    accepted: bool,
    /// How often it was sent and no answer was seen.
    unanswered: usize,
}

/// Sends messages one after the other, each until it is accepted.
fn send(edge: SocketAddr, to: &str, stop: &AtomicBool) -> BTreeMap<String, Sent> {
    let mut sent: BTreeMap<String, Sent> = BTreeMap::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let token = format!("moving-{number}");
        let message = tokens::message(&token, to, 2_000);
        let record = sent.entry(token).or_default();
        while !record.accepted && !stop.load(Ordering::Relaxed) {
            match Smtp::connect(edge).and_then(|mut smtp| smtp.send("a@example.com", &[to], &message)) {
                Ok(reply) => record.accepted = reply.is_positive(),
                Err(_) => record.unanswered += 1,
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    sent
}

/// UIDVALIDITY, UIDNEXT and MAILBOXID of INBOX, and the UID of each token.
fn shown(cluster: &Cluster, login: &str) -> anyhow::Result<(String, String)> {
    let begun = Instant::now();
    loop {
        let look = || -> anyhow::Result<(String, String)> {
            let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
            imap.login(login, PASSWORD)?.ok()?;
            let status = imap.command("STATUS Kept (UIDVALIDITY UIDNEXT MAILBOXID HIGHESTMODSEQ MESSAGES)")?.ok()?;
            imap.command("EXAMINE Kept")?.ok()?;
            let fetched = imap.command("FETCH 1:* (UID FLAGS MODSEQ INTERNALDATE EMAILID SAVEDATE)")?.ok()?;
            Ok((status.texts().join("\n"), fetched.texts().join("\n")))
        };
        match look() {
            Ok(shown) => return Ok(shown),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.context("the mailbox cannot be opened")),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

#[test]
fn accounts_move_while_mail_arrives_and_nodes_are_killed() -> anyhow::Result<()> {
    let mut random = random::round(0).1;
    Cluster::run(&two_groups(), |cluster| {
        let ana = cluster.account_in("ana", Some("a"))?;
        let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
        imap.login(&ana, PASSWORD)?.ok()?;
        imap.command("CREATE Kept")?.ok()?;
        for number in 0..20 {
            imap.append("Kept", "\\Flagged $Forwarded", &tokens::message(&format!("kept-{number}"), &ana, 5_000))?
                .ok()?;
        }
        imap.command("SELECT Kept")?.ok()?;
        imap.command("STORE 3:7 +FLAGS (\\Deleted)")?.ok()?;
        imap.command("EXPUNGE")?.ok()?;
        let before = shown(cluster, &ana)?;

        // A client that waits is told to come again.
        imap.command("SELECT INBOX")?.ok()?;
        let (edge, stop) = (cluster.at("smtp")?, AtomicBool::new(false));
        let sent = thread::scope(|scope| -> anyhow::Result<BTreeMap<String, Sent>> {
            let sending = scope.spawn(|| send(edge, &ana, &stop));
            let moved = (|| {
                for number in 0..MOVES {
                    let to = if number % 2 == 0 { "b" } else { "a" };
                    relocate(cluster, &ana, to, number > 0, &mut random)?;
                    ensure!(shown(cluster, &ana)? == before, "after move {number}: {:?}", shown(cluster, &ana)?);
                    thread::sleep(Duration::from_millis(500));
                }
                Ok(())
            })();
            stop.store(true, Ordering::Relaxed);
            let sent = sending.join().ok().context("the sender panicked")?;
            moved.map(|()| sent)
        })?;
        let told = imap.command("NOOP");
        ensure!(told.map_or(true, |told| told.status != "OK"), "the session goes on where the mail is no more");

        ensure!(sent.values().filter(|one| one.accepted).count() > 10, "too little was sent: {}", sent.len());
        let begun = Instant::now();
        loop {
            let held = tokens::in_mailbox(cluster.at("imaps")?, &cluster.trust, &ana)?;
            let copies = |token: &String| held.get(token).copied().unwrap_or_default();
            let missing: Vec<&String> =
                sent.iter().filter(|(token, one)| one.accepted && copies(token) == 0).map(|(token, _)| token).collect();
            let twice: Vec<&String> =
                sent.iter().filter(|(token, one)| copies(token) > 1 + one.unanswered).map(|(token, _)| token).collect();
            ensure!(twice.is_empty(), "more than once: {twice:?}");
            if missing.is_empty() {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "of {} messages, missing: {missing:?}", sent.len());
            thread::sleep(Duration::from_secs(1));
        }
        for node in ["mailbox1", "mailbox2"] {
            cluster.node(node)?.command(&["mailbox", "verify"], "")?.ok()?;
        }
        Ok(())
    })
}

/// Moves the account, and, if so told, kills a node of either group meanwhile and asks again.
fn relocate(
    cluster: &mut Cluster,
    address: &str,
    to: &str,
    kill: bool,
    random: &mut fastrand::Rng,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let victim = if random.bool() { "mailbox1" } else { "mailbox2" };
    let wait = Duration::from_millis(random.u64(0..1500));
    if kill {
        let asked = thread::scope(|scope| {
            let asking = cluster.nodes.iter().position(|node| node.name() == "access1").context("no access1")?;
            let (before, after) = cluster.nodes.split_at_mut(asking);
            let (access, _) = after.split_first_mut().context("no access1")?;
            let asked = scope.spawn(|| access.command(&["account", "move", address, "--to", to], ""));
            thread::sleep(wait);
            let node = before.iter_mut().find(|node| node.name() == victim).context("no victim")?;
            node.kill()?;
            thread::sleep(Duration::from_millis(200));
            node.start()?;
            asked.join().ok().context("the command panicked")?
        })?;
        println!("{victim} was killed after {wait:?}; the move answered {}: {}", asked.code, asked.errors.trim());
    }
    loop {
        let asked = cluster.node("access1")?.command(&["account", "move", address, "--to", to], "")?;
        let show = cluster.node("access1")?.command(&["account", "show", address, "--json"], "")?;
        if asked.code == 0 && show.output.contains(&format!("\"{to}\"")) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!("the account does not move to {to}: {} {} {}", asked.code, asked.output, asked.errors);
        }
        thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn what_the_nodes_of_a_group_say_is_told_whichever_is_asked() -> anyhow::Result<()> {
    let topology = two_groups().with("mailbox3", &["mailbox"], Some("c"));
    Cluster::run(&topology, |cluster| {
        let bea = cluster.account_in("bea", Some("a"))?;
        // A verification says what it looked at, and at which groups it did not.
        for (group, place) in
            [(None, "store group a, on node mailbox1"), (Some("c"), "store group c, on node mailbox3")]
        {
            let mut order = vec!["mailbox", "verify", "--json"];
            order.extend(group.map(|group| ["--group", group]).into_iter().flatten());
            let told = cluster.node("mailbox1")?.command(&order, "")?.ok()?.json()?;
            let what = |row: usize| told[row]["what"].as_str().unwrap_or_default().to_owned();
            ensure!(what(0).starts_with(place) && told[0]["mending"] == "nothing is wrong", "{told}");
            ensure!(what(1).contains("not looked at") && told[1]["wrong"] == false, "{told}");
        }
        let to = cluster.directory.path().join("bea").display().to_string();
        let orders: [&[&str]; 3] = [
            &["mailbox", "export", &bea, "--to", &to],
            &["mailbox", "verify", "--account", &bea],
            &["mailbox", "undelete", &bea, "--dry-run"],
        ];
        for node in ["mailbox1", "mailbox2", "mailbox3", "edge1"] {
            for order in orders {
                let done = cluster.node(node)?.command(order, "")?;
                ensure!(done.code == 67 && done.errors.contains("has no mail yet"), "{node}: {order:?}: {done:?}");
            }
        }
        Ok(())
    })
}
