//! Which messages a SEARCH, SORT or THREAD is about. What a session knows of its messages is asked first, then the search
//! index, then, page by page, what was kept of them; a text is read only where these do not decide.

use std::time::{SystemTime, UNIX_EPOCH};

use estafeta_protocols::imap::command::search::SearchKey;
use estafeta_protocols::imap::message::Message;
use estafeta_protocols::imap::message::search::{Candidate, Circumstances, Place, Query};
use estafeta_protocols::imap::types::{Flag, Uid};

use super::engine::Reply;
use super::lost::Lost;
use super::refusal::Refused;
use super::selected::Selected;
use super::translate::{has_flag, wire_uid};
use crate::store::{Columns, Indexed, KeptMessage, Keywords, MessageEntry, StoreError, UidSet};

/// How many messages are looked at before others have their turn, and asked of the store at once.
const PAGE_MESSAGES: u32 = 256;

/// So few messages are read sooner than the index is asked.
const READ_AT_ONCE: usize = 16;

/// One message that was found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) sequence: u32,
    pub(super) entry: MessageEntry,
    /// How well it answers, of 100; 0 when that was not asked for.
    pub(super) relevancy: u8,
}

/// A message, and what is at hand of it.
struct Known<'a> {
    sequence: u32,
    uid: Uid,
    entry: &'a MessageEntry,
    recent: bool,
    keywords: &'a Keywords,
    index: Option<&'a Indexed>,
    kept: Option<KeptMessage>,
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
        self.recent
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
        self.kept.as_ref().and_then(|kept| kept.kept.header()).or(self.message.as_ref())
    }

    fn email_id(&self) -> Option<&str> {
        self.kept.as_ref().and_then(KeptMessage::email_id)
    }

    fn thread_id(&self) -> Option<&str> {
        self.thread_id.as_deref()
    }

    fn indexed(&self, place: Place, text: &str) -> Option<bool> {
        self.index?.holds(self.entry.uid, place, text)
    }
}

/// The messages for which the key holds, in the order of their numbers; with `relevancy`, how well each answers.
pub(super) async fn find(
    selected: &Selected,
    key: &SearchKey,
    relevancy: bool,
    reply: &mut Reply<'_, '_>,
) -> Result<Vec<Found>, Refused> {
    let view = &selected.view;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let circumstances =
        Circumstances { last_sequence: view.len(), last_uid: view.last_uid(), saved: &selected.saved, now };
    let query = if relevancy { Query::with_worths(key, &circumstances) } else { Query::new(key, &circumstances) };
    let index = if is_worth_asking(selected, &query).await {
        reply.waiting(selected.mailbox.indexed(&query.texts())).await?
    } else {
        None
    };
    let (mut found, mut lost) = (Vec::new(), Lost::default());
    let mut next = 1;
    while next <= view.len() {
        let mut page = page(selected, next, index.as_ref());
        next = next.saturating_add(PAGE_MESSAGES);
        let decided: Vec<_> = page.iter().map(|known| query.matches(known)).collect();
        let undecided = page.iter_mut().zip(&decided).filter(|(_, matches)| matches.is_none());
        get_kept(selected, &query, undecided.map(|(known, _)| known).collect()).await?;
        for (mut known, matches) in page.into_iter().zip(decided) {
            let matches = match matches {
                Some(matches) => matches,
                None => {
                    reply.progress(known.sequence, view.len()).await?;
                    decide(selected, &mut known, &mut lost, |known| query.matches(known)).await?.unwrap_or(false)
                }
            };
            if matches {
                found.push(Found { sequence: known.sequence, entry: *known.entry, relevancy: 0 });
            }
        }
        tokio::task::yield_now().await;
    }
    lost.log(selected.mailbox.mail());
    if relevancy {
        weigh(selected, &query, index.as_ref(), &mut found, reply).await?;
    }
    Ok(found)
}

