//! What is counted of the engine.

use estafeta_protocols::imap::command::Command;

/// Tells the exporter what each figure means. Once, when the role starts.
pub fn describe_metrics() {
    metrics::describe_gauge!("estafeta_imap_sessions_open", "IMAP sessions whose mail is open.");
    metrics::describe_counter!("estafeta_imap_commands_total", "IMAP commands that were carried out, by name.");
    metrics::describe_histogram!(
        "estafeta_imap_command_seconds",
        metrics::Unit::Seconds,
        "Time to carry an IMAP command out, by name."
    );
}

/// The name under which a command is counted.
pub(super) fn name(command: &Command) -> &'static str {
    match command {
        Command::Noop => "noop",
        Command::Id(_) => "id",
        Command::Enable(_) => "enable",
        Command::Select(_) => "select",
        Command::Create(_) => "create",
        Command::Delete(_) => "delete",
        Command::Rename(_) => "rename",
        Command::Subscribe(_) => "subscribe",
        Command::Unsubscribe(_) => "unsubscribe",
        Command::List(_) => "list",
        Command::Lsub(_) => "lsub",
        Command::Status(_) => "status",
        Command::Namespace => "namespace",
        Command::Check => "check",
        Command::Unauthenticate => "unauthenticate",
        Command::Close => "close",
        Command::Unselect => "unselect",
        Command::Expunge(_) => "expunge",
        Command::Search(_) => "search",
        Command::Sort(_) => "sort",
        Command::Thread(_) => "thread",
        Command::Fetch(_) => "fetch",
        Command::Store(_) => "store",
        Command::Copy(_) => "copy",
        Command::Move(_) => "move",
        Command::Acl(_) => "acl",
        Command::Metadata(_) => "metadata",
        Command::Notify(_) => "notify",
        Command::Quota(_) => "quota",
    }
}

/// Counts a session while it is held.
pub(super) struct OpenSession(metrics::Gauge);

impl OpenSession {
    pub(super) fn new() -> Self {
        let gauge = metrics::gauge!("estafeta_imap_sessions_open");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
