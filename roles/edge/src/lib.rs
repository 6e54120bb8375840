//! Cluster E: SMTP in and out.
