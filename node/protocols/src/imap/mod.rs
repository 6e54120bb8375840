//! IMAP (RFC 3501): the server's side, commands in, events out, answers in, bytes out; and of the client's side what an import
//! needs.
//!
//! | module | holds |
//! | --- | --- |
//! | [`types`] | the values that both directions speak of: UIDs, sets, flags, names, dates, sections |
//! | [`command`] | what a client asks: one file a command, one table |
//! | [`response`] | what a server says: one writer, [`response::Output`] |
//! | [`server`] | the machine between them |
//! | [`client`] | the machine of a client, and what responses say |
//! | [`message`] | what FETCH and SEARCH say of a message, computed from its bytes |
//!
//! IMAP4rev1 with UIDPLUS (RFC 4315), IDLE (RFC 2177), NAMESPACE (RFC 2342), LIST-EXTENDED (RFC 5258), LIST-STATUS
//! (RFC 5819), SPECIAL-USE (RFC 6154), CHILDREN (RFC 3348), LITERAL+ (RFC 7888), ID (RFC 2971), ENABLE (RFC 5161),
//! UNSELECT (RFC 3691), MOVE (RFC 6851), SASL-IR (RFC 4959) and the response codes of RFC 5530.

pub mod capability;
pub mod client;
pub mod command;
mod cursor;
pub mod message;
pub mod response;
pub mod server;
pub mod thread;
pub mod types;

#[cfg(test)]
mod oracle;
