//! Dialogs against the real binary, real peers, the cluster under failure, benchmarks.
