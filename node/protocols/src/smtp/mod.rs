//! SMTP and its dialects, message submission and LMTP (RFC 5321, RFC 6409, RFC 2033), as pure machines.
//!
//! [`server::Server`] answers a client, [`client::Client`] speaks to a server; both implement
//! [`Machine`](crate::machine::Machine). What the two have in common stands beside them: [`Reply`], the paths of an
//! envelope ([`Mailbox`], [`ReversePath`], [`ForwardPath`]). Authentication is [`sasl`](crate::sasl)'s.
//!
//! Invariants:
//! - what is not understood is refused with a reply, never passed on and never dropped silently;
//! - a message that the server machine hands on has CRLF line endings only and ends in CRLF (or is empty), so that
//!   nothing in it can end another server's DATA (SMTP smuggling);
//! - replies leave in the order of their commands.

pub mod client;
mod command;
mod parameters;
mod path;
mod reply;
mod scan;
pub mod server;

pub use path::{ForwardPath, Mailbox, PathError, ReversePath};
pub use reply::{Enhanced, Reply, Severity};

/// The variety of SMTP that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Between mail servers (RFC 5321): port 25.
    Smtp,
    /// From a user's program, who has to authenticate (RFC 6409): ports 587 and 465.
    Submission,
    /// Between nodes of one cluster, which have proved who they are: as `Smtp`, and DSN, so that the envelope id can carry the
    /// delivery id.
    Nodes,
    /// Into a store, with one answer a recipient at the end of the data (RFC 2033).
    Lmtp,
}
