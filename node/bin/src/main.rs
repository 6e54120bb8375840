//! Estafeta: a mail cluster in one binary.
//!
//! `serve` runs a node ([`boot`] tells how), `check` checks its configuration, `demo` shows a whole cluster on this
//! machine, `cluster` keeps the authority; every other command is an operation of some role ([`roles`]), asked of a
//! node through its administration API.

mod administration;
mod boot;
mod commands;
mod config;
mod demo;
mod exit;
mod health;
mod logging;
mod membership;
mod operate;
mod renewal;
mod roles;
mod settings;
mod status;
mod supervise;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    let table = roles::table();
    let arguments = match commands::command(&table).try_get_matches() {
        Ok(arguments) => arguments,
        Err(message) => return exit::usage(&message),
    };
    match commands::run(table, &arguments) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
