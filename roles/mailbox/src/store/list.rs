//! The messages of a mailbox, by UID, in chunks that are shared between what is remembered of the mailbox and all who have it
//! open: whoever changes one has a copy of that chunk. So a mailbox of a million is opened, and kept up with, at the cost of
//! what has changed in it.

use std::sync::Arc;

use super::{Mark, MessageEntry, SystemFlags, Uid};

/// How many messages a chunk has at most: 48 bytes each.
const CHUNK: usize = 512;

/// The messages of a mailbox, by UID. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MessageList {
    /// None is empty.
    chunks: Vec<Arc<Chunk>>,
    /// How many messages stand before each chunk.
    starts: Vec<usize>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Chunk {
    messages: Vec<MessageEntry>,
    /// How many of them are without `\Seen`, and how many have `\Deleted`.
    unseen: usize,
    deleted: usize,
}

fn is_unseen(message: &MessageEntry) -> bool {
    !message.flags.system.contains(SystemFlags::SEEN)
}

fn is_deleted(message: &MessageEntry) -> bool {
    message.flags.system.contains(SystemFlags::DELETED)
}

impl Chunk {
    fn new(messages: Vec<MessageEntry>) -> Arc<Self> {
        let count = |is: fn(&MessageEntry) -> bool| messages.iter().filter(|message| is(message)).count();
        let (unseen, deleted) = (count(is_unseen), count(is_deleted));
        Arc::new(Self { messages, unseen, deleted })
    }

    fn push(&mut self, message: MessageEntry) {
        self.unseen += usize::from(is_unseen(&message));
        self.deleted += usize::from(is_deleted(&message));
        self.messages.push(message);
    }

    fn update(&mut self, marks: &[Mark], each: &mut impl FnMut(&MessageEntry, &Mark)) {
        let Some(first) = marks.first() else { return };
        let place = self.messages.partition_point(|message| message.uid < first.uid);
        let mut messages = self.messages[place..].iter_mut().peekable();
        for mark in marks {
            while messages.next_if(|message| message.uid < mark.uid).is_some() {}
            if let Some(message) = messages.next_if(|message| message.uid == mark.uid) {
                each(message, mark);
                self.unseen -= usize::from(is_unseen(message));
                self.deleted -= usize::from(is_deleted(message));
                (message.flags, message.modseq) = (mark.flags, mark.modseq);
                self.unseen += usize::from(is_unseen(message));
                self.deleted += usize::from(is_deleted(message));
            }
        }
    }

    fn last_uid(&self) -> Uid {
        self.messages.last().map_or(Uid(0), |message| message.uid)
    }
}

