//! `estafeta node drain`: the order, and with `--wait` how far it is carried out.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use estafeta_core::administration::{Administration, output};
use estafeta_core::{Failure, NodeName};
use serde_json::json;

use super::table;
use crate::administration::SocketClient;
use crate::operate::{DRAIN, PROGRESS, Phase, Progress};

/// How often `--wait` asks.
const PERIOD: Duration = Duration::from_secs(1);

/// How many times in a row the node may not answer, before `--wait` gives up.
const SILENCES: u32 = 30;

/// The command.
pub fn drain_command() -> Command {
    let node = Arg::new("node")
        .value_name("NODE")
        .required(true)
        .value_parser(value_parser!(NodeName))
        .help("The node's name");
    let deadline = Arg::new("deadline-seconds")
        .long("deadline-seconds")
        .value_name("SECONDS")
        .value_parser(value_parser!(u32))
        .help("How long it goes on serving who is or comes there [default: as its configuration has it, 600]");
    let wait = Arg::new("wait").long("wait").action(ArgAction::SetTrue).help("Wait until it is drained");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, for scripts");
    Command::new("drain")
        .about("Send everybody elsewhere, then stop a node's roles")
        .long_about(
            "Send everybody elsewhere, then stop a node's roles: no name and no route leads to the node any more, who is \
             there goes on, and who still comes is served. At the deadline, or when nobody is left, idle sessions are told \
             goodbye and nobody is let in. No command that has begun is cut. It lasts until: estafeta node resume NODE",
        )
        .args([node, deadline, wait, json, super::socket_argument()])
}

/// Carries it out.
pub fn drain(arguments: &ArgMatches, socket: PathBuf) -> anyhow::Result<()> {
    let Some(node) = arguments.get_one::<NodeName>("node") else { return Ok(()) };
    let mut order = json!({ "node": node });
    if let Some(seconds) = arguments.get_one::<u32>("deadline-seconds") {
        order["deadline_seconds"] = (*seconds).into();
    }
    let client = SocketClient(socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let progress: Progress = read(runtime.block_on(client.perform(DRAIN, order))?)?;
    for warning in &progress.warnings {
        tell(&format!("warning: {warning}"));
    }
    let progress = if arguments.get_flag("wait") { runtime.block_on(wait(&client, node))? } else { progress };
    if arguments.get_flag("json") {
        table::print_json(&output(&progress)?);
    } else {
        table::say(&sentence(&progress));
    }
    Ok(())
}

fn read(answer: serde_json::Value) -> Result<Progress, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure::internal(format_args!("an answer that is none: {error}")))
}

/// Asks until the node is drained, and shows how far it is.
async fn wait(client: &SocketClient, node: &NodeName) -> anyhow::Result<Progress> {
    let mut silences = 0;
    let mut shown = String::new();
    loop {
        match client.perform(PROGRESS, json!({ "node": node })).await.and_then(read) {
            Ok(progress) if progress.state != Phase::Draining => {
                erase(&shown);
                return Ok(progress);
            }
            Ok(progress) => {
                silences = 0;
                show(&mut shown, sentence(&progress));
            }
            Err(failure) if silences >= SILENCES => return Err(failure.into()),
            Err(_) => silences += 1,
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// How far it is, in a line.
fn sentence(progress: &Progress) -> String {
    let Progress { node, state, sessions, seconds_left, .. } = progress;
    let sessions = match sessions {
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    };
    match (state, seconds_left) {
        (Phase::Serving, _) => format!("{node} serves: {sessions}"),
        (Phase::Drained, _) => format!("{node} is drained; it serves again after: estafeta node resume {node}"),
        (Phase::Draining, Some(0)) => format!("{node} finishes what runs: {sessions}"),
        (Phase::Draining, left) => {
            let left = left.unwrap_or_default();
            format!("{node} drains: {sessions}, {}:{:02} until its deadline", left / 60, left % 60)
        }
    }
}

/// On a terminal one line that changes; elsewhere nothing until the end.
fn show(shown: &mut String, line: String) {
    if io::stderr().is_terminal() {
        erase(shown);
        let _ = write!(io::stderr(), "{line}");
        *shown = line;
    }
}

fn erase(shown: &str) {
    if !shown.is_empty() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_line() {
        let progress = |state, sessions, seconds_left| {
            let node = "access2".parse().unwrap();
            sentence(&Progress { node, state, sessions, seconds_left, warnings: Vec::new() })
        };
        assert_eq!(progress(Phase::Draining, 12, Some(572)), "access2 drains: 12 sessions, 9:32 until its deadline");
        assert_eq!(progress(Phase::Draining, 1, Some(0)), "access2 finishes what runs: 1 session");
        assert!(progress(Phase::Drained, 0, None).ends_with("estafeta node resume access2"));
    }
}
