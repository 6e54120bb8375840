//! A message's way, as the nodes' own logs tell it: every line about a message carries its delivery id.

use std::fs;

use serde_json::Value;

use super::layout::Layout;

/// One thing that one node did with the message.
pub struct Hop {
    /// When, as the log has it.
    pub time: String,
    /// Which node.
    pub node: String,
    /// What it did.
    pub what: String,
    /// How long it took, as the node measured it: `judge 3 ms`.
    pub took: Vec<String>,
}

/// What the nodes' logs say about a message, in the order of time.
pub fn of(layout: &Layout, id: &str) -> Vec<Hop> {
    let mut hops: Vec<Hop> = layout
        .nodes
        .iter()
        .flat_map(|node| {
            let log = fs::read_to_string(layout.log(node)).unwrap_or_default();
            let lines: Vec<Hop> = log
                .lines()
                .filter(|line| line.contains(id))
                .filter_map(|line| hop(node.name.as_str(), id, line))
                .collect();
            lines
        })
        .collect();
    hops.sort_by(|a, b| a.time.cmp(&b.time));
    hops
}

fn hop(node: &str, id: &str, line: &str) -> Option<Hop> {
    let event: Value = serde_json::from_str(line).ok()?;
    let event = event.as_object()?;
    if event.get("id")?.as_str()? != id {
        return None;
    }
    let took = event.iter().filter_map(|(key, value)| {
        let what = key.strip_suffix("_ms")?.replace('_', " ");
        let milliseconds = value.as_f64()?;
        Some(if what == "elapsed" { format!("{milliseconds:.0} ms") } else { format!("{what} {milliseconds:.0} ms") })
    });
    Some(Hop {
        time: event.get("timestamp")?.as_str()?.to_owned(),
        node: node.to_owned(),
        what: event.get("message")?.as_str()?.to_owned(),
        took: took.collect(),
    })
}

/// The delivery id that a reply names.
pub fn id_in(reply: &str) -> Option<&str> {
    reply
        .split(|c: char| !(c.is_ascii_hexdigit() || c == '-'))
        .find(|word| word.len() == 36 && word.matches('-').count() == 4)
}
