//! The IMAP engine: a session over the store, from login to goodbye (RFC 3501). One command, one file.
//!
//! | module | holds |
//! | --- | --- |
//! | `engine` | the conversation: events in, commands carried out, changes told |
//! | `view` | what this session's client knows of its mailbox: sequence numbers |
//! | `selected` | the open mailbox, and when the client hears what others did to it |
//! | `home` | whether the mail still lives here |
//! | `notify` | what a session is told unasked, of this mailbox and of others |
//! | `seat` | who has the mail open: after UNAUTHENTICATE nobody, or somebody else |
//! | `relayed` | the listener's side for clients that an access node relays |
//!
//! Invariants (RFC 3501 §7.4.1, RFC 2180):
//! - a sequence number means the same message until this session has told its client otherwise, whatever others do;
//! - EXPUNGE is told at the end of a command, never of FETCH, STORE or SEARCH by sequence numbers, and outside of
//!   commands only in IDLE, and to whom has asked for it by NOTIFY;
//! - what a client is told is committed.

mod acl;
mod ahead;
mod append;
mod copy;
mod enable;
mod engine;
mod expunge;
mod fetch;
mod finding;
mod flags;
mod hierarchy;
mod home;
mod line_ends;
mod list;
mod lost;
mod metadata;
mod metrics;
mod notify;
mod owner;
mod place;
mod quota;
mod refusal;
mod relayed;
mod search;
mod seat;
mod select;
mod selected;
mod session;
mod sort;
mod status;
mod thread;
mod translate;
mod view;

#[cfg(test)]
mod tests;

pub use line_ends::LineEnds;
pub use metrics::describe_metrics;
pub use place::Neighbours;
pub use relayed::{Mailroom, talk_relayed};
pub use seat::Doorkeeper;
pub use session::ImapSession;
pub use translate::system_flags;
