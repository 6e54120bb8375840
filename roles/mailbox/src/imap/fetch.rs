//! FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4, RFC 8474 §5, RFC 8970). What was kept of the messages is read page by page, small
//! bodies too, if a message's text is asked for; larger ones one by one, and all go to the client without being gathered:
//! at most a page, one message and what is on its way to the client stand in memory.

use std::ops::RangeInclusive;

use estafeta_protocols::imap::command::fetch::{Fetch, FetchItem};
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::message::contents::is_of_header;
use estafeta_protocols::imap::message::envelope::envelope;
use estafeta_protocols::imap::message::structure::structure;
use estafeta_protocols::imap::response::{Code, Completion, FetchItems, Output};
use estafeta_protocols::imap::types::{DateTime, Messages, Rights};

use super::ahead::{Ahead, Wanted};
use super::engine::{Engine, Reply};
use super::lost::Lost;
use super::refusal::{Outcome, Refused};
use super::selected::Selected;
use super::translate::{flag_names, wire_uid};
use super::view::{Sequences, View};
use crate::store::{Columns, FlagChange, KeptMessage, MessageEntry, ModSeq, StoreError, SystemFlags, Uid, UidSet};

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
        // RFC 9394 §3.4: the page first, then what of it has changed.
        if let Some(window) = fetch.window {
            let page: Vec<u32> = sequences.into_iter().flatten().collect();
            let page = page.get(window.of(page.len())).unwrap_or_default();
            sequences = page.iter().map(|sequence| *sequence..=*sequence).collect();
        }
        if let Some(since) = fetch.changed_since {
            let changed = |sequence: &u32| selected.view.get(*sequence).is_some_and(|entry| entry.modseq.0 > since);
            sequences = sequences.into_iter().flatten().filter(changed).map(|sequence| sequence..=sequence).collect();
        }
        // RFC 4314 §4: without the right, \\Seen stays as it is.
        let seen = if fetch.sets_seen() && !selected.read_only && selected.rights.contains(Rights::SEEN) {
            set_seen(selected, &sequences, reply.output()).await?
        } else {
            UidSet::default()
        };
        let wanted = wanted(&fetch.items);
        let mut missing = false;
        let mut unknown_encoding = false;
        let mut lost = Lost::default();
        let with_uids = |page: Sequences| {
            let uids = selected.view.uids(&page);
            ((page, uids.clone()), uids)
        };
        let mut pages = Ahead::new(&selected.mailbox, wanted, pages(sequences).into_iter().map(with_uids));
        while let Some(((page, uids), read)) = pages.next().await? {
            let mut kept = read.kept.into_iter().peekable();
            // Otherwise asked for at the first message that is not answered by what is kept.
            let mut texts = read.texts.map(|texts| texts.into_iter().peekable());
            for sequence in page.into_iter().flatten() {
                let Some(entry) = selected.view.get(sequence) else { continue };
                let kept = kept.next_if(|kept| kept.uid == entry.uid);
                if wanted.columns != Columns::default() && kept.is_none() {
                    missing = true;
                    continue;
                }
                let answered = |item: &FetchItem| match &kept {
                    Some(kept) => kept.kept.answers(item),
                    None => !item.needs_bytes(),
                };
                let message = if fetch.items.iter().all(answered) {
                    None
                } else {
                    let texts = match &mut texts {
                        Some(texts) => texts,
                        none => {
                            let found = selected.mailbox.texts(&uids).await.map_err(Refused::of_selected)?;
                            none.insert(found.into_iter().peekable())
                        }
                    };
                    while texts.next_if(|text| text.uid < entry.uid).is_some() {}
                    let text = match texts.next_if(|text| text.uid == entry.uid) {
                        Some(text) => selected.mailbox.open(text).await,
                        None => Err(StoreError::NoMessage),
                    };
                    match text {
                        Ok(text) => {
                            let [prefix, body] = text.parts();
                            Some(Message::new(prefix.clone(), body.clone()))
                        }
                        Err(StoreError::NoMessage) => {
                            missing = true;
                            continue;
                        }
                        Err(error) => {
                            lost.pass_over(entry.uid, error).map_err(Refused::of_selected)?;
                            if seen.contains(entry.uid) {
                                selected.tell_flags(reply.output(), entry.uid, fetch.messages.by_uid());
                            }
                            continue;
                        }
                    }
                };
                unknown_encoding |= message.as_ref().is_some_and(|message| is_undecodable(&fetch.items, message));
                let source = Source { entry, view: &selected.view, kept: kept.as_ref(), message: message.as_ref() };
                let tell_flags = seen.contains(entry.uid) && !fetch.items.contains(&FetchItem::Flags);
                let uid_only = reply.output().dialect().uid_only;
                // RFC 3516 §4.3: of a size that is not known nothing is told.
                let tells = |item: &&FetchItem| match (item, &message) {
                    (FetchItem::BinarySize(section), Some(message)) => message.binary(section, None).is_ok(),
                    _ => true,
                };
                if !tell_flags && !fetch.items.iter().any(|item| tells(&item)) {
                    continue;
                }
                reply.output().fetch_of(sequence, wire_uid(entry.uid), |items| {
                    fetch.items.iter().filter(tells).for_each(|item| source.write(items, item));
                    if tell_flags {
                        source.write(items, &FetchItem::Flags);
                        // RFC 7162 §3.2.4: whoever hears them hears of this change too, and of which message it is.
                        let more = [FetchItem::Uid, FetchItem::ModSeq].into_iter().skip(usize::from(uid_only));
                        for item in more.filter(|item| selected.condstore && !fetch.items.contains(item)) {
                            source.write(items, &item);
                        }
                    }
                });
                reply.send_much().await?;
            }
        }
        if lost.log(selected.mailbox.mail()) {
            let text = "A message cannot be read: an administrator should run estafeta mailbox verify";
            return Err(Refused::Answer(Completion::no(text).with(Code::ServerBug)));
        }
        if unknown_encoding {
            // RFC 3516 §4.3: the parts that can be decoded are told all the same.
            let completion = Completion::no("The encoding of a part is not known").with(Code::UnknownCte);
            return Err(Refused::Answer(completion));
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
    let unseen = |entry: &&MessageEntry| !entry.flags.system.contains(SystemFlags::SEEN);
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

/// Whether a part is to be decoded that cannot be.
fn is_undecodable(items: &[FetchItem], message: &Message) -> bool {
    items.iter().any(|item| match item {
        FetchItem::Binary { section, partial, .. } => message.binary(section, *partial).is_err(),
        FetchItem::BinarySize(section) => message.binary(section, None).is_err(),
        _ => false,
    })
}

/// How many messages are asked of the store at once.
const PAGE_MESSAGES: u32 = 256;

/// The same sequence numbers, in portions of [`PAGE_MESSAGES`].
fn pages(sequences: Sequences) -> Vec<Sequences> {
    let mut pages: Vec<Sequences> = Vec::new();
    let mut room = 0;
    for range in sequences {
        let (mut first, last) = range.into_inner();
        while first <= last {
            if room == 0 {
                pages.push(Vec::new());
                room = PAGE_MESSAGES;
            }
            let end = last.min(first.saturating_add(room - 1));
            pages.iter_mut().last().into_iter().for_each(|page| page.push(first..=end));
            room -= end - first + 1;
            let Some(next) = end.checked_add(1) else { break };
            first = next;
        }
    }
    pages
}

/// What of the messages has to be read.
fn wanted(items: &[FetchItem]) -> Wanted {
    use FetchItem::{Body, BodyStructure, EmailId, Envelope, Preview, ThreadId};

    let header = |item: &FetchItem| item.section().is_some_and(|(section, _)| is_of_header(&section));
    let kept = |item: &FetchItem| matches!(item, Body | BodyStructure | EmailId | Envelope | Preview | ThreadId);
    // With the whole message at hand, its header is too.
    let whole = items.iter().any(|item| item.needs_bytes() && !header(item) && !kept(item));
    let columns = Columns {
        summary: items.iter().any(|item| kept(item) && *item != EmailId),
        header: !whole && items.iter().any(header),
        hash: items.iter().any(|item| matches!(item, EmailId | ThreadId)),
    };
    Wanted { columns, texts: whole }
}

/// Where the answers for a message come from.
struct Source<'a> {
    entry: &'a MessageEntry,
    view: &'a View,
    kept: Option<&'a KeptMessage>,
    message: Option<&'a Message>,
}

