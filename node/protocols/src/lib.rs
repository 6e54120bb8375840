//! The languages that mail speaks, as pure machines: bytes in, steps out.
//!
//! Nothing here awaits, opens a socket, reads a clock or draws a random number: what a machine needs of the world it
//! is given as an argument, and what it wants done it says in a [`machine::Step`]. `estafeta_net::drive` carries the
//! steps out, in one loop for all protocols.
#![forbid(unsafe_code)]

pub mod date;
pub mod dsn;
pub mod header;
pub mod imap;
pub mod machine;
pub mod pop3;
pub mod sasl;
pub mod smtp;
