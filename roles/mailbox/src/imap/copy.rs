//! COPY (RFC 3501 §6.4.7) and MOVE (RFC 6851 §3.1), told by COPYUID (RFC 4315 §3).

use estafeta_protocols::imap::command::copy::Copy;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::types::{Messages, Rights};

use super::engine::{Engine, Reply};
use super::place::{Place, flag_scope};
use super::refusal::{Outcome, Refused};
use super::translate::{wire_uid, wire_validity};
use crate::store::{Copied, Moved, UidSet};

impl Engine {
    pub(super) async fn copy(&mut self, copy: &Copy, reply: &mut Reply<'_, '_>) -> Outcome {
        let target = self.target(copy).await?;
        let (uids, mailbox) = self.source(copy)?;
        let scope = flag_scope(target.rights);
        let copied = reply.waiting(mailbox.copy_to(&uids, (&target.mail, &target.name), scope)).await?;
        let copied = copied.map_err(Refused::of_target)?;
        check_any(copy, &copied)?;
        self.note_added(copied.uid_validity, copied.uids.iter().map(|(_, to)| *to));
        let completion = Completion::ok("COPY completed");
        Ok(match code(&copied) {
            Some(code) => completion.with(code),
            None => completion,
        })
    }

    pub(super) async fn move_messages(&mut self, copy: &Copy, reply: &mut Reply<'_, '_>) -> Outcome {
        let target = self.target(copy).await?;
        let selected = self.selected()?;
        selected.check_writable()?;
        // RFC 6851 §4.5: what a STORE of \\Deleted and an EXPUNGE would need.
        selected.check(Rights::DELETE_MESSAGES.with(Rights::EXPUNGE))?;
        let (uids, mailbox) = self.source(copy)?;
        let scope = flag_scope(target.rights);
        let moved = reply.waiting(mailbox.relocate_to(&uids, (&target.mail, &target.name), scope)).await?;
        let Moved { copied, stopped } = moved.map_err(Refused::of_target)?;
        check_any(copy, &copied)?;
        self.note_added(copied.uid_validity, copied.uids.iter().map(|(_, to)| *to));
        // RFC 6851 §4.3: before the EXPUNGE responses, which follow as for any change.
        if let Some(code) = code(&copied) {
            reply.output().notice(&code, "Moved");
        }
        match stopped {
            // RFC 6851 §3.3: the client learns by COPYUID and EXPUNGE which have moved.
            Some(error) => Err(Refused::of_target(error)),
            None => Ok(Completion::ok("MOVE completed")),
        }
    }

    async fn target(&self, copy: &Copy) -> Result<Place, Refused> {
        let place = self.place(&copy.mailbox).await?;
        place.need(Rights::INSERT)?;
        Ok(place)
    }

    fn source(&mut self, copy: &Copy) -> Result<(UidSet, crate::store::Mailbox), Refused> {
        let selected = self.selected()?;
        let sequences = selected.resolve(&copy.messages)?;
        Ok((selected.view.uids(&sequences), selected.mailbox.clone()))
    }
}

/// RFC 2180 §4.4: a client that names messages which are all gone is told that nothing was done.
fn check_any(copy: &Copy, copied: &Copied) -> Result<(), Refused> {
    if copied.uids.is_empty() && matches!(copy.messages, Messages::BySequence(_)) {
        let completion = Completion::no("These messages have been expunged").with(Code::ExpungeIssued);
        return Err(Refused::Answer(completion));
    }
    Ok(())
}

/// RFC 4315 §3: none when nothing was copied.
fn code(copied: &Copied) -> Option<Code<'static>> {
    let source = copied.uids.iter().filter_map(|(from, _)| wire_uid(*from)).collect();
    let destination = copied.uids.iter().filter_map(|(_, to)| wire_uid(*to)).collect();
    let validity = wire_validity(copied.uid_validity)?;
    (!copied.uids.is_empty()).then_some(Code::CopyUid { validity, source, destination })
}
