//! `estafeta cluster certificate`: issues a node's certificate where the authority is kept.

use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use estafeta_cluster::authority::NODE_DAYS;
use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::NodeName;
use estafeta_net::role::Role;

use super::{directory, directory_option, exit};
use crate::commands::operation::known_roles;
use crate::commands::table::say;

/// The command.
pub fn command() -> Command {
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
    Command::new("certificate")
        .about("Issue the certificate of a node that is in the configurations: the first one, for all others may join")
        .args([node, role, directory_option()])
}

/// Carries it out.
pub fn run(roles: &[Role], arguments: &ArgMatches) -> anyhow::Result<()> {
    let granted = known_roles(roles, arguments.get_many::<String>("role").unwrap_or_default())?;
    let Some(node) = arguments.get_one::<NodeName>("node") else { return Ok(()) };
    let authority = AuthorityFiles::open(&directory(arguments)).map_err(exit)?;
    let files = authority.issue_node(node, &granted, SystemTime::now()).map_err(exit)?;
    say(&format!("issued for {NODE_DAYS} days; copy these to the node {node} and name them in its configuration:"));
    say("[cluster]");
    say(&format!("authority = {:?}", authority.certificate()));
    say(&format!("certificate = {:?}", files.certificate));
    say(&format!("key = {:?}", files.key));
    Ok(())
}
