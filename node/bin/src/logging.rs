//! Logs: text for people on a terminal, one JSON object a line otherwise (systemd's journal keeps each line whole).

use std::io::{self, IsTerminal};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::LogFormat;
use crate::exit::{Code, Exit};

/// By which the filter is changed while the node runs.
pub struct Logging(reload::Handle<EnvFilter, Registry>);

impl Logging {
    /// Starts logging to standard error.
    pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(parse(filter)?);
        let text = match format {
            LogFormat::Auto => io::stderr().is_terminal(),
            LogFormat::Text => true,
            LogFormat::Json => false,
        };
        let lines = fmt::layer().with_writer(io::stderr);
        let lines = if text {
            lines.with_ansi(io::stderr().is_terminal()).with_target(false).boxed()
        } else {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        };
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        started.map_err(|error| Exit::error(Code::Software, format_args!("logging cannot be started: {error}")))?;
        Ok(Self(handle))
    }

    /// Filters by this from now on.
    pub fn filter(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(parse(filter)?)?)
    }
}

fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        let mend = "write it like \"info,estafeta_edge=debug\"";
        Exit::error(Code::Config, format_args!("log filter {filter:?}: {error}: {mend}"))
    })?;
    // At their lowest levels these print what they read, and so passwords; and they call malformed input an error of theirs.
    let quiet = ["ldap3_proto=warn", "ldap3_lber=warn"].into_iter().filter_map(|directive| directive.parse().ok());
    Ok(quiet.fold(parsed, EnvFilter::add_directive))
}
