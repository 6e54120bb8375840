//! What other nodes ask a mailbox node with: the remote clients of `Delivery` and `Sessions`.
//!
//! They speak LMTP, IMAP and POP3 as published, so that they work towards a Dovecot too. A client connects when it is
//! first asked.

mod copy;
mod delivery;
mod imap;
mod login;
mod pop3;
mod session;

use std::sync::Arc;

use estafeta_core::delivery::Delivery;
use estafeta_core::members::Candidate;
use estafeta_core::sessions::Sessions;
use estafeta_net::role::{Clients, Remote};

use session::RemoteSessions;

pub use delivery::RemoteDelivery;

/// The clients, as the role's row lists them.
pub fn clients() -> Clients {
    Clients { delivery: Some(deliver), imap: Some(sessions), pop3: Some(sessions), ..Clients::default() }
}

fn deliver(remote: &Remote, candidate: &Candidate) -> Arc<dyn Delivery> {
    Arc::new(RemoteDelivery::new(remote.clone(), candidate.clone()))
}

/// The protocol of a request says what is spoken; the router has chosen the endpoint by it.
fn sessions(remote: &Remote, candidate: &Candidate) -> Arc<dyn Sessions> {
    Arc::new(RemoteSessions::new(remote.clone(), candidate.clone()))
}
