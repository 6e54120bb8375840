//! Four IMAP sessions run random commands on one mailbox. Each keeps its own map from sequence numbers to UIDs, and the
//! flags that it was told of, from untagged data alone; after every command the map equals what `UID FETCH 1:* (UID)`
//! says (RFC 9051 §2.3.1, §5.2, §7.5). The same script runs against Debian's Dovecot.
//!
//! Where the two servers differ, and why both are right:
//! - The script asks for nothing that only one of them allows, so a difference would be a failure here; none is known.
//! - Dovecot shows a session its own expunge at once and others' at the next command that may carry it; so does
//!   Estafeta. Neither is compared with the other in time, only with itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::client::imap::{Completed, quoted};
use estafeta_integration_tests::client::{Imap, Trust};
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};
use estafeta_integration_tests::dovecot::{self, Dovecot};
use estafeta_integration_tests::random;
use estafeta_integration_tests::topology::Topology;

/// Sessions on the mailbox at once.
const SESSIONS: usize = 4;

/// Commands of all sessions together, in one round.
const COMMANDS: usize = 600;

/// A server, and who logs in.
struct Server {
    addresses: Vec<SocketAddr>,
    trust: Option<Trust>,
    login: String,
    password: String,
}

impl Server {
    /// A session of its own, logged in; sessions go to the addresses in turn.
    fn session(&self, number: usize) -> anyhow::Result<Imap> {
        let address = self.addresses[number % self.addresses.len()];
        let mut imap = match &self.trust {
            Some(trust) => Imap::connect_tls(address, trust)?,
            None => Imap::connect(address)?,
        };
        imap.login(&self.login, &self.password)?.ok()?;
        Ok(imap)
    }
}

/// What a session believes.
struct Session {
    imap: Imap,
    /// The UID of each sequence number; none until the server has named it.
    map: Vec<Option<u32>>,
    /// The flags of each UID that the server has told, without `\Recent`.
    flags: BTreeMap<u32, BTreeSet<String>>,
}

impl Session {
    fn open(server: &Server, number: usize) -> anyhow::Result<Self> {
        let mut session = Self { imap: server.session(number)?, map: vec![], flags: BTreeMap::new() };
        session.select()?;
        Ok(session)
    }

    fn select(&mut self) -> anyhow::Result<()> {
        self.map.clear();
        self.flags.clear();
        let done = self.imap.command("SELECT INBOX")?.ok()?;
        self.learn(&done, true)?;
        self.check()
    }

    /// Runs a command; `may_expunge` says whether EXPUNGE may come with it (RFC 9051 §7.5.1).
    fn run(&mut self, command: &str, may_expunge: bool) -> anyhow::Result<Completed> {
        let done = self.imap.command(command)?;
        ensure!(done.status != "BAD", "{command}: BAD {}", done.text);
        self.learn(&done, may_expunge).with_context(|| format!("{command}: {:?}", done.texts()))?;
        Ok(done)
    }

