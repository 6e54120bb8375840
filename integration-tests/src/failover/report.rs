//! Many runs as a page: a table, and a picture of every single run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::Run;
use super::failure::Failure;
use super::load::Reckoning;

/// A run in which this machine stood still longer is listed apart: its figures are the machine's.
pub const STALL: Duration = Duration::from_millis(500);

/// What is wanted: out of DNS at the median and at the 99th percentile, in seconds.
const GOAL: (f64, f64) = (2.0, 3.0);

/// The page.
pub fn page(runs: &[Run], reckoning: &Reckoning, build: &str) -> String {
    let mut page = String::from(HEAD);
    page += &table(runs);
    let _ = write!(
        page,
        "\nMessages during all runs: {} answered 250, of these {} lost and {} delivered twice; {} were sent again by their client, \
         which had seen no answer.\n\n![seconds until out of DNS, every run](failover.svg)\n\n{build}\n",
        reckoning.accepted, reckoning.lost, reckoning.twice, reckoning.repeated
    );
    let stalled: Vec<&Run> = runs.iter().filter(|run| run.stall > STALL).collect();
    if !stalled.is_empty() {
        page += "\n## Runs in which the machine stood still\n\nA ticker of 100 ms came more than 500 ms late, so these say more about the \
                 machine than about Estafeta, and are not in the table.\n\n| failure | node | stall (s) | out of DNS (s) | client served (s) |\n\
                 |---|---|---:|---:|---:|\n";
        for run in stalled {
            let _ = writeln!(
                page,
                "| {} | {} | {:.1} | {:.2} | {:.2} |",
                run.failure.about(),
                run.node,
                run.stall.as_secs_f64(),
                run.out_of_dns.as_secs_f64(),
                run.served.as_secs_f64()
            );
        }
    }
    page
}

const HEAD: &str = "# Failover\n\nHow long it takes until nobody is sent to a node that has failed. Written by `integration-tests/failover`, which \
starts three edge, two access, two dns and two filter nodes, a directory and a mailbox as processes, each in a network namespace of \
its own; makes one node fail at a random moment while clients send and read; and undoes it. *Out of DNS*: from the failure to the last \
answer of any name server in which a service name or the MX set named the node (of a filter: until every edge node's view of it \
changed). *Served*: from the failure to the last client that resolved anew, without a second try, and was not served. *Back*: from the \
end of the failure until all name it again.\n\n";

/// One row a failure, and one for all that concern DNS.
fn table(runs: &[Run]) -> String {
    let mut groups: BTreeMap<(usize, &str), Vec<&Run>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.stall <= STALL) {
        groups.entry((run.failure as usize, run.failure.about())).or_default().push(run);
        if run.failure != Failure::Dependency {
            groups.entry((usize::MAX, "**all that DNS names**")).or_default().push(run);
        }
    }
    let mut table = String::from(
        "| failure | runs | out of DNS (s): median | 99th percentile | longest | client served (s): median | 99th percentile | clients not \
         served | back (s): median |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for ((_, about), runs) in &groups {
        let out = Quantiles::of(runs.iter().map(|run| run.out_of_dns));
        let served = Quantiles::of(runs.iter().map(|run| run.served));
        let back = Quantiles::of(runs.iter().map(|run| run.back));
        let (came, unserved) = runs.iter().fold((0, 0), |sum, run| (sum.0 + run.clients.0, sum.1 + run.clients.1));
        let _ = writeln!(
            table,
            "| {about} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {unserved} of {came} | {:.2} |",
            runs.len(),
            out.at(0.5),
            out.at(0.99),
            out.at(1.0),
            served.at(0.5),
            served.at(0.99),
            back.at(0.5)
        );
    }
    let _ = writeln!(
        table,
        "\nThe goal: out of DNS within {} s at the median and {} s at the 99th percentile.",
        GOAL.0, GOAL.1
    );
    table
}

/// Durations in their order.
struct Quantiles(Vec<f64>);

