//! Listeners, TLS, limits, drain, and the one loop that drives a protocol machine.
