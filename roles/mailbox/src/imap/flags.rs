//! STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3).

use estafeta_protocols::imap::command::store::Store;
use estafeta_protocols::imap::response::{Code, Completion};

use super::engine::{Engine, Reply};
use super::place::{flag_scope, not_permitted};
use super::refusal::{Outcome, Refused};
use super::translate::flag_change;
use crate::store::{FlagAction, FlagChange, FlagScope, ModSeq, SystemFlags, UidSet};

/// What of a change the user may do (RFC 4314 §4): flags without a right stay as they are; when there is no right to any of
/// those that are named, nothing is done.
fn within(mut change: FlagChange, scope: FlagScope) -> Result<FlagChange, Refused> {
    if scope == FlagScope::ALL {
        return Ok(change);
    }
    let nothing = scope.system == SystemFlags::NONE && !scope.keywords;
    let named = change.system != SystemFlags::NONE || !change.keywords.is_empty();
    change.system = change.system & scope.system;
    change.keywords.retain(|_| scope.keywords);
    let left = change.system != SystemFlags::NONE || !change.keywords.is_empty();
    if change.action == FlagAction::Replace {
        change.action = FlagAction::ReplaceWithin(scope);
    }
    if nothing || (named && !left) { Err(not_permitted()) } else { Ok(change) }
}

impl Engine {
    pub(super) async fn store(&mut self, store: &Store, reply: &mut Reply<'_, '_>) -> Outcome {
        if store.unchanged_since.is_some() {
            self.enable_condstore(reply.output());
        }
        let selected = self.selected()?;
        selected.check_writable()?;
        let by_uid = store.messages.by_uid();
        let change = within(flag_change(store)?, flag_scope(selected.rights))?;
        let sequences = selected.resolve(&store.messages)?;
        let named: usize = sequences.iter().map(|range| range.clone().count()).sum();
        let uids = selected.view.uids(&sequences);
        let unchanged_since = store.unchanged_since.map(ModSeq);
        let stored = reply.waiting(selected.mailbox.store_flags(&uids, &change, unchanged_since)).await?;
        let stored = stored.map_err(Refused::of_selected)?;
        let output = reply.output();
        let missing = named > stored.messages.len();
        let (modified, before) = (UidSet::from_uids(stored.modified.iter().copied()), stored.before);
        let keywords = stored.keywords.clone();
        // With .SILENT only what the client cannot know is told: that somebody else had changed the flags, too.
        let tell =
            selected.absorb_stored(output, stored, |before| store.silent.then(|| change.apply(before, &keywords)));
        let told = UidSet::from_uids(tell.iter().copied());
        for uid in tell {
            selected.tell_flags(output, uid, by_uid);
        }
        if selected.condstore {
            let quiet = sequences.iter().cloned().flatten().filter_map(|sequence| selected.view.get(sequence));
            let quiet = quiet.filter(|entry| entry.modseq > before && !told.contains(entry.uid));
            for uid in quiet.map(|entry| entry.uid).collect::<Vec<_>>() {
                selected.tell_mod_sequence(output, uid, by_uid);
            }
        }
        let completion = if modified.is_empty() {
            Completion::ok("STORE completed")
        } else {
            let left =
                sequences.into_iter().flatten().filter_map(|sequence| Some((sequence, selected.view.get(sequence)?)));
            let left = left.filter(|(_, entry)| modified.contains(entry.uid));
            let left = left.map(|(sequence, entry)| if by_uid { entry.uid.0 } else { sequence });
            Completion::ok("Conditional STORE failed for some").with(Code::Modified(left.collect()))
        };
        if missing && !by_uid && modified.is_empty() {
            // RFC 2180 §4.2.1: done for those that are there.
            return Ok(Completion::ok("Some of the messages have been expunged").with(Code::ExpungeIssued));
        }
        Ok(completion)
    }
}
