//! The contract `Submit`: mail that the cluster itself sends. Asked by mailbox, directory and filter; remote, SMTP with the
//! delivery id as ENVID.

mod router;
#[cfg(feature = "suite")]
pub mod suite;

use async_trait::async_trait;

use crate::address::Address;
use crate::failure::Failure;
use crate::message::{DeliveryId, Message};

pub use router::SubmitRouter;

/// A message of the cluster's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Names it, across repeats: who asks again does so under the same id.
    pub id: DeliveryId,
    /// Where bounces go; none for the null reverse-path. Any may be used.
    pub sender: Option<Address>,
    /// To whom, in this cluster or elsewhere; at least one.
    pub recipients: Vec<Address>,
    /// The message, from its header on.
    pub message: Message,
}

/// The contract.
#[async_trait]
pub trait Submit: Send + Sync {
    /// Takes the responsibility for a message: what is answered with success is durable, and is delivered, or reported to its
    /// sender. [`crate::Reason::Unavailable`] when nobody can take it now, or it is not known whether somebody has: ask again, under
    /// the same id. A mailbox of this cluster stores it once then, however often it comes; an edge node sends it once while it
    /// still has it, but another one knows nothing of that, so that elsewhere it may arrive twice.
    async fn submit(&self, submission: &Submission) -> Result<(), Failure>;
}
