//! Hands over what the store itself sends, by the contract `Submit`, to an edge node.
//!
//! Invariants: no more is claimed than is tried at once, and an attempt ends well before its claim does; what edge has taken is
//! written down as taken however often that fails, or it would be sent again; once the drain begins, nothing more is claimed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estafeta_core::submit::{Submission, Submit};
use estafeta_core::{DeliveryId, Failure, Message};
use estafeta_net::drain::Drain;
use estafeta_protocols::date::DateTime;
use futures_util::future::join_all;

use crate::store::{Store, StoreError, Waiting};

/// How many letters are under way at the same moment.
const AT_ONCE: u32 = 10;

/// How long an attempt may take, over all edge nodes.
const ATTEMPT: Duration = Duration::from_secs(120);

/// The longest between two looks: another node may have written a letter and ended.
const LOOK: Duration = Duration::from_secs(60);

/// The pauses until a letter is tried again, in seconds: the first one, twice as long each time, and the longest.
const SHORTEST_SECONDS: u32 = 10;
const LONGEST_SECONDS: u32 = 600;

/// The first pause until it is tried again to forget a letter; each further one is twice as long, up to [`LOOK`].
const FORGET_AGAIN: Duration = Duration::from_secs(1);

/// After how long a letter is given up, in seconds (RFC 5321 §4.5.4.1 asks for 4 to 5 days).
const GIVEN_UP_SECONDS: i64 = 5 * 24 * 3600;

/// Hands letters over until the drain begins.
pub async fn send(store: Store, submit: Arc<dyn Submit>, drain: Drain) {
    let outbox = Outbox { store, submit, drain };
    while !outbox.drain.has_begun() {
        let pause = outbox.hand_over().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the outbox is looked at next time");
            LOOK
        });
        tokio::select! {
            () = outbox.store.letter_written() => {}
            () = tokio::time::sleep(pause) => {}
            () = outbox.drain.begun() => {}
        }
    }
}

struct Outbox {
    store: Store,
    submit: Arc<dyn Submit>,
    drain: Drain,
}

impl Outbox {
    /// Tries what is due, and says when to look again.
    async fn hand_over(&self) -> Result<Duration, StoreError> {
        while !self.drain.has_begun() {
            let (waiting, due_seconds) = self.store.letters_waiting().await?;
            metrics::gauge!("estafeta_mailbox_outbox_messages").set(f64::from(waiting));
            if due_seconds != Some(0) {
                return Ok(due_seconds.map_or(LOOK, |seconds| Duration::from_secs(seconds).min(LOOK)));
            }
            let claimed = self.store.claim_letters(AT_ONCE).await?;
            let tried = join_all(claimed.iter().map(|waiting| self.try_one(waiting))).await;
            let failed: Vec<_> = tried.into_iter().flatten().collect();
            if let Some(failure) = failed.first() {
                let letters = failed.len();
                tracing::warn!(letters, waiting, %failure, "letters cannot be handed to edge: they are tried again");
            }
        }
        Ok(LOOK)
    }

    /// Tries one. Gives the failure when it is to be tried again.
    async fn try_one(&self, waiting: &Waiting) -> Option<Failure> {
        let Waiting { letter, written, attempts } = waiting;
        let (id, to) = (letter.id, &letter.recipient);
        let submission = Submission {
            id,
            sender: None,
            recipients: vec![to.clone()],
            message: Message::new(letter.message.clone()),
        };
        let late = |_| Err(Failure::unavailable(format_args!("not taken within {} s", ATTEMPT.as_secs())));
        let tried = tokio::time::timeout(ATTEMPT, self.submit.submit(&submission)).await.unwrap_or_else(late);
        let old = DateTime::of(SystemTime::now()).unix_seconds() - written > GIVEN_UP_SECONDS;
        let count = |outcome| metrics::counter!("estafeta_mailbox_letters_total", "outcome" => outcome).increment(1);
        match tried {
            Ok(()) => {
                tracing::info!(%id, %to, attempts, "a letter was handed to edge");
                count("handed-over");
                self.forget(id).await;
                None
            }
            Err(failure) if old => {
                tracing::error!(%id, %to, %failure, attempts, "a letter is given up");
                count("given-up");
                self.forget(id).await;
                None
            }
            Err(failure) => {
                tracing::debug!(%id, %to, %failure, attempts, "a letter is tried again");
                let longer = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
                let seconds = SHORTEST_SECONDS.saturating_mul(longer).min(LONGEST_SECONDS);
                // Where that cannot be written down, it is due again when its claim ends.
                if let Err(error) = self.store.postpone_letter(waiting, seconds).await {
                    tracing::warn!(%id, %error, "it cannot be written down when a letter is tried again");
                }
                Some(failure)
            }
        }
    }

    /// Forgets a letter that somebody has taken, however long the database is away, unless the node goes down: or it would be sent
    /// again.
    async fn forget(&self, id: DeliveryId) {
        let mut pause = FORGET_AGAIN;
        while let Err(error) = self.store.letter_taken(id).await {
            tracing::error!(%id, %error, "a letter that was taken over cannot be forgotten: it is tried again");
            if self.drain.has_begun() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }
}
