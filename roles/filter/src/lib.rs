//! Cluster B: a verdict on every message.
