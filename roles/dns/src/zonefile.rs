//! Zone files (RFC 1035 §5): from their text to record sets, with the line of what is wrong.
//!
//! The text is cut into entries here, so that an error has its line; what one entry says, hickory-proto's parser reads.
//! `$INCLUDE` is refused: one file, one zone.

use std::collections::BTreeMap;

use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::txt::{Parser, parse_ttl};

use crate::config::fixed::{MOST_TTL_SECONDS, may_stand};
use crate::zone::{Choice, Datum, RecordSet};

/// The largest zone file, in bytes.
pub const FILE_BYTES: u64 = 64 << 20;

/// How long a record may be kept that says nothing of it, when nothing before it does, in seconds.
const USUAL_TTL_SECONDS: u32 = 3600;

/// What a zone file holds: its names in the zone, without SOA, whose fields are this cluster's.
pub type Held = BTreeMap<Name, Vec<RecordSet>>;

/// Reads a zone file's text. An error names the line.
pub fn read(text: &str, origin: &Name) -> Result<Held, String> {
    let mut held = Held::new();
    let mut state =
        State { origin: origin.clone(), owner: origin.to_ascii(), default_ttl: None, last_ttl: USUAL_TTL_SECONDS };
    for (line, entry) in entries(text) {
        let record = state.take(entry.as_str(), origin).map_err(|why| format!("line {line}: {why}"))?;
        if let Some((name, set)) = record {
            add(&mut held, name, set).map_err(|why| format!("line {line}: {why}"))?;
        }
    }
    Ok(held)
}

/// Reads one entry, `NAME TTL IN TYPE DATA`, of the zone `origin`. None when it is empty, or the zone's SOA.
pub fn entry(text: &str, origin: &Name) -> Result<Option<(Name, RecordSet)>, String> {
    read_one(text, origin, origin)
}

/// What one entry leaves for the next ones.
struct State {
    origin: Name,
    owner: String,
    default_ttl: Option<u32>,
    last_ttl: u32,
}

impl State {
    fn take(&mut self, entry: &str, zone: &Name) -> Result<Option<(Name, RecordSet)>, String> {
        let mut words = entry.split_whitespace();
        let first = words.next().unwrap_or_default();
        match first.to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                let name = words.next().ok_or("$ORIGIN without a name")?;
                self.origin = Name::parse(name, Some(&self.origin)).map_err(|error| error.to_string())?.to_lowercase();
                return Ok(None);
            }
            "$TTL" => {
                let ttl = words.next().ok_or("$TTL without a time")?;
                self.default_ttl = Some(parse_ttl(ttl).map_err(|error| error.to_string())?);
                return Ok(None);
            }
            directive if directive.starts_with('$') => {
                return Err(format!("{first} is not understood: write out here what it stands for"));
            }
            _ => {}
        }
        // RFC 1035 §5.1: an entry that begins with a blank belongs to the last name.
        let rest = match entry.starts_with(char::is_whitespace) {
            true => entry,
            false => {
                let owner = match first {
                    "@" => self.origin.clone(),
                    name => Name::parse(name, Some(&self.origin)).map_err(|error| error.to_string())?,
                };
                self.owner = owner.to_ascii();
                &entry[first.len()..]
            }
        };
        let ttl = self.default_ttl.unwrap_or(self.last_ttl);
        let record = read_one(&format!("$TTL {ttl}\n{} {rest}", self.owner), &self.origin, zone)?;
        if let Some((_, set)) = &record {
            self.last_ttl = set.ttl_seconds;
        }
        Ok(record)
    }
}

fn read_one(text: &str, origin: &Name, zone: &Name) -> Result<Option<(Name, RecordSet)>, String> {
    let (_, read) = Parser::new(format!("{text}\n"), None, Some(origin.clone()))
        .parse()
        .map_err(|error| format!("{error}").replace('\n', " "))?;
    let Some(set) = read.into_values().next() else { return Ok(None) };
    let (name, kind) = (set.name().to_lowercase(), set.record_type());
    if !zone.zone_of(&name) {
        return Err(format!("{name} is not in the zone {zone}"));
    }
    if kind == RecordType::SOA {
        return Ok(None);
    }
    if !may_stand(kind) {
        return Err(format!("{kind} is made by the name server itself: leave it out"));
    }
    let ttl_seconds = set.ttl().min(MOST_TTL_SECONDS);
    let data = set.records_without_rrsigs().map(|record| Datum::plain(record.data.clone())).collect();
    Ok(Some((name, RecordSet { kind, ttl_seconds, choice: Choice::All, data })))
}

