//! Clients that an access node relays: it has looked at their passwords, proves itself by its certificate, and names
//! the account (SASL EXTERNAL, RFC 4422 appendix A) and the client's address (ID, as Dovecot's proxy does).

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::Failure;
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Upgrade, drive};
use estafeta_protocols::imap::server::{Limits, Offer, Server};
use estafeta_protocols::sasl::Mechanism;

use super::place::Neighbours;
use super::seat::{Doorkeeper, Seat};
use super::session::TIMEOUTS;
use crate::store::AccountMail;

/// Opens the mail of an account by its address, for a client that was authenticated elsewhere.
#[async_trait]
pub trait Mailroom: Send + Sync {
    /// The mail, if the account lives here.
    async fn open(&self, address: &str) -> Result<AccountMail, Failure>;
}

/// Talks with a client that an access node relays over `connection`. The caller has seen to it that the node at the
/// other end may do this. `message_limit_bytes` is the largest message that APPEND takes.
pub async fn talk_relayed(
    connection: Connection,
    mailroom: &dyn Mailroom,
    neighbours: Arc<dyn Neighbours>,
    doorkeeper: &dyn Doorkeeper,
    message_limit_bytes: u32,
    drain: &Drain,
) -> io::Result<()> {
    let offer = Offer { mechanisms: vec![Mechanism::External], ..Offer::default() };
    let limits = Limits { message_bytes: u64::from(message_limit_bytes), ..Limits::default() };
    let mut server = Box::new(Server::greet(offer, true, limits));
    let mut relayed = Box::new(Seat::relayed(mailroom, neighbours, doorkeeper, connection.peer));
    drive(connection, server.as_mut(), relayed.as_mut(), Upgrade::Never, TIMEOUTS, drain).await.map(drop)
}
