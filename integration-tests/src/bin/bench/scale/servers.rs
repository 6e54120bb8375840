//! The servers that grow: Estafeta as two nodes, one with the mailboxes and one with all else, and Dovecot.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::client::{Imap, Smtp, Trust};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::dovecot::{self, Dovecot};
use estafeta_integration_tests::node::{Node, tail};
use estafeta_integration_tests::topology::Topology;

use crate::disk::{self, under};
use crate::idle::{children, memory_bytes};
use crate::report::{say, thousands};

/// How long a client waits for an answer: a search through a million messages takes its time.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a server may take to answer again after a restart.
const RESTART: Duration = Duration::from_secs(120);

/// How many accounts are added between two lines that say so, how many tools add them, and how long these may take.
const ADDED: usize = 5_000;
const TOOLS: usize = 4;
const ADDING: Duration = Duration::from_secs(300);

/// The address of an account.
pub fn account(number: usize) -> String {
    format!("user{number}@{DOMAIN}")
}

/// A server under test. It is asked through TLS.
pub struct Server {
    /// What it is.
    pub name: &'static str,
    imap: (SocketAddr, Trust),
    lmtp: (SocketAddr, Trust),
    password: String,
    running: Running,
}

enum Running {
    Estafeta(Box<Cluster>),
    Dovecot(Box<Dovecot>),
}

impl Server {
    /// Estafeta. The accounts below `with_password` can log in; the others, up to `accounts`, only get mail.
    pub fn estafeta(accounts: usize, with_password: usize) -> anyhow::Result<Self> {
        let topology = Topology::default().with("front", &["dns", "access", "edge", "filter", "directory"], None).with(
            "store",
            &["mailbox"],
            Some("a"),
        );
        let mut cluster = Cluster::prepare(&topology)?;
        cluster.start()?;
        cluster.keep_quiet();
        let with_password = with_password.min(accounts);
        for number in 0..with_password {
            cluster.account(&format!("user{number}"))?;
        }
        add_accounts(&mut cluster, with_password, accounts)?;
        let front = cluster.node("front")?.directory.clone();
        let node = Trust::of_node(&cluster.authority, &front.join("node.pem"), &front.join("node.key"), "store")?;
        Ok(Self {
            name: "Estafeta",
            imap: (cluster.at("imaps")?, cluster.trust.clone()),
            lmtp: (cluster.at("lmtp")?, node),
            password: PASSWORD.to_owned(),
            running: Running::Estafeta(Box::new(cluster)),
        })
    }

    /// Dovecot, where everyone has an account.
    pub fn dovecot() -> anyhow::Result<Self> {
        let (dovecot, trust) = Dovecot::start("mdbox")?;
        Ok(Self {
            name: "Dovecot",
            imap: (dovecot.imaps, trust.clone()),
            lmtp: (dovecot.lmtps, trust),
            password: dovecot::password(),
            running: Running::Dovecot(Box::new(dovecot)),
        })
    }

    /// Its name and the end of its log, for whoever reads why it failed.
    pub fn last_words(&self) -> String {
        let log = match &self.running {
            Running::Estafeta(cluster) => cluster.nodes.iter().map(Node::log).map(|log| tail(&log, 5) + "\n").collect(),
            Running::Dovecot(dovecot) => tail(&dovecot.log(), 10),
        };
        format!("{}: {log}", self.name)
    }

    /// That no process of it has panicked: who did is not fit to be compared.
    pub fn check(&self) -> anyhow::Result<()> {
        let logs: String = match &self.running {
            Running::Estafeta(cluster) => cluster.nodes.iter().map(Node::log).collect(),
            Running::Dovecot(dovecot) => dovecot.log(),
        };
        let panicked = logs.lines().find(|line| line.contains("Panic: ") || line.contains("panicked"));
        ensure!(panicked.is_none(), "{}: {}", self.name, panicked.unwrap_or_default());
        Ok(())
    }

    /// A connection that is not logged in yet.
    pub fn connection(&self) -> anyhow::Result<Imap> {
        let imap = Imap::connect_tls(self.imap.0, &self.imap.1)?;
        imap.wire.set_patience(PATIENCE)?;
        Ok(imap)
    }

