//! Logs: text for people on a terminal, one JSON object a line otherwise (systemd's journal keeps each line whole).

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::exit::{Code, Exit};

/// Starts logging to standard error.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Exit::error(
            Code::Config,
            format_args!("log filter {filter:?}: {error}: write it like \"info,estafeta_edge=debug\""),
        )
    })?;
    // At their lowest levels these print what they read, and so passwords; and they call malformed input an error of theirs.
    let quiet = ["ldap3_proto=warn", "ldap3_lber=warn"].into_iter().filter_map(|directive| directive.parse().ok());
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let started = if text {
        subscriber.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
    } else {
        subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
    started.map_err(|error| Exit::error(Code::Software, format_args!("logging cannot be started: {error}")))
}
