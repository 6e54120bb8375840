//! Messages as a session sees them: their particulars, a mailbox's state at one moment, and what changed since.

use std::ops::Range;
use std::time::SystemTime;

use estafeta_core::Message;

use super::flags::{Flags, Keyword, Keywords, SystemFlags};
use super::uid::{ModSeq, Uid, UidValidity};
use super::{Holding, MessageList};

/// A message without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageEntry {
    /// Its number.
    pub uid: Uid,
    /// Its last change.
    pub modseq: ModSeq,
    /// Its flags.
    pub flags: Flags,
    /// Its size in bytes, what was put before it at delivery included (RFC822.SIZE).
    pub size: u32,
    /// When it was received (INTERNALDATE), in seconds since 1970.
    pub internal_date: i64,
    /// When it came into this mailbox (RFC 8514, SAVEDATE), in seconds since 1970.
    pub saved: i64,
}

impl MessageEntry {
    /// What of it changes.
    pub fn mark(&self) -> Mark {
        Mark { uid: self.uid, modseq: self.modseq, flags: self.flags }
    }
}

/// What of a message changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub uid: Uid,
    /// Its last change.
    pub modseq: ModSeq,
    /// Its flags.
    pub flags: Flags,
}

/// A mailbox at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The life of its UIDs.
    pub uid_validity: UidValidity,
    /// Above every UID so far.
    pub uid_next: Uid,
    /// The last change: what [`super::Mailbox::changes`] is asked with.
    pub highest_modseq: ModSeq,
    /// The UIDs that are `\Recent` for whoever asked.
    pub recent: Range<Uid>,
    /// The names of its keywords.
    pub keywords: Keywords,
    /// Its messages, by UID.
    pub messages: MessageList,
}

/// What happened to a mailbox since a modification sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Above every UID so far.
    pub uid_next: Uid,
    /// The last change: what to ask with next time.
    pub highest_modseq: ModSeq,
    /// UIDs that became `\Recent` for whoever asked; empty when there are none.
    pub recent: Range<Uid>,
    /// The names of its keywords, the new ones too.
    pub keywords: Keywords,
    /// Messages that are new (UIDs from the `uid_next` known before) or whose flags changed, by UID.
    pub changed: Vec<MessageEntry>,
    /// What is gone, ascending. A message that came and went meanwhile is named here alone.
    pub expunged: Vec<Uid>,
}

/// Whether the asker takes the `\Recent` messages: each is recent for one session only (RFC 3501 §2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecentClaim {
    /// SELECT: what is recent is this session's from now on.
    Take,
    /// EXAMINE: it is shown and stays recent for the next.
    Leave,
}

/// A message to put into a mailbox.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its text.
    pub message: Message,
    /// Its system flags.
    pub system: SystemFlags,
    /// Its keywords.
    pub keywords: Vec<Keyword>,
    /// When it was received, in seconds since 1970; none for now.
    pub internal_date: Option<i64>,
}

impl NewMessage {
    /// A message that just came, without flags.
    pub fn received(message: Message) -> Self {
        Self { message, system: SystemFlags::NONE, keywords: Vec::new(), internal_date: None }
    }
}

/// Where messages were put by an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The mailbox's UID validity.
    pub uid_validity: UidValidity,
    /// Their UIDs, in their order: one run.
    pub uids: Range<Uid>,
}

impl Appended {
    /// Each of the UIDs.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + use<> {
        (self.uids.start.0..self.uids.end.0).map(Uid)
    }
}

/// Where messages were put by a copy or a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The target's UID validity.
    pub uid_validity: UidValidity,
    /// UID here and UID there, ascending in both. What was expunged meanwhile is missing.
    pub uids: Vec<(Uid, Uid)>,
}

/// What a STORE did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagsStored {
    /// The mailbox's last change before.
    pub before: ModSeq,
    /// The mailbox's last change now: by this STORE, when it changed anything.
    pub modseq: ModSeq,
    /// Nobody else has changed the mailbox in between.
    pub alone: bool,
    /// Every message that was named and is there, as it is now, changed or not.
    pub messages: Vec<Mark>,
    /// Those that were left alone because they changed after `unchanged_since` (RFC 7162 §3.1.3).
    pub modified: Vec<Uid>,
    /// The names of the mailbox's keywords, the new ones too.
    pub keywords: Keywords,
}

/// What STATUS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxStatus {
    /// The life of its UIDs.
    pub uid_validity: UidValidity,
    /// Above every UID so far.
    pub uid_next: Uid,
    /// The last change.
    pub highest_modseq: ModSeq,
    /// How many messages.
    pub messages: u32,
    /// How many of them without `\Seen`.
    pub unseen: u32,
    /// How many of them with `\Deleted`.
    pub deleted: u32,
    /// How many of them no session has been told of.
    pub recent: u32,
    /// The sum of their sizes, in bytes.
    pub size_bytes: u64,
    /// What stands for the mailbox, whatever it is called.
    pub object_number: u64,
}

/// How much an account holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The sum of its messages' sizes, in bytes: what counts against the quota.
    pub used_bytes: u64,
    /// How many messages.
    pub messages: u64,
    /// The most bytes that it may hold; none for no limit.
    pub limit_bytes: Option<u64>,
    /// The most messages that it may hold; none for no limit.
    pub limit_messages: Option<u64>,
}

impl Usage {
    /// Whether one more message of `bytes` has room.
    pub fn holds_one_more(&self, bytes: u64) -> bool {
        self.holds(Holding { bytes, messages: 1 })
    }

    /// Whether so much more has room.
    pub fn holds(&self, more: Holding) -> bool {
        let room =
            |limit: Option<u64>, used: u64, more: u64| limit.is_none_or(|limit| used.saturating_add(more) <= limit);
        room(self.limit_bytes, self.used_bytes, more.bytes) && room(self.limit_messages, self.messages, more.messages)
    }
}

/// The time now, in seconds since 1970.
pub(super) fn now_seconds() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
