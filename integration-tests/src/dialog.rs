//! Dialog files: a conversation with the real binary, line by line, as text.
//!
//! ```text
//! # A comment. Each connection has a name of letters and digits; `c` here.
//! c connect smtp            opens a connection to a service
//! c tls imaps               opens one through TLS
//! c -> EHLO client          sends a line, with its CRLF
//! c => \x00half a line      sends bytes as they are; \r \n \t \\ \xNN
//! c *> 5000 x               sends a text so many times over
//! c <- 220 exactly          reads a line, which must be this
//! c <~ ^250[ -]             reads a line, which must match: see below
//! c <& SIZE | 8BITMIME      reads a line, which must match all of these
//! c <* 250 SIZE | 8BITMIME  reads an SMTP reply of this code, of whose lines each of these must match one
//! c <. ^a1 OK               reads lines up to one that matches
//! c <! panic                as `<.`, and none on the way may match this: `c <! NEVER || WANTED`
//! c starttls                starts TLS now
//! c close                   closes the sending side
//! c end                     the server hangs up; what it still says before is left unread
//! ```
//!
//! A pattern is a text in which `*` stands for anything, `^` at its beginning and `$` at its end tie it to the line's
//! ends, and `[ab]` is one of these characters (so `[[]` is the bracket itself); upper and lower case are the same.
//! Filled in everywhere: `{account}`, an address with an empty mailbox; `{domain}`; `{password}`; `{login64}`, the two
//! of them as AUTH PLAIN has them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::Wire;
use crate::cluster::{Cluster, DOMAIN, PASSWORD};

/// Plays a dialog against a cluster that has this account, with [`PASSWORD`].
pub fn play(cluster: &Cluster, account: &str, text: &str) -> anyhow::Result<()> {
    let mut wires = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = fill(line, account);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        step(cluster, &mut wires, &line).with_context(|| format!("line {}: {line}", number + 1))?;
    }
    Ok(())
}

fn fill(line: &str, account: &str) -> String {
    let login = STANDARD.encode(format!("\0{account}\0{PASSWORD}"));
    let line = line.replace("{account}", account).replace("{domain}", DOMAIN);
    line.replace("{password}", PASSWORD).replace("{login64}", &login)
}

/// How long a server may take to say what it should.
const PATIENCE: Duration = Duration::from_secs(20);

fn step(cluster: &Cluster, wires: &mut BTreeMap<String, Wire>, line: &str) -> anyhow::Result<()> {
    let (name, rest) = line.split_once(' ').context("a connection's name and what to do")?;
    let (verb, argument) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "connect" | "tls" => {
            let address = cluster.at(argument)?;
            let wire =
                if verb == "tls" { Wire::connect_tls(address, &cluster.trust)? } else { Wire::connect(address)? };
            wire.set_patience(PATIENCE)?;
            wires.insert(name.to_owned(), wire);
        }
        _ => {
            let wire = wires.get_mut(name).with_context(|| format!("no connection {name}"))?;
            converse(cluster, wire, verb, argument)?;
        }
    }
    Ok(())
}

