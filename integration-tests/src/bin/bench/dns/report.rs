//! What was measured, as a table and as a section of the page.

use super::perf::{OUTSTANDING, Perf, Run, SOCKETS};
use crate::report::{machine, median};

/// Between these stands what is written here.
pub const MARKS: (&str, &str) =
    ("<!-- written by integration-tests/bench dns: begin -->", "<!-- written by integration-tests/bench dns: end -->");

/// How the section begins that was not there before.
pub const HEAD: &str = include_str!("head.md");

/// The runs of one name server.
pub struct Measured {
    name: &'static str,
    /// Of each round.
    pub runs: Vec<Run>,
}

impl Measured {
    /// Nothing yet.
    pub fn of(name: &'static str) -> Self {
        Self { name, runs: Vec::new() }
    }

    fn median(&self, what: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(what).collect())
    }

    fn span(&self) -> String {
        let rates = self.runs.iter().map(|run| run.rate);
        let (lowest, highest) = (rates.clone().fold(f64::INFINITY, f64::min), rates.fold(0.0, f64::max));
        format!("{lowest:.0}–{highest:.0}")
    }
}

/// The table: medians, spans, and the ratios to the others in the same run.
pub fn table(measured: &[Measured]) -> String {
    let mut table = String::from(
        "| name server | answers/s (median) | lowest–highest | ratio to NSD | ratio to PowerDNS with Lua | processor an answer | mean size |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let rate_of =
        |name: &str| measured.iter().find(|row| row.name == name).map_or(0.0, |row| row.median(|run| run.rate));
    for row in measured {
        let rate = row.median(|run| run.rate);
        table += &format!(
            "| {} | {rate:.0} | {} | {:.2} | {:.2} | {:.2} µs | {:.0} bytes |\n",
            row.name,
            row.span(),
            rate / rate_of("NSD"),
            rate / rate_of("PowerDNS, Lua health records"),
            row.median(|run| run.processor_us),
            row.median(|run| run.response_bytes as f64),
        );
    }
    table
}

/// What stands between the marks.
pub fn figures(table: &str, rounds: usize, perf: &Perf) -> String {
    format!(
        "{table}\n{rounds} rounds in turns after a warm-up; a run asks for {} seconds from {SOCKETS} sockets, with \
         {OUTSTANDING} questions under way; {}.",
        perf.seconds,
        machine()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_run() {
        let row = |name, rate| {
            let run = Run { rate, lost: 0, response_bytes: 100, processor_us: 4.0 };
            Measured { name, runs: vec![run, Run { rate: rate * 3.0, ..run }, Run { rate: rate / 2.0, ..run }] }
        };
        let table = table(&[row("Estafeta", 50.0), row("NSD", 100.0), row("PowerDNS, Lua health records", 20.0)]);
        assert!(table.contains("| Estafeta | 50 | 25–150 | 0.50 | 2.50 | 4.00 µs | 100 bytes |"), "{table}");
    }
}
