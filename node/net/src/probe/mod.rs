//! Questions to an endpoint, in its own protocol, that show whether it serves: what a role's row names in
//! [`crate::role::Service::probe`]. A node asks its own listeners so, and those of other nodes.
//!
//! Invariants:
//! - a probe says goodbye as a client does, logs nobody in and changes nothing: it leaves no trace but a connection;
//! - what is read is bounded in bytes and lines; whoever calls sets the time limit;
//! - what clients see is probed without a look at whom its certificate names; what nodes ask each other, over mutual
//!   TLS, and only the node that is meant passes.

mod conversation;

use std::net::SocketAddr;
use std::pin::Pin;

use estafeta_core::RoleName;
use estafeta_core::sessions::BoxStream;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::role::Probing;

pub use conversation::Conversation;

/// What a probe gives: an error says in a few words what came in place of an answer.
pub type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// SMTP, in clear text: greeting, EHLO, QUIT.
pub fn smtp(probing: Probing) -> Answer {
    Box::pin(async move {
        let stream = clear(probing.candidate.endpoint.address).await?;
        conversation::smtp(Conversation::new(stream), "EHLO", &probing.remote.hostname).await
    })
}

/// SMTP over TLS.
pub fn smtp_over_tls(probing: Probing) -> Answer {
    Box::pin(async move {
        conversation::smtp(Conversation::new(over_tls(&probing).await?), "EHLO", &probing.remote.hostname).await
    })
}

/// IMAP, in clear text: greeting, LOGOUT.
pub fn imap(probing: Probing) -> Answer {
    Box::pin(
        async move { conversation::imap(Conversation::new(clear(probing.candidate.endpoint.address).await?)).await },
    )
}

/// IMAP over TLS.
pub fn imap_over_tls(probing: Probing) -> Answer {
    Box::pin(async move { conversation::imap(Conversation::new(over_tls(&probing).await?)).await })
}

/// POP3, in clear text: greeting, QUIT.
pub fn pop3(probing: Probing) -> Answer {
    Box::pin(
        async move { conversation::pop3(Conversation::new(clear(probing.candidate.endpoint.address).await?)).await },
    )
}

/// POP3 over TLS.
pub fn pop3_over_tls(probing: Probing) -> Answer {
    Box::pin(async move { conversation::pop3(Conversation::new(over_tls(&probing).await?)).await })
}

/// LMTP between nodes: greeting, LHLO, QUIT.
pub async fn lmtp_between_nodes(probing: Probing, asked_by: &[RoleName]) -> Result<(), String> {
    smtp_between(probing, asked_by, "LHLO").await
}

/// SMTP between nodes: greeting, EHLO, QUIT.
pub async fn smtp_between_nodes(probing: Probing, asked_by: &[RoleName]) -> Result<(), String> {
    smtp_between(probing, asked_by, "EHLO").await
}

async fn smtp_between(probing: Probing, asked_by: &[RoleName], hello: &str) -> Result<(), String> {
    match between_nodes(&probing, asked_by).await? {
        Some(stream) => conversation::smtp(Conversation::new(stream), hello, &probing.remote.hostname).await,
        None => Ok(()),
    }
}

/// IMAP between nodes.
pub async fn imap_between_nodes(probing: Probing, asked_by: &[RoleName]) -> Result<(), String> {
    match between_nodes(&probing, asked_by).await? {
        Some(stream) => conversation::imap(Conversation::new(stream)).await,
        None => Ok(()),
    }
}

/// POP3 between nodes.
pub async fn pop3_between_nodes(probing: Probing, asked_by: &[RoleName]) -> Result<(), String> {
    match between_nodes(&probing, asked_by).await? {
        Some(stream) => conversation::pop3(Conversation::new(stream)).await,
        None => Ok(()),
    }
}

/// A connection in clear text.
pub async fn clear(address: SocketAddr) -> Result<BoxStream, String> {
    Ok(connect(address).await?.stream)
}

/// A connection over TLS to what clients see. Its certificate is for clients' names, which this node does not know.
pub async fn over_tls(probing: &Probing) -> Result<BoxStream, String> {
    let address = probing.candidate.endpoint.address;
    let connector = probing.remote.tls.opportunistic();
    let secured = connect(address).await?.connect_tls(connector, ServerName::IpAddress(address.ip().into())).await;
    Ok(secured.map_err(|error| format!("no TLS: {error}"))?.stream)
}

/// A connection over mutual TLS. None when the service is not for nodes of this one's roles: then the handshake, in
/// which the right node has proved itself, is the answer.
pub async fn between_nodes(probing: &Probing, asked_by: &[RoleName]) -> Result<Option<BoxStream>, String> {
    let connected = probing.remote.tls.connect(&probing.candidate).await;
    // The client's text is for people outside.
    let connection = connected.map_err(|failure| failure.cause)?;
    Ok(may_ask(probing, asked_by).then_some(connection.stream))
}

/// Whether this node's certificate lets it ask a service that is for these roles: itself it may ask anything.
pub fn may_ask(probing: &Probing, asked_by: &[RoleName]) -> bool {
    let granted = || probing.remote.tls.own().is_some_and(|own| own.identity.holds_any(asked_by));
    asked_by.is_empty() || probing.candidate.node == probing.remote.node || granted()
}

async fn connect(address: SocketAddr) -> Result<Connection, String> {
    let tcp = TcpStream::connect(address).await.map_err(|error| format!("no connection: {error}"))?;
    Connection::clear(tcp).map_err(|error| format!("no connection: {error}"))
}

#[cfg(test)]
mod tests;