fn converse(cluster: &Cluster, wire: &mut Wire, verb: &str, argument: &str) -> anyhow::Result<()> {
    match verb {
        "->" => wire.write(format!("{argument}\r\n").as_bytes())?,
        "=>" => wire.write(&unescaped(argument)?)?,
        "*>" => {
            let (count, text) = argument.split_once(' ').context("a count and a text")?;
            let bytes = unescaped(text)?.repeat(count.parse()?);
            // A server that has heard enough hangs up while this is being sent: what follows says what it must do.
            let _ = wire.write(&bytes);
        }
        "<-" => {
            let line = wire.text_line()?;
            ensure!(line == argument, "got {line:?}");
        }
        "<~" => {
            let line = wire.text_line()?;
            ensure!(matches(argument, &line), "got {line:?}");
        }
        "<&" => {
            let line = wire.text_line()?;
            let missing = argument.split(" | ").find(|pattern| !matches(pattern, &line));
            ensure!(missing.is_none(), "{missing:?} is not in {line:?}");
        }
        "<*" => {
            let (code, patterns) = argument.split_once(' ').unwrap_or((argument, ""));
            let mut lines = vec![wire.text_line()?];
            while lines.last().is_some_and(|line| line.as_bytes().get(3) == Some(&b'-')) {
                lines.push(wire.text_line()?);
            }
            ensure!(lines.iter().all(|line| line.starts_with(code)), "got {lines:?}");
            let missing = patterns.split(" | ").find(|pattern| !lines.iter().any(|line| matches(pattern, line)));
            ensure!(missing.is_none(), "{missing:?} is not in {lines:?}");
        }
        "<." => {
            let mut passed = Vec::new();
            loop {
                let line = wire.text_line().with_context(|| format!("after {passed:?}"))?;
                if matches(argument, &line) {
                    break;
                }
                passed.push(line);
            }
        }
        "<!" => {
            let (never, wanted) = argument.split_once(" || ").context("NEVER || WANTED")?;
            loop {
                let line = wire.text_line()?;
                ensure!(!matches(never, &line), "got {line:?}");
                if matches(wanted, &line) {
                    break;
                }
            }
        }
        "starttls" => wire.start_tls(&cluster.trust)?,
        "close" => wire.finish()?,
        "end" => drop(wire.rest()),
        _ => bail!("unknown verb {verb}"),
    }
    Ok(())
}

fn unescaped(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            bytes.extend(character.to_string().bytes());
            continue;
        }
        match characters.next() {
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = characters.by_ref().take(2).collect();
                ensure!(digits.len() == 2, "two hexadecimal digits behind \\x");
                bytes.push(u8::from_str_radix(&digits, 16)?);
            }
            other => bail!("unknown escape \\{}", other.map(String::from).unwrap_or_default()),
        }
    }
    Ok(bytes)
}

/// Whether a line matches a pattern of this file's kind.
pub fn matches(pattern: &str, line: &str) -> bool {
    let (start, pattern) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (end, pattern) = pattern.strip_suffix('$').map_or((false, pattern), |rest| (true, rest));
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let line: Vec<char> = line.to_lowercase().chars().collect();
    let starts = if start { 0..=0 } else { 0..=line.len() };
    starts.into_iter().any(|from| matches_at(&pattern, &line[from..], end))
}

fn matches_at(pattern: &[char], line: &[char], end: bool) -> bool {
    match pattern.split_first() {
        None => !end || line.is_empty(),
        Some(('*', rest)) => (0..=line.len()).any(|skip| matches_at(rest, &line[skip..], end)),
        Some(('[', rest)) => {
            let Some(close) = rest.iter().position(|&character| character == ']') else { return false };
            line.split_first()
                .is_some_and(|(first, line)| rest[..close].contains(first) && matches_at(&rest[close + 1..], line, end))
        }
        Some((wanted, rest)) => {
            line.split_first().is_some_and(|(first, line)| first == wanted && matches_at(rest, line, end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, line, wanted) in [
            ("^250[ -]", "250-SIZE", true),
            ("^250[ -]", "2500", false),
            ("size", "250-SIZE 5", true),
            ("^a1 ok$", "a1 OK", true),
            ("^a1 ok$", "a1 OK done", false),
            ("^a1 OK * done$", "a1 OK FETCH done", true),
            ("^a1", "ba1", false),
            ("", "anything", true),
        ] {
            assert_eq!(matches(pattern, line), wanted, "{pattern} {line}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(unescaped("a\\x00\\r\\n\\\\é").unwrap(), b"a\0\r\n\\\xc3\xa9");
        assert!(unescaped("\\q").is_err() && unescaped("\\x4").is_err());
    }
}
