//! POP3 (RFC 1939), server side: with CAPA and response codes (RFC 2449, RFC 3206), STLS (RFC 2595) and SASL (RFC 5034).
//!
//! [`server::Server`] is the machine, used by `access` before the login and by `mailbox` behind it; [`command`] is what
//! a client may ask; [`response`] how an answer begins, [`lines`] how one of several lines goes on and ends.
//!
//! Not planned: APOP (RFC 1939 §7: it needs the password in clear text on our side), UTF8 and LANG (RFC 6856; names and
//! passwords are taken as UTF-8 all the same).

pub mod command;
pub mod lines;
pub mod response;
pub mod server;
