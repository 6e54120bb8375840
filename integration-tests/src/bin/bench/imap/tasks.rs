//! What is asked. Each task begins with INBOX as it was filled, and leaves it so.

use std::time::{Duration, Instant};

use anyhow::ensure;
use estafeta_integration_tests::client::Imap;
use estafeta_integration_tests::tokens;

use super::MESSAGE_BYTES;

/// One figure.
pub struct Task {
    /// What is asked, in words.
    pub name: &'static str,
    /// Asks it, and says how long the answer took.
    pub run: fn(&mut Imap, usize) -> anyhow::Result<Duration>,
}

/// How many messages APPEND brings, one after the other.
const APPENDED: usize = 200;

/// All of them, in the order in which they run.
pub const TASKS: &[Task] = &[
    Task { name: "SELECT", run: |imap, _| timed(imap, "SELECT INBOX") },
    Task { name: "FETCH 1:* (FLAGS UID)", run: |imap, _| of_open(imap, "FETCH 1:* (FLAGS UID)") },
    Task {
        name: "ENVELOPE, BODYSTRUCTURE, INTERNALDATE, RFC822.SIZE of all",
        run: |imap, _| of_open(imap, "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)"),
    },
    Task {
        name: "four header fields of all",
        run: |imap, _| of_open(imap, "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)])"),
    },
    Task {
        name: "1,000 whole messages",
        run: |imap, messages| of_open(imap, &format!("FETCH 1:{} (BODY.PEEK[])", messages.min(1_000))),
    },
    Task { name: "SEARCH SUBJECT", run: |imap, _| of_open(imap, "SEARCH SUBJECT \"token bench-77\"") },
    Task { name: "SEARCH BODY without a hit", run: |imap, _| of_open(imap, "SEARCH BODY \"nowhere to be found\"") },
    Task {
        name: "STORE +FLAGS.SILENT on all",
        run: |imap, _| {
            let took = of_open(imap, "STORE 1:* +FLAGS.SILENT (\\Flagged)")?;
            imap.measure("STORE 1:* -FLAGS.SILENT (\\Flagged)")?;
            Ok(took)
        },
    },
    Task {
        name: "STORE -FLAGS on all",
        run: |imap, _| {
            of_open(imap, "STORE 1:* +FLAGS.SILENT (\\Flagged)")?;
            timed(imap, "STORE 1:* -FLAGS (\\Flagged)")
        },
    },
    Task {
        name: "COPY of all",
        run: |imap, _| {
            imap.command("CREATE Copies")?.ok()?;
            let took = of_open(imap, "COPY 1:* Copies")?;
            imap.command("DELETE Copies")?.ok()?;
            Ok(took)
        },
    },
    Task {
        name: "EXPUNGE of all",
        run: |imap, _| {
            imap.command("CREATE Copies")?.ok()?;
            of_open(imap, "COPY 1:* Copies")?;
            imap.command("SELECT Copies")?.ok()?;
            imap.measure("STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
            let took = timed(imap, "EXPUNGE")?;
            imap.command("SELECT INBOX")?.ok()?;
            imap.command("DELETE Copies")?.ok()?;
            Ok(took)
        },
    },
    Task {
        name: "one APPEND, of 200 in a row",
        run: |imap, _| {
            imap.command("CREATE Copies")?.ok()?;
            let texts: Vec<_> = (0..APPENDED).map(|number| message(number, "appended")).collect();
            let begun = Instant::now();
            for text in &texts {
                imap.append("Copies", "", text)?.ok()?;
            }
            let took = begun.elapsed() / APPENDED as u32;
            imap.command("DELETE Copies")?.ok()?;
            Ok(took)
        },
    },
];

fn message(number: usize, what: &str) -> Vec<u8> {
    tokens::message(&format!("{what}-{number}"), "user@demo.test", MESSAGE_BYTES)
}

/// Fills INBOX.
pub fn fill(imap: &mut Imap, messages: usize) -> anyhow::Result<()> {
    for number in 0..messages {
        imap.append("INBOX", "", &message(number, "bench"))?.ok()?;
    }
    let status = imap.command("STATUS INBOX (MESSAGES)")?.ok()?.texts().join(" ");
    ensure!(status.contains(&format!("MESSAGES {messages})")), "{status}");
    Ok(())
}

fn timed(imap: &mut Imap, command: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    imap.measure(command)?;
    Ok(begun.elapsed())
}

/// The same in INBOX, which is opened first.
fn of_open(imap: &mut Imap, command: &str) -> anyhow::Result<Duration> {
    imap.command("SELECT INBOX")?.ok()?;
    timed(imap, command)
}
