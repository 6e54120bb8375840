//! ENABLE (RFC 5161 §3.1): what the client wants to be switched on stays so until it leaves.

use estafeta_protocols::imap::command::enable::Enable;
use estafeta_protocols::imap::response::{Completion, Output};

use super::engine::Engine;

/// What can be switched on, as it is written.
const KNOWN: [&str; 5] = ["CONDSTORE", "IMAP4rev2", "QRESYNC", "UIDONLY", "UTF8=ACCEPT"];

impl Engine {
    pub(super) fn enable(&mut self, enable: &Enable, output: &mut Output) -> Completion<'static> {
        // RFC 5161 §3.1: what is not known is passed over.
        let asked = |name: &&str| enable.capabilities.iter().any(|one| one.eq_ignore_ascii_case(name));
        let enabled: Vec<&str> = KNOWN.into_iter().filter(asked).collect();
        output.enabled(&enabled);
        let mut dialect = output.dialect();
        dialect.rev2 |= enabled.contains(&"IMAP4rev2");
        dialect.utf8 |= enabled.contains(&"UTF8=ACCEPT");
        dialect.uid_only |= enabled.contains(&"UIDONLY");
        output.speak(dialect);
        if enabled.contains(&"QRESYNC") {
            self.qresync = true;
            self.selected.iter_mut().for_each(|selected| selected.qresync = true);
        }
        // RFC 7162 §3.2.3: QRESYNC is CONDSTORE and more.
        if enabled.contains(&"CONDSTORE") || enabled.contains(&"QRESYNC") {
            self.enable_condstore(output);
        }
        Completion::ok("ENABLE completed")
    }
}
