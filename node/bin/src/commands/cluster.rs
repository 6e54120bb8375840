//! `estafeta cluster`: the authority that says who is a node, kept on the machine where `init` was called.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use estafeta_cluster::authority::NODE_DAYS;
use estafeta_cluster::files::{AuthorityFiles, FilesError};
use estafeta_core::{NodeName, RoleName};
use estafeta_net::role::Role;
use estafeta_net::section::nearest;

use super::table::say;
use crate::exit::{Code, Exit};

/// Where the authority is kept when the command line names no other place.
const DEFAULT_DIRECTORY: &str = "/etc/estafeta/authority";

/// The command.
pub fn command() -> Command {
    let directory = Arg::new("directory")
        .long("directory")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .default_value(DEFAULT_DIRECTORY)
        .help("Where the authority is kept");
    let node = Arg::new("node")
        .value_name("NODE")
        .required(true)
        .value_parser(value_parser!(NodeName))
        .help("The node's name");
    let role = Arg::new("role")
        .long("role")
        .value_name("ROLE")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .required(true)
        .help("A role that the node may have; several times, or separated by commas");
    Command::new("cluster")
        .about("Keep the cluster's authority")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("init").about("Make the cluster's authority").arg(directory.clone()))
        .subcommand(Command::new("certificate").about("Issue a node's certificate").args([node, role, directory]))
}

/// Carries it out.
pub fn run(roles: &[Role], arguments: &ArgMatches) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let directory = |arguments: &ArgMatches| {
        arguments.get_one::<PathBuf>("directory").cloned().unwrap_or_else(|| DEFAULT_DIRECTORY.into())
    };
    match arguments.subcommand() {
        Some(("init", arguments)) => {
            let authority = AuthorityFiles::init(&directory(arguments), now).map_err(exit)?;
            say(&format!("made {}", authority.certificate().display()));
            say("issue each node a certificate with: estafeta cluster certificate NODE --role ROLE");
        }
        Some(("certificate", arguments)) => {
            let granted = granted(roles, arguments)?;
            let Some(node) = arguments.get_one::<NodeName>("node") else { return Ok(()) };
            let authority = AuthorityFiles::open(&directory(arguments)).map_err(exit)?;
            let files = authority.issue_node(node, &granted, now).map_err(exit)?;
            say(&format!(
                "issued for {NODE_DAYS} days; copy these to the node {node} and name them in its configuration:"
            ));
            say("[cluster]");
            say(&format!("authority = {:?}", authority.certificate()));
            say(&format!("certificate = {:?}", files.certificate));
            say(&format!("key = {:?}", files.key));
        }
        _ => {}
    }
    Ok(())
}

fn granted(roles: &[Role], arguments: &ArgMatches) -> anyhow::Result<Vec<RoleName>> {
    let known = || roles.iter().map(|role| role.name.as_str());
    let wanted = arguments.get_many::<String>("role").unwrap_or_default();
    wanted
        .map(|wanted| {
            let role = roles.iter().find(|role| role.name.as_str() == wanted);
            role.map(|role| role.name.clone()).ok_or_else(|| {
                let hint = nearest(wanted, known()).map(|role| format!("did you mean {role:?}? ")).unwrap_or_default();
                Exit::error(
                    Code::Usage,
                    format_args!(
                        "unknown role {wanted:?}: {hint}the roles are {}",
                        known().collect::<Vec<_>>().join(", ")
                    ),
                )
            })
        })
        .collect()
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
