//! The systems that are compared, each started and with the same accounts.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use estafeta_integration_tests::client::{Imap, Smtp, Trust};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::dovecot::{self, Dovecot};
use estafeta_integration_tests::postfix::Postfix;
use estafeta_integration_tests::topology::Topology;

use crate::disk;

/// How many mailboxes receive.
const ACCOUNTS: usize = 20;

/// A system under load.
pub struct System {
    /// What it is.
    pub name: &'static str,
    doors: Vec<SocketAddr>,
    language: Language,
    /// Who receives.
    pub accounts: Vec<String>,
    imap: SocketAddr,
    trust: Option<Trust>,
    password: String,
    /// What runs, until the end.
    running: Running,
}

/// How mail is handed over.
enum Language {
    Smtp,
    /// Through mutual TLS, if there is trust.
    Lmtp(Option<Trust>),
}

enum Running {
    Estafeta { cluster: Cluster },
    Debian { _postfix: Option<Postfix>, _dovecot: Dovecot },
}

impl System {
    /// Estafeta, one process.
    pub fn single() -> anyhow::Result<Self> {
        Self::estafeta("Estafeta, one node", &Topology::single(), &["a"])
    }

    /// Estafeta, eleven processes as in the demonstration.
    pub fn cluster() -> anyhow::Result<Self> {
        Self::estafeta("Estafeta, cluster of 11", &Topology::demonstration(), &["a", "b"])
    }

    fn estafeta(name: &'static str, topology: &Topology, groups: &[&str]) -> anyhow::Result<Self> {
        let mut cluster = Cluster::prepare(topology)?;
        cluster.start()?;
        cluster.keep_quiet();
        let accounts = (0..ACCOUNTS).map(|n| cluster.account_in(&format!("user{n}"), Some(groups[n % groups.len()])));
        Ok(Self {
            name,
            accounts: accounts.collect::<Result<_, _>>()?,
            doors: cluster.all_at("smtp")?,
            language: Language::Smtp,
            imap: cluster.at("imaps")?,
            trust: Some(cluster.trust.clone()),
            password: PASSWORD.to_owned(),
            running: Running::Estafeta { cluster },
        })
    }

    /// Postfix and Dovecot, joined by LMTP.
    pub fn postfix_and_dovecot() -> anyhow::Result<Self> {
        let (dovecot, _) = Dovecot::start("sdbox")?;
        let postfix = Postfix::start(dovecot.lmtp)?;
        Ok(Self {
            name: "Postfix + Dovecot",
            accounts: (0..ACCOUNTS).map(|n| format!("user{n}@{DOMAIN}")).collect(),
            doors: vec![postfix.smtp],
            language: Language::Smtp,
            imap: dovecot.imap,
            trust: None,
            password: dovecot::password(),
            running: Running::Debian { _postfix: Some(postfix), _dovecot: dovecot },
        })
    }

    /// Estafeta's mailbox node, asked as an edge node asks it.
    pub fn mailbox_node() -> anyhow::Result<Self> {
        let topology = Topology::default().with("front", &["dns", "access", "edge", "filter", "directory"], None).with(
            "store",
            &["mailbox"],
            Some("a"),
        );
        let mut system = Self::estafeta("Estafeta, mailbox node (mutual TLS)", &topology, &["a"])?;
        let Running::Estafeta { cluster } = &mut system.running else { bail!("another system") };
        let front = cluster.node("front")?.directory.clone();
        let (certificate, key) = (front.join("node.pem"), front.join("node.key"));
        system.language = Language::Lmtp(Some(Trust::of_node(&cluster.authority, &certificate, &key, "store")?));
        system.doors = cluster.all_at("lmtp")?;
        Ok(system)
    }

    /// Dovecot alone, in clear text or through TLS.
    pub fn dovecot(tls: bool) -> anyhow::Result<Self> {
        let (dovecot, trust) = Dovecot::start("mdbox")?;
        Ok(Self {
            name: if tls { "Dovecot (TLS)" } else { "Dovecot (clear)" },
            accounts: (0..ACCOUNTS).map(|n| format!("user{n}@{DOMAIN}")).collect(),
            doors: vec![if tls { dovecot.lmtps } else { dovecot.lmtp }],
            language: Language::Lmtp(tls.then_some(trust)),
            imap: dovecot.imap,
            trust: None,
            password: dovecot::password(),
            running: Running::Debian { _postfix: None, _dovecot: dovecot },
        })
    }

    /// Waits until what came is indexed for searches, where it is, and until the disk has all that was written without fsync.
    pub fn rest(&self) -> anyhow::Result<()> {
        if let Running::Estafeta { cluster } = &self.running {
            disk::rest(cluster.directory.path(), disk::SILENCE, disk::PATIENCE)?;
        }
        nix::unistd::sync();
        Ok(())
    }

    /// Whether it is what Estafeta is compared with.
    pub fn is_peer(&self) -> bool {
        matches!(self.running, Running::Debian { .. })
    }

    /// A connection over which mail goes in; the doors take turns.
    pub fn client(&self, number: usize) -> anyhow::Result<Smtp> {
        let door = self.doors[number % self.doors.len()];
        match &self.language {
            Language::Smtp => Smtp::connect(door),
            Language::Lmtp(trust) => Smtp::connect_lmtp(door, trust.as_ref()),
        }
    }

    /// A session for each account, to count what is in its mailbox: made before the clock starts.
    pub fn watchers(&self) -> anyhow::Result<Vec<Watcher>> {
        self.accounts.iter().map(|account| self.watcher(account)).collect()
    }

    fn watcher(&self, account: &str) -> anyhow::Result<Watcher> {
        let mut imap = match &self.trust {
            Some(trust) => Imap::connect_tls(self.imap, trust)?,
            None => Imap::connect(self.imap)?,
        };
        imap.login(account, &self.password)?.ok()?;
        Ok(Watcher(imap))
    }
}

/// Counts what is in one account's mailbox.
pub struct Watcher(Imap);

impl Watcher {
    /// How many messages there are.
    pub fn count(&mut self) -> anyhow::Result<usize> {
        let status = self.0.command("STATUS INBOX (MESSAGES)")?.ok()?.texts().join(" ");
        let count = status.split("MESSAGES ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
        count.with_context(|| format!("no count in {status:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    /// The half of the comparison that is not ours takes and counts mail as the bench expects it.
    #[test]
    fn the_peers_are_measured() {
        if !nix::unistd::Uid::effective().is_root() {
            println!("Postfix starts as root only: not run");
            return;
        }
        for system in [System::postfix_and_dovecot(), System::dovecot(false), System::dovecot(true)] {
            let system = system.unwrap();
            let rate = Load { size_bytes: 4_000, messages: 100 }.run(&system, 0).unwrap();
            let there: usize = system.watchers().unwrap().iter_mut().map(|watcher| watcher.count().unwrap()).sum();
            assert!(rate > 1.0 && there == 100, "{}: {rate}", system.name);
        }
    }
}
