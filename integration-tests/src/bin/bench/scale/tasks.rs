//! What is asked. Each task begins with the mailbox as it was filled, and leaves it so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use estafeta_integration_tests::client::Imap;
use estafeta_integration_tests::tokens;

use super::report::{Row, Unit};
use super::servers::{Server, account};
use crate::load;

/// The size of a message that fills, and of one that is delivered, in bytes.
pub const FILLING_BYTES: usize = 500;
pub const DELIVERED_BYTES: usize = 4_000;

/// How many messages COPY and EXPUNGE take, where there are so many.
const SOME: usize = 1_000;

/// How many messages one APPEND brings while a mailbox is filled (RFC 3502), and over how many connections.
const APPENDED: usize = 100;
const FILLERS: usize = 4;

/// One figure of an open mailbox.
pub struct Task {
    /// What is asked, in words, and how it is reported.
    pub row: Row,
    /// How often a round asks it, each time over a new connection.
    pub samples: usize,
    /// Asks it of a session; the mailbox is open and holds so many messages. Says how long the answer took.
    run: fn(&mut Imap, usize) -> anyhow::Result<Duration>,
}

const fn ms(name: &'static str) -> Row {
    Row { name, unit: Unit::Milliseconds }
}

const fn each(name: &'static str) -> Row {
    Row { name, unit: Unit::MicrosecondsEach }
}

/// SELECT, which comes before the others.
pub const SELECT: Row = ms("SELECT, when it was open lately");

/// The others, in the order in which they run.
pub const TASKS: &[Task] = &[
    Task {
        row: each("FETCH 1:* (FLAGS UID), a message"),
        samples: 1,
        run: |imap, _| timed(imap, "FETCH 1:* (FLAGS UID)"),
    },
    Task {
        row: ms("FETCH of the last 100 (ENVELOPE FLAGS)"),
        samples: 5,
        run: |imap, messages| {
            timed(imap, &format!("FETCH {}:{messages} (ENVELOPE FLAGS)", messages.saturating_sub(99).max(1)))
        },
    },
    Task {
        row: ms("STORE of one flag"),
        samples: 5,
        run: |imap, messages| {
            let took = timed(imap, &format!("STORE {} +FLAGS (\\Flagged)", messages.div_ceil(2)))?;
            imap.measure(&format!("STORE {} -FLAGS (\\Flagged)", messages.div_ceil(2)))?;
            Ok(took)
        },
    },
    Task {
        row: each("SEARCH BODY without a hit, a message"),
        samples: 1,
        run: |imap, _| timed(imap, "SEARCH BODY \"nowhere to be found\""),
    },
    Task {
        row: ms("one APPEND"),
        samples: 5,
        run: |imap, messages| {
            let text = message(FILLING_BYTES);
            let begun = Instant::now();
            imap.append("INBOX", "", &text)?.ok()?;
            let took = begun.elapsed();
            expunge_behind(imap, messages)?;
            Ok(took)
        },
    },
    Task {
        row: ms("COPY of 1,000"),
        samples: 1,
        run: |imap, messages| {
            imap.command("CREATE Copies")?.ok()?;
            let took = timed(imap, &format!("COPY {} Copies", last(messages)))?;
            imap.command("DELETE Copies")?.ok()?;
            Ok(took)
        },
    },
    Task {
        row: ms("EXPUNGE of 1,000"),
        samples: 1,
        run: |imap, messages| {
            imap.measure(&format!("COPY {} INBOX", last(messages)))?;
            expunge_behind(imap, messages)
        },
    },
];

/// The last ones of a mailbox.
fn last(messages: usize) -> String {
    format!("{}:{messages}", (messages + 1).saturating_sub(SOME).max(1))
}

impl Task {
    /// One sample: of a new connection that has the mailbox open.
    pub fn run(&self, server: &Server, messages: usize) -> anyhow::Result<Duration> {
        let mut imap = server.session()?;
        imap.measure("SELECT INBOX")?;
        let took = (self.run)(&mut imap, messages)?;
        imap.measure("LOGOUT").ok();
        Ok(took)
    }
}

/// SELECT of a session that has nothing open.
pub fn select(mut imap: Imap) -> anyhow::Result<(Duration, Imap)> {
    Ok((timed(&mut imap, "SELECT INBOX")?, imap))
}

