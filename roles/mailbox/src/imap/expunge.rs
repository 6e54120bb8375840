//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1). The client hears of it as of anybody's.

use estafeta_protocols::imap::command::expunge::Expunge;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::types::Rights;

use super::engine::{Engine, Reply};
use super::refusal::{Outcome, Refused};
use super::selected::Telling;

impl Engine {
    pub(super) async fn expunge(&mut self, expunge: &Expunge, reply: &mut Reply<'_, '_>) -> Outcome {
        let selected = self.selected()?;
        selected.check_writable()?;
        selected.check(Rights::EXPUNGE)?;
        let view = &selected.view;
        let expunged = match expunge {
            Expunge::All => reply.waiting(selected.expunge_all()).await?,
            Expunge::ByUid(set) => {
                let uids = view.uids(&view.of_uids(&set.ranges(view.last_uid())));
                reply.waiting(selected.mailbox.expunge(&uids)).await?
            }
        };
        let expunged = expunged.map_err(Refused::of_selected)?;
        let completion = Completion::ok("EXPUNGE completed");
        if expunged.is_empty() || !selected.qresync {
            return Ok(completion);
        }
        // RFC 7162 §3.2.7: up to where the client knows everything, so it is told first.
        let telling = if *expunge == Expunge::All { Telling::ALL } else { Telling::BY_UID };
        self.tell_selected(telling.asked(), reply.output()).await?;
        Ok(completion.with(Code::HighestModSeq(self.selected()?.view.modseq().0)))
    }
}
