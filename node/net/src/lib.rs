//! What every listener and every conversation shares: sockets, TLS, limits, drain, and the one loop that drives a
//! protocol machine. And the form of a role: its row in the table, what it is handed, how it runs.

pub mod accept;
pub mod connection;
pub mod deflate;
pub mod drain;
pub mod drive;
pub mod http;
pub mod identity;
pub mod login;
mod panic;
pub mod probe;
pub mod role;
pub mod section;
pub mod smtp;
pub mod sockets;
pub mod tls;
