//! The command line: a few commands of the program's own, and one for each operation of the role table.

mod cluster;
mod node;
mod operation;
pub(crate) mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use estafeta_net::role::Role;

use crate::administration::Table;
use crate::boot;
use crate::config::{self, DEFAULT_FILE, NodeConfig};
use crate::demo;

/// The whole command line.
pub fn command(roles: &[Role]) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .global(true)
        .value_parser(value_parser!(PathBuf))
        .help(format!("The node's configuration [default: {DEFAULT_FILE}]"));
    let serve = Command::new("serve").about("Run this node").arg(
        Arg::new("until-stdin-closes")
            .long("until-stdin-closes")
            .action(ArgAction::SetTrue)
            .help("Drain and stop also when standard input closes: for whoever starts nodes as children"),
    );
    let check = Command::new("check").about("Load and check the configuration; bind and change nothing");
    let demo = Command::new("demo").about("Run a whole cluster on this machine and show mail going through it").arg(
        Arg::new("once")
            .long("once")
            .action(ArgAction::SetTrue)
            .help("End after the story; non-zero if any step failed"),
    );
    let command = Command::new("estafeta")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A mail cluster in one binary")
        .after_help(after_help(roles))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(config)
        .subcommands([serve, check, demo, cluster::command()]);
    operation::add_commands(command, &Table::of(roles))
        .mut_subcommand("node", |group| group.subcommand(node::drain_command()))
}

fn after_help(roles: &[Role]) -> String {
    let rows: Vec<String> = roles
        .iter()
        .map(|role| format!("  {:<10} {} {}", role.name.as_str(), role.cluster.unwrap_or(' '), role.purpose))
        .collect();
    format!("Roles:\n{}", rows.join("\n"))
}

/// Carries the command out.
pub fn run(roles: Vec<Role>, arguments: &ArgMatches) -> anyhow::Result<ExitCode> {
    let file = arguments.get_one::<PathBuf>("config").cloned().unwrap_or_else(|| DEFAULT_FILE.into());
    match arguments.subcommand() {
        Some(("serve", arguments)) => {
            boot::serve(&file, roles, arguments.get_flag("until-stdin-closes")).map(|()| ExitCode::SUCCESS)
        }
        Some(("check", _)) => {
            let config = NodeConfig::load(&file, &roles)?;
            config::check(&config)?;
            table::say(&format!("{}: the node {} is well configured", file.display(), config.name));
            Ok(ExitCode::SUCCESS)
        }
        Some(("node", inner)) if let Some(("drain", arguments)) = inner.subcommand() => {
            node::drain(arguments, socket(arguments, &file, &roles)?).map(|()| ExitCode::SUCCESS)
        }
        Some(("demo", arguments)) => demo::run(arguments.get_flag("once")),
        Some(("cluster", _)) => cluster::run(&roles, arguments, &file).map(|()| ExitCode::SUCCESS),
        _ => operation::run(&roles, arguments, &file).map(|()| ExitCode::SUCCESS),
    }
}

/// Where to ask a node.
fn socket_argument() -> Arg {
    Arg::new("socket")
        .long("socket")
        .value_name("PATH")
        .env("ESTAFETA_SOCKET")
        .value_parser(value_parser!(PathBuf))
        .help("The node's administration socket [default: as its configuration has it]")
}

/// The socket of the node that is asked: the one that was named, or that of the configuration.
fn socket(arguments: &ArgMatches, file: &Path, roles: &[Role]) -> anyhow::Result<PathBuf> {
    match arguments.get_one::<PathBuf>("socket") {
        Some(socket) => Ok(socket.clone()),
        None => Ok(NodeConfig::load(file, roles)?.socket),
    }
}
