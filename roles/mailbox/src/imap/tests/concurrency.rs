//! Sessions that do what they like to one mailbox at the same time. Each client keeps its own map of sequence numbers,
//! from what it was told unasked alone; after every command the map equals what `UID FETCH 1:* (UID)` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use client::Answer;

/// A client's idea of the mailbox.
struct Mirror {
    client: Client,
    /// By sequence number; none for a message of which only the existence was told.
    uids: Vec<Option<u32>>,
    /// Flags as last told, without \Recent, sorted.
    flags: BTreeMap<u32, Vec<String>>,
    rng: Rng,
}

impl Mirror {
    async fn new(house: &House, rng: Rng) -> Self {
        let mut mirror = Self { client: house.connect(), uids: Vec::new(), flags: BTreeMap::new(), rng };
        mirror.select().await;
        mirror
    }

    async fn select(&mut self) {
        self.uids.clear();
        self.flags.clear();
        self.run("SELECT INBOX", true).await;
        self.check().await;
    }

    /// Sends a command and takes in what is told.
    async fn run(&mut self, command: &str, expunges: bool) -> Answer {
        let answer = self.client.command(command).await;
        let allowed = ["OK", "NO [EXPUNGEISSUED]", "BAD There is no message"];
        assert!(allowed.iter().any(|start| answer.completion.starts_with(start)), "{command}: {answer:?}");
        for line in &answer.untagged {
            self.hear(line, expunges).unwrap_or_else(|| panic!("{command}: {line} with {:?}", self.uids));
        }
        answer
    }

