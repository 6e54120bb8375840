//! The medians as a table, a picture and a section of the page.

use std::fmt::Write;

use super::MESSAGE_BYTES;
use crate::chart;
use crate::report::machine;

/// Between these the figures stand.
pub const MARKS: (&str, &str) = (
    "<!-- written by integration-tests/bench imap: begin -->",
    "<!-- written by integration-tests/bench imap: end -->",
);

/// What stands before them on a page that has none yet.
pub const HEAD: &str = include_str!("head.md");

/// How long one task takes, in milliseconds.
pub struct Medians {
    /// What is asked, in words.
    pub task: &'static str,
    /// At Estafeta, through TLS.
    pub ours: f64,
    /// At Dovecot, in clear text.
    pub clear: f64,
    /// At Dovecot, through TLS.
    pub tls: f64,
}

/// Each task with its medians, and how many times as long Dovecot takes either way.
pub fn table(medians: &[Medians]) -> String {
    let mut table = String::from(
        "| what a client asks | Estafeta (TLS) | Dovecot (clear) | Dovecot (TLS) | times as fast as Dovecot (clear) | as Dovecot (TLS) |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    for Medians { task, ours, clear, tls } in medians {
        let (to_clear, to_tls) = (clear / ours, tls / ours);
        let _ =
            writeln!(table, "| {task} | {ours:.2} ms | {clear:.2} ms | {tls:.2} ms | {to_clear:.2} | {to_tls:.2} |");
    }
    table
}

/// The section.
pub fn figures(table: &str, rounds: usize, messages: usize) -> String {
    format!(
        "{table}\n![times as fast as Dovecot](benchmarks-imap.svg)\n\n{rounds} rounds in turns after a warm-up; {messages} \
         messages of {MESSAGE_BYTES} bytes; {}.",
        machine()
    )
}

/// Faster and slower than Dovecot through TLS, and than Dovecot in clear text.
const FASTER: [&str; 2] = ["#2a6f97", "#61a5c2"];
const SLOWER: [&str; 2] = ["#b5651d", "#dba87a"];

/// How many times as fast as Dovecot: a bar to Dovecot through TLS and one to Dovecot in clear text.
pub fn chart(medians: &[Medians]) -> String {
    let coloured = |way: usize, ratio: f64| (ratio, if ratio >= 1.0 { FASTER[way] } else { SLOWER[way] });
    let rows = medians.iter().map(|Medians { task, ours, clear, tls }| {
        let bars = [tls, clear].into_iter().enumerate().map(|(way, theirs)| coloured(way, theirs / ours));
        (*task, bars.collect())
    });
    let legend = "dark: Dovecot through TLS, too; light: in clear text";
    chart::times("times as fast as Dovecot", legend, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_say_who_is_faster() {
        let medians = [
            Medians { task: "SELECT", ours: 1.0, clear: 2.0, tls: 3.0 },
            Medians { task: "FETCH", ours: 4.0, clear: 1.0, tls: 2.0 },
        ];
        let table = table(&medians);
        assert!(table.contains("| SELECT | 1.00 ms | 2.00 ms | 3.00 ms | 2.00 | 3.00 |"), "{table}");
        assert!(table.contains("| FETCH | 4.00 ms | 1.00 ms | 2.00 ms | 0.25 | 0.50 |"), "{table}");
        let chart = chart(&medians);
        assert!(FASTER.iter().chain(&SLOWER).all(|colour| chart.contains(colour)) && chart.ends_with("</svg>\n"));
    }
}
