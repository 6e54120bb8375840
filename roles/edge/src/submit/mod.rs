//! The contract `Submit`: mail that the cluster itself sends. Here on this node, into the queue; [`server`] takes it from other
//! nodes, and [`client`] brings it to one.
//!
//! It is not judged, and any sender may be used: whoever may ask is one of ours.

mod client;
mod server;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use estafeta_core::submit::{Submission, Submit};
use estafeta_core::{Failure, Message};
use estafeta_protocols::header;

pub use client::client;
pub use server::{EDGE_SUBMISSION, listen, probe};

use crate::edge::Edge;
use crate::queue::{KeepError, Letter, Queue, Waiting};

/// How long the disk may take, before another node is asked.
const DEADLINE: Duration = Duration::from_secs(30);

/// Into this node's queue.
pub struct LocalSubmit(pub Arc<Edge>);

#[async_trait]
impl Submit for LocalSubmit {
    async fn submit(&self, submission: &Submission) -> Result<(), Failure> {
        if self.0.drain.has_begun() {
            return Err(Failure::unavailable("this node goes down: another one shall take it"));
        }
        // Whoever asks may go away in the middle; the queue shall know what it holds all the same.
        let keeping = tokio::spawn(keep(self.0.queue.clone(), submission.clone()));
        let late = |_| Failure::unavailable(format_args!("the queue: not written within {} s", DEADLINE.as_secs()));
        tokio::time::timeout(DEADLINE, keeping).await.map_err(late)?.map_err(Failure::internal)?
    }
}

/// Keeps it, unless it is there already.
async fn keep(queue: Queue, submission: Submission) -> Result<(), Failure> {
    // Another node may have room, or a disk that works.
    let unkept = |error: KeepError| Failure::unavailable(format_args!("the queue: {error}"));
    let holds = async |id| queue.holds(id).await.map_err(|error| unkept(error.into()));
    let Submission { id, sender, recipients, message } = submission;
    if holds(id).await? {
        return Ok(());
    }
    let count = recipients.len();
    let letter = Letter {
        id,
        sender,
        smtputf8: has_utf8_header(&message),
        message,
        arrived: SystemTime::now(),
        recipients: recipients.into_iter().map(Waiting::at).collect(),
    };
    match queue.keep(vec![letter]).await {
        Ok(()) => {
            tracing::info!(%id, recipients = count, "a message of the cluster's own is queued");
            metrics::counter!("estafeta_edge_own_messages_total").increment(1);
            Ok(())
        }
        // It may have come by two ways at the same moment.
        Err(error) => {
            if holds(id).await? {
                Ok(())
            } else {
                Err(unkept(error))
            }
        }
    }
}

/// Whether the next server must know SMTPUTF8 for the sake of the header (RFC 6532).
fn has_utf8_header(message: &Message) -> bool {
    !header::excerpt(message.parts().map(|part| &part[..]), usize::MAX).is_ascii()
}
