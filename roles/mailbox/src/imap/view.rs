//! What a session's client knows of its mailbox: which message has which sequence number, and its flags as last told.
//!
//! Invariants: messages stand in the order of their UIDs, and a message's place is its sequence number; one leaves only when the
//! client is told so ([`View::remove_gone`]), and others come only behind all.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::types::Messages;

use super::refusal::Refused;
use crate::store::{Changes, Flags, Keywords, Mark, MessageEntry, MessageList, ModSeq, Snapshot, Uid, UidSet};

/// Sequence numbers, ascending and disjoint.
pub(super) type Sequences = Vec<RangeInclusive<u32>>;

/// The view.
#[derive(Debug)]
pub(super) struct View {
    messages: MessageList,
    /// UIDs that are `\Recent`, ascending ranges: this session was the first to hear of them.
    recent: Vec<Range<Uid>>,
    keywords: Keywords,
    /// Up to where the store's changes are in it.
    modseq: ModSeq,
    /// What is expunged, and the client was not told yet.
    gone: BTreeSet<Uid>,
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
    pub(super) fn new(Snapshot { messages, recent, keywords, highest_modseq: modseq, .. }: Snapshot) -> Self {
        Self { messages, recent: vec![recent], keywords, modseq, gone: BTreeSet::new(), whole: modseq }
    }

    /// How many messages the client knows of.
    pub(super) fn len(&self) -> u32 {
        // UIDs have 32 bits, so that there are not more.
        u32::try_from(self.messages.count()).unwrap_or(u32::MAX)
    }

    /// The largest UID that the client knows of; 0 when there is none.
    pub(super) fn last_uid(&self) -> u32 {
        self.messages.last().map_or(0, |message| message.uid.0)
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
    pub(super) fn get(&self, sequence: u32) -> Option<&MessageEntry> {
        self.messages.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }

    /// Those with higher UIDs.
    pub(super) fn above(&self, uid: Uid) -> impl Iterator<Item = &MessageEntry> {
        self.messages.iter_from(self.messages.count_below(Uid(uid.0.saturating_add(1))))
    }

    /// The sequence number of a UID.
    pub(super) fn sequence(&self, uid: Uid) -> Option<u32> {
        self.messages.place(uid).map(number)
    }

    /// Whether a message is `\Recent`.
    pub(super) fn is_recent(&self, uid: Uid) -> bool {
        let next = self.recent.partition_point(|range| range.end <= uid);
        self.recent.get(next).is_some_and(|range| range.contains(&uid))
    }

    /// How many messages are recent.
    pub(super) fn recent(&self) -> u32 {
        let count = |range: &Range<Uid>| self.messages.count_below(range.end) - self.messages.count_below(range.start);
        u32::try_from(self.recent.iter().map(count).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// The first message that is not seen.
    pub(super) fn first_unseen(&self) -> Option<u32> {
        self.messages.first_unseen().map(number)
    }

    /// Those with `\Deleted`, as the client knows them.
    pub(super) fn deleted(&self) -> UidSet {
        UidSet::from_uids(self.messages.deleted())
    }

    /// Whether the client still has to be told of an expunged message.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
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
        let place = |uid: u32| self.messages.count_below(Uid(uid)) as u32;
        let found = uids.iter().map(|range| {
            let behind = range.end().checked_add(1).map_or(self.len(), place);
            place(*range.start()) + 1..=behind
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
        self.gone.extend(changes.expunged.into_iter().filter(|uid| self.messages.place(*uid).is_some()));
        let last = Uid(self.last_uid());
        let (known, new) = changes.changed.split_at(changes.changed.partition_point(|message| message.uid <= last));
        self.update(&known.iter().map(MessageEntry::mark).collect::<Vec<_>>(), |before, now| {
            if before != now.flags {
                news.flags.push(now.uid);
            }
        });
        self.add_recent(changes.recent);
        new.iter().for_each(|message| self.messages.push(*message));
        news.arrived = u32::try_from(new.len()).unwrap_or(u32::MAX);
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

    /// Takes over the flags and modification sequences of messages, by UID ascending. `each` is told what flags one had; of
    /// those that the client does not know, nothing.
    pub(super) fn update(&mut self, marks: &[Mark], mut each: impl FnMut(Flags, &Mark)) {
        self.messages.update(marks, |before, now| each(before.flags, now));
    }

    fn add_recent(&mut self, more: Range<Uid>) {
        match self.recent.last_mut() {
            Some(last) if more.start <= last.end => last.end = last.end.max(more.end),
            _ if more.is_empty() => {}
            _ => self.recent.push(more),
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
        let gone: Vec<Uid> = std::mem::take(&mut self.gone).into_iter().collect();
        self.messages.remove(&gone).into_iter().rev().map(|(place, uid)| (number(place), uid)).collect()
    }
}

/// The sequence number of a place.
fn number(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SystemFlags, UidValidity};

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
