//! What stays as it is when everything grows: the same questions with few accounts and with many, and of a small mailbox and of
//! large ones, there beside Dovecot.
//!
//! Clients come through access and TLS, as everyone's do, and through TLS to Dovecot. Runs take turns between what is
//! compared where it can be up at the same time, and medians are reported. What is in proportion to a mailbox by its nature is
//! reported for each message.

mod report;
mod servers;
mod tasks;

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use estafeta_integration_tests::binary::repository;

use self::report::{Column, Row, Unit};
use self::servers::{Server, account};
use self::tasks::{DELIVERED_BYTES, FILLING_BYTES, SELECT, TASKS};
use crate::report::{between, machine, say, thousands};

/// What is counted beside the tasks.
const DELIVERIES: Row = Row { name: "LMTP deliveries of 4 KB, 16 connections", unit: Unit::PerSecond };
const FILLING: Row = Row { name: "filling it: MULTIAPPEND by 100, 4 connections", unit: Unit::PerSecond };
const INDEXED: Row = Row { name: "until the search index rests after filling", unit: Unit::Seconds };
const LOGIN: Row = Row { name: "LOGIN, when the directory is asked (argon2)", unit: Unit::Milliseconds };
const LOGIN_AGAIN: Row = Row { name: "LOGIN, again within a minute", unit: Unit::Milliseconds };
const FIRST_SELECT: Row = Row { name: "SELECT, the first after a restart", unit: Unit::Milliseconds };
const MEMORY: Row = Row { name: "memory, after all rounds", unit: Unit::Megabytes };
const MEMORY_OPEN: Row = Row { name: "memory, after a restart and SELECT", unit: Unit::Megabytes };
const MEMORY_DIRECTORY: Row = Row { name: "memory of the node with access and directory", unit: Unit::Megabytes };
const DISK: Row = Row { name: "all mail on the disk", unit: Unit::Megabytes };
const DATABASE: Row = Row { name: "of it the database", unit: Unit::Megabytes };
const INDEX: Row = Row { name: "of it the search index", unit: Unit::Megabytes };

/// How many messages the mailbox has of which is asked among few and among many accounts.
const MESSAGES: usize = 1_000;

/// The most rounds: each logs another one of ten accounts in.
const MOST_ROUNDS: usize = 8;

/// How many samples of a LOGIN that is remembered a round takes, and of a SELECT.
const SAMPLES: usize = 5;

/// How many accounts get their first message between two lines that say so.
const TOLD: usize = 10_000;

/// How often it is restarted.
const RESTARTS: usize = 3;

/// How long filling may take before Dovecot is not asked, and before it is an error.
const PEER_FILLING: Duration = Duration::from_secs(15 * 60);
const FILLING_LIMIT: Duration = Duration::from_secs(60 * 60);

/// For how long the search index has to be silent, and how long is waited for that: after filling, and before each round's
/// questions. Who has not come to rest by then is asked nevertheless.
const INDEXED_FILLING: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(6 * 60)];
const INDEXED_ROUND: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(15)];

/// How large everything is.
struct Sizes {
    accounts: [usize; 2],
    messages: &'static [usize],
    /// How much a round delivers to all accounts, and into one mailbox.
    deliveries: [usize; 2],
}

const USUAL: Sizes = Sizes { accounts: [10, 55_000], messages: &[1_000, 100_000, 1_000_000], deliveries: [2_000, 300] };
const QUICK: Sizes = Sizes { accounts: [10, 200], messages: &[200, 1_000], deliveries: [100, 50] };

