//! Storage engines: SQL with group commit, bodies named by their content, the spool of incoming messages.
//!
//! - [`sql`]: a SQLite file or a PostgreSQL, writers that commit in groups and a pool of readers;
//! - [`blobs`]: bodies named by their hash, in files or in an object store behind a cache;
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
        "Time to make a message's body durable: in a file, written, fsynced, renamed, its directory fsynced; or in the object store."
    );
    metrics::describe_histogram!(
        "estafeta_object_store_seconds",
        metrics::Unit::Seconds,
        "Time of a request to the object store, repetitions included, by operation; of a read, until it begins."
    );
    metrics::describe_counter!(
        "estafeta_object_store_errors_total",
        "Requests that the object store did not carry out after their repetitions, by operation."
    );
    metrics::describe_counter!("estafeta_blob_cache_hits_total", "Bodies that were read from the cache on the disk.");
    metrics::describe_counter!("estafeta_blob_cache_misses_total", "Bodies that were fetched from the object store.");
    metrics::describe_counter!("estafeta_blob_cache_failures_total", "Bodies that could not be put into the cache.");
    metrics::describe_gauge!(
        "estafeta_blob_cache_bytes",
        metrics::Unit::Bytes,
        "How much the cache of bodies takes on the disk."
    );
}