impl MessageList {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.len
    }

    /// The message at a place, counted from 0.
    pub fn get(&self, place: usize) -> Option<&MessageEntry> {
        let at = self.chunk_at(place);
        self.chunks.get(at)?.messages.get(place - self.starts[at])
    }

    /// The one with the highest UID.
    pub fn last(&self) -> Option<&MessageEntry> {
        self.chunks.last()?.messages.last()
    }

    /// How many have a lower UID.
    pub fn count_below(&self, uid: Uid) -> usize {
        let at = self.chunk_of(uid);
        let Some(chunk) = self.chunks.get(at) else { return 0 };
        self.starts[at] + chunk.messages.partition_point(|message| message.uid < uid)
    }

    /// Where a message stands.
    pub fn place(&self, uid: Uid) -> Option<usize> {
        let place = self.count_below(uid);
        self.get(place).filter(|message| message.uid == uid).map(|_| place)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &MessageEntry> {
        self.iter_from(0)
    }

    /// Those from a place on.
    pub fn iter_from(&self, place: usize) -> impl Iterator<Item = &MessageEntry> {
        let at = self.chunk_at(place);
        let before = self.starts.get(at).map_or(0, |start| place - start);
        self.chunks[at..].iter().flat_map(|chunk| &chunk.messages).skip(before)
    }

    /// Where the first one without `\Seen` stands.
    pub fn first_unseen(&self) -> Option<usize> {
        let at = self.chunks.iter().position(|chunk| chunk.unseen > 0)?;
        Some(self.starts[at] + self.chunks[at].messages.iter().position(is_unseen)?)
    }

    /// Those with `\Deleted`.
    pub fn deleted(&self) -> impl Iterator<Item = Uid> {
        let some = self.chunks.iter().filter(|chunk| chunk.deleted > 0);
        some.flat_map(|chunk| &chunk.messages).filter(|message| is_deleted(message)).map(|message| message.uid)
    }

    /// Adds one that has a higher UID than all others.
    pub fn push(&mut self, message: MessageEntry) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.messages.len() < CHUNK => Arc::make_mut(chunk).push(message),
            _ => {
                self.starts.push(self.len);
                self.chunks.push(Chunk::new(vec![message]));
            }
        }
        self.len += 1;
    }

    /// Takes over what has changed of messages, ascending ones. `each` is told what one was before; of those that are not
    /// there, nothing.
    pub fn update(&mut self, marks: &[Mark], mut each: impl FnMut(&MessageEntry, &Mark)) {
        let mut rest = marks;
        while let Some(first) = rest.first() {
            let at = self.chunk_of(first.uid);
            let Some(chunk) = self.chunks.get_mut(at) else { return };
            // One at least: it may stand behind this chunk and before the next one.
            let here = rest.partition_point(|mark| mark.uid <= chunk.last_uid()).max(1);
            Arc::make_mut(chunk).update(&rest[..here], &mut each);
            rest = &rest[here..];
        }
    }

    /// Removes messages, ascending ones. Gives where each stood that was there.
    pub fn remove(&mut self, uids: &[Uid]) -> Vec<(usize, Uid)> {
        let gone: Vec<_> = uids.iter().filter_map(|uid| Some((self.place(*uid)?, *uid))).collect();
        let mut rest = &gone[..];
        while let Some((place, _)) = rest.first() {
            let at = self.chunk_at(*place);
            let end = self.starts[at] + self.chunks[at].messages.len();
            let (here, later) = rest.split_at(rest.partition_point(|(place, _)| *place < end));
            let mut here = here.iter().map(|(_, uid)| *uid).peekable();
            let left = self.chunks[at].messages.iter().filter(|message| here.next_if_eq(&message.uid).is_none());
            self.chunks[at] = Chunk::new(left.copied().collect());
            rest = later;
        }
        self.chunks.retain(|chunk| !chunk.messages.is_empty());
        self.len = self.chunks.iter().map(|chunk| chunk.messages.len()).sum();
        if self.chunks.len() > 4 * (self.len / CHUNK + 1) {
            *self = self.iter().copied().collect();
        }
        self.starts = self
            .chunks
            .iter()
            .scan(0, |before, chunk| {
                let start = *before;
                *before += chunk.messages.len();
                Some(start)
            })
            .collect();
        gone
    }

    /// Takes over what has happened since: changes, by UID, and what is gone. What came and went is in `expunged` alone.
    pub fn catch_up(&mut self, changed: &[MessageEntry], expunged: &[Uid]) {
        let last = self.last().map_or(Uid(0), |message| message.uid);
        let (known, new) = changed.split_at(changed.partition_point(|message| message.uid <= last));
        self.update(&known.iter().map(MessageEntry::mark).collect::<Vec<_>>(), |_, _| ());
        self.remove(expunged);
        new.iter().for_each(|message| self.push(*message));
    }

    /// The chunk in which a place would be.
    fn chunk_at(&self, place: usize) -> usize {
        // None has more than CHUNK, so that it is this one or a later one.
        let least = (place / CHUNK).min(self.chunks.len());
        if self.starts.get(least + 1).is_none_or(|next| place < *next) {
            return least;
        }
        least + self.starts[least..].partition_point(|start| *start <= place).saturating_sub(1)
    }

    /// The chunk in which a UID would be; the first one for those before it.
    fn chunk_of(&self, uid: Uid) -> usize {
        self.chunks.partition_point(|chunk| chunk.messages[0].uid <= uid).saturating_sub(1)
    }
}

