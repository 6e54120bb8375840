//! Keeps this node's keys as the cluster has them: reads the book every few seconds, keeps it in a file so that the node
//! starts without the directory, makes missing keys, and takes the next step of a roll-over.
//!
//! Every node reads; only the lowest-named ready one writes, each time in place of the version that it read, so that two
//! that both believe themselves the lowest never make two keys. Each node tells the others in its facts which generation
//! of the book it has: a step is taken only when all enrolled `dns` nodes have the one before.

use std::collections::btree_map::Entry;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estafeta_core::members::{Members, MembersView};
use estafeta_core::settings::SettingsStore;
use estafeta_core::{Failure, NodeName, Reason, RoleName};
use estafeta_net::drain::Drain;
use estafeta_net::role::Context;
use hickory_proto::rr::Name;

use super::key::Key;
use super::ring::{Book, KeyRing};
use super::signatures;
use super::signer::seconds;
use super::timeline::{Waits, ZoneKeys};
use crate::zones::ZonesView;

/// The secret that the book is, among those of the role.
const SECRET: &str = "dnssec";

/// The fact that says which generation of the book a node has.
pub const FACT: &str = "dns.keys";

/// How often the book is read.
const PERIOD: Duration = Duration::from_secs(2);

/// What the keeper works with.
pub struct Keeper {
    node: NodeName,
    ring: KeyRing,
    settings: Arc<dyn SettingsStore>,
    members: MembersView,
    file: PathBuf,
}

/// What was read: the book, and the version to write in place of.
struct Read {
    version: u64,
    book: Book,
}

impl Keeper {
    /// Starts from the file in the role's directory. A file that cannot be read is a failure: the zones could not be
    /// signed, and making new keys would break them for everyone who knows the old ones.
    pub fn open(context: &Context, ring: KeyRing) -> Result<Self, Failure> {
        let (settings, members) = (context.contracts.settings.clone(), context.members.clone());
        Self::with(context.node.clone(), ring, settings, members, &context.data)
    }

    fn with(
        node: NodeName,
        ring: KeyRing,
        settings: Arc<dyn SettingsStore>,
        members: MembersView,
        data: &Path,
    ) -> Result<Self, Failure> {
        signatures::describe_metrics();
        let file = data.join("dnssec.json");
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::internal(format!(
                "{}: the kept keys cannot be read: {error}. Mend the file; or remove it when a directory can be \
                 reached, which has the same keys",
                file.display()
            ))
        };
        match fs::read(&file) {
            Ok(_) if !ring.is_used() => {}
            Ok(bytes) => ring.replace(serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(wrong(&error)),
        }
        let keeper = Self { node, ring, settings, members, file };
        keeper.tell();
        Ok(keeper)
    }