    /// Takes in one untagged response; none when it makes no sense.
    fn hear(&mut self, line: &str, expunges: bool) -> Option<()> {
        let mut words = line.splitn(3, ' ');
        let (Ok(number), Some(word)) = (words.next()?.parse::<usize>(), words.next()) else { return Some(()) };
        match word {
            "EXISTS" if number >= self.uids.len() => self.uids.resize(number, None),
            "EXPUNGE" if expunges => {
                (1..=self.uids.len()).contains(&number).then_some(())?;
                if let Some(uid) = self.uids.remove(number - 1) {
                    self.flags.remove(&uid);
                }
            }
            "RECENT" if number <= self.uids.len() => {}
            "FETCH" => {
                let items = words.next()?;
                let known = self.uids.get_mut(number.checked_sub(1)?)?;
                if let Some(rest) = items.strip_prefix("(UID ") {
                    let uid = rest.split([' ', ')']).next()?.parse().ok()?;
                    (known.is_none() || *known == Some(uid)).then_some(())?;
                    *known = Some(uid);
                }
                if let (Some(uid), Some((_, flags))) = (*known, items.split_once("FLAGS (")) {
                    self.flags.insert(uid, sorted(flags.split_once(')')?.0));
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The map equals what the server says. (That a number told once means the same message, `hear` has seen to.)
    async fn check(&mut self) {
        let known = self.uids.len();
        let answer = self.client.command("UID FETCH 1:* (UID)").await;
        let (fetched, changes): (Vec<_>, Vec<_>) = answer.untagged.iter().partition(|line| line.contains("FETCH (UID"));
        let plain: Vec<_> = fetched.iter().filter(|line| !line.contains("FLAGS")).collect();
        assert_eq!(plain.len(), known, "{answer:?}");
        for (index, line) in plain.iter().enumerate() {
            assert!(line.starts_with(&format!("{} FETCH (UID ", index + 1)), "{answer:?}");
            self.hear(line, false).unwrap_or_else(|| panic!("{line} with {:?}", self.uids));
        }
        assert!(self.uids.is_sorted() && self.uids.iter().all(Option::is_some));
        // What has changed comes behind, with the numbers as they are then.
        let behind = answer.untagged.iter().position(|line| changes.contains(&line) || line.contains("FLAGS"));
        for line in answer.untagged.iter().skip(behind.unwrap_or(usize::MAX)) {
            self.hear(line, true).unwrap_or_else(|| panic!("{line} with {:?}", self.uids));
        }
    }

    /// A random set of sequence numbers.
    fn sequences(&mut self) -> String {
        let len = self.uids.len() as u32;
        if len == 0 {
            return "1:*".to_owned();
        }
        let (first, last) = (self.rng.u32(1..=len), self.rng.u32(1..=len));
        match self.rng.u8(..4) {
            0 => first.to_string(),
            1 => format!("{first}:*"),
            2 => format!("{first},{last}"),
            _ => format!("{}:{}", first.min(last), first.min(last).saturating_add(2).min(len)),
        }
    }

    fn uid_set(&mut self) -> String {
        let last = self.uids.iter().flatten().next_back().copied().unwrap_or(1);
        let first = self.rng.u32(1..=last);
        if self.rng.bool() { format!("{first}:{}", first + self.rng.u32(..4)) } else { first.to_string() }
    }

    async fn step(&mut self) {
        let (sequences, uids) = (self.sequences(), self.uid_set());
        let flag = self.rng.choice(["\\Deleted", "\\Deleted", "\\Seen", "\\Flagged", "kw1", "kw2"]).unwrap_or("\\Seen");
        let sign = self.rng.choice(["+", "-", ""]).unwrap_or("+");
        match self.rng.u8(..20) {
            0..3 => {
                let text = message(self.rng.u32(..));
                self.run(&format!("APPEND INBOX ({flag}) {{{}+}}\r\n{text}", text.len()), true).await;
            }
            3..5 => drop(self.run(&format!("STORE {sequences} {sign}FLAGS ({flag})"), false).await),
            5 => drop(self.run(&format!("UID STORE {uids} {sign}FLAGS ({flag})"), true).await),
            6 => {
                // Silence: what was asked for is known without being told.
                let numbers = self.uids.len();
                if let Some(Some(uid)) = numbers.checked_sub(1).map(|last| self.uids[self.rng.usize(..=last)]) {
                    let before = self.flags.get(&uid).cloned();
                    let sequence = self.uids.iter().position(|one| *one == Some(uid)).unwrap_or(0) + 1;
                    if let Some(mut flags) = before {
                        flags.push(flag.to_owned());
                        self.flags.insert(uid, sorted(&flags.join(" ")));
                    }
                    self.run(&format!("STORE {sequence} +FLAGS.SILENT ({flag})"), false).await;
                }
            }
            7..9 => drop(self.run("EXPUNGE", true).await),
            9 => drop(self.run(&format!("UID EXPUNGE {uids}"), true).await),
            10 => drop(self.run(&format!("FETCH {sequences} (FLAGS RFC822.SIZE BODY[TEXT])"), false).await),
            11 => drop(self.run(&format!("UID FETCH {uids} (FLAGS BODY.PEEK[])"), true).await),
            12 => {
                let answer = self.run("SEARCH BODY body", false).await;
                let found = answer.with("SEARCH")[0].split(' ').skip(1).map(|number| number.parse::<usize>().unwrap());
                assert!(found.max().unwrap_or(0) <= self.uids.len());
            }
            13 => drop(self.run("UID SEARCH UNDELETED", true).await),
            14 => drop(self.run(&format!("COPY {sequences} INBOX"), true).await),
            15 => drop(self.run(&format!("MOVE {sequences} INBOX"), true).await),
            16 => drop(self.run(&format!("UID MOVE {uids} Archive"), true).await),
            17 => self.idle().await,
            18 if self.rng.u8(..4) == 0 => self.select().await,
            _ => drop(self.run("NOOP", true).await),
        }
    }

    async fn idle(&mut self) {
        let tag = self.client.begin("IDLE").await;
        assert_eq!(self.client.response().await.as_deref(), Some("+ idling"));
        tokio::task::yield_now().await;
        self.client.send("DONE\r\n").await;
        for line in self.client.end(&tag).await.untagged {
            self.hear(&line, true).unwrap_or_else(|| panic!("IDLE: {line} with {:?}", self.uids));
        }
    }
}

fn sorted(flags: &str) -> Vec<String> {
    let mut flags: Vec<_> =
        flags.split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent").map(str::to_owned).collect();
    flags.sort();
    flags.dedup();
    flags
}

async fn run(seed: u64, sessions: u64, steps: u32) {
    let house = Arc::new(House::new().await);
    fill(&mut house.connect(), 10).await;
    let mut tasks = tokio::task::JoinSet::new();
    for session in 0..sessions {
        let house = house.clone();
        tasks.spawn(async move {
            let mut mirror = Mirror::new(&house, Rng::with_seed(seed * 1_000 + session)).await;
            for _ in 0..steps {
                mirror.step().await;
                mirror.check().await;
            }
            mirror
        });
    }
    let mirrors = tasks.join_all().await;
    // When all is quiet, all know the same, and it is what a newcomer sees.
    let mut newcomer = Mirror::new(&house, Rng::with_seed(0)).await;
    newcomer.run("FETCH 1:* FLAGS", false).await;
    for mut mirror in mirrors {
        mirror.run("NOOP", true).await;
        mirror.check().await;
        assert_eq!(mirror.uids, newcomer.uids, "seed {seed}");
        for (uid, flags) in &mirror.flags {
            assert_eq!(Some(flags), newcomer.flags.get(uid), "seed {seed}, UID {uid}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_client_keeps_its_numbers() {
    let seeds = std::env::var("ESTAFETA_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3);
    for seed in 1..=seeds {
        run(seed, 4, 60).await;
    }
}
