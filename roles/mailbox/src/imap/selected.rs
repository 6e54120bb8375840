//! The open mailbox of a session, and when its client hears what others did to it.

use std::ops::RangeInclusive;

use estafeta_protocols::imap::response::{Code, Output};
use estafeta_protocols::imap::types::{Messages, NumberSet, Rights, SequenceSet};

use super::place::{flag_scope, not_permitted};
use super::refusal::Refused;
use super::translate::{flag_names, mailbox_flags, wire_uid};
use super::view::{Sequences, View};
use crate::store::{FlagScope, Flags, FlagsStored, Mailbox, ModSeq, RecentClaim, StoreError, Uid, UidSet, Watcher};

/// What may be told of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Telling {
    /// EXPUNGE: not in answer to FETCH, STORE and SEARCH (RFC 3501 §7.4.1).
    pub(super) expunges: bool,
    /// FETCH responses name the UID: in answer to a UID command (RFC 3501 §6.4.8).
    pub(super) uids: bool,
    /// Flags that have changed.
    pub(super) flags: bool,
    /// It is the result of the command itself: even who wants to hear nothing unasked hears it.
    pub(super) asked: bool,
}

impl Telling {
    /// In answer to anything but FETCH, STORE and SEARCH.
    pub(super) const ALL: Self = Self { expunges: true, uids: false, flags: true, asked: false };
    /// In answer to FETCH, STORE or SEARCH by sequence numbers.
    pub(super) const NO_EXPUNGES: Self = Self { expunges: false, ..Self::ALL };
    /// In answer to a UID command: another one than FETCH, STORE or SEARCH (RFC 3501 §7.4.1).
    pub(super) const BY_UID: Self = Self { uids: true, ..Self::ALL };

    /// In answer to a command that removes messages.
    pub(super) const fn asked(self) -> Self {
        Self { asked: true, ..self }
    }
}

/// The open mailbox.
pub(super) struct Selected {
    pub(super) mailbox: Mailbox,
    pub(super) view: View,
    /// What the user may do with it.
    pub(super) rights: Rights,
    /// It is another's.
    pub(super) shared: bool,
    /// EXAMINE: nothing may be changed.
    pub(super) read_only: bool,
    /// The UIDs that `$` stands for: ascending, disjoint ranges (RFC 5182 §2.1).
    pub(super) saved: Vec<RangeInclusive<u32>>,
    /// The client hears modification sequences (RFC 7162 §3.1).
    pub(super) condstore: bool,
    /// The client hears of expunged messages by VANISHED (RFC 7162 §3.2).
    pub(super) qresync: bool,
    watcher: Watcher,
    /// The store holds changes that are not in the view.
    behind: bool,
    /// How many recent messages the client was told of.
    recent_told: u32,
    /// The client was told of new messages above this one, and nothing else of them yet.
    arrived_above: Option<Uid>,
    /// Messages that the client put here itself.
    added: Vec<Uid>,
    /// The client was told that it knows less than the modification sequences say that it was told.
    warned: bool,
}

impl Selected {
    /// Opens a mailbox. Gives its UIDNEXT too.
    pub(super) async fn open(mailbox: Mailbox, read_only: bool) -> Result<(Self, Uid), Refused> {
        // Watched before it is looked at, so that nothing falls between.
        let watcher = mailbox.watch();
        let snapshot = mailbox.snapshot(claim(read_only)).await?;
        let uid_next = snapshot.uid_next;
        let view = View::new(snapshot);
        let recent_told = view.recent();
        let selected = Self {
            mailbox,
            view,
            rights: Rights::ALL,
            shared: false,
            read_only,
            saved: Vec::new(),
            condstore: false,
            qresync: false,
            watcher,
            behind: false,
            recent_told,
            arrived_above: None,
            added: Vec::new(),
            warned: false,
        };
        Ok((selected, uid_next))
    }

