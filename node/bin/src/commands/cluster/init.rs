//! `estafeta cluster init`: makes the cluster's authority.

use std::time::SystemTime;

use clap::{ArgMatches, Command};
use estafeta_cluster::files::AuthorityFiles;

use super::{directory, directory_option, exit};
use crate::commands::table::say;

/// The command.
pub fn command() -> Command {
    Command::new("init").about("Make the cluster's authority, on its first node").arg(directory_option())
}

/// Carries it out.
pub fn run(arguments: &ArgMatches) -> anyhow::Result<()> {
    let authority = AuthorityFiles::init(&directory(arguments), SystemTime::now()).map_err(exit)?;
    say(&format!("made {} and {}", authority.certificate().display(), authority.key().display()));
    say("");
    say("1. issue this node its certificate: estafeta cluster certificate NODE --role directory,…");
    say("2. so that it can let others in, add to [cluster] in its configuration:");
    say(&format!("   authority_key = {:?}", authority.key()));
    say("3. start it, then make a token for each other node: estafeta cluster token --role ROLE");
    say("Back the directory up: whoever has its key can make nodes, and without it no node can join or stay.");
    Ok(())
}