    /// Logs in; gives how long LOGIN took.
    pub fn log_in(&self, imap: &mut Imap, number: usize) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        imap.login(&account(number), &self.password)?.ok()?;
        Ok(begun.elapsed())
    }

    /// A session of the first account, whose mailbox is looked at.
    pub fn session(&self) -> anyhow::Result<Imap> {
        let mut imap = self.connection()?;
        self.log_in(&mut imap, 0)?;
        Ok(imap)
    }

    /// A connection over which mail goes in.
    pub fn lmtp(&self) -> anyhow::Result<Smtp> {
        Smtp::connect_lmtp(self.lmtp.0, Some(&self.lmtp.1))
    }

    /// Ends whatever holds mailboxes and starts it again; gives the first session that is let in.
    pub fn restart(&mut self) -> anyhow::Result<Imap> {
        match &mut self.running {
            Running::Estafeta(cluster) => {
                let store = cluster.node("store")?;
                store.terminate()?;
                store.start()?;
            }
            Running::Dovecot(dovecot) => dovecot.restart()?,
        }
        let begun = Instant::now();
        loop {
            match self.session() {
                Ok(imap) => return Ok(imap),
                Err(error) if begun.elapsed() > RESTART => return Err(error.context("after a restart")),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// What the processes that hold mailboxes take of the memory: Estafeta's mailbox node, all of Dovecot.
    pub fn memory_bytes(&mut self) -> anyhow::Result<u64> {
        match &mut self.running {
            Running::Estafeta(cluster) => memory_bytes(&[cluster.node("store")?.process_id()?]),
            Running::Dovecot(dovecot) => memory_bytes(&children(dovecot.process_id())?),
        }
    }

    /// The same of the node that holds the directory; none of Dovecot.
    pub fn directory_memory_bytes(&mut self) -> anyhow::Result<Option<u64>> {
        let Running::Estafeta(cluster) = &mut self.running else { return Ok(None) };
        memory_bytes(&[cluster.node("front")?.process_id()?]).map(Some)
    }

    /// What the mail takes on the disk: all of it, and of it the database with its log, and the search index, where there are
    /// any.
    pub fn disk_bytes(&mut self) -> anyhow::Result<(u64, Option<(u64, u64)>)> {
        match &mut self.running {
            Running::Estafeta(cluster) => {
                let data = cluster.node("store")?.directory.join("data");
                Ok((under(&data, "")?.0, Some((under(&data, "mailbox.db")?.0, under(&data, "search.db")?.0))))
            }
            Running::Dovecot(dovecot) => Ok((under(&dovecot.homes(), "")?.0, None)),
        }
    }

    /// Waits until the search index has been silent for so long, and says how long that took; none when it takes longer than
    /// `limit`, and of a server that has no such index. Then until the disk has all that was written without fsync.
    pub fn rest(&mut self, silence: Duration, limit: Duration) -> anyhow::Result<Option<Duration>> {
        let taken = match &self.running {
            Running::Estafeta(cluster) => disk::rest(cluster.directory.path(), silence, limit)?,
            Running::Dovecot(_) => None,
        };
        nix::unistd::sync();
        Ok(taken)
    }
}

/// Makes accounts without a password, which takes no hash: by LDAP, as an administrator imports them.
fn add_accounts(cluster: &mut Cluster, from: usize, to: usize) -> anyhow::Result<()> {
    let suffix = DOMAIN.split('.').map(|label| format!("dc={label}")).collect::<Vec<_>>().join(",");
    let entry = |number: usize| {
        format!(
            "dn: uid=user{number},ou=people,{suffix}\nobjectClass: inetOrgPerson\nobjectClass: estafetaAccount\nuid: user{number}\n\
             cn: user{number}\nsn: user{number}\nmail: {}\nestafetaStoreGroup: a\n\n",
            account(number)
        )
    };
    for begin in (from..to).step_by(ADDED) {
        let end = to.min(begin + ADDED);
        let mut tools = Vec::new();
        for tool in 0..TOOLS {
            let file = cluster.directory.path().join(format!("{tool}.ldif"));
            fs::write(&file, (begin + tool..end).step_by(TOOLS).map(entry).collect::<String>())?;
            tools.push(ldapadd(cluster, &file)?);
        }
        for mut tool in tools {
            wait(&mut tool, ADDING).context("ldapadd")?;
        }
        say(&format!("{} of {} accounts are there", thousands(end), thousands(to)));
    }
    Ok(())
}

/// Starts the tool with a node's certificate.
fn ldapadd(cluster: &mut Cluster, file: &Path) -> anyhow::Result<Child> {
    let front = cluster.node("front")?.directory.clone();
    Command::new("ldapadd")
        .args(["-Q", "-Y", "EXTERNAL", "-H", &format!("ldaps://{}", cluster.at("ldaps")?), "-f"])
        .arg(file)
        .env("LDAPTLS_CACERT", &cluster.authority)
        .env("LDAPTLS_CERT", front.join("node.pem"))
        .env("LDAPTLS_KEY", front.join("node.key"))
        // The certificate names the node; here it is called by its address.
        .env("LDAPTLS_REQCERT", "allow")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("ldapadd: install ldap-utils")
}

fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{status}");
            return Ok(());
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("not done after {limit:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}
