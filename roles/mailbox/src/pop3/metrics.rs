//! What is counted of the engine.

use estafeta_protocols::pop3::command::Command;

/// Tells the exporter what each figure means. Once, when the role starts.
pub fn describe_metrics() {
    metrics::describe_gauge!("estafeta_pop3_sessions_open", "POP3 sessions whose mail is open.");
    metrics::describe_counter!("estafeta_pop3_commands_total", "POP3 commands that were carried out, by name.");
    metrics::describe_counter!("estafeta_pop3_removed_total", "Messages that POP3 sessions removed at their end.");
    metrics::describe_histogram!(
        "estafeta_pop3_command_seconds",
        metrics::Unit::Seconds,
        "Time to carry a POP3 command out, by name; the client's time to take the answer included."
    );
}

/// The name under which a command is counted.
pub(super) fn name(command: Command) -> &'static str {
    match command {
        Command::Stat => "stat",
        Command::List(_) => "list",
        Command::Retr(_) => "retr",
        Command::Dele(_) => "dele",
        Command::Rset => "rset",
        Command::Top { .. } => "top",
        Command::Uidl(_) => "uidl",
        Command::Quit => "quit",
    }
}

/// Counts a session while it is held.
pub(super) struct OpenSession(metrics::Gauge);

impl OpenSession {
    pub(super) fn new() -> Self {
        let gauge = metrics::gauge!("estafeta_pop3_sessions_open");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
