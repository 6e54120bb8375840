//! SELECT, EXAMINE (RFC 3501 §6.3.1, §6.3.2), CLOSE (§6.4.2) and UNSELECT (RFC 3691).

use estafeta_protocols::imap::command::select::{Resync, Select};
use estafeta_protocols::imap::response::{Code, Completion, ListEntry, Output};
use estafeta_protocols::imap::server::{Server, State};
use estafeta_protocols::imap::types::Rights;

use super::engine::Engine;
use super::refusal::{Outcome, Refused};
use super::selected::Selected;
use super::translate::{wire_uid, wire_validity};
use crate::store::ModSeq;

/// The rights to change something of a mailbox's messages.
const CHANGING: Rights =
    Rights::SEEN.with(Rights::WRITE).with(Rights::INSERT).with(Rights::DELETE_MESSAGES).with(Rights::EXPUNGE);

/// RFC 7162 §3.2.5.1: what a client that remembers this mailbox has missed.
async fn tell_what_happened(selected: &Selected, resync: &Resync, output: &mut Output) -> Result<(), Refused> {
    if wire_validity(selected.mailbox.uid_validity()) != Some(resync.validity) {
        return Ok(());
    }
    let view = &selected.view;
    let known = resync.known.as_ref().map_or_else(|| vec![1..=u32::MAX], |known| known.ranges(view.last_uid()));
    let vanished = selected.vanished(ModSeq(resync.since), &known).await?;
    if !vanished.is_empty() {
        output.vanished(&vanished, true);
    }
    let changed = view.of_uids(&known).into_iter().flatten().filter_map(|sequence| view.get(sequence));
    for entry in changed.filter(|entry| entry.modseq.0 > resync.since) {
        selected.tell_flags(output, entry.uid, true);
    }
    Ok(())
}

impl Engine {
    pub(super) async fn select(&mut self, select: &Select, server: &mut Server) -> Outcome {
        if select.resync.is_some() && !self.qresync {
            return Err(Refused::Answer(Completion::bad("ENABLE QRESYNC comes first")));
        }
        let dialect = server.output().dialect();
        // RFC 7162 §3.2.11, RFC 9051 §7.1
        if self.selected.is_some() && (self.qresync || dialect.rev2) {
            server.output().notice(&Code::Closed, "The mailbox that was open is closed");
        }
        // RFC 3501 §6.3.1: a SELECT that fails leaves no mailbox open.
        self.leave(server);
        let place = self.place(&select.mailbox).await?;
        place.need(Rights::READ)?;
        let mailbox = place.mail.mailbox(&place.name).await?;
        // RFC 4314 §4: open for reading when nothing could be changed.
        let read_only = select.read_only || !place.rights.intersects(CHANGING);
        self.condstore |= select.condstore;
        let (mut selected, uid_next) = Selected::open(mailbox, read_only).await?;
        (selected.condstore, selected.qresync) = (self.condstore, self.qresync);
        (selected.rights, selected.shared) = (place.rights, !place.own);
        let output = server.output();
        selected.tell_keywords(output);
        output.exists(selected.view.len());
        output.recent(selected.view.recent());
        // RFC 9051 appendix E, RFC 9586 §3.2: to whom it means nothing, it is not told.
        if let Some(unseen) = selected.view.first_unseen().filter(|_| !dialect.rev2 && !dialect.uid_only) {
            output.notice(&Code::Unseen(unseen), "First message that is not seen");
        }
        if let Some(validity) = wire_validity(selected.mailbox.uid_validity()) {
            output.notice(&Code::UidValidity(validity), "UIDs are valid");
        }
        // RFC 8474 §4.2
        output.notice(&Code::MailboxId(selected.mailbox.object_number()), "Its name for good");
        if let Some(uid) = wire_uid(uid_next) {
            output.notice(&Code::UidNext(uid), "The next UID");
        }
        // RFC 9051 §6.3.2: the name as it is, however it was written.
        if dialect.rev2 {
            output.list(&ListEntry::new(&select.mailbox, &[]));
        }
        // RFC 7162 §3.1.2.1: also for those that have not asked for modification sequences.
        output.notice(&Code::HighestModSeq(selected.view.modseq().0), "The last change");
        if let Some(resync) = &select.resync {
            tell_what_happened(&selected, resync, output).await?;
        }
        self.selected = Some(selected);
        server.enter(State::Selected);
        let completion = Completion::ok(if select.read_only { "EXAMINE completed" } else { "SELECT completed" });
        Ok(completion.with(if read_only { Code::ReadOnly } else { Code::ReadWrite }))
    }

    pub(super) async fn close(&mut self, server: &mut Server) -> Outcome {
        let selected = self.selected()?;
        // RFC 4314 §4: without the right, CLOSE expunges nothing.
        if !selected.read_only && selected.rights.contains(Rights::EXPUNGE) {
            selected.expunge_all().await.map_err(Refused::of_selected)?;
        }
        self.leave(server);
        Ok(Completion::ok("CLOSE completed"))
    }

    pub(super) fn unselect(&mut self, server: &mut Server) -> Completion<'static> {
        self.leave(server);
        Completion::ok("UNSELECT completed")
    }
}
