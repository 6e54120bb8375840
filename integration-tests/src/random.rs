//! Seeds: every random test says its seed, and runs again with it.

use std::env;

/// The variable that gives a test its seed.
pub const VARIABLE: &str = "ESTAFETA_SEED";

/// Whether the full number of rounds is wanted (`integration-tests/all --long`), not the sample.
pub fn long() -> bool {
    env::var_os("ESTAFETA_LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

/// How many rounds to run: the sample, with `--long` the full count, with a given seed the one that it names.
pub fn rounds(sample: usize, full: usize) -> usize {
    match given() {
        Some(_) => 1,
        None if long() => full,
        None => sample,
    }
}

fn given() -> Option<u64> {
    env::var(VARIABLE).ok().and_then(|text| text.parse().ok())
}

/// The generator of one round of a test, and the seed to say when it fails: that of `ESTAFETA_SEED`, or one of its own
/// for each round, the same at every run.
pub fn round(number: usize) -> (u64, fastrand::Rng) {
    let seed = given().unwrap_or(20_261_122_u64.wrapping_add(number as u64));
    (seed, fastrand::Rng::with_seed(seed))
}
