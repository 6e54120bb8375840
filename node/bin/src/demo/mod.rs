//! `estafeta demo`: a whole cluster on this machine, and mail going through it.

mod children;
mod clients;
mod layout;
mod messages;
mod print;
mod story;
mod trace;

use std::process::ExitCode;
use std::time::Instant;

use comfy_table::Cell;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::table::{plain_table, say};
use crate::roles;
use children::Children;
use layout::{Layout, Throwaway};

/// Runs it; with `once`, ends after the story.
pub fn run(once: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(show(once))
}

async fn show(once: bool) -> anyhow::Result<ExitCode> {
    let directory = Throwaway::make()?;
    let layout = Layout::new(directory.path().to_owned());
    layout.check_free()?;
    layout.write(&roles::table())?;
    let mut children = Children::start(&layout)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut told_to_end = std::pin::pin!(async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    });
    let told = tokio::select! {
        told = tell(&layout, &mut children) => told,
        () = &mut told_to_end => Ok(false),
    };
    let well = match told {
        Ok(well) => well,
        Err(error) => {
            print::failed(&format!("{error:#}"));
            false
        }
    };
    if !once && well {
        say("");
        say("The cluster stays up until Ctrl-C.");
        told_to_end.await;
    }
    if !well && std::env::var_os("ESTAFETA_DEMO_KEEP").is_some() {
        keep_logs(&layout);
    }
    children.stop().await;
    drop(directory);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// With `ESTAFETA_DEMO_KEEP` set, a failed story leaves the end of every log on standard output.
fn keep_logs(layout: &Layout) {
    for node in &layout.nodes {
        let log = std::fs::read_to_string(layout.log(node)).unwrap_or_default();
        print::heading(&format!("the end of {}'s log", node.name));
        let lines: Vec<&str> = log.lines().collect();
        for line in lines.iter().rev().take(20).rev() {
            say(line);
        }
    }
}

async fn tell(layout: &Layout, children: &mut Children) -> anyhow::Result<bool> {
    print::heading("A mail cluster on this machine");
    let began = Instant::now();
    for node in &layout.nodes {
        children.ready(layout, node).await?;
    }
    let mut table = plain_table();
    table.set_header(["node", "role", "address", "process", "log"]);
    for node in &layout.nodes {
        let process = children.pid(&node.name).map(|pid| pid.to_string()).unwrap_or_default();
        table.add_row(
            [
                node.name.to_string(),
                node.role.to_string(),
                node.address.to_string(),
                process,
                layout.log(node).display().to_string(),
            ]
            .map(Cell::new),
        );
    }
    say(&table.to_string());
    print::done(&format!("{} nodes are ready after {}", layout.nodes.len(), print::milliseconds(began.elapsed())));
    story::Story::new(layout, children).tell().await
}
