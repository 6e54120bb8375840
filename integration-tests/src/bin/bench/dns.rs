//! Answers a second: Estafeta beside NSD, Knot and PowerDNS from Debian's packages, on the same machine, in the same run,
//! asked by dnsperf for the same names. PowerDNS twice: with a zone file, and with the Lua records that check the health
//! of what they name, which is the nearest to what Estafeta does.
//!
//! All name servers are up throughout; runs take turns between them, and the median of the rounds is reported.

mod content;
mod perf;
mod report;
mod servers;

use std::fs;

use anyhow::Context;
use estafeta_integration_tests::binary::repository;

use self::content::Content;
use self::perf::Perf;
use self::report::Measured;
use self::servers::NameServer;
use crate::report::{between, say};

/// Measures, prints, and writes the page unless told otherwise.
pub fn run(rounds: usize, quick: bool, write: bool) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("estafeta-bench-dns-").tempdir()?;
    let content = Content::new()?;
    let perf = Perf::new(&directory.path().join("questions"), &content, if quick { 2 } else { 10 })?;
    let servers = NameServer::start_all(directory.path(), &content)?;
    let mut measured: Vec<Measured> = servers.iter().map(|server| Measured::of(server.name)).collect();
    for round in 0..=rounds {
        for (server, measured) in servers.iter().zip(&mut measured) {
            let run = perf.run(server).with_context(|| server.name)?;
            let label = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
            say(&format!(
                "{label}  {:<28} {:9.0} answers/s  {:5.2} µs of processor an answer  {} lost",
                server.name, run.rate, run.processor_us, run.lost
            ));
            // The first run of each fills caches: it is not counted.
            if round > 0 {
                measured.runs.push(run);
            }
        }
    }
    let table = report::table(&measured);
    say(&table);
    if write {
        let page = repository().join("docs/benchmarks.md");
        let before = fs::read_to_string(&page).unwrap_or_default();
        fs::write(&page, between(&before, report::MARKS, &report::figures(&table, rounds, &perf), report::HEAD))?;
        say(&format!("written: {}", page.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of them answers the same, and dnsperf's report is understood.
    #[test]
    fn the_name_servers_are_measured() {
        let missing = servers::missing();
        if !missing.is_empty() {
            say(&format!("not run, these programs are not there: {}", missing.join(", ")));
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let content = Content::new().unwrap();
        let perf = Perf::new(&directory.path().join("questions"), &content, 1).unwrap();
        let servers = NameServer::start_all(directory.path(), &content).unwrap();
        assert_eq!(servers.len(), 5);
        for server in &servers {
            let run = perf.run(server).unwrap();
            assert!(run.rate > 100.0 && run.processor_us > 0.0 && run.response_bytes > 40, "{}: {run:?}", server.name);
        }
    }
}
