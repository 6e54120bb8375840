//! SEARCH (RFC 3501 §6.4.4).

use estafeta_protocols::imap::command::search::Search;
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::message::search::{Candidate, Query};
use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::types::{Date, DateTime, Flag, Uid};

use super::engine::{Engine, Reply};
use super::refusal::{Outcome, Refused};
use super::translate::{has_flag, wire_uid};
use super::view::Entry;
use crate::store::{Keywords, StoreError};

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

    fn date(&self) -> Date {
        DateTime::from_unix_seconds(self.entry.internal_date).date()
    }

    fn size(&self) -> u64 {
        u64::from(self.entry.size)
    }

    fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }
}

impl Engine {
    pub(super) async fn search(&mut self, search: &Search, reply: &mut Reply<'_, '_>) -> Outcome {
        let selected = self.selected()?;
        let view = &selected.view;
        let query = Query::new(&search.key, view.len(), view.last_uid());
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
                found.push(if search.by_uid { uid.get() } else { sequence });
            }
            if sequence % TURN_MESSAGES == 0 {
                tokio::task::yield_now().await;
            }
        }
        reply.output().search(found);
        reply.send_much().await?;
        Ok(Completion::ok("SEARCH completed"))
    }
}
