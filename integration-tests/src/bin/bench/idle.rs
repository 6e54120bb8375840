//! What an idle connection costs: clients that are logged in, have INBOX open, ten messages in it, and wait in IDLE. Estafeta's
//! mailbox node through TLS, straight and relayed by access, beside Dovecot in clear text. Counted is what the server's
//! processes take of the memory (the sum of their proportional set sizes), before and after.

use std::fs;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estafeta_integration_tests::binary::repository;
use estafeta_integration_tests::client::{Imap, Trust};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::dovecot::{self, Dovecot};
use estafeta_integration_tests::tokens;
use estafeta_integration_tests::topology::Topology;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::report::{between, machine, say};

/// How many messages INBOX has.
const MESSAGES: usize = 10;

/// Whose INBOX is open: each account's on as many connections as are needed.
const ACCOUNTS: usize = 50;

/// What the first ones allocate for good is nobody's connection.
const FIRST: usize = 100;

const MARKS: (&str, &str) = (
    "<!-- written by integration-tests/bench idle: begin -->",
    "<!-- written by integration-tests/bench idle: end -->",
);

/// One figure.
struct Measured {
    what: &'static str,
    connections: usize,
    bytes_each: u64,
}

/// Measures, prints, and writes the page unless told otherwise.
pub fn run(quick: bool, write: bool) -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let (many, some) = if quick { (500, 200) } else { (10_000, 1_000) };
    ensure!(most as usize > many + 1_000, "{most} open files are allowed (ulimit -n): too few for {many} connections");
    // A cluster each: what some clients leave behind would be used by the next.
    let measured = [estafeta(many, false)?, estafeta(some, true)?, of_dovecot(some)?];
    let table = table(&measured);
    say(&table);
    if write {
        let page = repository().join("docs").join("benchmarks.md");
        let before = fs::read_to_string(&page).unwrap_or_default();
        let figures = format!("{table}\n{}.", machine());
        fs::write(&page, between(&before, MARKS, &figures, include_str!("idle.md")))?;
        say(&format!("written: {}", page.display()));
    }
    Ok(())
}

fn table(measured: &[Measured]) -> String {
    let dovecot = measured.last().map_or(0, |last| last.bytes_each);
    let mut table = String::from(
        "| a client waits at | connections | memory each | times less than Dovecot |\n|---|---:|---:|---:|\n",
    );
    for Measured { what, connections, bytes_each } in measured {
        let times = dovecot as f64 / (*bytes_each).max(1) as f64;
        table += &format!("| {what} | {connections} | {} KB | {times:.1} |\n", bytes_each >> 10);
    }
    table
}

fn user(number: usize) -> String {
    format!("user{}", number % ACCOUNTS)
}

/// Fills the mailbox of a session's account.
fn fill(mut imap: Imap) -> anyhow::Result<()> {
    for number in 0..MESSAGES {
        imap.append("INBOX", "", &tokens::message(&format!("idle-{number}"), "user@demo.test", 4_000))?.ok()?;
    }
    Ok(())
}

/// Opens INBOX and waits.
fn wait(mut imap: Imap) -> anyhow::Result<Imap> {
    imap.command("SELECT INBOX")?.ok()?;
    imap.start("IDLE")?;
    imap.response()?;
    Ok(imap)
}

/// What so many clients cost each, in bytes.
fn each(
    connections: usize,
    memory: impl Fn() -> anyhow::Result<u64>,
    client: impl Fn(usize) -> anyhow::Result<Imap>,
) -> anyhow::Result<u64> {
    let settled = || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        memory()
    };
    let mut clients = (0..FIRST).map(&client).collect::<Result<Vec<_>, _>>()?;
    let before = settled()?;
    for number in 0..connections {
        clients.push(client(number).with_context(|| format!("the client {number}"))?);
        if number % 1_000 == 999 {
            say(&format!("{} clients wait", number + 1));
        }
    }
    Ok(settled()?.saturating_sub(before) / connections as u64)
}

