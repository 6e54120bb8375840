//! The suite of `Directory`: what every implementation must do.
