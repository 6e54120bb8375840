//! What was measured, as a table and as a page.

use std::env;
use std::fs;

use crate::load::{CONNECTIONS, Load};

/// The rates of one system at one size.
pub struct Measured {
    /// The system.
    pub system: &'static str,
    /// The size of a message.
    pub size_bytes: usize,
    /// Messages a second, of each round.
    pub rates: Vec<f64>,
}

impl Measured {
    /// The median.
    pub fn median(&self) -> f64 {
        median(self.rates.clone())
    }

    fn span(&self) -> String {
        let lowest = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = self.rates.iter().copied().fold(0.0, f64::max);
        format!("{lowest:.0}–{highest:.0}")
    }
}

/// The median of some values; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Adds a round's rate.
pub fn add(measured: &mut Vec<Measured>, system: &'static str, size_bytes: usize, rate: f64) {
    match measured.iter_mut().find(|known| known.system == system && known.size_bytes == size_bytes) {
        Some(known) => known.rates.push(rate),
        None => measured.push(Measured { system, size_bytes, rates: vec![rate] }),
    }
}

/// The table: medians, spans, and the ratio to each peer in the same run.
pub fn table(measured: &[Measured], peers: &[&str]) -> String {
    let named: String = peers.iter().map(|peer| format!(" ratio to {peer} |")).collect();
    let mut table = format!(
        "| message | system | messages/s (median) | lowest–highest |{named}\n|---|---|---:|---:|{}\n",
        "---:|".repeat(peers.len())
    );
    for row in measured {
        let ratio = |peer: &&str| {
            let beside = measured.iter().find(|other| other.size_bytes == row.size_bytes && other.system == *peer);
            format!(" {:.2} |", beside.map_or(0.0, |beside| row.median() / beside.median()))
        };
        table += &format!(
            "| {} KB | {} | {:.0} | {} |{}\n",
            row.size_bytes / 1000,
            row.system,
            row.median(),
            row.span(),
            peers.iter().map(ratio).collect::<String>()
        );
    }
    table
}

/// The page with the new figures in the section of this name; what stands around them stays. A section that is not there
/// yet begins with `head`.
pub fn page(before: &str, (section, head): (&str, &str), table: &str, loads: &[Load], rounds: usize) -> String {
    let counts: Vec<String> =
        loads.iter().map(|load| format!("{} of {} KB", load.messages, load.size_bytes / 1000)).collect();
    let figures = format!(
        "{table}\n![messages a second]({})\n\n{} rounds in turns after a warm-up; a run sends {} over \
         {CONNECTIONS} connections; {}.",
        picture(section),
        rounds,
        counts.join(" or "),
        machine()
    );
    let program = format!("integration-tests/bench {section}");
    let mark = |what: &str| format!("<!-- written by {}: {what} -->", program.trim_end());
    between(before, (&mark("begin"), &mark("end")), &figures, head)
}

/// The picture's file, beside the page.
pub fn picture(section: &str) -> String {
    if section.is_empty() { "benchmarks.svg".into() } else { format!("benchmarks-{section}.svg") }
}

/// The page with new figures between their marks; where there are none yet, at the end, behind `head`.
pub fn between(before: &str, (begin, end): (&str, &str), figures: &str, head: &str) -> String {
    let figures = format!("{begin}\n\n{figures}\n\n{end}");
    match (before.find(begin), before.find(end)) {
        (Some(from), Some(to)) if from < to => format!("{}{figures}{}", &before[..from], &before[to + end.len()..]),
        _ => format!("{before}{head}{figures}\n"),
    }
}

/// A number as people read it: 55,000.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let places = digits.len();
    let comma = |place: usize| if place > 0 && (places - place).is_multiple_of(3) { "," } else { "" };
    digits.chars().enumerate().map(|(place, digit)| format!("{}{digit}", comma(place))).collect()
}

/// The machine and the build, in words.
pub fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    // Said by the script that built what is measured.
    let build = match env::var("CARGO_PROFILE").as_deref() {
        Ok("dist") => "the build for servers (`--profile dist`)",
        _ if cfg!(debug_assertions) => "a debug build, so no figure to quote",
        _ => "a release build",
    };
    format!("{processors} processors ({model}), {build}")
}

/// Prints a line: the bench's own output.
#[allow(clippy::print_stdout, reason = "this program's purpose is to print")]
pub fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_commas() {
        assert_eq!([10, 1_000, 55_000, 1_000_000].map(thousands), ["10", "1,000", "55,000", "1,000,000"]);
    }

    #[test]
    fn medians_ratios_and_the_page_around_them() {
        let mut measured = Vec::new();
        for rate in [30.0, 10.0, 20.0] {
            add(&mut measured, "Estafeta, one node", 4_000, rate);
            add(&mut measured, "Postfix + Dovecot", 4_000, rate / 2.0);
        }
        let table = table(&measured, &["Postfix + Dovecot", "Estafeta, one node"]);
        assert!(table.contains("| 4 KB | Estafeta, one node | 20 | 10–30 | 2.00 | 1.00 |"), "{table}");
        let section = ("", "# Benchmarks\n\n");
        let first = page("", section, "old figures\n", &Load::quick(), 1);
        assert!(first.starts_with("# Benchmarks") && first.contains("old figures"));
        let edited = first.replace("# Benchmarks", "# Edited");
        let second = page(&edited, section, &table, &Load::quick(), 1);
        assert!(second.starts_with("# Edited") && second.contains("2.00") && !second.contains("old figures"));
        let third = page(&second, ("lmtp", "## Deliveries\n\n"), "more\n", &Load::quick(), 1);
        assert!(third.contains("2.00") && third.contains("## Deliveries") && third.contains("(benchmarks-lmtp.svg)"));
    }
}