    /// The keys.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Reads and steps until the drain begins. The keys of zones that nobody serves are not made.
    pub async fn run(self: Arc<Self>, zones: Arc<ZonesView>, drain: Drain) {
        // At a start the directory may be later than this role: the first failure says nothing.
        let mut failures = 0_u32;
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.begun() => return,
            }
            if !self.ring.is_used() {
                continue;
            }
            let served = zones.current().live.keys().cloned().collect();
            match self.round(served, SystemTime::now()).await {
                Ok(()) => {
                    if failures > 1 {
                        tracing::info!("the keys of the signed zones are read again");
                    }
                    failures = 0;
                }
                // Another node has written since this one has read: the next round sees what.
                Err(failure) if failure.reason == Reason::Exists => {}
                Err(failure) => {
                    failures = failures.saturating_add(1);
                    if failures == 2 {
                        tracing::warn!(%failure, "the keys of the signed zones cannot be read: they stay as they were");
                    }
                }
            }
        }
    }

    /// Reads once, and takes what step is due.
    pub async fn round(&self, served: Vec<Name>, now: SystemTime) -> Result<(), Failure> {
        let read = self.read().await?;
        if !self.is_first() {
            return Ok(());
        }
        let wanted: Vec<Name> = served.into_iter().filter(|origin| self.ring.signs(origin)).collect();
        let everywhere = self.waited_for(read.book.generation).is_empty();
        let waits = self.ring.config().waits();
        let next = next(&read.book, &wanted, seconds(now), everywhere, &waits).map_err(Failure::internal)?;
        match next {
            Some(next) => self.write(read.version, next).await,
            None => Ok(()),
        }
    }

    /// Changes the keys of one zone: reads them anew, and writes what `change` makes of them.
    pub async fn change(
        &self,
        origin: &Name,
        change: impl FnOnce(&ZoneKeys) -> Result<ZoneKeys, Failure>,
    ) -> Result<(), Failure> {
        let mut read = self.read().await?;
        let unknown = || Failure::new(Reason::NotFound, format!("the zone {origin} has no keys"));
        let keys = read.book.zones.get_mut(&origin.to_ascii()).ok_or_else(unknown)?;
        *keys = change(keys)?;
        read.book.generation += 1;
        self.write(read.version, read.book).await
    }

    /// The enrolled `dns` nodes that have not got this generation of the book.
    pub fn waited_for(&self, generation: u64) -> Vec<NodeName> {
        waited_for(&self.members.current(), generation)
    }

    fn is_first(&self) -> bool {
        is_first(&self.members.current(), &self.node)
    }

    /// Reads the book and takes it over. A directory that was restored from a backup may have an older one than this
    /// node: then this node's stays, because keys that resolvers know must not be forgotten.
    async fn read(&self) -> Result<Read, Failure> {
        let kept = self.settings.read_secret(&RoleName::DNS, SECRET).await?;
        let (version, stored) = match kept {
            Some(kept) => (kept.version, serde_json::from_str(&kept.content).map_err(unreadable)?),
            None => (0, Book::default()),
        };
        let own = self.ring.book();
        if stored.generation < own.generation {
            tracing::warn!(
                stored = stored.generation,
                own = own.generation,
                "the directory has older keys than this node, which keeps and restores its own"
            );
            if self.is_first() {
                self.write(version, own.clone()).await?;
                return Ok(Read { version: version + 1, book: own });
            }
            return Ok(Read { version, book: own });
        }
        if stored != own || !self.ring.is_known() {
            self.adopt(stored.clone())?;
        }
        self.tell();
        Ok(Read { version, book: stored })
    }

    async fn write(&self, known: u64, book: Book) -> Result<(), Failure> {
        let content = serde_json::to_string(&book).map_err(Failure::internal)?;
        self.settings.write_secret(&RoleName::DNS, SECRET, known, &content).await?;
        self.adopt(book)?;
        self.tell();
        Ok(())
    }

    /// On disk first: nothing is signed with a key that a restart would not know.
    fn adopt(&self, book: Book) -> Result<(), Failure> {
        let content = serde_json::to_vec_pretty(&book).map_err(Failure::internal)?;
        keep(&self.file, &content)
            .map_err(|error| Failure::internal(format!("{}: cannot keep the keys: {error}", self.file.display())))?;
        let before = self.ring.book();
        for (zone, keys) in &book.zones {
            if before.zones.get(zone).map(|keys| keys.stage) != Some(keys.stage) {
                tracing::info!(%zone, stage = ?keys.stage, next = keys.next(seconds(SystemTime::now())), "the zone's keys have moved on");
            }
        }
        self.ring.replace(book);
        Ok(())
    }

    fn tell(&self) {
        let generation = self.ring.generation().to_string();
        let told = self.members.current().get(&self.node).and_then(|own| own.facts.get(FACT).cloned());
        if self.ring.is_known() && told.as_ref() != Some(&generation) {
            self.members.change(&self.node, |own| drop(own.facts.insert(FACT.into(), generation.clone())));
        }
    }
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::internal(format!(
        "the directory's keys of the signed zones cannot be read: {error}. A newer version may have written them: bring \
         this node to that version"
    ))
}

/// Whether a node is the lowest-named ready `dns` node.
fn is_first(members: &Members, node: &NodeName) -> bool {
    members.iter().find(|member| member.is_ready(&RoleName::DNS)).is_some_and(|first| first.name == *node)
}

fn waited_for(members: &Members, generation: u64) -> Vec<NodeName> {
    let has = |facts: &std::collections::BTreeMap<String, String>| {
        facts.get(FACT).and_then(|told| told.parse().ok()) == Some(generation)
    };
    let enrolled = members.iter().filter(|member| member.roles.contains_key(&RoleName::DNS));
    enrolled.filter(|member| !has(&member.facts)).map(|member| member.name.clone()).collect()
}

/// The book after the steps that are due: keys for zones without, and the next step of each zone. None when there is
/// nothing to do.
fn next(
    book: &Book,
    wanted: &[Name],
    now_seconds: u64,
    everywhere: bool,
    waits: &Waits,
) -> Result<Option<Book>, String> {
    let mut next = book.clone();
    // Only what every node has can go a step on, so these first: a key that is made now is nowhere yet.
    for keys in next.zones.values_mut() {
        if let Some(advanced) = keys.advanced(now_seconds, everywhere, waits) {
            *keys = advanced;
        }
    }
    for zone in wanted.iter().map(Name::to_ascii) {
        if let Entry::Vacant(vacant) = next.zones.entry(zone) {
            vacant.insert(ZoneKeys::first(Key::generate(now_seconds)?, now_seconds));
        }
    }
    if next == *book {
        return Ok(None);
    }
    next.generation += 1;
    Ok(Some(next))
}

/// Writes a file of mode 0600 at once, whole and durable.
fn keep(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests;
