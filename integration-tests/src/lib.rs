//! The harness of the integration tests: clusters of real node processes on loopback addresses of their own, and small
//! clients that show every byte of a protocol.
//!
//! Blocking throughout: a test reads from top to bottom, and every wait has a limit.

pub mod binary;
pub mod client;
pub mod cluster;
pub mod configuration;
pub mod dialog;
pub mod dovecot;
pub mod failover;
pub mod loopback;
pub mod node;
pub mod postfix;
pub mod random;
pub mod sink;
pub mod tokens;
pub mod topology;
