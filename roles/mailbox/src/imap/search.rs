//! SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5182).

use std::time::{SystemTime, UNIX_EPOCH};

use estafeta_protocols::imap::command::search::{Give, Search, SearchKey};
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::message::search::{Candidate, Circumstances, Query};
use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::types::{Flag, Uid};

use super::engine::{Engine, Reply};
use super::refusal::{Outcome, Refused};
use super::selected::Selected;
use super::translate::{has_flag, wire_uid};
use super::view::Entry;
use crate::store::{Keywords, StoreError, UidSet};

/// After so many messages, others have their turn.
const TURN_MESSAGES: u32 = 256;

struct Known<'a> {
    sequence: u32,
    uid: Uid,
    entry: Entry,
    keywords: &'a Keywords,
    message: Option<Message>,
}

impl Candidate for Known<'_> {
    fn sequence(&self) -> u32 {
        self.sequence
    }

    fn uid(&self) -> Uid {
        self.uid
    }

    fn has(&self, flag: &Flag) -> bool {
        has_flag(self.entry.flags, self.keywords, flag)
    }

    fn recent(&self) -> bool {
        self.entry.recent
    }

    fn received(&self) -> i64 {
        self.entry.internal_date
    }

    fn saved(&self) -> i64 {
        self.entry.saved
    }

    fn mod_sequence(&self) -> u64 {
        self.entry.modseq.0
    }

    fn size(&self) -> u64 {
        u64::from(self.entry.size)
    }

    fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }
}

/// One message that was found.
#[derive(Clone, Copy)]
struct Found {
    sequence: u32,
    entry: Entry,
}

impl Engine {
    pub(super) async fn search(&mut self, search: &Search, reply: &mut Reply<'_, '_>) -> Outcome {
        let by_mod_sequence = names_mod_sequence(&search.key);
        if by_mod_sequence {
            self.enable_condstore(reply.output());
        }
        let saves = search.give.is_some_and(|give| give.save);
        let selected = self.selected()?;
        let found = match find(selected, &search.key).await {
            Ok(found) => found,
            Err(refused) => {
                // RFC 5182 §2.1: a search that fails leaves nothing saved.
                if saves {
                    selected.saved = Vec::new();
                }
                return Err(refused);
            }
        };
        let number = |found: &Found| if search.by_uid { found.entry.uid.0 } else { found.sequence };
        let numbers: Vec<u32> = found.iter().map(number).collect();
        let highest =
            |given: &[Found]| given.iter().map(|found| found.entry.modseq.0).max().filter(|_| by_mod_sequence);
        match search.give {
            None => reply.output().search(numbers, highest(&found)),
            Some(give) => {
                let given = given(give, &found);
                if saves {
                    selected.saved = UidSet::from_uids(given.iter().map(|found| found.entry.uid)).ranges().collect();
                }
                // RFC 5182 §2.1: what is only saved is not answered.
                if (Give { save: false, ..give }) != Give::default() {
                    reply.server.extended_search(search.by_uid, give, &numbers, highest(&given));
                }
            }
        }
        reply.send_much().await?;
        Ok(Completion::ok("SEARCH completed"))
    }
}

/// What of a result is given or saved: with MIN or MAX alone, only those (RFC 4731 §3.2, RFC 5182 §2.4).
fn given(give: Give, found: &[Found]) -> Vec<Found> {
    if give.all || give.count || !(give.min || give.max) {
        return found.to_vec();
    }
    let first = found.first().filter(|_| give.min);
    let last = found.last().filter(|last| give.max && first.is_none_or(|first| first.sequence != last.sequence));
    first.into_iter().chain(last).copied().collect()
}

async fn find(selected: &Selected, key: &SearchKey) -> Result<Vec<Found>, Refused> {
    let view = &selected.view;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let circumstances =
        Circumstances { last_sequence: view.len(), last_uid: view.last_uid(), saved: &selected.saved, now };
    let query = Query::new(key, &circumstances);
    let mut found = Vec::new();
    for (sequence, entry) in view.iter() {
        let Some(uid) = wire_uid(entry.uid) else { continue };
        let mut known = Known { sequence, uid, entry: *entry, keywords: view.keywords(), message: None };
        let matches = match query.matches(&known) {
            Some(matches) => matches,
            None => match selected.mailbox.text(entry.uid).await {
                Ok(text) => {
                    let [prefix, body] = text.parts();
                    known.message = Some(Message::new(prefix.clone(), body.clone()));
                    tokio::task::yield_now().await;
                    query.matches(&known) == Some(true)
                }
                // RFC 2180 §4.3: what was expunged meanwhile is not found.
                Err(StoreError::NoMessage) => false,
                Err(error) => return Err(Refused::of_selected(error)),
            },
        };
        if matches {
            found.push(Found { sequence, entry: *entry });
        }
        if sequence % TURN_MESSAGES == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(found)
}

/// Whether the search asks for modification sequences, and so is answered with one (RFC 7162 §3.1.5).
fn names_mod_sequence(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::Not(key) => names_mod_sequence(key),
        SearchKey::Or(first, second) => names_mod_sequence(first) || names_mod_sequence(second),
        SearchKey::And(keys) => keys.iter().any(names_mod_sequence),
        _ => false,
    }
}
