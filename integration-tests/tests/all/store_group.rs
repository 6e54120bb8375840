//! Two mailbox nodes of one store group, on one PostgreSQL and one bucket of an S3 server: each account has its node, every
//! node serves every account, and what one changes the other shows within a second.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use estafeta_integration_tests::client::imap::literal;
use estafeta_integration_tests::client::{Imap, Smtp};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::tokens;
use estafeta_integration_tests::topology::Topology;
use estafeta_storage::blobs::suite::{Fault, ObjectServer};
use estafeta_storage::sql::suite::PostgresServer;

/// How soon another node shows a change.
const SOON: Duration = Duration::from_secs(1);

/// How long what was cut off may take to come back.
const PATIENCE: Duration = Duration::from_secs(90);

fn login(cluster: &Cluster, account: &str) -> anyhow::Result<Imap> {
    let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
    imap.login(account, PASSWORD)?.ok()?;
    Ok(imap)
}

/// The node on which a session of this account is open.
fn preferred(cluster: &mut Cluster, account: &str) -> anyhow::Result<&'static str> {
    let _session = login(cluster, account)?;
    let mut found = None;
    for name in ["mailbox1", "mailbox2"] {
        if cluster.node(name)?.metric("estafeta_imap_sessions_open")? > 0.0 {
            ensure!(found.is_none(), "{account} has sessions on both nodes");
            found = Some(name);
        }
    }
    found.with_context(|| format!("no node has a session of {account}"))
}

/// Two accounts that prefer two nodes; the first one's node.
fn accounts(cluster: &mut Cluster) -> anyhow::Result<(String, String, &'static str)> {
    let ana = cluster.account("ana")?;
    let node = preferred(cluster, &ana)?;
    for number in 0..20 {
        let other = cluster.account(&format!("luis{number}"))?;
        let settled = Instant::now();
        // The session before is closed by now, or soon.
        while cluster.node(node)?.metric("estafeta_imap_sessions_open")? > 0.0 {
            ensure!(settled.elapsed() < PATIENCE, "a session does not end");
        }
        if preferred(cluster, &other)? != node {
            return Ok((ana, other, node));
        }
    }
    anyhow::bail!("twenty accounts prefer one node of two")
}

fn send(cluster: &Cluster, to: &str, token: &str, size_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let message = tokens::message(token, to, size_bytes);
    Smtp::connect(cluster.at("smtp")?)?.send("sender@example.com", &[to], &message)?.expect(250)?;
    Ok(message)
}

fn idle(imap: &mut Imap) -> anyhow::Result<String> {
    let tag = imap.start("IDLE")?;
    ensure!(imap.response()?.starts_with(b"+"), "IDLE is refused");
    Ok(tag)
}

/// Waits for a response that ends with `wanted`, which must come soon.
fn soon(imap: &mut Imap, since: Instant, wanted: &str) -> anyhow::Result<()> {
    loop {
        let response = String::from_utf8_lossy(&imap.response()?).into_owned();
        if response.trim_end().ends_with(wanted) {
            ensure!(since.elapsed() < SOON, "{wanted} after {:?}", since.elapsed());
            return Ok(());
        }
    }
}

