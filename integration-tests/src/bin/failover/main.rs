//! Makes nodes fail in every way, many times, and writes docs/failover.md with its picture: see `integration-tests/failover`.

use std::env;
use std::fs;

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::binary::repository;
use estafeta_integration_tests::failover::failure::Failure;
use estafeta_integration_tests::failover::{Scenario, report};

const USAGE: &str = "failover [--rounds N] [--without-namespaces] [--no-write]";

fn main() -> anyhow::Result<()> {
    let (mut rounds, mut with_namespaces, mut write) = (40, true, true);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().context(USAGE)?.parse().context(USAGE)?,
            "--without-namespaces" => with_namespaces = false,
            "--no-write" => write = false,
            _ => bail!("{USAGE}"),
        }
    }
    let mut scenario = Scenario::start(with_namespaces)?;
    let mut runs = Vec::new();
    for round in 0..rounds {
        for failure in Failure::ALL.into_iter().filter(|failure| scenario.can(*failure)).collect::<Vec<_>>() {
            let victims = failure.victims();
            let run = scenario.run(failure, victims[round % victims.len()])?;
            say(&format!(
                "{:>3}/{rounds} {:<32} {:<8} out of DNS {:5.2} s, served {:5.2} s, back {:5.2} s{}",
                round + 1,
                failure.about(),
                run.node,
                run.out_of_dns.as_secs_f64(),
                run.served.as_secs_f64(),
                run.back.as_secs_f64(),
                if run.stall > report::STALL { ", but the machine stood still" } else { "" },
            ));
            runs.push(run);
        }
    }
    let reckoning = scenario.reckon()?;
    say(&format!("{reckoning:?}"));
    scenario.succeed();
    if write {
        let docs = repository().join("docs");
        let build =
            if cfg!(debug_assertions) { "Measured with a debug build." } else { "Measured with a release build." };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let build = format!("{build} All of it, clients included, ran on one machine of {processors} processors.");
        fs::write(docs.join("failover.svg"), report::picture(&runs))?;
        fs::write(docs.join("failover.md"), report::page(&runs, &reckoning, &build))?;
        say(&format!("written: {}", docs.join("failover.md").display()));
    }
    ensure!(reckoning.lost == 0, "{} messages that were answered 250 are lost", reckoning.lost);
    ensure!(reckoning.twice == 0, "{} messages were delivered twice", reckoning.twice);
    Ok(())
}

/// Prints a line: this program's own output.
#[allow(clippy::print_stdout, reason = "this program's purpose is to print")]
fn say(line: &str) {
    println!("{line}");
}
