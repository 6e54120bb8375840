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
use tokio::sync::oneshot;

pub use client::client;
pub use server::{EDGE_SUBMISSION, listen, probe};

use crate::edge::Edge;
use crate::queue::{KeepError, Letter, Queue, Waiting};

/// How long the disk may take, before another node is asked.
const DEADLINE: Duration = Duration::from_secs(30);

/// How many are written at the same moment: what hangs on a disk shall not pile up.
pub const AT_ONCE: usize = 10;

/// Into this node's queue.
pub struct LocalSubmit(pub Arc<Edge>);

impl LocalSubmit {
    /// Whoever asks may go away in the middle; the queue shall know what it holds all the same.
    async fn keep(&self, submission: Submission) -> Result<(), Failure> {
        let place = self.0.own_mail.clone().acquire_owned().await.map_err(Failure::internal)?;
        let (kept, keeping) = oneshot::channel();
        let queue = self.0.queue.clone();
        self.0.drain.spawn("mail of the cluster's own", async move {
            let _place = place;
            // Nobody may wait for it any more.
            kept.send(keep(queue, submission).await).ok();
        });
        keeping.await.map_err(Failure::internal)?
    }
}

#[async_trait]
impl Submit for LocalSubmit {
    async fn submit(&self, submission: &Submission) -> Result<(), Failure> {
        if self.0.drain.has_begun() {
            return Err(Failure::unavailable("this node goes down: another one shall take it"));
        }
        let late = |_| Failure::unavailable(format_args!("the queue: not written within {} s", DEADLINE.as_secs()));
        tokio::time::timeout(DEADLINE, self.keep(submission.clone())).await.map_err(late)?
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
