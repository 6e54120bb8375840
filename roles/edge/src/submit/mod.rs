//! The contract `Submit`: mail that the cluster itself sends. Here on this node, into the queue; [`server`] takes it from other
//! nodes, and [`client`] brings it to one.
//!
//! It is not judged, and any sender may be used: whoever may ask is one of ours.

mod client;
mod server;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use estafeta_core::submit::{Submission, Submit};
use estafeta_core::{Failure, Message};
use estafeta_protocols::header;

pub use client::client;
pub use server::{EDGE_SUBMISSION, listen, probe};

use crate::edge::Edge;
use crate::queue::{KeepError, Letter, Waiting};

/// Into this node's queue.
pub struct LocalSubmit(pub Arc<Edge>);

#[async_trait]
impl Submit for LocalSubmit {
    async fn submit(&self, submission: &Submission) -> Result<(), Failure> {
        let queue = &self.0.queue;
        // Another node may have room, or a disk that works.
        let unkept = |error: KeepError| Failure::unavailable(format_args!("the queue: {error}"));
        if queue.holds(submission.id).await.map_err(|error| unkept(error.into()))? {
            return Ok(());
        }
        let Submission { id, sender, recipients, message } = submission.clone();
        let letter = Letter {
            id,
            sender,
            smtputf8: has_utf8_header(&message),
            message,
            arrived: SystemTime::now(),
            recipients: recipients.into_iter().map(Waiting::at).collect(),
        };
        queue.keep(vec![letter]).await.map_err(unkept)?;
        tracing::info!(%id, recipients = submission.recipients.len(), "a message of the cluster's own is queued");
        metrics::counter!("estafeta_edge_own_messages_total").increment(1);
        Ok(())
    }
}

/// Whether the next server must know SMTPUTF8 for the sake of the header (RFC 6532).
fn has_utf8_header(message: &Message) -> bool {
    !header::excerpt(message.parts().map(|part| &part[..]), usize::MAX).is_ascii()
}
