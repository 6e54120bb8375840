//! Storage engines: SQL with group commit, bodies in content-addressed files, the spool of incoming messages.
//!
//! - [`sql`]: a SQLite database, one writer that commits in groups and a pool of readers;
//! - [`blobs`]: bodies in files named by their hash;
//! - [`spool`]: a message while it comes in, in memory at first, then in a file;
//! - [`data_directory`]: a directory that is ours alone.
//!
//! What each says with `Ok` is durable where its documentation says so, and survives a crash at any instruction.
#![deny(unsafe_code)]

pub mod blobs;
pub mod data_directory;
pub mod disk;
mod error;
mod mapped;
pub mod spool;
pub mod sql;

pub use error::StorageError;

/// Tells the exporter what each figure means. Whoever opens something of this crate calls it once, at its start.
pub fn describe_metrics() {
    metrics::describe_histogram!(
        "estafeta_database_turn_seconds",
        metrics::Unit::Seconds,
        "Time of one turn of a database's writer, its commit and fsync included, by database."
    );
    metrics::describe_histogram!("estafeta_database_turn_jobs", "How many jobs shared one commit, by database.");
    metrics::describe_counter!(
        "estafeta_database_commit_failures_total",
        "Commits that failed and were done again job by job, by database."
    );
    metrics::describe_histogram!(
        "estafeta_blob_write_seconds",
        metrics::Unit::Seconds,
        "Time to make a message's body durable: written, fsynced, renamed, its directory fsynced."
    );
}
