//! What a client did itself, and need not be told (RFC 5465 §5). What has come of it is compared: where somebody else
//! had a hand in it, the client hears of it all the same.

use crate::store::{MailboxName, Scope, Standing, UidValidity};

/// One thing that the client did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::imap) enum Own {
    /// CREATE
    Made(MailboxName),
    /// DELETE
    Removed(MailboxName),
    /// RENAME
    Renamed { from: MailboxName, to: MailboxName },
    /// SUBSCRIBE and UNSUBSCRIBE
    Subscribed { name: MailboxName, now: bool },
    /// SETMETADATA; of the server without a mailbox, and without a print when the entry is removed.
    Entry { mailbox: Option<MailboxName>, scope: Scope, name: String, print: Option<u64> },
    /// So many messages put into that mailbox.
    Added { uid_validity: UidValidity, messages: u32 },
}

impl Own {
    /// Whether it explains that this name came or went, or one above it that only holds others.
    pub(super) fn explains_name(&self, name: &MailboxName, is_selectable: impl Fn(&MailboxName) -> bool) -> bool {
        let at_or_above = |own: &MailboxName| own == name || name.is_above(own);
        match self {
            Self::Made(made) => at_or_above(made) && is_selectable(made),
            Self::Removed(removed) => at_or_above(removed) && !is_selectable(removed),
            // INBOX stays when it is renamed.
            Self::Renamed { from, to } => (at_or_above(from) || at_or_above(to)) && is_selectable(to),
            _ => false,
        }
    }

    /// Whether it explains that a mailbox is called otherwise.
    pub(super) fn explains_renaming(&self, old: &MailboxName, new: &MailboxName) -> bool {
        matches!(self, Self::Renamed { from, to } if from == old && to == new)
    }

    /// Whether it explains that there is a subscription now, or none any more.
    pub(super) fn explains_subscription(&self, changed: &MailboxName, subscribed: bool) -> bool {
        matches!(self, Self::Subscribed { name, now } if name == changed && *now == subscribed)
    }

    /// Whether it explains that an entry has this value now, or none any more.
    pub(super) fn explains_entry(
        &self,
        of: Option<&MailboxName>,
        (in_scope, called): (Scope, &str),
        now: Option<u64>,
    ) -> bool {
        match self {
            Self::Entry { mailbox, scope, name, print } => {
                (mailbox.as_ref(), *scope, name.as_str(), *print) == (of, in_scope, called, now)
            }
            _ => false,
        }
    }

    /// Whether it explains all that happened to a mailbox's messages: one change, and nothing but what was added.
    pub(super) fn explains_messages(&self, then: &Standing, now: &Standing) -> bool {
        match self {
            Self::Added { uid_validity, messages } => {
                *uid_validity == now.uid_validity
                    && then.uid_validity == now.uid_validity
                    && now.highest_modseq.0 == then.highest_modseq.0 + 1
                    && now.messages == then.messages + messages
                    && now.uid_next.0 == then.uid_next.0 + messages
            }
            _ => false,
        }
    }
}