impl Quantiles {
    fn of(durations: impl Iterator<Item = Duration>) -> Self {
        let mut seconds: Vec<f64> = durations.map(|duration| duration.as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    /// The smallest value that this share of all does not exceed.
    fn at(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or_default()
    }
}

const LEFT: f64 = 230.0;
const SECOND: f64 = 150.0;
const ROW: f64 = 46.0;
const SECONDS: f64 = 4.0;

/// Every run as a dot: a row a failure, seconds to the right; a bar at each median, and lines at the goals.
pub fn picture(runs: &[Run]) -> String {
    let (width, height) = (LEFT + SECONDS * SECOND + 60.0, ROW * (Failure::ALL.len() as f64 + 1.0) + 20.0);
    let x = |seconds: f64| LEFT + seconds.min(SECONDS + 0.2) * SECOND;
    let mut body = String::new();
    let bottom = height - ROW;
    for tick in 0..=SECONDS as usize {
        let (at, label) = (x(tick as f64), bottom + 18.0);
        let _ = writeln!(body, "<line x1=\"{at}\" y1=\"10\" x2=\"{at}\" y2=\"{bottom}\" stroke=\"#ddd\"/>");
        let _ = writeln!(body, "<text x=\"{at}\" y=\"{label}\" text-anchor=\"middle\">{tick} s</text>");
    }
    for (goal, name) in [(GOAL.0, "goal: median"), (GOAL.1, "goal: 99 %")] {
        let (at, label) = (x(goal), bottom + 34.0);
        let _ = writeln!(
            body,
            "<line x1=\"{at}\" y1=\"10\" x2=\"{at}\" y2=\"{bottom}\" stroke=\"#b5651d\" stroke-dasharray=\"5 4\"/>"
        );
        let _ = writeln!(body, "<text x=\"{at}\" y=\"{label}\" text-anchor=\"middle\" fill=\"#b5651d\">{name}</text>");
    }
    for (row, failure) in Failure::ALL.into_iter().enumerate() {
        let middle = 10.0 + ROW * (row as f64 + 0.5);
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 12.0,
            middle + 4.0,
            failure.about()
        );
        let own: Vec<&Run> = runs.iter().filter(|run| run.failure == failure).collect();
        for (number, run) in own.iter().enumerate() {
            // Dots beside each other do not hide each other.
            let y = middle + (number % 9) as f64 * 3.0 - 12.0;
            let colour = if run.stall > STALL { "#bbb" } else { "#2a6f97" };
            let at = x(run.out_of_dns.as_secs_f64());
            let _ = writeln!(
                body,
                "<circle cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\" fill-opacity=\"0.55\"/>"
            );
        }
        let steady = Quantiles::of(own.iter().filter(|run| run.stall <= STALL).map(|run| run.out_of_dns));
        if !steady.0.is_empty() {
            let (at, top, end) = (x(steady.at(0.5)), middle - 16.0, middle + 16.0);
            let _ = writeln!(
                body,
                "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{end}\" stroke=\"#b00\" stroke-width=\"2\"/>"
            );
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(failure: Failure, out_ms: u64, stall_ms: u64) -> Run {
        Run {
            failure,
            node: "edge1".into(),
            out_of_dns: Duration::from_millis(out_ms),
            served: Duration::from_millis(out_ms / 2),
            clients: (10, 1),
            back: Duration::from_secs(3),
            stall: Duration::from_millis(stall_ms),
        }
    }

    #[test]
    fn quantiles_leave_out_what_the_machine_did() {
        let runs: Vec<Run> =
            (1..=100).map(|n| run(Failure::Kill, n * 10, 0)).chain([run(Failure::Kill, 9_000, 900)]).collect();
        let page = page(&runs, &Reckoning { accepted: 7, ..Reckoning::default() }, "a debug build");
        assert!(page.contains("| SIGKILL | 100 | 0.50 | 0.99 | 1.00 | 0.25 |"), "{page}");
        assert!(page.contains("7 answered 250, of these 0 lost"), "{page}");
        assert!(page.contains("| SIGKILL | edge1 | 0.9 | 9.00 | 4.50 |"), "{page}");
        assert_eq!(picture(&runs).matches("<circle").count(), 101);
    }
}