/// Expunges all behind the first `messages`; says how long EXPUNGE took. There must be some.
fn expunge_behind(imap: &mut Imap, messages: usize) -> anyhow::Result<Duration> {
    imap.measure("NOOP")?;
    imap.measure(&format!("STORE {}:* +FLAGS.SILENT (\\Deleted)", messages + 1))?;
    let took = timed(imap, "EXPUNGE")?;
    let count = count(imap)?;
    ensure!(count == messages, "{count} messages instead of {messages}");
    Ok(took)
}

fn count(imap: &mut Imap) -> anyhow::Result<usize> {
    let status = imap.command("STATUS INBOX (MESSAGES)")?.ok()?.texts().join(" ");
    let count = status.split("MESSAGES ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
    count.ok_or_else(|| anyhow::anyhow!("no count in {status:?}"))
}

fn timed(imap: &mut Imap, command: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    imap.measure(command)?;
    Ok(begun.elapsed())
}

/// Another one each time.
fn message(size_bytes: usize) -> Vec<u8> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    tokens::message(&format!("scale-{number}"), "user@demo.test", size_bytes)
}

/// Delivers one message to each of these, by LMTP; gives deliveries a second.
pub fn deliver(server: &Server, to: Vec<String>, size_bytes: usize) -> anyhow::Result<f64> {
    // Made before the clock starts.
    let messages: Vec<_> = to.into_iter().map(|to| (to, message(size_bytes))).collect();
    let begun = Instant::now();
    load::send(&|_| server.lmtp(), &messages)?;
    Ok(messages.len() as f64 / begun.elapsed().as_secs_f64())
}

/// Delivers into the mailbox that is looked at, and takes the messages away again; gives deliveries a second.
pub fn deliver_into(server: &Server, messages: usize, count: usize) -> anyhow::Result<f64> {
    let rate = deliver(server, vec![account(0); count], DELIVERED_BYTES)?;
    let (_, mut imap) = select(server.session()?)?;
    expunge_behind(&mut imap, messages)?;
    Ok(rate)
}

/// Fills the mailbox; gives messages a second, or none when it would take longer than `limit`. `progress` hears of every
/// tenth.
pub fn fill(
    server: &Server,
    messages: usize,
    limit: Duration,
    progress: impl Fn(usize) + Sync,
) -> anyhow::Result<Option<f64>> {
    // Dovecot 2.3 panics (EDEADLK on dovecot.map.index.log) when several make an mdbox at once: one client comes first.
    let first = APPENDED.min(messages);
    append(&mut server.session()?, first)?;
    let (begun, next, done) = (Instant::now(), AtomicUsize::new(first), AtomicUsize::new(first));
    let filler = || -> anyhow::Result<()> {
        let mut imap = server.session()?;
        loop {
            let from = next.fetch_add(APPENDED, Ordering::Relaxed);
            if from >= messages || begun.elapsed() > limit {
                return Ok(());
            }
            let some = APPENDED.min(messages - from);
            append(&mut imap, some)?;
            let before = done.fetch_add(some, Ordering::Relaxed);
            if before * 10 / messages != (before + some) * 10 / messages {
                progress(before + some);
            }
        }
    };
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS).map(|_| scope.spawn(filler)).collect();
        fillers.into_iter().try_for_each(|filler| filler.join().unwrap_or_else(|_| bail!("a client panicked")))
    })?;
    let rate = (messages - first) as f64 / begun.elapsed().as_secs_f64();
    if done.into_inner() < messages {
        return Ok(None);
    }
    let there = count(&mut server.session()?)?;
    ensure!(there == messages, "{there} messages instead of {messages}");
    Ok(Some(rate))
}

/// One APPEND of several messages, whose literals wait for nobody (RFC 7888).
fn append(imap: &mut Imap, count: usize) -> anyhow::Result<()> {
    let mut command = b"fill APPEND INBOX".to_vec();
    for _ in 0..count {
        let text = message(FILLING_BYTES);
        command.extend_from_slice(format!(" {{{}+}}\r\n", text.len()).as_bytes());
        command.extend(text);
    }
    command.extend_from_slice(b"\r\n");
    imap.wire.write(&command)?;
    imap.completion("fill")?.ok()?;
    Ok(())
}
