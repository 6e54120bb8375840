//! FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4). Messages go from the store to the client without being gathered: at most one and what is
//! on its way to the client stand in memory.

use std::ops::RangeInclusive;

use estafeta_protocols::imap::command::fetch::{Fetch, FetchItem};
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::message::envelope::envelope;
use estafeta_protocols::imap::message::structure::structure;
use estafeta_protocols::imap::response::{Code, Completion, FetchItems, Output};
use estafeta_protocols::imap::types::{DateTime, Messages};

use super::engine::{Engine, Reply};
use super::refusal::{Outcome, Refused};
use super::selected::Selected;
use super::translate::{flag_names, wire_uid};
use super::view::{Entry, View};
use crate::store::{FlagChange, ModSeq, StoreError, SystemFlags, Uid, UidSet};

impl Engine {
    pub(super) async fn fetch(&mut self, fetch: &Fetch, reply: &mut Reply<'_, '_>) -> Outcome {
        if fetch.items.contains(&FetchItem::ModSeq) {
            self.enable_condstore(reply.output());
        }
        if fetch.vanished && !self.qresync {
            return Err(Refused::Answer(Completion::bad("ENABLE QRESYNC comes first")));
        }
        let selected = self.selected()?;
        let mut sequences = selected.resolve(&fetch.messages)?;
        if let (true, Some(since), Messages::ByUid(set)) = (fetch.vanished, fetch.changed_since, &fetch.messages) {
            let vanished = selected.vanished(ModSeq(since), &set.ranges(selected.view.last_uid())).await?;
            if !vanished.is_empty() {
                reply.output().vanished(&vanished, true);
            }
        }
        if let Some(since) = fetch.changed_since {
            let changed = |sequence: &u32| selected.view.get(*sequence).is_some_and(|entry| entry.modseq.0 > since);
            sequences = sequences.into_iter().flatten().filter(changed).map(|sequence| sequence..=sequence).collect();
        }
        let seen = if fetch.sets_seen() && !selected.read_only {
            set_seen(selected, &sequences, reply.output()).await?
        } else {
            UidSet::default()
        };
        let needs_bytes = fetch.items.iter().any(FetchItem::needs_bytes);
        let mut missing = false;
        for sequence in sequences.into_iter().flatten() {
            let Some(entry) = selected.view.get(sequence) else { continue };
            let message = if needs_bytes {
                match selected.mailbox.text(entry.uid).await {
                    Ok(text) => {
                        let [prefix, body] = text.parts();
                        Some(Message::new(prefix.clone(), body.clone()))
                    }
                    Err(StoreError::NoMessage) => {
                        missing = true;
                        continue;
                    }
                    Err(error) => return Err(Refused::of_selected(error)),
                }
            } else {
                None
            };
            let tell_flags = seen.contains(entry.uid) && !fetch.items.contains(&FetchItem::Flags);
            reply.output().fetch(sequence, |items| {
                fetch.items.iter().for_each(|item| write(items, item, entry, &selected.view, message.as_ref()));
                if tell_flags {
                    write(items, &FetchItem::Flags, entry, &selected.view, None);
                    // RFC 7162 §3.1.4.2: whoever hears them hears of this change too.
                    if selected.condstore && !fetch.items.contains(&FetchItem::ModSeq) {
                        write(items, &FetchItem::ModSeq, entry, &selected.view, None);
                    }
                }
            });
            reply.send_much().await?;
        }
        if missing && !fetch.messages.by_uid() {
            // RFC 2180 §4.1.3: the client learns by EXPUNGE later which those are.
            return Ok(Completion::ok("Some of the messages have been expunged").with(Code::ExpungeIssued));
        }
        Ok(Completion::ok("FETCH completed"))
    }
}

/// Sets `\Seen` where it is not set, before the text is sent, and gives the messages whose flags that changed.
async fn set_seen(
    selected: &mut Selected,
    sequences: &[RangeInclusive<u32>],
    output: &mut Output,
) -> Result<UidSet, Refused> {
    let view = &selected.view;
    let unseen = |entry: &&Entry| !entry.flags.system.contains(SystemFlags::SEEN);
    let entries = sequences.iter().cloned().flatten().filter_map(|sequence| view.get(sequence));
    let unseen: Vec<Uid> = entries.filter(unseen).map(|entry| entry.uid).collect();
    if unseen.is_empty() {
        return Ok(UidSet::default());
    }
    let change = FlagChange::add(SystemFlags::SEEN);
    let stored = selected.mailbox.store_flags(&UidSet::from_uids(unseen), &change, None).await;
    let changed = selected.absorb_stored(output, stored.map_err(Refused::of_selected)?, Some);
    Ok(UidSet::from_uids(changed))
}

fn write(items: &mut FetchItems<'_>, item: &FetchItem, entry: &Entry, view: &View, message: Option<&Message>) {
    match (item, message) {
        (FetchItem::Uid, _) => {
            if let Some(uid) = wire_uid(entry.uid) {
                items.uid(uid);
            }
        }
        (FetchItem::Flags, _) => items.flags(flag_names(entry.flags, view.keywords()), entry.recent),
        (FetchItem::InternalDate, _) => items.internal_date(DateTime::from_unix_seconds(entry.internal_date)),
        (FetchItem::ModSeq, _) => items.mod_sequence(entry.modseq.0),
        (FetchItem::SaveDate, _) => items.save_date(DateTime::from_unix_seconds(entry.saved)),
        (FetchItem::Rfc822Size, _) => items.size(u64::from(entry.size)),
        (FetchItem::Envelope, Some(message)) => items.envelope(&envelope(message)),
        (FetchItem::Body, Some(message)) => items.structure(&structure(message, false), false),
        (FetchItem::BodyStructure, Some(message)) => items.structure(&structure(message, true), true),
        (item, Some(message)) => {
            if let Some((section, partial)) = item.section() {
                items.content(item, message.section(&section, partial));
            }
        }
        // With an item that needs the bytes, there are bytes.
        (_, None) => {}
    }
}