    /// Those of `uids` that were expunged since, ascending. When what was expunged then is forgotten, all that are not there
    /// (RFC 7162 §3.2.5.2). What the client is yet to hear of as gone is left out.
    pub(super) async fn vanished(&self, since: ModSeq, uids: &[RangeInclusive<u32>]) -> Result<NumberSet, Refused> {
        let absent = |uid: &u32| self.view.sequence(Uid(*uid)).is_none();
        match self.mailbox.expunged(since).await {
            Ok(expunged) => {
                let asked = |uid: &u32| uids.iter().any(|range| range.contains(uid));
                Ok(expunged.into_iter().map(|uid| uid.0).filter(asked).filter(absent).collect())
            }
            Err(StoreError::Forgotten) => {
                let known = uids.iter().map(|range| *range.start()..=(*range.end()).min(self.view.last_uid()));
                Ok(known.flatten().filter(absent).collect())
            }
            Err(error) => Err(Refused::of_selected(error)),
        }
    }

    /// The messages that a client names.
    pub(super) fn resolve(&self, messages: &Messages) -> Result<Sequences, Refused> {
        self.view.resolve(messages, &self.saved)
    }

    /// Completes when the mailbox may have changed, or with `expunges` when some of that is left to tell. Cancel-safe.
    pub(super) async fn changed(&mut self, expunges: bool) {
        let left = self.behind || (expunges && self.view.has_gone());
        if !left {
            self.watcher.changed().await;
            self.behind = true;
        }
    }

    /// Refuses when the mailbox may only be read.
    pub(super) fn check_writable(&self) -> Result<(), Refused> {
        if self.read_only { Err(Refused::no("The mailbox is open for reading only")) } else { Ok(()) }
    }

    /// Refuses who does not have all of these rights.
    pub(super) fn check(&self, rights: Rights) -> Result<(), Refused> {
        if self.rights.contains(rights) { Ok(()) } else { Err(not_permitted()) }
    }

    /// Expunges what has `\Deleted` of all that the client knows, and gives the UIDs.
    pub(super) async fn expunge_all(&self) -> Result<Vec<Uid>, StoreError> {
        let known = self.view.uids(&[1..=self.view.len()]);
        self.mailbox.expunge_likely(&known, &self.view.deleted()).await
    }

    /// Tells the client what has changed.
    pub(super) async fn tell(&mut self, output: &mut Output, telling: Telling) -> Result<(), Refused> {
        let told = self.tell_changes(output, telling).await;
        self.tell_last_change(output);
        told
    }

    /// RFC 7162 §3.2.4, RFC 5162 erratum 1810: a client that comes back after its connection broke asks for what has happened
    /// since the highest modification sequence that it was told. So that it does not miss what had gone before, and it was not
    /// told of yet, it hears up to where it knows everything; and again when it does.
    pub(super) fn tell_last_change(&mut self, output: &mut Output) {
        let lacks = self.behind || self.view.has_gone();
        if self.qresync && (lacks || self.warned) {
            self.warned = lacks;
            output.notice(&Code::HighestModSeq(self.view.whole().0), "The last change");
        }
    }

    async fn tell_changes(&mut self, output: &mut Output, telling: Telling) -> Result<(), Refused> {
        self.behind |= self.watcher.take();
        let mut news = super::view::News::default();
        if self.behind {
            let last = Uid(self.view.last_uid());
            let changes = self.mailbox.changes(self.view.modseq(), claim(self.read_only)).await;
            news = self.view.absorb(changes.map_err(Refused::of_selected)?);
            self.behind = false;
            if news.arrived > 0 {
                self.arrived_above.get_or_insert(last);
            }
        }
        if telling.expunges && self.view.has_gone() {
            let gone = self.view.remove_gone();
            // RFC 9586 §3.5: without sequence numbers there is no EXPUNGE.
            if self.qresync || output.dialect().uid_only {
                output.vanished(&gone.iter().rev().map(|(_, uid)| uid.0).collect(), false);
            } else {
                gone.into_iter().for_each(|(sequence, _)| output.expunge(sequence));
            }
        }
        if news.arrived > 0 {
            output.exists(self.view.len());
        }
        let recent = self.view.recent();
        if recent != std::mem::replace(&mut self.recent_told, recent) || news.arrived > 0 {
            output.recent(recent);
        }
        if news.keywords {
            self.tell_keywords(output);
        }
        for uid in news.flags.into_iter().filter(|_| telling.flags) {
            self.tell_flags(output, uid, telling.uids);
        }
        Ok(())
    }