fn estafeta(connections: usize, relayed: bool) -> anyhow::Result<Measured> {
    let topology = Topology::default().with("front", &["dns", "access", "edge", "filter", "directory"], None).with(
        "store",
        &["mailbox"],
        Some("a"),
    );
    let mut cluster = Cluster::prepare(&topology)?;
    cluster.start()?;
    cluster.keep_quiet();
    for number in 0..ACCOUNTS {
        cluster.account(&user(number))?;
    }
    let front = cluster.node("front")?.directory.clone();
    let node = Trust::of_node(&cluster.authority, &front.join("node.pem"), &front.join("node.key"), "store")?;
    let (store, access) = (cluster.at("mailbox-imap")?, cluster.at("imaps")?);
    let straight = |number| -> anyhow::Result<Imap> {
        let mut imap = Imap::connect_tls(store, &node)?;
        let account = STANDARD.encode(format!("{}@{DOMAIN}", user(number)));
        imap.command(&format!("AUTHENTICATE EXTERNAL {account}"))?.ok()?;
        Ok(imap)
    };
    for number in 0..ACCOUNTS {
        fill(straight(number)?)?;
    }
    let ids = [cluster.node("front")?.process_id()?, cluster.node("store")?.process_id()?];
    if !relayed {
        let bytes_each = each(connections, || memory_bytes(&ids[1..]), |number| wait(straight(number)?))?;
        return Ok(Measured { what: "Estafeta's mailbox node", connections, bytes_each });
    }
    let client = |number| {
        let mut imap = Imap::connect_tls(access, &cluster.trust)?;
        imap.login(&format!("{}@{DOMAIN}", user(number)), PASSWORD)?.ok()?;
        wait(imap)
    };
    let bytes_each = each(connections, || memory_bytes(&ids), client)?;
    Ok(Measured { what: "Estafeta's access, relayed (both nodes together)", connections, bytes_each })
}

fn of_dovecot(some: usize) -> anyhow::Result<Measured> {
    let (server, _) = Dovecot::start("mdbox")?;
    let session = |number| -> anyhow::Result<Imap> {
        let mut imap = Imap::connect(server.imap)?;
        imap.login(&format!("{}@{DOMAIN}", user(number)), &dovecot::password())?.ok()?;
        Ok(imap)
    };
    for number in 0..ACCOUNTS {
        fill(session(number)?)?;
    }
    let master = server.process_id();
    // Its children come and go.
    let memory = || memory_bytes(&children(master)?);
    let bytes_each = each(some.min(800), memory, |number| wait(session(number)?))?;
    Ok(Measured { what: "Dovecot", connections: some.min(800), bytes_each })
}

/// A process and all that it started.
pub fn children(master: u32) -> anyhow::Result<Vec<u32>> {
    let mut all = vec![master];
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else { continue };
        // It may have ended meanwhile. The name stands in brackets and may hold anything.
        let Ok(about) = fs::read_to_string(path.join("stat")) else { continue };
        let parent = about.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if parent == Some(master) {
            all.push(id);
        }
    }
    Ok(all)
}

/// The sum of the proportional set sizes of processes, in bytes.
pub fn memory_bytes(processes: &[u32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for process in processes {
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/smaps_rollup")) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
        sum += line.trim().trim_end_matches(" kB").parse::<u64>().context("Pss")? << 10;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_less_is_said_by_how_much() {
        let of = |what, bytes_each| Measured { what, connections: 10, bytes_each };
        let table = table(&[of("ours", 20 << 10), of("Dovecot", 500 << 10)]);
        assert!(
            table.contains("| ours | 10 | 20 KB | 25.0 |") && table.contains("| Dovecot | 10 | 500 KB | 1.0 |"),
            "{table}"
        );
    }

    #[test]
    fn this_process_takes_memory_and_has_its_children() {
        assert!(memory_bytes(&[std::process::id()]).unwrap() > 1 << 20);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = children(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()) && found.contains(&std::process::id()));
    }
}
