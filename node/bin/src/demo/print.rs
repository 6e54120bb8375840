//! How the story is told: headings, steps that went well or did not, tables. In colour on a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::commands::table::say;

fn paint(colour: &str, text: &str) -> String {
    if io::stdout().is_terminal() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A heading.
pub fn heading(text: &str) {
    say("");
    say(&paint("1;36", text));
}

/// A step that went well.
pub fn done(text: &str) {
    say(&format!("  {} {text}", paint("32", "✓")));
}

/// A step that did not.
pub fn failed(text: &str) {
    say(&format!("  {} {text}", paint("1;31", "✗")));
}

/// A line that belongs to the step before.
pub fn detail(text: &str) {
    say(&format!("      {}", paint("2", text)));
}

/// A line to copy.
pub fn copy(what: &str, line: &str) {
    say(&format!("  {}", paint("2", what)));
    say(&format!("    {line}"));
}

/// A duration as people read it.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
