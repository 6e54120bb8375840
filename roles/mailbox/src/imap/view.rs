//! What a session's client knows of its mailbox: which message has which sequence number, and its flags as last told.
//!
//! Invariants: entries stand in the order of their UIDs, and an entry's place is its sequence number; an entry leaves
//! only when the client is told so ([`View::remove_gone`]), and others come only behind all.

use std::ops::RangeInclusive;

use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::types::Messages;

use super::refusal::Refused;
use crate::store::{Changes, Flags, Keywords, Mark, MessageEntry, ModSeq, Snapshot, SystemFlags, Uid, UidSet};

/// A message, as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uid: Uid,
    /// In bytes.
    pub(super) size: u32,
    /// In seconds since 1970.
    pub(super) internal_date: i64,
    /// When it came into this mailbox, in seconds since 1970.
    pub(super) saved: i64,
    pub(super) modseq: ModSeq,
    pub(super) flags: Flags,
    /// `\Recent`: this session was the first to hear of it.
    pub(super) recent: bool,
    /// Expunged, and the client was not told yet.
    gone: bool,
}

impl Entry {
    fn new(message: &MessageEntry, recent: bool) -> Self {
        let MessageEntry { uid, modseq, flags, size, internal_date, saved } = *message;
        Self { uid, size, internal_date, saved, modseq, flags, recent, gone: false }
    }
}

/// Sequence numbers, ascending and disjoint.
pub(super) type Sequences = Vec<RangeInclusive<u32>>;

/// The view.
#[derive(Debug)]
pub(super) struct View {
    entries: Vec<Entry>,
    keywords: Keywords,
    /// Up to where the store's changes are in it.
    modseq: ModSeq,
    /// How many entries are gone.
    gone: u32,
    /// Up to where nothing had gone of which the client was not told; it counts while something has.
    whole: ModSeq,
}

/// What a client has to be told after changes came into the view.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// So many messages more.
    pub(super) arrived: u32,
    /// The mailbox knows more keywords.
    pub(super) keywords: bool,
    /// These have other flags.
    pub(super) flags: Vec<Uid>,
}

