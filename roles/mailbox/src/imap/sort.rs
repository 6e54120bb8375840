//! SORT (RFC 5256 §3, RFC 5267 §3.1, RFC 5957, RFC 6203 §6), and what is read of the messages for it and for THREAD.

use estafeta_protocols::imap::command::search::Give;
use estafeta_protocols::imap::command::sort::{Criterion, Sort, SortKey};
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::message::sort::{Rank, compare};
use estafeta_protocols::imap::response::Completion;

use super::engine::{Engine, Reply};
use super::finding::{Found, find};
use super::lost::Lost;
use super::refusal::{Outcome, Refused};
use super::search::{given, names_mod_sequence};
use super::selected::Selected;
use crate::store::{Columns, StoreError, UidSet};

/// How many messages are asked of the store at once.
const PAGE_MESSAGES: usize = 256;

impl Engine {
    pub(super) async fn sort(&mut self, sort: &Sort, reply: &mut Reply<'_, '_>) -> Outcome {
        let by_mod_sequence = names_mod_sequence(&sort.key);
        if by_mod_sequence {
            self.enable_condstore(reply.output());
        }
        let saves = sort.give.is_some_and(|give| give.save);
        let selected = self.selected()?;
        let found = match find_sorted(selected, sort, reply).await {
            Ok(found) => found,
            Err(refused) => {
                // RFC 5182 §2.1: a search that fails leaves nothing saved.
                if saves {
                    selected.saved = Vec::new();
                }
                return Err(refused);
            }
        };
        let number = |found: &Found| if sort.by_uid { found.entry.uid.0 } else { found.sequence };
        let numbers: Vec<u32> = found.iter().map(number).collect();
        let scores: Vec<u8> = found.iter().map(|found| found.relevancy).collect();
        let highest =
            |given: &[Found]| given.iter().map(|found| found.entry.modseq.0).max().filter(|_| by_mod_sequence);
        match sort.give {
            None => reply.output().sort(numbers, highest(&found)),
            Some(give) => {
                let given = given(give, &found);
                if saves {
                    selected.saved = UidSet::from_uids(given.iter().map(|found| found.entry.uid)).ranges().collect();
                }
                if (Give { save: false, ..give }) != Give::default() {
                    reply.server.extended_search(sort.by_uid, give, &numbers, &scores, highest(&given));
                }
            }
        }
        reply.send_much().await?;
        Ok(Completion::ok("SORT completed"))
    }
}

async fn find_sorted(selected: &Selected, sort: &Sort, reply: &mut Reply<'_, '_>) -> Result<Vec<Found>, Refused> {
    let relevancy = sort.give.is_some_and(|give| give.relevancy)
        || sort.criteria.iter().any(|criterion| criterion.key == SortKey::Relevancy);
    let found = find(selected, &sort.key, relevancy, reply).await?;
    let ranks = |message: &Message, found: &Found| -> Vec<Rank> {
        let rank = |criterion: &Criterion| {
            message.rank(criterion.key, found.entry.internal_date, u64::from(found.entry.size), found.relevancy)
        };
        sort.criteria.iter().map(rank).collect()
    };
    let mut ranked: Vec<(Vec<Rank>, Found)> = if sort.criteria.iter().any(|criterion| criterion.key.needs_header()) {
        with_headers(selected, found, &ranks, reply).await?
    } else {
        let nothing = Message::new(Default::default(), Default::default());
        found.into_iter().map(|found| (ranks(&nothing, &found), found)).collect()
    };
    // RFC 5256 §3: what is alike stays in the order of its numbers, which a stable sort keeps.
    ranked.sort_by(|(one, _), (other, _)| compare(&sort.criteria, one, other));
    Ok(ranked.into_iter().map(|(_, found)| found).collect())
}

/// What `look` sees in the header of each of the messages. Those that are gone are left out; in one that is lost it sees
/// nothing.
pub(super) async fn with_headers<T>(
    selected: &Selected,
    found: Vec<Found>,
    look: &(dyn Fn(&Message, &Found) -> T + Sync),
    reply: &mut Reply<'_, '_>,
) -> Result<Vec<(T, Found)>, Refused> {
    let (mut seen, mut lost) = (Vec::with_capacity(found.len()), Lost::default());
    let goal = found.len() as u32;
    for page in found.chunks(PAGE_MESSAGES) {
        let uids = UidSet::from_uids(page.iter().map(|found| found.entry.uid));
        let columns = Columns { header: true, ..Columns::default() };
        let kept = selected.mailbox.contents(&uids, columns).await.map_err(Refused::of_selected)?;
        let mut kept = kept.iter().peekable();
        for found in page {
            let Some(kept) = kept.next_if(|kept| kept.uid == found.entry.uid) else { continue };
            let look = match kept.kept.header() {
                Some(header) => look(header, found),
                // A header too long to be kept.
                None => match selected.mailbox.text(found.entry.uid).await {
                    Ok(text) => {
                        let [prefix, body] = text.parts();
                        look(&Message::new(prefix.clone(), body.clone()), found)
                    }
                    Err(StoreError::NoMessage) => continue,
                    Err(error) => {
                        lost.pass_over(found.entry.uid, error).map_err(Refused::of_selected)?;
                        look(&Message::new(Default::default(), Default::default()), found)
                    }
                },
            };
            seen.push((look, *found));
            reply.progress(seen.len() as u32, goal).await?;
        }
        tokio::task::yield_now().await;
    }
    lost.log(selected.mailbox.mail());
    Ok(seen)
}
