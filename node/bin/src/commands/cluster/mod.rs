//! `estafeta cluster`: the authority that says who is a node, and how a node joins. What else stands below `cluster` are
//! operations, asked of a running node.

mod certificate;
mod init;
mod join;
mod status;

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use estafeta_cluster::files::FilesError;
use estafeta_net::role::Role;

use super::{operation, socket};
use crate::exit::{Code, Exit};

/// Where the authority is kept when the command line names no other place.
const DEFAULT_DIRECTORY: &str = "/etc/estafeta/authority";

/// The command.
pub fn command() -> Command {
    Command::new("cluster")
        .about("Keep the cluster's authority, let nodes join")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([init::command(), certificate::command(), join::command(), status::command()])
}

/// Carries it out.
pub fn run(roles: &[Role], arguments: &ArgMatches, file: &Path) -> anyhow::Result<()> {
    match arguments.subcommand() {
        Some(("cluster", inner)) => match inner.subcommand() {
            Some(("init", arguments)) => init::run(arguments),
            Some(("certificate", arguments)) => certificate::run(roles, arguments),
            Some(("join", arguments)) => join::run(roles, arguments, file),
            Some(("status", arguments)) => status::run(arguments, socket(arguments, file, roles)?),
            _ => operation::run(roles, arguments, file),
        },
        _ => operation::run(roles, arguments, file),
    }
}

/// The option that says where the authority is kept.
fn directory_option() -> Arg {
    Arg::new("directory")
        .long("directory")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .default_value(DEFAULT_DIRECTORY)
        .help("Where the authority is kept")
}

fn directory(arguments: &ArgMatches) -> PathBuf {
    arguments.get_one::<PathBuf>("directory").cloned().unwrap_or_else(|| DEFAULT_DIRECTORY.into())
}

fn exit(error: FilesError) -> anyhow::Error {
    let code = match &error {
        FilesError::Exists(_) | FilesError::Reserved(_) => Code::CannotCreate,
        FilesError::Missing(_) => Code::NoInput,
        FilesError::Io { .. } => Code::OsError,
        FilesError::Authority(_) => Code::DataError,
    };
    Exit::error(code, error)
}
