//! Cluster D: the store, and the engines that read it.
