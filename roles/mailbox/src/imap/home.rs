//! Whether a session's mail still lives here: when it leaves for another store group, its client hears BYE at once, whatever it
//! waits for, and finds the mail by connecting again.

use std::time::Duration;

use tokio::time::Instant;

use super::refusal::Refused;
use crate::store::{AccountMail, Watcher};

/// How long after a look that failed the next one comes.
const PACE_FAILED: Duration = Duration::from_secs(2);

/// Where the mail lives.
pub(super) struct Home {
    watcher: Watcher,
    /// It may have left since the last look.
    behind: bool,
    not_before: Instant,
}

impl Home {
    /// Begins to watch. The first look is still to come, for it may have left since it was opened.
    pub(super) fn of(mail: &AccountMail) -> Self {
        Self { watcher: mail.watch_home(), behind: true, not_before: Instant::now() }
    }

    /// Completes when it is time to look. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if !self.behind {
            self.watcher.changed().await;
            self.behind = true;
        }
        tokio::time::sleep_until(self.not_before).await;
    }

    /// Ends the session of mail that has left.
    pub(super) async fn look(&mut self, mail: &AccountMail) -> Result<(), Refused> {
        self.behind |= self.watcher.take();
        if !self.behind || Instant::now() < self.not_before {
            return Ok(());
        }
        match mail.check_home().await.map_err(Refused::from) {
            Err(Refused::Answer(completion)) => {
                tracing::debug!(cause = %completion.text, "whether mail still lives here is not seen now");
                self.not_before = Instant::now() + PACE_FAILED;
                Ok(())
            }
            looked => {
                self.behind = false;
                looked
            }
        }
    }
}
