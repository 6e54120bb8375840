//! STORE (RFC 3501 §6.4.6).

use estafeta_protocols::imap::command::store::Store;
use estafeta_protocols::imap::response::{Code, Completion, Output};
use estafeta_protocols::imap::types::Messages;

use super::engine::Engine;
use super::refusal::{Outcome, Refused};
use super::translate::flag_change;

impl Engine {
    pub(super) async fn store(&mut self, store: &Store, output: &mut Output) -> Outcome {
        let selected = self.selected()?;
        selected.check_writable()?;
        let by_uid = matches!(store.messages, Messages::ByUid(_));
        let change = flag_change(store)?;
        let sequences = selected.view.resolve(&store.messages)?;
        let named: usize = sequences.iter().map(|range| range.clone().count()).sum();
        let uids = selected.view.uids(&sequences);
        let stored = selected.mailbox.store_flags(&uids, &change, None).await.map_err(Refused::of_selected)?;
        let missing = named > stored.messages.len();
        let keywords = stored.keywords.clone();
        // With .SILENT only what the client cannot know is told: that somebody else had changed the flags, too.
        let tell =
            selected.absorb_stored(output, stored, |before| store.silent.then(|| change.apply(before, &keywords)));
        for uid in tell {
            selected.tell_flags(output, uid, by_uid);
        }
        if missing && !by_uid {
            // RFC 2180 §4.2.1: done for those that are there.
            return Ok(Completion::ok("Some of the messages have been expunged").with(Code::ExpungeIssued));
        }
        Ok(Completion::ok("STORE completed"))
    }
}