/// Repeats until it is so.
fn until(what: &str, mut is: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is()? {
        ensure!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[test]
fn on_one_database_and_one_bucket_serves_every_account_on_every_node() -> anyhow::Result<()> {
    let (postgres, objects) = (PostgresServer::start(false), ObjectServer::start());
    let keys = tempfile::tempdir()?;
    let database = format!("database = \"postgresql://postgres@{}/postgres\"\n", postgres.host());
    let s3 = objects.section("test", &keys.path().join("keys.toml"));
    let topology = Topology::default()
        .with("directory1", &["directory"], None)
        .with("mailbox1", &["mailbox"], Some("a"))
        .with("mailbox2", &["mailbox"], Some("a"))
        .with("edge1", &["edge", "filter"], None)
        .with("access1", &["access"], None)
        .section("mailbox", &format!("{database}\n[mailbox.s3]\n{s3}cache_bytes = 4000000\n"));
    Cluster::run(&topology, |cluster| {
        let (ana, luis, own) = accounts(cluster)?;
        let other = if own == "mailbox1" { "mailbox2" } else { "mailbox1" };

        // What is delivered on one node is seen on the other within a second, and its body comes from the bucket.
        let mut at_own = login(cluster, &ana)?;
        at_own.command("SELECT INBOX")?.ok()?;
        at_own.command(&format!("SETACL INBOX {luis} lrswite"))?.ok()?;
        let shared = format!("\"Other users/{ana}/INBOX\"");
        let mut at_other = login(cluster, &luis)?;
        at_other.command(&format!("SELECT {shared}"))?.ok()?;
        let tag = idle(&mut at_other)?;
        let large = send(cluster, &ana, "large", 300_000)?;
        soon(&mut at_other, Instant::now(), "1 EXISTS")?;
        at_other.wire.write(b"DONE\r\n")?;
        at_other.completion(&tag)?.ok()?;
        ensure!(objects.bodies("test/a") == 1, "one body is in the bucket");
        let missed = cluster.node(other)?.metric("estafeta_blob_cache_misses_total")?;
        for _ in 0..2 {
            let fetched = at_other.command("FETCH 1 (BODY.PEEK[])")?.ok()?;
            let text = fetched.untagged.iter().find_map(|response| literal(response)).context("no text")?;
            ensure!(text.ends_with(&large), "the body is another one");
        }
        let now = cluster.node(other)?.metric("estafeta_blob_cache_misses_total")?;
        ensure!(now == missed + 1.0, "it was fetched once and cached: {missed}, {now}");

        // EXPUNGE on one is told on the other, only when it may be.
        send(cluster, &ana, "second", 2_000)?;
        at_other.command("NOOP")?.ok()?;
        at_own.command("NOOP")?.ok()?;
        at_own.command("STORE 1 +FLAGS.SILENT (\\Deleted)")?.ok()?;
        at_own.command("EXPUNGE")?.ok()?;
        std::thread::sleep(SOON);
        let quiet = at_other.command("FETCH 1:2 (UID)")?;
        ensure!(quiet.texts().iter().all(|text| !text.ends_with("EXPUNGE")), "{:?}", quiet.texts());
        let told = at_other.command("NOOP")?.ok()?.texts();
        ensure!(told.iter().any(|text| text.trim_end() == "1 EXPUNGE"), "{told:?}");
        let tag = idle(&mut at_other)?;
        at_own.command("STORE 1 +FLAGS.SILENT (\\Deleted)")?.ok()?;
        at_own.command("EXPUNGE")?.ok()?;
        soon(&mut at_other, Instant::now(), "1 EXPUNGE")?;
        at_other.wire.write(b"DONE\r\n")?;
        at_other.completion(&tag)?.ok()?;

        // Without the bucket large mail waits at edge, and what needs no body goes on.
        objects.set(Fault::Gone);
        send(cluster, &ana, "waits", 300_000)?;
        until("a mailbox node without its bucket is not ready, and names it", || {
            let (code, said) = cluster.node(own)?.status("/health")?;
            Ok(code != 200 && said.contains("s3://"))
        })?;
        at_own.command("NOOP")?.ok()?;
        at_own.append("INBOX", "", &tokens::message("small", &ana, 1_000))?.ok()?;
        let refused = at_own.append("INBOX", "", &tokens::message("refused", &ana, 300_000))?;
        ensure!(
            refused.status == "NO" && refused.text.contains("[UNAVAILABLE]"),
            "{} {}",
            refused.status,
            refused.text
        );
        objects.set(Fault::None);
        let held = |cluster: &Cluster, account: &str| tokens::in_mailbox(cluster.at("imaps")?, &cluster.trust, account);
        until("what waited is delivered", || Ok(held(cluster, &ana).is_ok_and(|held| held.contains_key("waits"))))?;

        // A node that is killed leaves its accounts to the other, with all their mail.
        cluster.node(own)?.kill()?;
        let begun = Instant::now();
        until("the other node serves", || Ok(login(cluster, &ana).is_ok()))?;
        ensure!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
        send(cluster, &ana, "after", 300_000)?;
        until("mail is delivered on the other", || {
            Ok(held(cluster, &ana).is_ok_and(|held| held.contains_key("after")))
        })?;
        let all = held(cluster, &ana)?;
        ensure!(all.len() == 3 && all.values().all(|copies| *copies == 1), "{all:?}");
        // Whoever is still there stays where they are.
        drop((at_own, at_other));
        cluster.node(own)?.start()?;
        until("it has its accounts again", || Ok(preferred(cluster, &ana).is_ok_and(|node| node == own)))?;
        ensure!(held(cluster, &ana)? == all, "the same mail");
        cluster.node("access1")?.command(&["mailbox", "verify"], "")?.ok()?;
        Ok(())
    })
}

#[test]
fn a_node_starts_before_its_database_and_serves_once_that_is_there() -> anyhow::Result<()> {
    let mut postgres = PostgresServer::start(false);
    let database = format!("database = \"postgresql://postgres@{}/postgres\"\n", postgres.host());
    let topology = Topology::single().section("mailbox", &format!("{database}synchronous = \"required\"\n"));
    let mut cluster = Cluster::prepare(&topology)?;
    postgres.stop();
    cluster.node("all1")?.spawn()?;
    let is_told = |cluster: &mut Cluster, why: &str| {
        until(why, || {
            ensure!(cluster.node("all1")?.ended()?.is_none(), "the node has ended");
            // The node listens after its roles have been opened.
            Ok(cluster.node("all1")?.status("/health").is_ok_and(|(code, said)| code == 503 && said.contains(why)))
        })
    };
    is_told(&mut cluster, "no PostgreSQL primary answers")?;
    ensure!(!cluster.nodes[0].log().contains("internal error"), "the cause comes first");
    // The other roles serve, and mail waits for the mailbox.
    cluster.administer(&["domain", "add", DOMAIN], "")?;
    let ana = cluster.account("ana")?;
    send(&cluster, &ana, "early", 2_000)?;

    postgres.run();
    is_told(&mut cluster, "set its synchronous_standby_names")?;
    let _standby = postgres.standby();
    until("it is healthy", || Ok(cluster.nodes[0].status("/health")?.0 == 200))?;
    until("what waited is delivered", || {
        let held = tokens::in_mailbox(cluster.at("imaps")?, &cluster.trust, &ana);
        Ok(held.is_ok_and(|held| held.contains_key("early")))
    })?;
    let (_, metrics) = cluster.nodes[0].status("/metrics")?;
    ensure!(metrics.contains("estafeta_database_turn_jobs_bucket"), "how many jobs share a commit, as a histogram");
    cluster.succeed();
    Ok(())
}
