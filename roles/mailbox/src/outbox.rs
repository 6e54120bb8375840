//! Hands over what the store itself sends, by the contract `Submit`, to an edge node.

use std::sync::Arc;
use std::time::Duration;

use estafeta_core::submit::{Submission, Submit};
use estafeta_core::{Failure, Message};
use estafeta_net::drain::Drain;
use futures_util::{StreamExt, stream};

use crate::store::{Store, StoreError, Waiting};

/// How many letters are taken at a time, and how many of them are under way at the same moment.
const BATCH: u32 = 100;
const AT_ONCE: usize = 10;

/// The longest between two looks: another node may have written a letter and ended.
const LOOK: Duration = Duration::from_secs(60);

/// The pauses until a letter is tried again, in seconds: the first one, twice as long each time, and the longest.
const SHORTEST_SECONDS: u32 = 10;
const LONGEST_SECONDS: u32 = 600;

/// After how long a letter is given up, in seconds (RFC 5321 §4.5.4.1 asks for 4 to 5 days).
const GIVEN_UP_SECONDS: i64 = 5 * 24 * 3600;

/// Hands letters over until the drain begins.
pub async fn send(store: Store, submit: Arc<dyn Submit>, drain: Drain) {
    loop {
        let pause = match hand_over(&store, &submit).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "the outbox is looked at next time");
                LOOK
            }
        };
        tokio::select! {
            () = store.letter_written() => {}
            () = tokio::time::sleep(pause) => {}
            () = drain.begun() => return,
        }
    }
}

/// Tries what is due, and says when to look again.
async fn hand_over(store: &Store, submit: &Arc<dyn Submit>) -> Result<Duration, StoreError> {
    loop {
        let (waiting, due_seconds) = store.letters_waiting().await?;
        metrics::gauge!("estafeta_mailbox_outbox_messages").set(f64::from(waiting));
        if due_seconds != Some(0) {
            return Ok(due_seconds.map_or(LOOK, |seconds| Duration::from_secs(seconds).min(LOOK)));
        }
        let claimed = store.claim_letters(BATCH).await?;
        let mut trying = stream::iter(claimed).map(|waiting| try_one(store, submit, waiting)).buffer_unordered(AT_ONCE);
        while let Some(tried) = trying.next().await {
            tried?;
        }
    }
}

async fn try_one(store: &Store, submit: &Arc<dyn Submit>, waiting: Waiting) -> Result<(), StoreError> {
    let Waiting { letter, written, attempts } = waiting;
    let (id, to) = (letter.id, letter.recipient.clone());
    let submission =
        Submission { id, sender: None, recipients: vec![letter.recipient], message: Message::new(letter.message) };
    match submit.submit(&submission).await {
        Ok(()) => {
            tracing::info!(%id, %to, attempts, "a letter was handed to edge");
            store.letter_taken(id).await
        }
        Err(failure) if is_hopeless(&failure, written) => {
            tracing::error!(%id, %to, %failure, attempts, "a letter is given up");
            store.letter_taken(id).await
        }
        Err(failure) => {
            tracing::warn!(%id, %to, %failure, attempts, "a letter cannot be handed to edge: it is tried again");
            let seconds = SHORTEST_SECONDS.saturating_mul(1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX));
            store.postpone_letter(id, seconds.min(LONGEST_SECONDS)).await
        }
    }
}

fn is_hopeless(failure: &Failure, written: i64) -> bool {
    let now = estafeta_protocols::date::DateTime::of(std::time::SystemTime::now()).unix_seconds();
    !failure.is_temporary() || now - written > GIVEN_UP_SECONDS
}
