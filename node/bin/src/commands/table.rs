//! Answers on standard output: tables for people, JSON for scripts.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde_json::Value;

/// Prints a line. A reader that has gone away is no error.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints an answer as JSON.
pub fn print_json(answer: &Value) {
    say(&format!("{answer:#}"));
}

/// Prints an answer for people: an array as a table, or with one column as plain lines, ready to paste; an object as its
/// keys and values, nothing as nothing.
pub fn print(answer: &Value, columns: &[&str]) {
    match answer {
        Value::Null => {}
        Value::Array(rows) if rows.is_empty() => say("none"),
        Value::Array(rows) => match columns {
            [only] => rows.iter().for_each(|row| say(&text(only, &row[*only]))),
            columns => say(&rows_table(rows, columns)),
        },
        Value::Object(object) => say(&object_table(object)),
        other => say(&text("", other)),
    }
}

fn rows_table(rows: &[Value], columns: &[&str]) -> String {
    let first = rows.first().and_then(Value::as_object);
    let columns: Vec<String> = match (columns, first) {
        ([], Some(first)) => first.keys().cloned().collect(),
        _ => columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    let mut table = plain_table();
    table.set_header(columns.iter().map(|column| {
        let heading = Cell::new(heading(column));
        if io::stdout().is_terminal() { heading.add_attribute(Attribute::Bold) } else { heading }
    }));
    for row in rows {
        table.add_row(columns.iter().map(|column| cell(column, &row[column.as_str()])));
    }
    table.to_string()
}

fn object_table(object: &serde_json::Map<String, Value>) -> String {
    let mut table = plain_table();
    for (key, value) in object {
        table.add_row([Cell::new(heading(key)), cell(key, value)]);
    }
    table.to_string()
}

pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn heading(key: &str) -> String {
    key.trim_end_matches("_bytes").replace('_', " ")
}

fn cell(key: &str, value: &Value) -> Cell {
    let cell = Cell::new(text(key, value));
    let colour = io::stdout().is_terminal();
    match value {
        Value::Number(_) => cell.set_alignment(CellAlignment::Right),
        Value::Bool(false) if colour => cell.fg(Color::Red),
        _ => cell,
    }
}

/// A value as people read it: sizes with their unit, yes and no, lists with commas.
fn text(key: &str, value: &Value) -> String {
    match value {
        Value::Null => if key.ends_with("_bytes") || key.starts_with("quota_") { "no limit" } else { "" }.into(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.into(),
        Value::Number(number) if key.ends_with("_bytes") => size(number.as_u64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| text("", item)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn size(bytes: u64) -> String {
    let units = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit) => format!("{}{name}", bytes / unit),
        Some((unit, name)) => format!("{:.1}{name}", bytes as f64 / unit as f64),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_none_is_called_so() {
        assert_eq!(
            (text("quota_bytes", &Value::Null), text("quota_messages", &Value::Null)),
            ("no limit".into(), "no limit".into())
        );
        assert_eq!(text("name", &Value::Null), "");
    }
}
