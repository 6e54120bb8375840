//! What a mailbox node proves about itself: its listeners greet, and its database takes writes.
//!
//! The directory is not needed: who has mail here already is served without it, and the first mail of a new account
//! waits in the queue of edge.

use async_trait::async_trait;
use estafeta_net::probe::{self, Answer};
use estafeta_net::role::{Health, Probing};

use crate::role::{ACCESS, EDGE};
use crate::store::Store;

/// The store, under watch.
pub struct StoreHealth(pub Store);

#[async_trait]
impl Health for StoreHealth {
    async fn check(&self) -> Result<(), String> {
        self.0.is_writable().await.map_err(|error| format!("the store does not work: {error}"))
    }
}

/// Of the service `lmtp`.
pub fn lmtp(probing: Probing) -> Answer {
    Box::pin(async move { probe::lmtp_between_nodes(probing, EDGE).await })
}

/// Of the service `mailbox-imap`.
pub fn imap(probing: Probing) -> Answer {
    Box::pin(async move { probe::imap_between_nodes(probing, ACCESS).await })
}

/// Of the service `mailbox-pop3`.
pub fn pop3(probing: Probing) -> Answer {
    Box::pin(async move { probe::pop3_between_nodes(probing, ACCESS).await })
}
