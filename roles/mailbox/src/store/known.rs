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
use super::{MessageList, ModSeq, StoreError, UidValidity};

/// How many messages are remembered, of all mailboxes together: 48 bytes each.
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
    messages: MessageList,
}

#[derive(Clone)]
struct Count;

impl Weighter<MailboxRow, Known> for Count {
    fn weight(&self, _: &MailboxRow, known: &Known) -> u64 {
        known.messages.count() as u64 + MAILBOX
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
    ) -> Result<MessageList, StoreError> {
        let now = (state.status.uid_validity, state.status.highest_modseq);
        let known = self.0.get(&mailbox).filter(|known| {
            known.uid_validity == now.0 && known.modseq <= now.1 && known.modseq >= state.forgotten_modseq
        });
        let messages = match known {
            Some(known) if known.modseq == now.1 => return Ok(known.messages),
            Some(Known { mut messages, modseq, .. }) => {
                let changed = messages::changed(connection, mailbox, modseq).await?;
                messages.catch_up(&changed, &expunging::expunged(connection, mailbox, modseq).await?);
                messages
            }
            None => messages::list(connection, mailbox).await?.into_iter().collect(),
        };
        self.0.insert(mailbox, Known { uid_validity: now.0, modseq: now.1, messages: messages.clone() });
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Flags, MessageEntry, Uid};

    #[test]
    fn a_mailbox_of_a_million_is_remembered() {
        let known = KnownMailboxes::default();
        let (modseq, flags) = (ModSeq(1), Flags::default());
        let entry = |uid| MessageEntry { uid: Uid(uid), modseq, flags, size: 1, internal_date: 0, saved: 0 };
        let of =
            |messages| Known { uid_validity: UidValidity(1), modseq, messages: (1..=messages).map(entry).collect() };
        known.0.insert(MailboxRow(1), of(1_000_000));
        for number in 2..1_000 {
            known.0.insert(MailboxRow(number), of(100));
        }
        assert!(known.0.get(&MailboxRow(1)).is_some() && known.0.get(&MailboxRow(500)).is_some());
    }
}
