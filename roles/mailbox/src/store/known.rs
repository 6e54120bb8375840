//! What was last read of mailboxes, so that whoever opens one again reads only what has changed since.
//!
//! Invariant: nothing here is believed as it stands. A mailbox is brought up to the moment of the transaction that asks, by
//! its changes, or read as a whole.

use std::sync::Arc;

use estafeta_storage::sql::Connection;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::sql::mailboxes::State;
use super::sql::{MailboxRow, expunging, messages};
use super::{MessageEntry, ModSeq, StoreError, UidValidity};

/// How many messages are remembered, of all mailboxes together: 40 bytes each.
const MESSAGES: u64 = 2_000_000;

/// For how many mailboxes there is room at first: so few that the cache is not divided, for a part of it would have no room for
/// the largest ones.
const MAILBOXES: usize = 32;

/// What a mailbox costs beside its messages, in messages.
const MAILBOX: u64 = 8;

/// The mailboxes that were read last. Cheap to clone.
#[derive(Clone)]
pub(super) struct KnownMailboxes(Arc<Cache<MailboxRow, Known, Count>>);

#[derive(Clone)]
struct Known {
    uid_validity: UidValidity,
    modseq: ModSeq,
    messages: Arc<[MessageEntry]>,
}

#[derive(Clone)]
struct Count;

impl Weighter<MailboxRow, Known> for Count {
    fn weight(&self, _: &MailboxRow, known: &Known) -> u64 {
        known.messages.len() as u64 + MAILBOX
    }
}

impl Default for KnownMailboxes {
    fn default() -> Self {
        Self(Arc::new(Cache::with_weighter(MAILBOXES, MESSAGES, Count)))
    }
}

impl KnownMailboxes {
    /// The messages of a mailbox that stands so, by UID. The connection sees the moment of `state`.
    pub(super) async fn messages(
        &self,
        connection: &mut Connection,
        mailbox: MailboxRow,
        state: &State,
    ) -> Result<Arc<[MessageEntry]>, StoreError> {
        let now = (state.status.uid_validity, state.status.highest_modseq);
        let known = self.0.get(&mailbox).filter(|known| {
            known.uid_validity == now.0 && known.modseq <= now.1 && known.modseq >= state.forgotten_modseq
        });
        let messages = match known {
            Some(known) if known.modseq == now.1 => return Ok(known.messages),
            Some(known) => brought_up(connection, mailbox, &known).await?,
            None => messages::list(connection, mailbox).await?.into(),
        };
        self.0.insert(mailbox, Known { uid_validity: now.0, modseq: now.1, messages: messages.clone() });
        Ok(messages)
    }
}

/// What was known, with what has happened since.
async fn brought_up(
    connection: &mut Connection,
    mailbox: MailboxRow,
    known: &Known,
) -> Result<Arc<[MessageEntry]>, StoreError> {
    let changed = messages::changed(connection, mailbox, known.modseq).await?;
    let expunged = expunging::expunged(connection, mailbox, known.modseq).await?;
    Ok(merged(&known.messages, &changed, &expunged))
}

/// All are by UID, ascending. A message that came and went is in `expunged` alone.
fn merged(before: &[MessageEntry], changed: &[MessageEntry], expunged: &[super::Uid]) -> Arc<[MessageEntry]> {
    let mut merged = Vec::with_capacity(before.len() + changed.len());
    let (mut changes, mut gone) = (changed.iter().peekable(), expunged.iter().peekable());
    for message in before {
        while let Some(new) = changes.next_if(|change| change.uid < message.uid) {
            merged.push(*new);
        }
        while gone.next_if(|uid| **uid < message.uid).is_some() {}
        if gone.peek() == Some(&&message.uid) {
            continue;
        }
        merged.push(*changes.next_if(|change| change.uid == message.uid).unwrap_or(message));
    }
    merged.extend(changes);
    merged.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Flags, Uid};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(uid: u32, modseq: u64) -> MessageEntry {
        MessageEntry {
            uid: Uid(uid),
            modseq: ModSeq(modseq),
            flags: Flags::default(),
            size: 1,
            internal_date: 0,
            saved: 0,
        }
    }

    #[test]
    fn a_mailbox_of_a_million_is_remembered() {
        let known = KnownMailboxes::default();
        let messages: Arc<[MessageEntry]> = vec![entry(1, 1); 1_000_000].into();
        let all = |messages: Arc<[MessageEntry]>| Known { uid_validity: UidValidity(1), modseq: ModSeq(1), messages };
        known.0.insert(MailboxRow(1), all(messages.clone()));
        for number in 2..1_000 {
            known.0.insert(MailboxRow(number), all(messages[..100].into()));
        }
        assert!(known.0.get(&MailboxRow(1)).is_some() && known.0.get(&MailboxRow(500)).is_some());
    }

    proptest! {
        #[test]
        fn what_was_known_and_what_has_happened_make_what_is(
            before in prop::collection::btree_set(1u32..100, 0..40),
            flagged in prop::collection::btree_set(1u32..100, 0..20),
            expunged in prop::collection::btree_set(1u32..130, 0..40),
            new in prop::collection::btree_set(100u32..130, 0..20),
        ) {
            let known: Vec<_> = before.iter().map(|uid| entry(*uid, 1)).collect();
            let mut now: BTreeMap<u32, MessageEntry> = before.iter().map(|uid| (*uid, entry(*uid, 1))).collect();
            now.extend(flagged.iter().filter(|uid| before.contains(uid)).chain(&new).map(|uid| (*uid, entry(*uid, 2))));
            now.retain(|uid, _| !expunged.contains(uid));
            let changed: Vec<_> = now.values().filter(|message| message.modseq == ModSeq(2)).copied().collect();
            let gone: Vec<_> = expunged.iter().map(|uid| Uid(*uid)).collect();
            let expected: Vec<_> = now.into_values().collect();
            prop_assert_eq!(&*merged(&known, &changed, &gone), &expected[..]);
        }
    }
}
