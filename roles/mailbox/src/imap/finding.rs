//! Which messages a SEARCH, SORT or THREAD is about. What a session knows of its messages is asked first, then, page by
//! page, what was kept of them; a text is read only where these do not decide.

use std::time::{SystemTime, UNIX_EPOCH};

use estafeta_protocols::imap::command::search::SearchKey;
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::message::search::{Candidate, Circumstances, Query};
use estafeta_protocols::imap::types::{Flag, Uid};

use super::refusal::Refused;
use super::selected::Selected;
use super::translate::{has_flag, wire_uid};
use super::view::Entry;
use crate::store::{Columns, KeptMessage, Keywords, StoreError, UidSet};

/// How many messages are looked at before others have their turn, and asked of the store at once.
const PAGE_MESSAGES: u32 = 256;

/// One message that was found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) sequence: u32,
    pub(super) entry: Entry,
}

/// A message, and what is at hand of it.
struct Known<'a> {
    sequence: u32,
    uid: Uid,
    entry: &'a Entry,
    keywords: &'a Keywords,
    kept: Option<&'a KeptMessage>,
    thread_id: Option<String>,
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

    fn header(&self) -> Option<&Message> {
        self.kept.and_then(|kept| kept.kept.header()).or(self.message.as_ref())
    }

    fn email_id(&self) -> Option<&str> {
        self.kept.and_then(KeptMessage::email_id)
    }

    fn thread_id(&self) -> Option<&str> {
        self.thread_id.as_deref()
    }
}

/// The messages for which the key holds, in the order of their numbers.
pub(super) async fn find(selected: &Selected, key: &SearchKey) -> Result<Vec<Found>, Refused> {
    let view = &selected.view;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let circumstances =
        Circumstances { last_sequence: view.len(), last_uid: view.last_uid(), saved: &selected.saved, now };
    let query = Query::new(key, &circumstances);
    let wants = query.wants();
    let columns = Columns { summary: wants.ids, header: wants.header, hash: wants.ids };
    let mut found = Vec::new();
    let mut next = 1;
    while next <= view.len() {
        let page = page(selected, &query, next);
        next = next.saturating_add(PAGE_MESSAGES);
        let undecided = page.iter().filter(|(matches, _)| matches.is_none()).map(|(_, known)| known.entry.uid);
        let undecided = UidSet::from_uids(undecided);
        let kept = if columns == Columns::default() || undecided.is_empty() {
            Vec::new()
        } else {
            selected.mailbox.contents(&undecided, columns).await.map_err(Refused::of_selected)?
        };
        let mut kept = kept.iter().peekable();
        for (matches, mut known) in page {
            let matches = match matches {
                Some(matches) => matches,
                None => {
                    known.kept = kept.next_if(|kept| kept.uid == known.entry.uid);
                    known.thread_id = known.kept.filter(|_| wants.ids).and_then(KeptMessage::thread_id);
                    matches_text(selected, &query, &mut known).await?
                }
            };
            if matches {
                found.push(Found { sequence: known.sequence, entry: *known.entry });
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(found)
}

/// The messages from the sequence number `first` on, and whether the key holds for them as far as the session knows.
fn page<'a>(selected: &'a Selected, query: &Query, first: u32) -> Vec<(Option<bool>, Known<'a>)> {
    let view = &selected.view;
    let known = (first..first.saturating_add(PAGE_MESSAGES)).filter_map(|sequence| {
        let (entry, keywords) = (view.get(sequence)?, view.keywords());
        let uid = wire_uid(entry.uid)?;
        let known = Known { sequence, uid, entry, keywords, kept: None, thread_id: None, message: None };
        Some((query.matches(&known), known))
    });
    known.collect()
}

/// Whether the key holds, if what is at hand does not say it, by the message's text.
async fn matches_text(selected: &Selected, query: &Query, known: &mut Known<'_>) -> Result<bool, Refused> {
    if let Some(matches) = query.matches(known) {
        return Ok(matches);
    }
    match selected.mailbox.text(known.entry.uid).await {
        Ok(text) => {
            let [prefix, body] = text.parts();
            known.message = Some(Message::new(prefix.clone(), body.clone()));
            tokio::task::yield_now().await;
            Ok(query.matches(known) == Some(true))
        }
        // RFC 2180 §4.3: what was expunged meanwhile is not found.
        Err(StoreError::NoMessage) => Ok(false),
        Err(error) => Err(Refused::of_selected(error)),
    }
}
