//! `bench dns` measures names (see [`dns`]), `bench imap` mailboxes (see [`imap`]). Otherwise messages a second from SMTP to a
//! durable mailbox: Estafeta on one node and as the demonstration's cluster, beside Postfix and Dovecot from Debian's packages,
//! on the same machine in the same run with the same client; `bench lmtp` the same, from LMTP: a mailbox node beside
//! Dovecot. `bench idle` measures what a client that waits costs (see [`idle`]), `bench scale` what
//! stays as it is when everything grows (see [`scale`]).
//!
//! A run begins with the first connection and ends when the last message can be counted in its mailbox by IMAP, so that
//! it does not matter at which hop a server says 250. All systems are up throughout; runs take turns between them, and
//! the median of the rounds is reported.

mod chart;
mod disk;
mod dns;
mod idle;
mod imap;
mod load;
mod report;
mod scale;
mod system;

use std::env;
use std::fs;

use anyhow::{Context, bail};
use estafeta_integration_tests::binary::repository;

use crate::load::Load;
use crate::report::Measured;
use crate::system::System;

const USAGE: &str = "bench [dns|imap|lmtp|idle|scale] [--rounds N] [--quick] [--no-write]";

fn main() -> anyhow::Result<()> {
    let (mut rounds, mut quick, mut write, mut what) = (None, false, true, None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = Some(arguments.next().context(USAGE)?.parse().context(USAGE)?),
            "--quick" => quick = true,
            "--no-write" => write = false,
            "dns" | "imap" | "lmtp" | "idle" | "scale" => what = Some(argument),
            _ => bail!("{USAGE}"),
        }
    }
    // `scale` takes several samples a round.
    let rounds = rounds.unwrap_or(if what.as_deref() == Some("scale") { 3 } else { 5 });
    match what.as_deref() {
        Some("dns") => dns::run(rounds, quick, write),
        Some("imap") => imap::run(rounds, quick, write),
        Some("idle") => idle::run(quick, write),
        Some("scale") => scale::run(rounds, quick, write),
        Some(_) => {
            let systems = [System::mailbox_node()?, System::dovecot(false)?, System::dovecot(true)?];
            compare(&systems, ("lmtp", include_str!("lmtp.md")), rounds, quick, write)
        }
        None => {
            let systems = [System::single()?, System::cluster()?, System::postfix_and_dovecot()?];
            compare(&systems, ("", include_str!("head.md")), rounds, quick, write)
        }
    }
}

/// Measures, prints, and writes the section of the page unless told otherwise.
fn compare(systems: &[System], section: (&str, &str), rounds: usize, quick: bool, write: bool) -> anyhow::Result<()> {
    let loads = if quick { Load::quick() } else { Load::usual() };
    let mut measured: Vec<Measured> = Vec::new();
    for round in 0..=rounds {
        for load in &loads {
            for system in systems {
                let rate = load.run(system, round)?;
                // What it still has to index shall not take from the next one.
                system.rest()?;
                report::say(&format!(
                    "{} {:>5} KB  {:<32} {rate:8.1} messages/s",
                    if round == 0 { "warm-up".to_owned() } else { format!("round {round}") },
                    load.size_bytes / 1000,
                    system.name,
                ));
                // The first run of each fills caches and makes mailboxes: it is not counted.
                if round > 0 {
                    report::add(&mut measured, system.name, load.size_bytes, rate);
                }
            }
        }
    }
    let peers: Vec<_> = systems.iter().filter(|system| system.is_peer()).map(|system| system.name).collect();
    let table = report::table(&measured, &peers);
    report::say(&table);
    if write {
        let docs = repository().join("docs");
        fs::create_dir_all(&docs)?;
        fs::write(docs.join(report::picture(section.0)), chart::svg(&measured))?;
        let page = docs.join("benchmarks.md");
        let before = fs::read_to_string(&page).unwrap_or_default();
        fs::write(&page, report::page(&before, section, &table, &loads, rounds))?;
        report::say(&format!("written: {}", page.display()));
    }
    Ok(())
}