impl FromIterator<MessageEntry> for MessageList {
    fn from_iter<T: IntoIterator<Item = MessageEntry>>(messages: T) -> Self {
        let mut list = Self::default();
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let chunk = Chunk::new(messages.by_ref().take(CHUNK).collect());
            list.starts.push(list.len);
            list.len += chunk.messages.len();
            list.chunks.push(chunk);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Flags, ModSeq};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(uid: u32, modseq: u64) -> MessageEntry {
        let system = [SystemFlags::SEEN, SystemFlags::NONE, SystemFlags::DELETED][modseq as usize % 3];
        let flags = Flags { system, ..Flags::default() };
        MessageEntry { uid: Uid(uid), modseq: ModSeq(modseq), flags, size: 1, internal_date: 0, saved: 0 }
    }

    fn check(list: &MessageList, model: &BTreeMap<u32, MessageEntry>) -> Result<(), TestCaseError> {
        prop_assert_eq!(list.count(), model.len());
        prop_assert!(list.iter().eq(model.values()));
        prop_assert_eq!(list.last(), model.values().last());
        prop_assert_eq!(list.first_unseen(), model.values().position(is_unseen));
        prop_assert!(
            list.deleted().eq(model.values().filter(|message| is_deleted(message)).map(|message| message.uid))
        );
        for (place, message) in model.values().enumerate() {
            prop_assert_eq!(list.get(place), Some(message));
            prop_assert_eq!(list.place(message.uid), Some(place));
            prop_assert_eq!(list.count_below(Uid(message.uid.0 + 1)), place + 1);
            prop_assert_eq!(list.iter_from(place).next(), Some(message));
        }
        prop_assert_eq!((list.get(model.len()), list.iter_from(model.len()).next()), (None, None));
        prop_assert_eq!((list.count_below(Uid(0)), list.place(Uid(u32::MAX))), (0, None));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn what_was_known_and_what_has_happened_make_what_is(
            first in 0u32..3_000,
            steps in prop::collection::vec((0u32..3_000, 0u32..1_500, 0u32..4, 0u32..700), 0..12),
        ) {
            let mut model: BTreeMap<u32, MessageEntry> = (1..=first).map(|uid| (uid * 2, entry(uid * 2, 1))).collect();
            let mut list: MessageList = model.values().copied().collect();
            let mut next = first * 2 + 1;
            for (modseq, (from, count, stride, new)) in (2..).zip(steps) {
                let (before, known) = (list.clone(), model.clone());
                let named = (from..from + count).map(|uid| uid * (stride + 1));
                let mut changed: BTreeMap<u32, MessageEntry> = BTreeMap::new();
                let mut expunged = Vec::new();
                for uid in named {
                    if uid % 3 == 0 {
                        model.remove(&uid);
                        expunged.push(Uid(uid));
                    } else if let Some(message) = model.get_mut(&uid) {
                        *message = entry(uid, modseq);
                        changed.insert(uid, *message);
                    }
                }
                for uid in next..next + new {
                    changed.insert(uid, entry(uid, modseq));
                }
                model.extend((next..next + new).map(|uid| (uid, entry(uid, modseq))));
                next += new * 2;
                list.catch_up(&changed.into_values().collect::<Vec<_>>(), &expunged);
                check(&list, &model)?;
                // Whoever has it open has it as it was.
                check(&before, &known)?;
            }
        }
    }

    #[test]
    fn a_list_of_which_little_is_left_takes_little() {
        let mut list: MessageList = (1..=100_000).map(|uid| entry(uid, 1)).collect();
        let gone: Vec<_> = (1..=100_000).filter(|uid| uid % 1_000 != 0).map(Uid).collect();
        assert_eq!(list.remove(&gone).len(), 99_900);
        assert_eq!((list.count(), list.chunks.len()), (100, 1));
        assert_eq!(list.place(Uid(50_000)), Some(49));
    }
}
