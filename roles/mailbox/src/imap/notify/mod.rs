//! NOTIFY (RFC 5465): a session that is told, without asking, what happens in its mailboxes, the open one and others.
//!
//! Changes are not queued: what is watched wakes the session, which looks at everything once and tells what is different
//! (`picture`). So however much happens, no more is remembered than how things stood; and whoever is busy or slow hears
//! less often.
//!
//! Invariants: a mailbox is watched before it is looked at, so that nothing falls between; what a client said that it
//! does not want to hear is not told, but as the result of its own command.

mod others;
mod own;
mod picture;

use estafeta_protocols::imap::command::fetch::Fetch;
use estafeta_protocols::imap::command::notify::{Notify, NotifySet, SelectedEvents};
use estafeta_protocols::imap::command::status::StatusItem;
use estafeta_protocols::imap::response::{Code, Completion, ListEntry, Output, StatusValue};

use super::engine::{Engine, Reply};
use super::refusal::{Outcome, Refused};
use super::selected::Telling;
use super::translate::wire_name;
use crate::store::{Uid, UidValidity};
use others::{Others, Unseen};
use picture::{Circumstances, News};

pub(super) use own::Own;

/// Of what the client wants to hear.
#[derive(Default)]
pub(super) struct Notifying {
    /// Of the open mailbox's messages; none for nothing.
    selected: Option<SelectedEvents>,
    /// Of everything else; none for nothing.
    others: Option<Box<Others>>,
}

impl Notifying {
    /// What of that may be told of the open mailbox. To whom it wants to hear nothing, only what its own command did.
    fn of_selected(&self, telling: Telling) -> Option<Telling> {
        match &self.selected {
            // §5.1: with the UID.
            Some(events) => Some(Telling { uids: true, flags: events.flags, ..telling }),
            None => telling.asked.then_some(telling),
        }
    }
}

impl Engine {
    pub(super) async fn notify(&mut self, notify: Notify, reply: &mut Reply<'_, '_>) -> Outcome {
        let NotifySet { status, selected, groups } = match notify {
            Notify::None => {
                self.notifying = Some(Notifying::default());
                return Ok(Completion::ok("NOTIFY completed"));
            }
            Notify::Set(set) => set,
        };
        // §3.1: as by NOOP, whatever is told from now on.
        if let Some(open) = &mut self.selected {
            open.tell(reply.output(), Telling::ALL).await?;
            open.take_arrivals();
        }
        let others = match Others::begin(&self.mail, &groups).await {
            Ok(others) => others,
            Err(Unseen::TooMuch) => {
                let completion = Completion::no("This is too much to watch").with(Code::NotificationOverflow);
                return Err(Refused::Answer(completion));
            }
            Err(Unseen::Refused(refused)) => return Err(refused),
        };
        if let Some(others) = &others {
            let news = others.picture.begin(&others.wanted, status, self.selected_number());
            // §3.1: HIGHESTMODSEQ wherever flags are told of, for the server knows it.
            self.write_news(news, |flags| self.condstore || flags, reply.output());
        }
        self.notifying = Some(Notifying { selected, others: others.map(Box::new) });
        Ok(Completion::ok("NOTIFY completed"))
    }

    fn selected_number(&self) -> Option<u64> {
        self.selected.as_ref().map(|selected| selected.mailbox.object_number())
    }

    /// What may be told of the open mailbox while no command runs; none for nothing.
    fn unasked(&self) -> Option<Telling> {
        match &self.notifying {
            None => self.idling.then_some(Telling::ALL),
            Some(notifying) => {
                // §6.1.2: EXPUNGE waits for a command that allows it; IDLE is one.
                let delayed = notifying.selected.as_ref().is_some_and(|events| events.delayed) && !self.idling;
                notifying.of_selected(Telling { expunges: !delayed, ..Telling::ALL })
            }
        }
    }

