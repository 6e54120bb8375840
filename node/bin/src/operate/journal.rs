//! What happened in the cluster, as this node saw it: the last changes of standings, and what each did to names and routes.
//! In memory for who asks, and in a file for who asks after a restart.
//!
//! Both are bounded: the last [`EVENTS_LIMIT`] in memory; `events.jsonl` up to [`FILE_BYTES`], with one file of that size
//! before it, `events.old.jsonl`.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use estafeta_cluster::membership::{Change, Standing};
use estafeta_core::{NodeName, RoleName};
use serde::{Deserialize, Serialize};

/// How many events are kept in memory.
pub const EVENTS_LIMIT: usize = 200;

/// How large the file grows before it becomes the old one.
const FILE_BYTES: u64 = 1 << 20;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whose standing changed.
    pub node: NodeName,
    /// Of which role; none when the node came or went as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// How it stood.
    pub from: Standing,
    /// How it stands.
    pub to: Standing,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What names and routes did about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
}

impl Event {
    /// A change and its effects.
    pub fn new(change: Change, effects: Vec<String>) -> Self {
        let at_ms = change.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self {
            at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
            node: change.node,
            role: change.role,
            from: change.from,
            to: change.to,
            why: change.why,
            effects,
        }
    }
}

/// The journal. Cheap to clone.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    file: PathBuf,
    old: PathBuf,
    /// The newest last.
    events: Mutex<VecDeque<Event>>,
}

impl Journal {
    /// Starts with what the data directory remembers. Lines that cannot be read are passed over: a crash may have left half
    /// of one.
    pub fn open(data: &Path) -> Self {
        let (file, old) = (data.join("events.jsonl"), data.join("events.old.jsonl"));
        let mut events = VecDeque::new();
        for text in [&old, &file].into_iter().filter_map(|file| fs::read_to_string(file).ok()) {
            for event in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
                push(&mut events, event);
            }
        }
        Self(Arc::new(Inner { file, old, events: Mutex::new(events) }))
    }

    /// Writes one down.
    pub fn add(&self, event: Event) {
        if let Err(error) = self.append(&event) {
            tracing::warn!(file = %self.0.file.display(), %error, "an event cannot be written down: after a restart it is forgotten");
        }
        push(&mut self.0.events.lock().unwrap_or_else(PoisonError::into_inner), event);
    }

    /// The newest ones, the newest first.
    pub fn newest(&self, count: usize) -> Vec<Event> {
        let events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().rev().take(count).cloned().collect()
    }

    fn append(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.0.file)?;
        if file.metadata()?.len() + line.len() as u64 > FILE_BYTES {
            fs::rename(&self.0.file, &self.0.old)?;
            file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.0.file)?;
        }
        // Not fsynced: a machine that loses its power loses the last of what it saw, and nothing that was promised.
        file.write_all(&line)
    }
}

fn push(events: &mut VecDeque<Event>, event: Event) {
    if events.len() >= EVENTS_LIMIT {
        events.pop_front();
    }
    events.push_back(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Event {
        Event {
            at_ms: number,
            node: "access1".parse().unwrap(),
            role: Some(RoleName::ACCESS),
            from: Standing::Ready,
            to: Standing::Unheard,
            why: "x".repeat(1000),
            effects: vec!["imap names access2 only now".into()],
        }
    }

    #[test]
    fn a_restart_remembers_and_both_bounds_hold() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path());
        assert!(journal.newest(10).is_empty());
        for number in 0..2500 {
            journal.add(event(number));
        }
        let numbers = |journal: &Journal| journal.newest(3).iter().map(|event| event.at_ms).collect::<Vec<_>>();
        assert_eq!(numbers(&journal), [2499, 2498, 2497]);
        for file in ["events.jsonl", "events.old.jsonl"] {
            let length = fs::metadata(data.path().join(file)).unwrap().len();
            assert!(length <= FILE_BYTES, "{file} has {length} bytes");
        }
        // A crash in the middle of a line.
        let mut file = OpenOptions::new().append(true).open(data.path().join("events.jsonl")).unwrap();
        file.write_all(b"{\"at_ms\":1").unwrap();
        let again = Journal::open(data.path());
        assert_eq!(numbers(&again), [2499, 2498, 2497]);
        assert_eq!(again.newest(usize::MAX).len(), EVENTS_LIMIT);
        assert_eq!(again.newest(1), [event(2499)]);
    }
}
