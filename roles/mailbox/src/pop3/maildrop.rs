//! A mailbox as it was at the login: its messages numbered from 1, and which of them are marked as deleted. Without
//! I/O.

use std::fmt;

use estafeta_protocols::pop3::command::MessageNumber;

use crate::store::{Snapshot, Uid, UidSet, UidValidity};

/// A message of the maildrop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) uid: Uid,
    /// In bytes.
    pub(super) size: u32,
    marked: bool,
}

/// Why a number names no message. The text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoMessage {
    #[error("There is no such message")]
    Unknown,
    /// RFC 1939 §5: nothing more is to be had of it.
    #[error("The message is marked as deleted")]
    Marked,
}

/// The messages.
#[derive(Debug)]
pub(super) struct Maildrop {
    uid_validity: UidValidity,
    messages: Vec<Held>,
}

impl From<Snapshot> for Maildrop {
    fn from(snapshot: Snapshot) -> Self {
        let held = |uid, size| Held { uid, size, marked: false };
        Self {
            uid_validity: snapshot.uid_validity,
            messages: snapshot.messages.iter().map(|message| held(message.uid, message.size)).collect(),
        }
    }
}

impl Maildrop {
    /// A message that is not marked.
    pub(super) fn get(&self, number: MessageNumber) -> Result<Held, NoMessage> {
        match self.messages.get(number.index()) {
            None => Err(NoMessage::Unknown),
            Some(held) if held.marked => Err(NoMessage::Marked),
            Some(held) => Ok(*held),
        }
    }

    /// Those that are not marked, with their numbers.
    pub(super) fn listed(&self) -> impl Iterator<Item = (usize, Held)> {
        self.messages.iter().enumerate().filter(|(_, held)| !held.marked).map(|(index, held)| (index + 1, *held))
    }

    /// How many are not marked, and their size together in bytes.
    pub(super) fn totals(&self) -> (usize, u64) {
        self.listed().fold((0, 0), |(count, bytes), (_, held)| (count + 1, bytes + u64::from(held.size)))
    }

    /// Marks a message.
    pub(super) fn mark(&mut self, number: MessageNumber) -> Result<(), NoMessage> {
        self.get(number)?;
        self.messages[number.index()].marked = true;
        Ok(())
    }

    /// Takes all marks back.
    pub(super) fn unmark_all(&mut self) {
        self.messages.iter_mut().for_each(|held| held.marked = false);
    }

    /// Those that are marked. Neighbours make one range: what lies between them was expunged before the login, for a
    /// new message only comes above all that were there.
    pub(super) fn marked(&self) -> UidSet {
        let runs = self.messages.chunk_by(|one, next| one.marked == next.marked);
        let marked = runs.filter(|run| run.first().is_some_and(|held| held.marked));
        UidSet::from_ranges(marked.filter_map(|run| Some(run.first()?.uid..=run.last()?.uid)))
    }

    /// The identifier that a message keeps over sessions: 16 characters (RFC 1939 §7, UIDL: at most 70, printable).
    pub(super) fn unique_id(&self, held: Held) -> impl fmt::Display {
        format!("{:08x}{:08x}", self.uid_validity.0, held.uid.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(number: u32) -> MessageNumber {
        MessageNumber::new(number).unwrap()
    }

    fn maildrop(uids: &[u32]) -> Maildrop {
        let messages = uids.iter().map(|uid| Held { uid: Uid(*uid), size: uid * 10, marked: false });
        Maildrop { uid_validity: UidValidity(0xab), messages: messages.collect() }
    }

    #[test]
    fn numbers_stay_while_marks_come_and_go() {
        let mut maildrop = maildrop(&[3, 7, 9]);
        assert_eq!(maildrop.totals(), (3, 190));
        maildrop.mark(number(2)).unwrap();
        assert_eq!(maildrop.mark(number(2)), Err(NoMessage::Marked));
        assert_eq!(maildrop.mark(number(4)), Err(NoMessage::Unknown));
        assert_eq!(maildrop.get(number(u32::MAX)), Err(NoMessage::Unknown));
        assert_eq!(maildrop.totals(), (2, 120));
        let listed: Vec<_> = maildrop.listed().map(|(number, held)| (number, held.uid.0)).collect();
        assert_eq!(listed, [(1, 3), (3, 9)]);
        assert_eq!(maildrop.unique_id(maildrop.get(number(3)).unwrap()).to_string(), "000000ab00000009");
        maildrop.unmark_all();
        assert_eq!(maildrop.totals(), (3, 190));
        assert!(maildrop.marked().is_empty());
    }

    #[test]
    fn neighbours_are_removed_as_one_range() {
        let mut maildrop = maildrop(&[3, 7, 9, 12]);
        for marked in [1, 2, 4] {
            maildrop.mark(number(marked)).unwrap();
        }
        assert_eq!(maildrop.marked().ranges().collect::<Vec<_>>(), [3..=7, 12..=12]);
    }

    proptest! {
        #[test]
        fn exactly_what_is_marked_is_removed(uids in prop::collection::btree_set(1u32..200, 0..40), marks in prop::collection::vec(1u32..45, 0..40)) {
            let uids: Vec<u32> = uids.into_iter().collect();
            let mut maildrop = maildrop(&uids);
            for mark in &marks {
                let _ = maildrop.mark(number(*mark));
            }
            let removed = maildrop.marked();
            for (index, uid) in uids.iter().enumerate() {
                prop_assert_eq!(removed.contains(Uid(*uid)), marks.contains(&(index as u32 + 1)));
            }
            // What comes later is never among it.
            prop_assert!(!removed.contains(Uid(uids.last().map_or(1, |last| last + 1))));
        }
    }
}