/// Measures, prints, and writes the page unless told otherwise.
pub fn run(rounds: usize, quick: bool, write: bool) -> anyhow::Result<()> {
    ensure!(rounds <= MOST_ROUNDS, "at most {MOST_ROUNDS} rounds");
    let sizes = if quick { QUICK } else { USUAL };
    let accounts = of_accounts(&sizes, rounds)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for messages in sizes.messages {
        let [estafeta, dovecot] = of_messages(*messages, sizes.deliveries[1], rounds)?;
        ours.extend(estafeta);
        theirs.extend(dovecot);
    }
    let tasks: Vec<Row> = [SELECT].into_iter().chain(TASKS.iter().map(|task| task.row)).collect();
    let rows = |before: &[Row], after: &[Row]| [before, &tasks, after].concat();
    let of_accounts =
        rows(&[INDEXED, DELIVERIES, LOGIN, LOGIN_AGAIN], &[MEMORY, MEMORY_DIRECTORY, DISK, DATABASE, INDEX]);
    let of_messages =
        rows(&[FILLING, INDEXED, DELIVERIES, FIRST_SELECT], &[MEMORY, MEMORY_OPEN, DISK, DATABASE, INDEX]);
    let first = report::table(&of_accounts, &[&accounts]);
    let second = report::table(&of_messages, &[&ours, &theirs]);
    say(&first);
    say(&second);
    if write {
        let docs = repository().join("docs");
        let drawn = rows(&[DELIVERIES, LOGIN, LOGIN_AGAIN, FIRST_SELECT], &[]);
        fs::write(docs.join(report::PICTURE), report::picture(&drawn, [&accounts, &ours, &theirs]))?;
        let page = docs.join("benchmarks.md");
        let before = fs::read_to_string(&page).unwrap_or_default();
        let figures = format!(
            "{first}\n{second}\n![times the cost]({})\n\n{rounds} rounds after a warm-up, {RESTARTS} restarts; filled with messages of \
             {FILLING_BYTES} bytes; a round delivers {} of {DELIVERED_BYTES} bytes to all accounts or {} into one mailbox; {}.",
            report::PICTURE,
            thousands(sizes.deliveries[0]),
            sizes.deliveries[1],
            machine()
        );
        fs::write(&page, between(&before, report::MARKS, &figures, report::HEAD))?;
        say(&format!("written: {}", page.display()));
    }
    Ok(())
}

/// The same mailbox in a store of few accounts and in one of many, of which everyone has mail.
fn of_accounts(sizes: &Sizes, rounds: usize) -> anyhow::Result<[Column; 2]> {
    let mut stores = Vec::new();
    for accounts in sizes.accounts {
        say(&format!("{} accounts", thousands(accounts)));
        // Each round logs somebody in whom access does not remember.
        let mut server = Server::estafeta(accounts, rounds + 2)?;
        // The index is filled in the order of arrival: the mailbox that is searched shall not be behind everyone's.
        fill(&server, MESSAGES, FILLING_LIMIT)?;
        let [silence, limit] = INDEXED_FILLING;
        server.rest(silence, limit)?;
        let everyone: Vec<String> = (1..accounts).map(account).collect();
        let mut have = 1;
        for some in everyone.chunks(TOLD) {
            tasks::deliver(&server, some.to_vec(), FILLING_BYTES)?;
            have += some.len();
            say(&format!("{} of {} accounts have mail", thousands(have), thousands(accounts)));
        }
        let mut column = Column::new(format!("{} accounts", thousands(accounts)));
        add_indexing(&mut server, &mut column)?;
        add_sizes(&mut server, &mut column)?;
        stores.push((accounts, server, column));
    }
    for round in 0..=rounds {
        for (accounts, server, column) in &mut stores {
            let mut warm_up = Column::new(String::new());
            let column = if round > 0 { column } else { &mut warm_up };
            let somebody = (0..sizes.deliveries[0]).map(|_| account(fastrand::usize(1..*accounts))).collect();
            column.add(DELIVERIES, tasks::deliver(server, somebody, DELIVERED_BYTES)?);
            column.add(LOGIN, ms(server.log_in(&mut server.connection()?, round + 1)?));
            server.log_in(&mut server.connection()?, 0)?;
            for _ in 0..SAMPLES {
                column.add(LOGIN_AGAIN, ms(server.log_in(&mut server.connection()?, 0)?));
            }
            ask(server, MESSAGES, column)?;
            say(&format!("round {round} of {rounds}: {} accounts", thousands(*accounts)));
        }
    }
    let mut columns = Vec::new();
    for (_, mut server, mut column) in stores {
        if let Some(bytes) = server.directory_memory_bytes()? {
            column.add(MEMORY_DIRECTORY, mb(bytes));
        }
        column.add(MEMORY, mb(server.memory_bytes()?));
        columns.push(column);
    }
    columns.try_into().ok().context("two of two")
}

