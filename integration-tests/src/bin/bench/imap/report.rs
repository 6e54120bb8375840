//! The medians as a table, a picture and a section of the page.

use std::fmt::Write;

use super::MESSAGE_BYTES;
use super::tasks::Task;
use crate::report::machine;

/// Between these the figures stand.
pub const MARKS: (&str, &str) = (
    "<!-- written by integration-tests/bench imap: begin -->",
    "<!-- written by integration-tests/bench imap: end -->",
);

/// What stands before them on a page that has none yet.
pub const HEAD: &str = include_str!("head.md");

/// Each task with its median at Estafeta and at Dovecot, and how many times as long Dovecot takes.
pub fn table(medians: &[(&Task, f64, f64)]) -> String {
    let mut table =
        String::from("| what a client asks | Estafeta | Dovecot | times as fast as Dovecot |\n|---|---:|---:|---:|\n");
    for (task, ours, theirs) in medians {
        let _ = writeln!(table, "| {} | {ours:.2} ms | {theirs:.2} ms | {:.2} |", task.name, theirs / ours);
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

const LEFT: f64 = 400.0;
const WIDTH: f64 = 360.0;
const BAR: f64 = 22.0;

/// How many times as fast as Dovecot, on a logarithmic scale: what stands right of the line is faster.
pub fn chart(medians: &[(&Task, f64, f64)]) -> String {
    let ratios: Vec<f64> = medians.iter().map(|(_, ours, theirs)| (theirs / ours).max(0.001).log10()).collect();
    let reach = ratios.iter().fold(1.0_f64, |reach, ratio| reach.max(ratio.abs()));
    let middle = LEFT + WIDTH / 2.0;
    let mut body = String::new();
    for (index, ((task, ours, theirs), ratio)) in medians.iter().zip(&ratios).enumerate() {
        let y = 30.0 + BAR * index as f64;
        let length = ratio.abs() / reach * (WIDTH / 2.0 - 50.0);
        let (x, colour) = if *ratio >= 0.0 { (middle, "#2a6f97") } else { (middle - length, "#b5651d") };
        let label = if *ratio >= 0.0 { middle + length + 6.0 } else { middle + 6.0 };
        let baseline = y + BAR * 0.6;
        let _ = writeln!(body, "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, task.name);
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            BAR - 6.0
        );
        let _ = writeln!(body, "<text x=\"{label:.1}\" y=\"{baseline}\">{:.2}</text>", theirs / ours);
    }
    let height = 40.0 + BAR * medians.len() as f64;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{height}\" viewBox=\"0 0 {0} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{middle}\" y=\"18\" text-anchor=\"middle\">times as fast as Dovecot</text>\n\
         <line x1=\"{middle}\" y1=\"24\" x2=\"{middle}\" y2=\"{1}\" stroke=\"#222\"/>\n{body}</svg>\n",
        LEFT + WIDTH + 20.0,
        height - 8.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::tasks::TASKS;

    #[test]
    fn ratios_say_who_is_faster() {
        let medians = [(&TASKS[0], 1.0, 2.0), (&TASKS[1], 4.0, 1.0)];
        let table = table(&medians);
        assert!(table.contains("| SELECT | 1.00 ms | 2.00 ms | 2.00 |"), "{table}");
        assert!(table.contains("| 4.00 ms | 1.00 ms | 0.25 |"), "{table}");
        let chart = chart(&medians);
        assert!(chart.contains("#2a6f97") && chart.contains("#b5651d") && chart.ends_with("</svg>\n"));
    }
}
