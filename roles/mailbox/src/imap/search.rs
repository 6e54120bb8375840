//! SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5182, RFC 6203).

use estafeta_protocols::imap::command::search::{Give, Search, SearchKey};
use estafeta_protocols::imap::response::Completion;

use super::engine::{Engine, Reply};
use super::finding::{Found, find};
use super::refusal::Outcome;
use crate::store::UidSet;

impl Engine {
    pub(super) async fn search(&mut self, search: &Search, reply: &mut Reply<'_, '_>) -> Outcome {
        let by_mod_sequence = names_mod_sequence(&search.key);
        if by_mod_sequence {
            self.enable_condstore(reply.output());
        }
        // RFC 9051 §6.4.4: IMAP4rev2 knows one form of the answer.
        let all = Give { all: true, ..Give::default() };
        let give = search.give.or(reply.output().dialect().rev2.then_some(all));
        let saves = give.is_some_and(|give| give.save);
        let selected = self.selected()?;
        let relevancy = give.is_some_and(|give| give.relevancy);
        let found = match find(selected, &search.key, relevancy, reply).await {
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
        let scores: Vec<u8> = found.iter().map(|found| found.relevancy).collect();
        let highest =
            |given: &[Found]| given.iter().map(|found| found.entry.modseq.0).max().filter(|_| by_mod_sequence);
        match give {
            None => reply.output().search(numbers, highest(&found)),
            Some(give) => {
                let given = given(give, &found);
                if saves {
                    selected.saved = UidSet::from_uids(given.iter().map(|found| found.entry.uid)).ranges().collect();
                }
                // RFC 5182 §2.1: what is only saved is not answered.
                if (Give { save: false, ..give }) != Give::default() {
                    reply.server.extended_search(search.by_uid, give, &numbers, &scores, highest(&given));
                }
            }
        }
        reply.send_much().await?;
        Ok(Completion::ok("SEARCH completed"))
    }
}

/// What of a result is given or saved: with MIN or MAX alone, only those (RFC 4731 §3.2, RFC 5182 §2.4).
pub(super) fn given(give: Give, found: &[Found]) -> Vec<Found> {
    if give.all || give.count || !(give.min || give.max || give.window.is_some()) {
        return found.to_vec();
    }
    // RFC 9394 §3.2: a page like MIN and MAX.
    if let Some(window) = give.window {
        let page = window.of(found.len());
        let wanted =
            |place: usize| page.contains(&place) || (give.min && place == 0) || (give.max && place + 1 == found.len());
        return found.iter().enumerate().filter(|(place, _)| wanted(*place)).map(|(_, found)| *found).collect();
    }
    let first = found.first().filter(|_| give.min);
    let last = found.last().filter(|last| give.max && first.is_none_or(|first| first.sequence != last.sequence));
    first.into_iter().chain(last).copied().collect()
}

/// Whether the search asks for modification sequences, and so is answered with one (RFC 7162 §3.1.5).
pub(super) fn names_mod_sequence(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::Not(key) | SearchKey::Fuzzy(key) => names_mod_sequence(key),
        SearchKey::Or(first, second) => names_mod_sequence(first) || names_mod_sequence(second),
        SearchKey::And(keys) => keys.iter().any(names_mod_sequence),
        _ => false,
    }
}
