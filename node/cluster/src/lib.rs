//! Who is in the cluster, and the authority that says so.
#![forbid(unsafe_code)]

pub mod authority;
pub mod enrolment;
pub mod files;
