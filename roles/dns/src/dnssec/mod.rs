//! DNSSEC: keys, signatures, proofs of what is not there.
//!
//! The keys of all zones are one secret beside the settings (the [`ring::Book`]), which each `dns` node reads every few
//! seconds and keeps in a file ([`keeper`]). How a key comes and goes is a pure sequence ([`timeline`]). Answers are
//! signed by [`signer::Signer`], one at a time ([`online`]) or as a whole zone ([`chain`]).
//!
//! Invariants: a private key is nowhere but in the directory's database and in files of mode 0600 on the
//! `dns` nodes; a node that does not know its zones' keys answers SERVFAIL to whoever asks for signatures, never
//! something unsigned.

pub mod canonical;
pub mod chain;
pub mod config;
pub mod keeper;
pub mod key;
pub mod names;
pub mod online;
pub mod operations;
pub mod ring;
pub mod signatures;
pub mod signer;
pub mod timeline;

#[cfg(test)]
mod tests;

pub use self::config::DnssecConfig;
pub use self::ring::KeyRing;
pub use self::signer::Signer;
