//! One run of dnsperf against one name server, and how much of the processors that server took for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::content::Content;
use super::servers::NameServer;

/// How many sockets dnsperf asks from: enough for the kernel to spread them over a server's sockets.
pub const SOCKETS: usize = 32;

/// How many questions are under way at most.
pub const OUTSTANDING: usize = 200;

/// Asks.
pub struct Perf {
    questions: PathBuf,
    /// How long a run is, in seconds.
    pub seconds: usize,
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Answers a second.
    pub rate: f64,
    /// Questions without an answer.
    pub lost: u64,
    /// The mean size of an answer.
    pub response_bytes: u64,
    /// Processor time of the server an answer, in microseconds, the kernel's for it included.
    pub processor_us: f64,
}

impl Perf {
    /// Writes the questions down.
    pub fn new(questions: &Path, content: &Content, seconds: usize) -> anyhow::Result<Self> {
        fs::write(questions, content.questions())?;
        Ok(Self { questions: questions.to_owned(), seconds })
    }

    /// One run, over UDP, with EDNS.
    pub fn run(&self, server: &NameServer) -> anyhow::Result<Run> {
        let before = processor_ticks(server.process_id())?;
        let output = Command::new("/usr/bin/dnsperf")
            .args(["-s", &server.address.ip().to_string(), "-p", &server.address.port().to_string(), "-e"])
            .args(["-l", &self.seconds.to_string(), "-c", &SOCKETS.to_string(), "-q", &OUTSTANDING.to_string(), "-d"])
            .arg(&self.questions)
            .output()?;
        let ticks = processor_ticks(server.process_id())?.saturating_sub(before);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "dnsperf: {text}{}", String::from_utf8_lossy(&output.stderr));
        let completed: f64 = number(&text, "Queries completed:")?;
        ensure!(text.contains("NXDOMAIN") && text.contains("NOERROR"), "other answers than were meant: {text}");
        let seconds = ticks as f64 / ticks_a_second()?;
        Ok(Run {
            rate: number(&text, "Queries per second:")?,
            lost: number(&text, "Queries lost:")?,
            response_bytes: number(&text, "response ")?,
            processor_us: seconds * 1e6 / completed.max(1.0),
        })
    }
}

/// The number behind some words.
fn number<N: std::str::FromStr>(text: &str, words: &str) -> anyhow::Result<N> {
    let rest = text.split_once(words).map(|(_, rest)| rest.trim_start());
    let digits = rest.and_then(|rest| rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next());
    digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("dnsperf says no {words:?}: {text}"))
}

/// The processor time of a process and all below it, in ticks.
fn processor_ticks(top: u32) -> anyhow::Result<u64> {
    let mut processes: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has just ended is no more.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        if let Some(read) = stat_fields(&stat) {
            processes.insert(id, read);
        }
    }
    let is_below = |mut id: u32| {
        while let Some((parent, _)) = processes.get(&id).filter(|_| id != top) {
            id = *parent;
        }
        id == top
    };
    Ok(processes.iter().filter(|(id, _)| is_below(**id)).map(|(_, (_, ticks))| ticks).sum())
}

/// The parent and the ticks of user and system of a process (proc(5)): fields 4, 14 and 15. The second one, the name,
/// may hold anything.
fn stat_fields(stat: &str) -> Option<(u32, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((fields.get(1)?.parse().ok()?, ticks(11)? + ticks(12)?))
}

fn ticks_a_second() -> anyhow::Result<f64> {
    let output = Command::new("getconf").arg("CLK_TCK").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_reports() {
        let text = "  Queries completed:    30000 (99.99%)\n  Queries lost:  3 (0.01%)\n  Average packet size:  request 46, \
                    response 103\n  Queries per second:   12345.678901\n";
        assert_eq!(number::<f64>(text, "Queries completed:").unwrap(), 30000.0);
        assert_eq!(number::<u64>(text, "Queries lost:").unwrap(), 3);
        assert_eq!(number::<u64>(text, "response ").unwrap(), 103);
        assert!((number::<f64>(text, "Queries per second:").unwrap() - 12_345.678_901).abs() < 1e-6);
        assert!(number::<u64>(text, "Queries sent:").is_err());
        assert_eq!(stat_fields("7 (a) b) S 3 7 7 0 -1 4 1 0 0 0 50 25 0 0 20 0"), Some((3, 75)));
        assert!(processor_ticks(std::process::id()).is_ok());
    }
}