/// How well each of the messages answers: the best has 100 (RFC 6203 §4).
async fn weigh(
    selected: &Selected,
    query: &Query,
    index: Option<&Indexed>,
    found: &mut [Found],
    reply: &mut Reply<'_, '_>,
) -> Result<(), Refused> {
    let mut worths: Vec<u32> = Vec::with_capacity(found.len());
    for some in found.chunks(PAGE_MESSAGES as usize) {
        let mut page: Vec<_> = some.iter().filter_map(|found| known(selected, found.sequence, index)).collect();
        get_kept(selected, query, page.iter_mut().collect()).await?;
        for mut known in page {
            reply.progress(worths.len() as u32, found.len() as u32).await?;
            // Of those that are lost, word was left.
            let lost = &mut Lost::default();
            worths.push(decide(selected, &mut known, lost, |known| query.worth(known)).await?.unwrap_or(0));
        }
        tokio::task::yield_now().await;
    }
    let best = u64::from(worths.iter().copied().max().unwrap_or(0).max(1));
    for (found, worth) in found.iter_mut().zip(worths) {
        found.relevancy = (u64::from(worth) * 100 / best).clamp(1, 100) as u8;
    }
    Ok(())
}

/// Whether texts are asked for of more than a few messages.
async fn is_worth_asking(selected: &Selected, query: &Query) -> bool {
    if query.texts().is_empty() {
        return false;
    }
    let (mut undecided, mut next) = (0, 1);
    while next <= selected.view.len() {
        let page = page(selected, next, None);
        undecided += page.iter().filter(|known| query.matches(*known).is_none()).count();
        if undecided > READ_AT_ONCE {
            return true;
        }
        next = next.saturating_add(PAGE_MESSAGES);
        tokio::task::yield_now().await;
    }
    false
}

/// The messages from the sequence number `first` on.
fn page<'a>(selected: &'a Selected, first: u32, index: Option<&'a Indexed>) -> Vec<Known<'a>> {
    let sequences = first..first.saturating_add(PAGE_MESSAGES);
    sequences.filter_map(|sequence| known(selected, sequence, index)).collect()
}

/// A message, as far as the session and the index know it.
fn known<'a>(selected: &'a Selected, sequence: u32, index: Option<&'a Indexed>) -> Option<Known<'a>> {
    let (entry, keywords) = (selected.view.get(sequence)?, selected.view.keywords());
    let uid = wire_uid(entry.uid)?;
    let recent = selected.view.is_recent(entry.uid);
    Some(Known { sequence, uid, entry, recent, keywords, index, kept: None, thread_id: None, message: None })
}

/// Gets what was kept of these messages, as far as the query may ask for it.
async fn get_kept(selected: &Selected, query: &Query, page: Vec<&mut Known<'_>>) -> Result<(), Refused> {
    let wants = query.wants();
    let columns = Columns { summary: wants.ids, header: wants.header, hash: wants.ids };
    if columns == Columns::default() || page.is_empty() {
        return Ok(());
    }
    let uids = UidSet::from_uids(page.iter().map(|known| known.entry.uid));
    let kept = selected.mailbox.contents(&uids, columns).await.map_err(Refused::of_selected)?;
    let mut kept = kept.into_iter().peekable();
    for known in page {
        known.kept = kept.next_if(|kept| kept.uid == known.entry.uid);
        known.thread_id = known.kept.as_ref().filter(|_| wants.ids).and_then(KeptMessage::thread_id);
    }
    Ok(())
}

/// What is asked of a message, if what is at hand does not say it, by its text. None of one that is gone. One that is lost has
/// no text.
async fn decide<T>(
    selected: &Selected,
    known: &mut Known<'_>,
    lost: &mut Lost,
    ask: impl Fn(&Known<'_>) -> Option<T>,
) -> Result<Option<T>, Refused> {
    if let Some(answer) = ask(known) {
        return Ok(Some(answer));
    }
    let message = match selected.mailbox.text(known.entry.uid).await {
        Ok(text) => {
            let [prefix, body] = text.parts();
            Message::new(prefix.clone(), body.clone())
        }
        // RFC 2180 §4.3: what was expunged meanwhile is not found.
        Err(StoreError::NoMessage) => return Ok(None),
        Err(error) => {
            lost.pass_over(known.entry.uid, error).map_err(Refused::of_selected)?;
            Message::new(Default::default(), Default::default())
        }
    };
    known.message = Some(message);
    tokio::task::yield_now().await;
    Ok(ask(known))
}
