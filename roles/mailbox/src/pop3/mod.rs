//! The POP3 engine: a session over INBOX, from the login to QUIT (RFC 1939).
//!
//! | module | holds |
//! | --- | --- |
//! | `maildrop` | the messages as they were at the login, numbered, and which are marked |
//! | `session` | the contract `Sessions`: mail that is open and waits for its client's stream |
//! | `transaction` | the conversation: each command carried out |
//! | `relayed` | the listener's side for clients that an access node relays |
//!
//! Invariants:
//! - numbers, sizes and identifiers are those of the login until the session ends, whatever others do meanwhile;
//! - what is marked is removed at QUIT, all of it in one transaction or nothing; a session that ends otherwise removes
//!   nothing (RFC 1939 §6);
//! - a message's identifier is made of UIDVALIDITY and UID: never used twice (RFC 1939 §7, UIDL).
//!
//! Decided: the mailbox is not locked while a session runs (RFC 1939 §4 wants it, and clients that poll from two
//! devices suffer from it): nothing depends on it here, since sessions hold a picture of their own. Reading a message
//! does not set `\Seen`, as in Dovecot.

mod maildrop;
mod metrics;
mod refusal;
mod relayed;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

pub use metrics::describe_metrics;
pub use relayed::talk_relayed;
pub use session::Pop3Session;