    /// The messages of which the client was told that they came, since this was asked last, without those that it put here
    /// itself.
    pub(super) fn take_arrivals(&mut self) -> Option<Messages> {
        let above = self.arrived_above.take()?;
        let added = UidSet::from_uids(std::mem::take(&mut self.added));
        let new = self.view.above(above).map(|entry| entry.uid);
        let new = new.filter(|uid| !added.contains(*uid)).filter_map(wire_uid);
        SequenceSet::of(new.map(|uid| uid..=uid)).map(Messages::ByUid)
    }

    /// The client put these here itself.
    pub(super) fn note_added(&mut self, uids: Vec<Uid>) {
        self.added.extend(uids);
    }

    /// RFC 3501 §7.2.6, §7.1: the flags that there are, and those that can be changed.
    pub(super) fn tell_keywords(&self, output: &mut Output) {
        let flags = mailbox_flags(self.view.keywords(), FlagScope::ALL);
        output.flags(&flags);
        let scope = flag_scope(self.rights);
        let create = self.view.keywords().has_room() && !self.read_only && scope.keywords;
        let permanent = if self.read_only { Default::default() } else { mailbox_flags(self.view.keywords(), scope) };
        output.notice(&Code::PermanentFlags { flags: &permanent, create }, "Flags that can be changed");
    }

    /// Whether a message is told of with its UID. RFC 7162 §3.2.4: to who hears modification sequences, whatever the cause.
    /// RFC 9586 §3: UIDFETCH says it already.
    fn names_uid(&self, output: &Output, asked: bool) -> bool {
        (asked || self.condstore) && !output.dialect().uid_only
    }

    /// `* n FETCH (FLAGS (…))`
    pub(super) fn tell_flags(&self, output: &mut Output, uid: Uid, with_uid: bool) {
        let Some(sequence) = self.view.sequence(uid) else { return };
        let Some(entry) = self.view.get(sequence) else { return };
        let with_uid = self.names_uid(output, with_uid);
        output.fetch_of(sequence, wire_uid(uid), |items| {
            if let Some(uid) = wire_uid(uid).filter(|_| with_uid) {
                items.uid(uid);
            }
            items.flags(flag_names(entry.flags, self.view.keywords()), self.view.is_recent(uid));
            if self.condstore {
                items.mod_sequence(entry.modseq.0);
            }
        });
    }

    /// `* n FETCH (MODSEQ (…))`, which a client that hears them is told even where it asked for silence (RFC 7162 §3.1.3).
    pub(super) fn tell_mod_sequence(&self, output: &mut Output, uid: Uid, with_uid: bool) {
        let Some(sequence) = self.view.sequence(uid) else { return };
        let Some(entry) = self.view.get(sequence) else { return };
        let with_uid = self.names_uid(output, with_uid);
        output.fetch_of(sequence, wire_uid(uid), |items| {
            if let Some(uid) = wire_uid(uid).filter(|_| with_uid) {
                items.uid(uid);
            }
            items.mod_sequence(entry.modseq.0);
        });
    }

    /// Takes in what a change of flags by this session came to. `expected` says what the client expects a message's
    /// flags to be; those that are otherwise are given back.
    pub(super) fn absorb_stored(
        &mut self,
        output: &mut Output,
        stored: FlagsStored,
        expected: impl Fn(Flags) -> Option<Flags>,
    ) -> Vec<Uid> {
        if self.view.learn(stored.keywords) {
            self.tell_keywords(output);
        }
        let mut unexpected = Vec::new();
        self.view.update(&stored.messages, |before, message| {
            if expected(before) != Some(message.flags) {
                unexpected.push(message.uid);
            }
        });
        // Others changed something, too, whether word of it has come or not.
        self.behind |= !(stored.alone && self.view.reach(stored.before, stored.modseq));
        unexpected
    }
}

/// RFC 3501 §6.3.2: EXAMINE takes nothing away from the next session.
fn claim(read_only: bool) -> RecentClaim {
    if read_only { RecentClaim::Leave } else { RecentClaim::Take }
}