    /// Takes untagged data in.
    fn learn(&mut self, done: &Completed, may_expunge: bool) -> anyhow::Result<()> {
        for text in done.texts() {
            let mut words = text.splitn(3, ' ');
            let (number, kind, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
            let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else { continue };
            match kind {
                Some("EXISTS") => {
                    ensure!(number >= self.map.len(), "{} messages became {number} without EXPUNGE", self.map.len());
                    self.map.resize(number, None);
                }
                Some("EXPUNGE") => {
                    ensure!(may_expunge, "EXPUNGE where none may be");
                    ensure!((1..=self.map.len()).contains(&number), "EXPUNGE of {number} of {}", self.map.len());
                    if let Some(uid) = self.map.remove(number - 1) {
                        self.flags.remove(&uid);
                    }
                }
                Some("FETCH") => self.fetched(number, rest)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn fetched(&mut self, number: usize, rest: &str) -> anyhow::Result<()> {
        ensure!((1..=self.map.len()).contains(&number), "FETCH of {number} of {}", self.map.len());
        let slot = &mut self.map[number - 1];
        if let Some(uid) = after(rest, "UID ").and_then(|text| text.split([' ', ')']).next()?.parse().ok()) {
            ensure!(slot.is_none_or(|known| known == uid), "{number} was {slot:?} and is {uid}");
            *slot = Some(uid);
        }
        if let (Some(uid), Some(flags)) = (*slot, after(rest, "FLAGS (").and_then(|text| text.split(')').next())) {
            let flags = flags.split_whitespace().filter(|flag| !flag.eq_ignore_ascii_case("\\Recent"));
            self.flags.insert(uid, flags.map(str::to_lowercase).collect());
        }
        Ok(())
    }

    /// The map equals what the server says.
    fn check(&mut self) -> anyhow::Result<()> {
        let before = self.map.len();
        let done = self.imap.command("UID FETCH 1:* (UID)")?.ok()?;
        self.learn(&done, true).with_context(|| format!("the check: {:?}", done.texts()))?;
        let known: Vec<u32> = self.map.iter().map_while(|uid| *uid).collect();
        // What came while the server was answering may be named by the next answer.
        let gone = done.texts().iter().filter(|text| text.ends_with(" EXPUNGE")).count();
        ensure!(known.len() + gone >= before, "the check leaves out messages: {:?}, {:?}", self.map, done.texts());
        ensure!(known.is_sorted_by(|a, b| a < b), "UIDs do not rise: {known:?}");
        Ok(())
    }

    /// A client that stores silently is told nothing of it (RFC 9051 §6.4.6), so it forgets what it knew.
    fn forget(&mut self, range: std::ops::Range<usize>) {
        for uid in self.map[range].iter().flatten() {
            self.flags.remove(uid);
        }
    }

    fn some_number(&self, random: &mut fastrand::Rng) -> Option<usize> {
        (!self.map.is_empty()).then(|| random.usize(1..=self.map.len()))
    }

    fn some_uid(&self, random: &mut fastrand::Rng) -> Option<u32> {
        let known: Vec<u32> = self.map.iter().filter_map(|uid| *uid).collect();
        random.choice(known)
    }

    /// One random command, and the check.
    fn step(&mut self, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let flag = ["\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$Forwarded", "kiwi"][random.usize(..6)];
        let sign = ["+", "-", ""][random.usize(..3)];
        let silent = if random.bool() { ".SILENT" } else { "" };
        let (number, uid) = (self.some_number(random), self.some_uid(random));
        match (random.u8(..16), number, uid) {
            (0..=2, _, _) => {
                let message = format!("Subject: {}\r\n\r\nbody {}\r\n", random.u32(..), random.u32(..));
                let done = self.imap.append("INBOX", if random.bool() { "\\Seen" } else { "" }, message.as_bytes())?;
                self.learn(&done, true)?;
                done.ok()?;
            }
            (3, Some(number), _) => {
                let to = random.usize(number..=self.map.len());
                self.forget(number - 1..to);
                self.run(&format!("STORE {number}:{to} {sign}FLAGS{silent} ({flag})"), false)?;
            }
            (4, _, Some(uid)) => {
                self.flags.remove(&uid);
                self.run(&format!("UID STORE {uid} {sign}FLAGS{silent} ({flag})"), true)?;
            }
            (5, Some(number), _) => drop(self.run(&format!("STORE {number} +FLAGS (\\Deleted)"), false)?),
            (6, _, _) => drop(self.run("EXPUNGE", true)?),
            (7, _, Some(uid)) => {
                self.flags.remove(&uid);
                self.run(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"), true)?;
                self.check()?;
                self.run(&format!("UID EXPUNGE {uid}"), true)?;
            }
            (8, Some(number), _) => drop(self.run(&format!("FETCH {number} (FLAGS)"), false)?),
            (9, _, Some(uid)) => drop(self.run(&format!("UID FETCH {uid}:* (FLAGS)"), true)?),
            (10, _, _) => {
                let by_uid = random.bool();
                self.run(if by_uid { "UID SEARCH SEEN" } else { "SEARCH UNDELETED" }, by_uid)?;
            }
            (11, Some(number), _) => drop(self.run(&format!("COPY {number} Other"), true)?),
            (12, _, Some(uid)) => drop(self.run(&format!("UID MOVE {uid} Other"), true)?),
            (13, _, _) => self.idle(random)?,
            (14, _, _) if random.u8(..4) == 0 => {
                // CLOSE expunges and says nothing of it.
                self.imap.command(if random.bool() { "CLOSE" } else { "UNSELECT" })?.ok()?;
                self.select()?;
            }
            _ => drop(self.run("NOOP", true)?),
        }
        self.check()
    }

    fn idle(&mut self, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let tag = self.imap.start("IDLE")?;
        let mut before = Vec::new();
        loop {
            let response = self.imap.response()?;
            match response.strip_prefix(b"* ") {
                Some(rest) => before.push(rest.to_vec()),
                None => {
                    ensure!(response.starts_with(b"+"), "IDLE: {:?}", String::from_utf8_lossy(&response));
                    break;
                }
            }
        }
        thread::sleep(Duration::from_millis(random.u64(0..30)));
        self.imap.wire.write(b"DONE\r\n")?;
        let mut done = self.imap.completion(&tag)?.ok()?;
        done.untagged.splice(..0, before);
        self.learn(&done, true)
    }
}

/// What stands behind `key`.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let start =
        text.find(&format!("({key}")).map(|at| at + 1).or_else(|| text.find(&format!(" {key}")).map(|at| at + 1))?;
    text.get(start + key.len()..)
}

/// When all is quiet, every session that asks sees the same mailbox as a new one, flags included.
fn agree(server: &Server, mut sessions: Vec<Session>) -> anyhow::Result<()> {
    let mut fresh = Session::open(server, 0)?;
    fresh.run("UID FETCH 1:* (FLAGS)", true)?;
    for session in &mut sessions {
        session.run("NOOP", true)?;
        session.check()?;
        ensure!(session.map == fresh.map, "a session sees {:?}, a new one {:?}", session.map, fresh.map);
        for (uid, flags) in &session.flags {
            let true_flags = fresh.flags.get(uid).with_context(|| format!("UID {uid} is not there"))?;
            ensure!(flags == true_flags, "UID {uid}: a session believes {flags:?}, it has {true_flags:?}");
        }
    }
    Ok(())
}

/// The sessions in turns, in an order that the seed gives: what fails here fails again.
fn in_turns(server: &Server, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let mut sessions = (0..SESSIONS).map(|number| Session::open(server, number)).collect::<Result<Vec<_>, _>>()?;
    for step in 0..COMMANDS {
        let chosen = random.usize(..sessions.len());
        sessions[chosen].step(random).with_context(|| format!("step {step}, session {chosen}"))?;
    }
    agree(server, sessions)
}

/// The sessions at once.
fn at_once(server: &Server, seed: u64) -> anyhow::Result<()> {
    let sessions = thread::scope(|scope| {
        let running: Vec<_> = (0..SESSIONS)
            .map(|number| {
                scope.spawn(move || -> anyhow::Result<Session> {
                    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(7).wrapping_add(number as u64));
                    let mut session = Session::open(server, number)?;
                    for step in 0..COMMANDS / SESSIONS {
                        session.step(&mut random).with_context(|| format!("step {step}, session {number}"))?;
                    }
                    Ok(session)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|session| session.join().unwrap_or_else(|_| bail!("a session panicked")))
            .collect::<Result<Vec<_>, _>>()
    })?;
    agree(server, sessions)
}

fn rounds(server: &Server) -> anyhow::Result<()> {
    for number in 0..random::rounds(2, 100) {
        let (seed, mut random) = random::round(number);
        let said = || format!("seed {seed}: run again with {}={seed}", random::VARIABLE);
        in_turns(server, &mut random).with_context(said)?;
        at_once(server, seed).with_context(said)?;
    }
    Ok(())
}

#[test]
fn estafeta_through_access() -> anyhow::Result<()> {
    let topology = Topology::apart().with("access2", &["access"], None);
    Cluster::run(&topology, |cluster| {
        let login = cluster.account("ana")?;
        let server = Server {
            addresses: cluster.all_at("imaps")?,
            trust: Some(cluster.trust.clone()),
            login,
            password: PASSWORD.to_owned(),
        };
        server.session(0)?.command(&format!("CREATE {}", quoted("Other")))?.ok()?;
        rounds(&server)
    })
}

#[test]
fn estafeta_on_one_node() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let login = cluster.account("ana")?;
        let (addresses, trust) = (cluster.all_at("imaps")?, Some(cluster.trust.clone()));
        let server = Server { addresses, trust, login, password: PASSWORD.to_owned() };
        server.session(0)?.command(&format!("CREATE {}", quoted("Other")))?.ok()?;
        rounds(&server)
    })
}

#[test]
fn debians_dovecot() -> anyhow::Result<()> {
    let (dovecot, _) = Dovecot::start("sdbox")?;
    let server =
        Server { addresses: vec![dovecot.imap], trust: None, login: "ana".into(), password: dovecot::password() };
    rounds(&server).with_context(|| dovecot.log())
}