/// One mailbox of so many messages at both servers; none of Dovecot when it cannot be filled in time.
fn of_messages(messages: usize, deliveries: usize, rounds: usize) -> anyhow::Result<[Option<Column>; 2]> {
    let mut stores = Vec::new();
    for (make, limit) in [
        ((|| Server::estafeta(1, 1)) as fn() -> anyhow::Result<Server>, FILLING_LIMIT),
        (Server::dovecot, PEER_FILLING),
    ] {
        let mut server = make()?;
        let mut column = Column::new(format!("{}, {} messages", server.name, thousands(messages)));
        let Some(rate) = fill(&server, messages, limit)? else {
            say(&format!("{} is not asked: to fill it takes longer than {limit:?}", column.title));
            continue;
        };
        column.add(FILLING, rate);
        add_indexing(&mut server, &mut column)?;
        add_sizes(&mut server, &mut column)?;
        stores.push((server, column));
    }
    for round in 0..=rounds {
        for (server, column) in &mut stores {
            let mut warm_up = Column::new(column.title.clone());
            let column = if round > 0 { column } else { &mut warm_up };
            column.add(DELIVERIES, tasks::deliver_into(server, messages, deliveries)?);
            ask(server, messages, column)?;
            say(&format!("round {round} of {rounds}: {}", column.title));
        }
    }
    let mut columns = [None, None];
    for ((mut server, mut column), place) in stores.into_iter().zip(&mut columns) {
        server.check()?;
        let (_, open) = tasks::select(server.session()?)?;
        column.add(MEMORY, mb(server.memory_bytes()?));
        drop(open);
        for _ in 0..RESTARTS {
            let (took, open) = tasks::select(server.restart()?)?;
            column.add(FIRST_SELECT, ms(took));
            column.add(MEMORY_OPEN, mb(server.memory_bytes()?));
            drop(open);
        }
        *place = Some(column);
    }
    Ok(columns)
}

/// All that is asked of a filled mailbox, once.
fn ask(server: &mut Server, messages: usize, column: &mut Column) -> anyhow::Result<()> {
    // What came before shall not be indexed meanwhile.
    let [silence, limit] = INDEXED_ROUND;
    server.rest(silence, limit)?;
    for _ in 0..SAMPLES {
        column.add(SELECT, ms(tasks::select(server.session()?)?.0));
    }
    for task in TASKS {
        for _ in 0..task.samples {
            let took =
                task.run(server, messages).with_context(|| format!("{}: {}", task.row.name, server.last_words()))?;
            let value = match task.row.unit {
                Unit::MicrosecondsEach => took.as_secs_f64() * 1e6 / messages as f64,
                _ => ms(took),
            };
            column.add(task.row, value);
        }
    }
    Ok(())
}

fn fill(server: &Server, messages: usize, limit: Duration) -> anyhow::Result<Option<f64>> {
    let progress = |done| {
        if messages > 10_000 {
            say(&format!("{}: {} of {} messages are there", server.name, thousands(done), thousands(messages)));
        }
    };
    tasks::fill(server, messages, limit, progress).with_context(|| server.last_words())
}

/// How long the search index is behind.
fn add_indexing(server: &mut Server, column: &mut Column) -> anyhow::Result<()> {
    let [silence, limit] = INDEXED_FILLING;
    if let Some(took) = server.rest(silence, limit)? {
        column.add(INDEXED, took.as_secs_f64());
    }
    Ok(())
}

/// What the mail takes on the disk.
fn add_sizes(server: &mut Server, column: &mut Column) -> anyhow::Result<()> {
    let (all, parts) = server.disk_bytes()?;
    column.add(DISK, mb(all));
    if let Some((database, index)) = parts {
        column.add(DATABASE, mb(database));
        column.add(INDEX, mb(index));
    }
    Ok(())
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The half of the comparison that is not ours is filled, asked and restarted.
    #[test]
    fn dovecot_does_every_task() {
        let mut server = Server::dovecot().unwrap();
        assert!(fill(&server, 300, FILLING_LIMIT).unwrap().is_some());
        let mut column = Column::new("Dovecot".into());
        assert!(tasks::deliver_into(&server, 300, 20).unwrap() > 0.0);
        ask(&mut server, 300, &mut column).unwrap();
        let (took, _open) = tasks::select(server.restart().unwrap()).unwrap();
        server.check().unwrap();
        assert!(took > Duration::ZERO && server.memory_bytes().unwrap() > 0);
    }
}
