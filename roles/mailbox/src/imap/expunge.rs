//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1). The client hears of it as of anybody's.

use estafeta_protocols::imap::command::expunge::Expunge;
use estafeta_protocols::imap::response::Completion;

use super::engine::Engine;
use super::refusal::{Outcome, Refused};

impl Engine {
    pub(super) async fn expunge(&mut self, expunge: &Expunge) -> Outcome {
        let selected = self.selected()?;
        selected.check_writable()?;
        let view = &selected.view;
        let sequences = match expunge {
            Expunge::All => vec![1..=view.len()],
            Expunge::ByUid(set) => view.of_uids(&set.ranges(view.last_uid())),
        };
        selected.mailbox.expunge(&view.uids(&sequences)).await.map_err(Refused::of_selected)?;
        Ok(Completion::ok("EXPUNGE completed"))
    }
}