/// Adds a record to those of its name and type (RFC 2181 §5.2: they have one TTL, the smallest that was given).
pub fn add(held: &mut Held, name: Name, set: RecordSet) -> Result<(), String> {
    let sets = held.entry(name.clone()).or_default();
    // RFC 2181 §10.1.
    if sets.iter().any(|other| (other.kind == RecordType::CNAME) != (set.kind == RecordType::CNAME)) {
        return Err(format!("{name} has a CNAME, and beside it nothing may stand"));
    }
    match sets.iter_mut().find(|other| other.kind == set.kind) {
        None => sets.push(set),
        Some(_) if set.kind == RecordType::CNAME => return Err(format!("{name} has two CNAMEs")),
        Some(known) => {
            known.ttl_seconds = known.ttl_seconds.min(set.ttl_seconds);
            // RFC 2181 §5: no record is there twice.
            known.data.extend(set.data.into_iter().filter(|datum| !known.data.contains(datum)).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// Cuts a text into its entries, each with the number of its first line: comments gone, what stands in parentheses on one
/// line.
fn entries(text: &str) -> Vec<(usize, String)> {
    let (mut entries, mut entry, mut first_line) = (Vec::new(), String::new(), 1);
    let (mut quoted, mut escaped, mut comment, mut depth) = (false, false, false, 0_u32);
    for (line, text) in text.lines().enumerate() {
        if entry.is_empty() {
            first_line = line + 1;
        }
        for c in text.chars() {
            match c {
                _ if comment => {}
                _ if escaped => {
                    escaped = false;
                    entry.push(c);
                }
                '\\' => {
                    escaped = true;
                    entry.push(c);
                }
                '"' => {
                    quoted = !quoted;
                    entry.push(c);
                }
                ';' if !quoted => comment = true,
                '(' if !quoted => {
                    depth += 1;
                    entry.push(' ');
                }
                ')' if !quoted => {
                    depth = depth.saturating_sub(1);
                    entry.push(' ');
                }
                c => entry.push(c),
            }
        }
        (comment, escaped) = (false, false);
        if depth > 0 || quoted {
            entry.push(' ');
            continue;
        }
        if !entry.trim().is_empty() {
            entries.push((first_line, std::mem::take(&mut entry)));
        }
        entry.clear();
    }
    if !entry.trim().is_empty() {
        entries.push((first_line, entry));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let origin = Name::from_ascii("example.edu.").unwrap();
        let held = read(text, &origin)?;
        let of_set = |name: &Name, set: &RecordSet| {
            let data: Vec<String> = set.data.iter().map(|datum| datum.data.to_string()).collect();
            format!("{name} {} {} {}", set.ttl_seconds, set.kind, data.join(" | "))
        };
        Ok(held.iter().flat_map(|(name, sets)| sets.iter().map(move |set| of_set(name, set))).collect())
    }

    #[test]
    fn a_zone_file_as_others_write_it() {
        let text = r#"
; the old zone
$TTL 1h
@   IN SOA ns1 hostmaster (
        2024010101 ; serial
        3600 900 604800 300 )
    IN NS ns1.example.edu.
    TXT "v=one; two" "three"
WWW 300 IN A 192.0.2.80
    IN A 192.0.2.81
    A 192.0.2.80
ftp CNAME www
*.sites 60 A 192.0.2.82
$ORIGIN cs.example.edu.
@ NS ns
ns A 192.0.2.90
"#;
        assert_eq!(
            shown(text).unwrap(),
            [
                "example.edu. 3600 NS ns1.example.edu.",
                "example.edu. 3600 TXT v=one; twothree",
                "cs.example.edu. 3600 NS ns.cs.example.edu.",
                "ns.cs.example.edu. 3600 A 192.0.2.90",
                "ftp.example.edu. 3600 CNAME www.example.edu.",
                "*.sites.example.edu. 60 A 192.0.2.82",
                "www.example.edu. 300 A 192.0.2.80 | 192.0.2.81",
            ]
        );
    }

    #[test]
    fn errors_name_their_line() {
        for (text, line, part) in [
            ("www A 192.0.2.1\nmail A x\n", 2, "address"),
            ("@ SOA ( ns hm\n1 2 3\n4 5 )\nwww A\n", 4, ""),
            ("www A 192.0.2.1\nwww CNAME other\n", 2, "CNAME"),
            ("www.example.org. A 192.0.2.1", 1, "not in the zone"),
            ("$INCLUDE other.zone", 1, "$INCLUDE"),
            ("www WHAT 192.0.2.1", 1, "WHAT"),
            ("www DNSKEY 257 3 13 AAAA", 1, ""),
        ] {
            let wrong = shown(text).expect_err(text);
            assert!(wrong.starts_with(&format!("line {line}: ")) && wrong.contains(part), "{text:?}: {wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "([a-z@*$\"();\\\\ .0-9\n\t]|IN |A |TXT |\\$TTL |\\$ORIGIN ){0,60}") {
            let _ = shown(&text);
        }
    }
}
