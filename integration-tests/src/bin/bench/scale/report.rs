//! The medians as tables, a picture and a section of the page.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::chart::{self, Ratios};
use crate::report::median;

/// Between these the figures stand.
pub const MARKS: (&str, &str) = (
    "<!-- written by integration-tests/bench scale: begin -->",
    "<!-- written by integration-tests/bench scale: end -->",
);

/// What stands before them on a page that has none yet.
pub const HEAD: &str = include_str!("head.md");

/// The picture's file, beside the page.
pub const PICTURE: &str = "benchmarks-scale.svg";

/// How a figure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How long something takes.
    Milliseconds,
    /// How long something takes that is long.
    Seconds,
    /// How long it takes for each message of the mailbox.
    MicrosecondsEach,
    /// How many a second: the more, the less each costs.
    PerSecond,
    /// How much of the memory or the disk.
    Megabytes,
}

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What was measured, in words.
    pub name: &'static str,
    /// How it is written.
    pub unit: Unit,
}

impl Row {
    fn text(self, value: f64) -> String {
        let number = match value {
            value if value < 10.0 => format!("{value:.2}"),
            value if value < 100.0 => format!("{value:.1}"),
            value => format!("{value:.0}"),
        };
        match self.unit {
            Unit::Milliseconds => format!("{number} ms"),
            Unit::Seconds => format!("{number} s"),
            Unit::MicrosecondsEach => format!("{number} µs"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Megabytes => format!("{number} MB"),
        }
    }
}

/// What was measured of one server at one size.
pub struct Column {
    /// Its title.
    pub title: String,
    samples: BTreeMap<&'static str, Vec<f64>>,
}

impl Column {
    /// One without figures.
    pub fn new(title: String) -> Self {
        Self { title, samples: BTreeMap::new() }
    }

    /// Adds a sample.
    pub fn add(&mut self, row: Row, value: f64) {
        self.samples.entry(row.name).or_default().push(value);
    }

    fn median(&self, row: Row) -> Option<f64> {
        self.samples.get(row.name).cloned().map(median)
    }
}

/// How much more it costs in the last column than in the first. What more mail takes of the memory, the disk and
/// the time of the index is no such cost.
fn growth(row: Row, columns: &[Column]) -> Option<f64> {
    if matches!(row.unit, Unit::Megabytes | Unit::Seconds) {
        return None;
    }
    let (first, last) = (columns.first()?.median(row)?, columns.last()?.median(row)?);
    let ratio = if row.unit == Unit::PerSecond { first / last } else { last / first };
    Some(ratio).filter(|ratio| ratio.is_finite())
}

/// A table: for each server its columns, from small to large, and how much more the last costs than the first.
pub fn table(rows: &[Row], servers: &[&[Column]]) -> String {
    let mut table = String::from("| what is asked |");
    for columns in servers {
        columns.iter().for_each(|column| table += &format!(" {} |", column.title));
        table += " times the cost |";
    }
    let width: usize = servers.iter().map(|columns| columns.len() + 1).sum();
    let _ = writeln!(table, "\n|---|{}", "---:|".repeat(width));
    for row in rows {
        let _ = write!(table, "| {} |", row.name);
        for columns in servers {
            for column in *columns {
                let _ = write!(table, " {} |", column.median(*row).map_or("–".into(), |value| row.text(value)));
            }
            let _ = write!(table, " {} |", growth(*row, columns).map_or("–".into(), |ratio| format!("{ratio:.2}")));
        }
        table.push('\n');
    }
    table
}

/// The picture: how much more it costs with the most accounts, and in the largest mailbox, than with the fewest and in the
/// smallest.
pub fn picture(rows: &[Row], [accounts, messages, dovecot]: [&[Column]; 3]) -> String {
    let bars = |row: &Row| -> Option<Ratios> {
        let coloured = [(accounts, "#2a6f97"), (messages, "#61a5c2"), (dovecot, "#b5651d")];
        let bars = coloured.into_iter().filter_map(|(columns, colour)| Some((growth(*row, columns)?, colour)));
        let bars: Vec<_> = bars.collect();
        (!bars.is_empty()).then_some((row.name, bars))
    };
    let title = |columns: &[Column]| columns.last().map_or(String::new(), |column| column.title.clone());
    let legend = format!("{}; {}; {}", title(accounts), title(messages), title(dovecot));
    let rows: Vec<Ratios> = rows.iter().filter_map(bars).collect();
    chart::times("times the cost when it is large", &legend, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_of_costs() {
        let rows = [
            Row { name: "SELECT", unit: Unit::Milliseconds },
            Row { name: "LMTP", unit: Unit::PerSecond },
            Row { name: "memory", unit: Unit::Megabytes },
        ];
        let column = |title: &str, select: f64, rate: f64| {
            let mut column = Column::new(title.into());
            column.add(rows[0], select);
            column.add(rows[1], rate);
            column.add(rows[2], 12.0);
            column
        };
        let ours = [column("10", 1.0, 1000.0), column("1,000", 2.0, 500.0)];
        let theirs = [column("10", 0.5, 1000.0)];
        let table = table(&rows, &[&ours, &theirs]);
        assert!(table.contains("| SELECT | 1.00 ms | 2.00 ms | 2.00 | 0.50 ms | 1.00 |"), "{table}");
        assert!(table.contains("| LMTP | 1000/s | 500/s | 2.00 | 1000/s | 1.00 |"), "{table}");
        assert!(table.contains("| memory | 12.0 MB | 12.0 MB | – | 12.0 MB | – |"), "{table}");
        let picture = picture(&rows, [&ours, &ours, &theirs]);
        assert!(picture.contains("#b5651d") && !picture.contains("memory"), "{picture}");
    }
}
