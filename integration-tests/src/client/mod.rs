//! Small clients.

pub mod dns;
pub mod imap;
pub mod pop3;
pub mod smtp;
pub mod wire;

pub use imap::Imap;
pub use pop3::Pop3;
pub use smtp::Smtp;
pub use wire::{Trust, Wire};
