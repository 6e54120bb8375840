//! An account's mail to and from directories of this node: as other programs keep mail, and as backups.
//!
//! - [`maildir`]: one directory a mailbox, one file a message; [`mbox`]: one file a mailbox; [`particulars`]: what neither
//!   has a place for;
//! - [`export`]: what was written before is not written again (but for mbox, which is written anew);
//! - [`import`], [`intake`]: what is there already is not put there again; [`remote`]: from another server, by IMAP.
//! - [`archive`], [`backup`], [`restore`]: accounts with all that they have, as often as is wished into one place.
//!
//! So each may be broken off and run again, as often as it takes.

mod archive;
mod backup;
mod export;
mod import;
mod intake;
mod maildir;
mod mbox;
mod particulars;
mod private;
mod remote;
mod restore;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::path::Path;

use estafeta_core::{Failure, Reason};
use serde::Deserialize;

pub use backup::backup;
pub use export::export;
pub use import::import;
pub use remote::{Source, import_remote};
pub use restore::{Choice, restore};

/// How mail is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Maildir.
    #[default]
    Maildir,
    /// mbox, as mboxrd.
    Mbox,
}

/// How much of what was refused is told one by one. All of it is in the log.
const TOLD: usize = 10;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Messages that were written.
    pub messages: u64,
    /// Messages that were there already.
    pub there_already: u64,
    /// Messages and mailboxes that could not be taken: each is in the log.
    pub refused: u64,
    /// The first of them, each with its place and why.
    pub first_refused: Vec<String>,
}

impl Transferred {
    fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.there_already += more.there_already;
        self.refused += more.refused;
        self.first_refused.extend(more.first_refused);
        self.first_refused.truncate(TOLD);
    }

    /// Counts something that could not be taken, and logs it.
    fn refuse(&mut self, place: impl Display, why: impl Display) {
        tracing::error!(%place, %why, "this is not taken");
        self.refused += 1;
        if self.first_refused.len() < TOLD {
            self.first_refused.push(format!("{place}: {why}"));
        }
    }
}

/// A file operation that failed, for the operator who named the directory.
fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(Reason::Invalid, format!("{}: {error}", path.display())).because(error)
}

/// File work, off the threads that must not wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?
}
