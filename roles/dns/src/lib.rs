//! The authoritative name server whose answers follow the cluster.
