//! The binary under test.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, bail};

/// The variable that names another binary than the one beside these tests.
pub const VARIABLE: &str = "ESTAFETA_BINARY";

/// The binary: what `ESTAFETA_BINARY` names, or `estafeta` in the target directory that these tests were built into.
pub fn path() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os(VARIABLE) {
        return Ok(path.into());
    }
    let own = env::current_exe().context("where these tests are")?;
    // Tests are in target/PROFILE/deps, binaries in target/PROFILE.
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join("estafeta")).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!(
            "there is no binary estafeta beside {}: run `cargo build -p estafeta`, or set {VARIABLE}",
            own.display()
        ),
    }
}

/// The top of the repository.
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