impl View {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let recent = snapshot.recent;
        let entries = snapshot.messages.iter().map(|message| Entry::new(message, recent.contains(&message.uid)));
        let modseq = snapshot.highest_modseq;
        Self { entries: entries.collect(), keywords: snapshot.keywords, modseq, gone: 0, whole: modseq }
    }

    /// How many messages the client knows of.
    pub(super) fn len(&self) -> u32 {
        // UIDs have 32 bits, so that there are not more.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// The largest UID that the client knows of; 0 when there is none.
    pub(super) fn last_uid(&self) -> u32 {
        self.entries.last().map_or(0, |entry| entry.uid.0)
    }

    /// Up to where the store's changes are in it.
    pub(super) fn modseq(&self) -> ModSeq {
        self.modseq
    }

    /// Up to where the client knows of everything: what it is yet to hear of as gone went later.
    pub(super) fn whole(&self) -> ModSeq {
        if self.has_gone() { self.whole } else { self.modseq }
    }

    pub(super) fn keywords(&self) -> &Keywords {
        &self.keywords
    }

    /// The message of a sequence number.
    pub(super) fn get(&self, sequence: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }

    /// Each message with its sequence number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (1..).zip(&self.entries)
    }

    /// The sequence number of a UID.
    pub(super) fn sequence(&self, uid: Uid) -> Option<u32> {
        let place = self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok()?;
        u32::try_from(place + 1).ok()
    }

    /// How many messages are recent.
    pub(super) fn recent(&self) -> u32 {
        u32::try_from(self.entries.iter().filter(|entry| entry.recent).count()).unwrap_or(u32::MAX)
    }

    /// The first message that is not seen.
    pub(super) fn first_unseen(&self) -> Option<u32> {
        self.iter().find(|(_, entry)| !entry.flags.system.contains(SystemFlags::SEEN)).map(|(sequence, _)| sequence)
    }

    /// Whether the client still has to be told of an expunged message.
    pub(super) fn has_gone(&self) -> bool {
        self.gone > 0
    }

    /// The messages that a client names, `$` being the UIDs `saved`. By UID, what is not there is passed over (RFC 3501
    /// §6.4.8); a sequence number that is not there is an error.
    pub(super) fn resolve(&self, messages: &Messages, saved: &[RangeInclusive<u32>]) -> Result<Sequences, Refused> {
        match messages {
            Messages::BySequence(set) => {
                let ranges = set.ranges(self.len());
                match ranges.last() {
                    Some(range) if *range.end() > self.len() => {
                        Err(Refused::Answer(Completion::bad("There is no message with this sequence number")))
                    }
                    _ => Ok(ranges),
                }
            }
            Messages::ByUid(set) => Ok(self.of_uids(&set.ranges(self.last_uid()))),
            Messages::Saved { .. } => Ok(self.of_uids(saved)),
        }
    }

    /// The sequence numbers of UIDs.
    pub(super) fn of_uids(&self, uids: &[RangeInclusive<u32>]) -> Sequences {
        let place = |uid: u64| self.entries.partition_point(|entry| u64::from(entry.uid.0) < uid) as u32;
        let found = uids.iter().map(|range| {
            let (first, behind) = (place(u64::from(*range.start())), place(u64::from(*range.end()) + 1));
            first + 1..=behind
        });
        found.filter(|range| !range.is_empty()).collect()
    }

    /// The UIDs of sequence numbers. Exact, although it names ranges: what lies between two neighbours has been
    /// expunged, for a new message only ever comes above all.
    pub(super) fn uids(&self, sequences: &[RangeInclusive<u32>]) -> UidSet {
        UidSet::from_ranges(sequences.iter().filter_map(|range| {
            let (first, last) = (self.get(*range.start())?, self.get(*range.end())?);
            Some(first.uid..=last.uid)
        }))
    }

    /// Takes in what happened in the store. Sequence numbers stay.
    pub(super) fn absorb(&mut self, changes: Changes) -> News {
        let mut news = News { keywords: self.learn(changes.keywords), ..News::default() };
        self.whole = self.whole();
        for uid in changes.expunged {
            if let Ok(place) = self.entries.binary_search_by_key(&uid, |entry| entry.uid)
                && !self.entries[place].gone
            {
                self.entries[place].gone = true;
                self.gone += 1;
            }
        }
        for message in &changes.changed {
            if message.uid.0 > self.last_uid() {
                self.entries.push(Entry::new(message, changes.recent.contains(&message.uid)));
                news.arrived += 1;
            } else if self.update(message) {
                news.flags.push(message.uid);
            }
        }
        self.modseq = changes.highest_modseq;
        news
    }

    /// Takes keywords in. Says whether there are new ones.
    pub(super) fn learn(&mut self, keywords: Keywords) -> bool {
        // A mailbox never forgets a keyword.
        let new = keywords.iter().count() > self.keywords.iter().count();
        if new {
            self.keywords = keywords;
        }
        new
    }

    /// Takes over a message's flags and modification sequence. Says whether the flags were others.
    pub(super) fn update(&mut self, message: &MessageEntry) -> bool {
        let Ok(place) = self.entries.binary_search_by_key(&message.uid, |entry| entry.uid) else { return false };
        let entry = &mut self.entries[place];
        entry.modseq = message.modseq;
        std::mem::replace(&mut entry.flags, message.flags) != message.flags
    }

    /// Takes over the flags and modification sequences of messages, by UID ascending. `each` is told what flags one had; of
    /// those that the client does not know, nothing.
    pub(super) fn update_all(&mut self, messages: &[Mark], mut each: impl FnMut(Flags, &Mark)) {
        let Some(first) = messages.first() else { return };
        let place = self.entries.partition_point(|entry| entry.uid < first.uid);
        let mut entries = self.entries[place..].iter_mut().peekable();
        for message in messages {
            while entries.next_if(|entry| entry.uid < message.uid).is_some() {}
            if let Some(entry) = entries.next_if(|entry| entry.uid == message.uid) {
                each(entry.flags, message);
                (entry.flags, entry.modseq) = (message.flags, message.modseq);
            }
        }
    }

    /// What happened from one change to another is in the view, if all before was. Says whether it was.
    pub(super) fn reach(&mut self, before: ModSeq, now: ModSeq) -> bool {
        let whole = self.modseq == before;
        if whole {
            self.modseq = now;
        }
        whole
    }

    /// Lets go of what is expunged, and gives it to tell, the highest sequence number first: each as it is when its turn
    /// comes.
    pub(super) fn remove_gone(&mut self) -> Vec<(u32, Uid)> {
        let gone = self.iter().filter(|(_, entry)| entry.gone).map(|(sequence, entry)| (sequence, entry.uid));
        let gone: Vec<(u32, Uid)> = gone.collect();
        self.entries.retain(|entry| !entry.gone);
        self.gone = 0;
        gone.into_iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::UidValidity;

    fn message(uid: u32, system: SystemFlags) -> MessageEntry {
        let flags = Flags { system, ..Flags::default() };
        MessageEntry { uid: Uid(uid), modseq: ModSeq(1), flags, size: 10, internal_date: 0, saved: 0 }
    }

    fn view(uids: &[u32]) -> View {
        View::new(Snapshot {
            uid_validity: UidValidity(1),
            uid_next: Uid(100),
            highest_modseq: ModSeq(1),
            recent: Uid(5)..Uid(100),
            keywords: Keywords::default(),
            messages: uids.iter().map(|uid| message(*uid, SystemFlags::NONE)).collect(),
        })
    }

    fn changes(changed: &[u32], expunged: &[u32]) -> Changes {
        Changes {
            uid_next: Uid(200),
            highest_modseq: ModSeq(2),
            recent: Uid(100)..Uid(102),
            keywords: Keywords::default(),
            changed: changed.iter().map(|uid| message(*uid, SystemFlags::SEEN)).collect(),
            expunged: expunged.iter().map(|uid| Uid(*uid)).collect(),
        }
    }

    #[test]
    fn numbers_stay_until_the_client_is_told() {
        let mut view = view(&[2, 3, 5, 9]);
        assert_eq!((view.len(), view.recent(), view.last_uid()), (4, 2, 9));
        let news = view.absorb(changes(&[5, 101, 102], &[3, 9, 77]));
        assert_eq!(news, News { arrived: 2, keywords: false, flags: vec![Uid(5)] });
        assert_eq!((view.len(), view.sequence(Uid(9)), view.sequence(Uid(102))), (6, Some(4), Some(6)));
        assert_eq!(view.recent(), 3);
        assert_eq!((view.modseq(), view.whole()), (ModSeq(2), ModSeq(1)));
        // Told a second time, nothing is new.
        assert_eq!(view.absorb(Changes { highest_modseq: ModSeq(3), ..changes(&[5, 101], &[3]) }), News::default());
        assert!(!view.reach(ModSeq(2), ModSeq(4)) && view.reach(ModSeq(3), ModSeq(4)));
        assert_eq!((view.modseq(), view.whole()), (ModSeq(4), ModSeq(1)));
        assert_eq!(view.remove_gone(), [(4, Uid(9)), (2, Uid(3))]);
        assert_eq!((view.len(), view.sequence(Uid(5)), view.has_gone()), (4, Some(2), false));
        assert_eq!(view.whole(), ModSeq(4));
        assert!(view.remove_gone().is_empty());
    }

    #[test]
    fn numbers_and_uids() {
        let view = view(&[2, 3, 5, 9]);
        let ranges = |sequences: &[RangeInclusive<u32>]| view.uids(sequences).ranges().collect::<Vec<_>>();
        assert_eq!(ranges(&[1..=2, 4..=4]), [2..=3, 9..=9]);
        assert_eq!(ranges(&[2..=3, 9..=9]), [3..=5]);
        assert_eq!(view.of_uids(&[1..=2, 4..=9]), [1..=1, 3..=4]);
        assert_eq!(view.of_uids(&[1..=u32::MAX]), [1..=4]);
        assert_eq!(view.of_uids(&[4..=4, 10..=20]), []);
    }
}
