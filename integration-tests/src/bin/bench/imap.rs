//! What a client waits for in a mailbox of ten thousand messages: Estafeta beside Dovecot from Debian's package, on the same
//! machine, in the same run, with the same client, both with fsync.
//!
//! Estafeta is asked through TLS, because it lets nobody log in without; one Dovecot in clear text, another through TLS. Runs
//! take turns, and the median of the rounds is reported. The client reads answers and looks at nothing in them.

mod report;
mod tasks;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use anyhow::Context;
use estafeta_integration_tests::binary::repository;
use estafeta_integration_tests::client::{Imap, Trust};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::dovecot::{self, Dovecot};
use estafeta_integration_tests::topology::Topology;

use self::report::Medians;
use self::tasks::{TASKS, Task};
use crate::disk;
use crate::report::{between, median, say};

/// The size of each message, in bytes.
const MESSAGE_BYTES: usize = 4_000;

/// A server under test, with an account.
struct Server {
    name: &'static str,
    imap: SocketAddr,
    trust: Option<Trust>,
    account: String,
    password: String,
    running: Running,
}

enum Running {
    Estafeta { cluster: Box<Cluster> },
    Dovecot { _dovecot: Dovecot },
}

impl Server {
    fn estafeta() -> anyhow::Result<Self> {
        let mut cluster = Cluster::prepare(&Topology::single())?;
        cluster.start()?;
        cluster.keep_quiet();
        Ok(Self {
            name: "Estafeta (TLS)",
            imap: cluster.at("imaps")?,
            trust: Some(cluster.trust.clone()),
            account: cluster.account("user")?,
            password: PASSWORD.to_owned(),
            running: Running::Estafeta { cluster: Box::new(cluster) },
        })
    }

    fn dovecot(tls: bool) -> anyhow::Result<Self> {
        let (dovecot, trust) = Dovecot::start("mdbox")?;
        Ok(Self {
            name: if tls { "Dovecot (TLS)" } else { "Dovecot (clear)" },
            imap: if tls { dovecot.imaps } else { dovecot.imap },
            trust: tls.then_some(trust),
            account: format!("user@{DOMAIN}"),
            password: dovecot::password(),
            running: Running::Dovecot { _dovecot: dovecot },
        })
    }

    fn session(&self) -> anyhow::Result<Imap> {
        let mut imap = match &self.trust {
            Some(trust) => Imap::connect_tls(self.imap, trust)?,
            None => Imap::connect(self.imap)?,
        };
        imap.login(&self.account, &self.password)?.ok()?;
        Ok(imap)
    }

    /// Waits until what came is indexed for searches, where it is.
    fn rest(&self) -> anyhow::Result<()> {
        if let Running::Estafeta { cluster } = &self.running {
            disk::rest(cluster.directory.path(), disk::SILENCE, disk::PATIENCE)?;
        }
        Ok(())
    }
}

/// How long each task took at each server, in milliseconds, round by round.
type Measured = BTreeMap<(usize, &'static str), Vec<f64>>;

/// Measures, prints, and writes the page unless told otherwise.
pub fn run(rounds: usize, quick: bool, write: bool) -> anyhow::Result<()> {
    let messages = if quick { 500 } else { 10_000 };
    let servers = [Server::estafeta()?, Server::dovecot(false)?, Server::dovecot(true)?];
    for server in &servers {
        say(&format!("{messages} messages into {}", server.name));
        tasks::fill(&mut server.session()?, messages).with_context(|| server.name)?;
        server.rest()?;
    }
    let mut measured = Measured::new();
    for round in 0..=rounds {
        for server in &servers {
            for (number, task) in TASKS.iter().enumerate() {
                let ms = run_one(task, server, messages).with_context(|| format!("{}: {}", server.name, task.name))?;
                // The first round fills caches: it is not counted.
                if round > 0 {
                    measured.entry((number, server.name)).or_default().push(ms);
                }
            }
            // What it still has to index shall not take from the next one.
            server.rest()?;
            say(&format!("round {round} of {rounds}: {}", server.name));
        }
    }
    let medians: Vec<Medians> = TASKS
        .iter()
        .enumerate()
        .map(|(number, task)| {
            let of = |server: &Server| median(measured.get(&(number, server.name)).cloned().unwrap_or_default());
            let [ours, clear, tls] = servers.each_ref().map(of);
            Medians { task: task.name, ours, clear, tls }
        })
        .collect();
    let table = report::table(&medians);
    say(&table);
    if write {
        let docs = repository().join("docs");
        fs::write(docs.join("benchmarks-imap.svg"), report::chart(&medians))?;
        let page = docs.join("benchmarks.md");
        let before = fs::read_to_string(&page).unwrap_or_default();
        let figures = report::figures(&table, rounds, messages);
        fs::write(&page, between(&before, report::MARKS, &figures, report::HEAD))?;
        say(&format!("written: {}", page.display()));
    }
    Ok(())
}

/// One task, by a client that comes for it, and how long it took in milliseconds.
fn run_one(task: &Task, server: &Server, messages: usize) -> anyhow::Result<f64> {
    let mut imap = server.session()?;
    let took = (task.run)(&mut imap, messages)?;
    imap.measure("LOGOUT").ok();
    Ok(took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The half of the comparison that is not ours does every task.
    #[test]
    fn dovecot_does_every_task() {
        for tls in [false, true] {
            let server = Server::dovecot(tls).unwrap();
            tasks::fill(&mut server.session().unwrap(), 50).unwrap();
            for task in TASKS {
                let ms = run_one(task, &server, 50).unwrap_or_else(|error| panic!("{}: {error:#}", task.name));
                assert!(ms > 0.0, "{}", task.name);
            }
        }
    }
}
