//! Nodes fail in every way while clients send and read: nobody is sent to them any more, and nothing is lost or doubled.
//! How long it takes is measured by `integration-tests/failover`, many times; here it only has to happen.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use estafeta_integration_tests::failover::Scenario;
use estafeta_integration_tests::failover::failure::Failure;
use estafeta_integration_tests::random;

/// A scenario changes the network namespace of its thread: it has one of its own.
fn apart(test: impl FnOnce(&mut Scenario) -> anyhow::Result<()> + Send) -> anyhow::Result<()> {
    let with_namespaces = std::env::var_os("ESTAFETA_WITHOUT_NAMESPACES").is_none();
    let run = || {
        let mut scenario = Scenario::start(with_namespaces)?;
        test(&mut scenario)?;
        scenario.succeed();
        Ok(())
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn a_node_that_fails_is_named_no_more_and_nothing_is_lost() -> anyhow::Result<()> {
    apart(|scenario| {
        for round in 0..random::rounds(1, 5) {
            for failure in Failure::ALL {
                if !scenario.can(failure) {
                    println!("left out, for it needs a network of its own: {}", failure.about());
                    continue;
                }
                let victims = failure.victims();
                let run = scenario.run(failure, victims[round % victims.len()])?;
                println!("{run:?}");
            }
        }
        let reckoning = scenario.reckon()?;
        println!("{reckoning:?}");
        ensure!(reckoning.accepted > 20, "too few messages were sent: this shows nothing");
        ensure!(reckoning.lost == 0 && reckoning.twice == 0, "{reckoning:?}");
        Ok(())
    })
}

#[test]
fn name_servers_that_see_nobody_name_all() -> anyhow::Result<()> {
    if std::env::var_os("ESTAFETA_WITHOUT_NAMESPACES").is_some() {
        println!("left out, for it needs a network of its own");
        return Ok(());
    }
    apart(|scenario| {
        let named = scenario.name_servers_alone(Duration::from_secs(12))?;
        ensure!(named == [2, 2], "each name server should name both access nodes, they name {named:?}");
        Ok(())
    })
}

#[test]
fn without_name_servers_clients_with_old_answers_are_served() -> anyhow::Result<()> {
    apart(|scenario| scenario.name_servers_gone(Duration::from_secs(8)))
}