    /// Completes when there is something to tell while no command runs. Cancel-safe.
    pub(super) async fn news(&mut self) {
        // Between the pieces of a message nothing is told.
        let quiet = self.appending.is_some();
        let unasked = self.unasked().filter(|_| !quiet);
        let Self { selected, notifying, home, owner, .. } = self;
        let selected = async {
            match (selected, unasked) {
                (Some(selected), Some(telling)) => selected.changed(telling.expunges).await,
                _ => std::future::pending().await,
            }
        };
        let others = async {
            match notifying.as_mut().and_then(|notifying| notifying.others.as_mut()) {
                Some(others) if !quiet => others.changed().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = home.changed(), if !quiet => {}
            () = owner.answered(), if !quiet => {}
            () = selected => {}
            () = others => {}
        }
    }

    /// Tells what there is to tell while no command runs.
    pub(super) async fn tell_unasked(&mut self, reply: &mut Reply<'_, '_>) -> Result<(), Refused> {
        match self.unasked() {
            Some(telling) => self.tell_news(telling, reply).await,
            None => self.tell_others(reply.output()).await,
        }
    }

    /// Tells what has changed, in answer to a command or unasked.
    pub(super) async fn tell_news(&mut self, telling: Telling, reply: &mut Reply<'_, '_>) -> Result<(), Refused> {
        self.tell_selected(telling, reply.output()).await?;
        self.tell_new_messages(reply).await?;
        self.tell_others(reply.output()).await
    }

    /// Tells what has changed in the open mailbox.
    pub(super) async fn tell_selected(&mut self, telling: Telling, output: &mut Output) -> Result<(), Refused> {
        let telling = match &self.notifying {
            None => Some(telling),
            Some(notifying) => notifying.of_selected(telling),
        };
        match (&mut self.selected, telling) {
            (Some(selected), Some(telling)) => selected.tell(output, telling).await,
            (Some(selected), None) => {
                selected.tell_last_change(output);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// What the client asked to be told of each new message (§5.2).
    async fn tell_new_messages(&mut self, reply: &mut Reply<'_, '_>) -> Result<(), Refused> {
        let Some(arrived) = self.selected.as_mut().and_then(|selected| selected.take_arrivals()) else { return Ok(()) };
        let events = self.notifying.as_ref().and_then(|notifying| notifying.selected.as_ref());
        let Some(events) = events.filter(|events| !events.items.is_empty()) else { return Ok(()) };
        let items = events.items.clone();
        let fetch = Fetch { messages: arrived, items, changed_since: None, vanished: false, window: None };
        match self.fetch(&fetch, reply).await {
            // What is gone already, or cannot be decoded, is no fault of this command's.
            Ok(_) | Err(Refused::Answer(_)) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Tells what has changed elsewhere.
    async fn tell_others(&mut self, output: &mut Output) -> Result<(), Refused> {
        let (selected, condstore) = (self.selected_number(), self.condstore);
        let Some(others) = self.notifying.as_mut().and_then(|notifying| notifying.others.as_mut()) else {
            return Ok(());
        };
        let own = std::mem::take(&mut others.own);
        let news = match others.look(&self.mail).await {
            Ok(None) => {
                others.own = own;
                return Ok(());
            }
            Ok(Some(before)) => {
                let around = Circumstances { selected, condstore, own: &own };
                others.picture.since(&before, &others.wanted, &around)
            }
            Err(Unseen::TooMuch) => {
                output.notice(&Code::NotificationOverflow, "This is too much to watch: nothing more is told");
                // §5.8
                self.notifying = Some(Notifying::default());
                return Ok(());
            }
            // Later, when the store answers again.
            Err(Unseen::Refused(Refused::Answer(completion))) => {
                tracing::debug!(cause = %completion.text, "what has changed is not seen now");
                others.own = own;
                return Ok(());
            }
            Err(Unseen::Refused(refused)) => return Err(refused),
        };
        self.write_news(news, |_| condstore, output);
        Ok(())
    }

    fn write_news(&self, news: Vec<News>, with_modseq: impl Fn(bool) -> bool, output: &mut Output) {
        for news in news {
            match news {
                News::Name { name, attributes, old_name } => {
                    let Some(name) = wire_name(&name) else { continue };
                    let old_name = old_name.as_ref().and_then(wire_name);
                    output.list(&ListEntry { old_name: old_name.as_ref(), ..ListEntry::new(&name, &attributes) });
                }
                News::Standing { name, standing, flags } => {
                    let Some(name) = wire_name(&name) else { continue };
                    let mut values = vec![
                        (StatusItem::Messages, u64::from(standing.messages)),
                        (StatusItem::UidNext, standing.uid_next.0.into()),
                        (StatusItem::UidValidity, standing.uid_validity.0.into()),
                    ];
                    values.extend(flags.then_some((StatusItem::Unseen, standing.unseen.into())));
                    let modseq = (StatusItem::HighestModSeq, standing.highest_modseq.0);
                    values.extend(with_modseq(flags).then_some(modseq));
                    let values: Vec<_> = values.into_iter().map(|(item, value)| StatusValue { item, value }).collect();
                    output.mailbox_status(&name, &values);
                }
                News::Entries { mailbox, entries } => {
                    let mailbox = mailbox.as_ref().and_then(wire_name);
                    output.metadata_changed(mailbox.as_ref(), entries.iter().map(String::as_str));
                }
            }
        }
    }

    /// The client did this itself, and knows it. `name`d as the client knows it.
    pub(super) fn note_own(&mut self, own: Own) {
        if let Some(others) = self.notifying.as_mut().and_then(|notifying| notifying.others.as_mut()) {
            others.note(own);
        }
    }

    /// The client put these messages there itself.
    pub(super) fn note_added(&mut self, uid_validity: UidValidity, uids: impl IntoIterator<Item = Uid>) {
        if self.notifying.is_none() {
            return;
        }
        let uids: Vec<_> = uids.into_iter().collect();
        match self.selected.as_mut().filter(|selected| selected.mailbox.uid_validity() == uid_validity) {
            Some(selected) => selected.note_added(uids),
            None => {
                let messages = u32::try_from(uids.len()).unwrap_or(u32::MAX);
                self.note_own(Own::Added { uid_validity, messages });
            }
        }
    }

    /// Whether it matters what the client does itself.
    pub(super) fn notes_own(&self) -> bool {
        self.notifying.as_ref().is_some_and(|notifying| notifying.others.is_some())
    }
}
