//! Storage engines: SQL pools with group commit, the blob store, the spool.
