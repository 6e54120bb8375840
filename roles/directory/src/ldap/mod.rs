//! The directory over LDAP: what other nodes ask, and what an administrator's own tools (`ldapsearch`, `ldapadd`,
//! `ldapmodify`, `ldappasswd`, `ldapwhoami`) can ask too.
//!
//! - [`place`]: the tree, made from the domains;
//! - [`entry`]: accounts and aliases as entries, and the way back;
//! - [`schema`]: the attributes;
//! - [`filter`]: whether an entry fits;
//! - [`machine`]: bytes and messages;
//! - [`server`]: the service `ldaps`;
//! - [`client`]: the remote implementation of the contract `Directory`.
//!
//! Obeyed: RFC 4511 to 4514 and 4517 in the parts that the tree needs, 4513 (SASL EXTERNAL and simple bind), 2696 (paged
//! results), 3062 (password modify), 4532 (who am I), 4526, 3673. Not offered: renaming (an address is for ever its
//! account's), referrals, StartTLS (the service is TLS from its first byte).

mod ber;
pub mod client;
mod dn;
mod entry;
mod filter;
mod machine;
mod outcome;
mod place;
mod schema;
pub mod server;
mod session_tracking;

/// The paged results control (RFC 2696).
const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

#[cfg(test)]
mod tests;
