//! Who is in the cluster, who of them is alive, and the authority that says who they are.
#![forbid(unsafe_code)]

pub mod authority;
pub mod enrolment;
pub mod files;
pub mod gossip;
pub mod membership;
#[cfg(test)]
mod simulation;
mod snapshot;
pub mod view;
