//! Cluster C: accounts, aliases, domains, over LDAP; the settings, and who is enrolled.
//!
//! - [`store`]: the directory itself, in SQLite;
//! - [`ldap`]: the service `ldaps` on it, and its client: the remote implementation of the contract `Directory`;
//! - [`operations`]: what the command line does with people and domains;
//! - [`role`]: the role's row.
#![forbid(unsafe_code)]

mod calendar;
mod expand;
mod gossip_keys;
mod guesses;
mod health;
pub mod ldap;
pub mod operations;
mod password;
pub mod role;
mod sql;
pub mod store;

pub use role::role;
