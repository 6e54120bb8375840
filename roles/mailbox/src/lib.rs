//! Cluster D: the mailboxes.
//!
//! - [`store`]: messages on disk, and what changed;
//! - [`accounts`]: whose mail lives here;
//! - [`delivery`], [`lmtp`]: the contract `Delivery` on this node, and its listener;
//! - `receipt`, `outbox`: what senders are told of a delivery, and how it leaves;
//! - [`sessions`], [`imap`], [`pop3`]: the contract `Sessions` on this node, and the engines, each with its listener;
//! - [`relay`]: the clients of both contracts, for other nodes;
//! - `transfer`: out to Maildir and mbox, and in again; `relocation`: from another store group; `undelete`: what was expunged;
//!   `operations`: what the administrator asks for;
//! - [`role`]: the role's row.
#![forbid(unsafe_code)]

pub mod accounts;
mod config;
pub mod delivery;
pub mod health;
mod imap;
pub mod lmtp;
mod operations;
mod outbox;
pub mod pop3;
mod receipt;
pub mod relay;
mod relocation;
mod role;
pub mod sessions;
pub mod store;
mod tasks;
#[cfg(test)]
mod tests;
mod transfer;
mod undelete;

pub use config::{Config, WhenOverQuota};
pub use role::{LMTP, MAILBOX_IMAP, MAILBOX_POP3, role};
