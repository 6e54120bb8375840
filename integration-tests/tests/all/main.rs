//! All integration tests, one binary: see `integration-tests/all`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of this crate is tests; clippy exempts only functions marked as such"
)]

mod accounts;
mod architecture;
mod bad_input;
mod boot;
mod concurrency;
mod crash;
mod dialogs;
mod dnssec;
mod documents;
mod enrolment;
mod failover;
mod health;
mod import;
mod mail;
mod mailboxes;
mod memory;
mod moves;
mod operate;
mod programs;
mod store_group;
mod story;
mod transfer;