impl Source<'_> {
    fn write(&self, items: &mut FetchItems<'_>, item: &FetchItem) {
        let entry = self.entry;
        match item {
            FetchItem::Uid => {
                if let Some(uid) = wire_uid(entry.uid) {
                    items.uid(uid);
                }
            }
            FetchItem::Flags => {
                items.flags(flag_names(entry.flags, self.view.keywords()), self.view.is_recent(entry.uid))
            }
            FetchItem::InternalDate => items.internal_date(DateTime::from_unix_seconds(entry.internal_date)),
            FetchItem::ModSeq => items.mod_sequence(entry.modseq.0),
            FetchItem::SaveDate => items.save_date(DateTime::from_unix_seconds(entry.saved)),
            FetchItem::Rfc822Size => items.size(u64::from(entry.size)),
            item => self.write_content(items, item),
        }
    }

    /// What was kept is asked first, then the message: between them they have every answer.
    fn write_content(&self, items: &mut FetchItems<'_>, item: &FetchItem) {
        let kept = self.kept.filter(|kept| kept.kept.answers(item));
        match (item, kept, self.message) {
            (FetchItem::EmailId, Some(kept), _) => items.email_id(kept.email_id().unwrap_or_default()),
            (FetchItem::ThreadId, Some(kept), _) => items.thread_id(kept.thread_id().as_deref()),
            (FetchItem::Preview, Some(kept), _) => items.preview(kept.kept.preview().unwrap_or_default()),
            (FetchItem::Envelope, Some(kept), _) => items.envelope(&kept.kept.envelope().unwrap_or_default()),
            (FetchItem::Envelope, None, Some(message)) => items.envelope(&envelope(message)),
            (FetchItem::Body | FetchItem::BodyStructure, kept, message) => {
                let extended = *item == FetchItem::BodyStructure;
                if let Some(structure) = kept.and_then(|kept| kept.kept.structure(extended)) {
                    items.structure(&structure, extended);
                } else if let Some(message) = message {
                    items.structure(&structure(message, extended), extended);
                }
            }
            (FetchItem::Binary { section, partial, .. }, _, Some(message)) => {
                items.binary(section, *partial, message.binary(section, *partial).unwrap_or_default());
            }
            (FetchItem::BinarySize(section), _, Some(message)) => {
                let content = message.binary(section, None).unwrap_or_default().unwrap_or_default();
                items.binary_size(section, content.iter().map(bytes::Bytes::len).sum::<usize>() as u64);
            }
            (item, kept, message) => {
                let source = message.or_else(|| kept.and_then(|kept| kept.kept.header()));
                if let (Some(source), Some((section, partial))) = (source, item.section()) {
                    items.content(item, source.section(&section, partial));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_full_and_in_order() {
        assert_eq!(pages(Vec::new()), Vec::<Sequences>::new());
        assert_eq!(pages(vec![3..=3, 5..=9]), [vec![3..=3, 5..=9]]);
        assert_eq!(pages(vec![1..=1, 3..=300]), [vec![1..=1, 3..=257], vec![258..=300]]);
        let all: Vec<_> = pages(vec![1..=1000, u32::MAX..=u32::MAX]).into_iter().flatten().flatten().collect();
        assert_eq!(all, (1..=1000).chain([u32::MAX]).collect::<Vec<_>>());
    }
}
