//! An account's mail to and from directories of this node, as other programs keep mail.
//!
//! - [`maildir`]: one directory a mailbox, one file a message;
//! - [`export`]: what was written before is not written again;
//! - [`import`]: what is there already is not put there again.
//!
//! So either may be broken off and run again, as often as it takes.

mod export;
mod import;
mod maildir;
#[cfg(test)]
mod tests;

use std::path::Path;

use estafeta_core::{Failure, Reason};

pub use export::export;
pub use import::import;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Messages that were written.
    pub messages: u64,
    /// Messages that were there already.
    pub there_already: u64,
    /// Messages and mailboxes that could not be taken: each is in the log.
    pub refused: u64,
}

/// A file operation that failed, for the operator who named the directory.
fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(Reason::Invalid, format!("{}: {error}", path.display())).because(error)
}

/// File work, off the threads that must not wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?
}
