//! Messages whose bodies are missing or damaged: a command passes them over, and leaves word of them for the administrator
//! once, however many they are.

use crate::store::{AccountMail, StoreError, Uid};

/// Those that a command came upon.
#[derive(Default)]
pub(super) struct Lost {
    first: Option<(Uid, StoreError)>,
    count: u32,
}

impl Lost {
    /// Passes over a message that is lost. Any other error is given back: one that the store is away, too, for then nothing is
    /// known to be lost.
    pub(super) fn pass_over(&mut self, uid: Uid, error: StoreError) -> Result<(), StoreError> {
        if !error.is_lost() {
            return Err(error);
        }
        self.first.get_or_insert((uid, error));
        self.count += 1;
        Ok(())
    }

    /// Leaves word. Says whether there were any.
    pub(super) fn log(&self, mail: &AccountMail) -> bool {
        let Some((uid, error)) = &self.first else { return false };
        let (account, messages) = (mail.address(), self.count);
        tracing::error!(account, messages, first = %uid, %error, "messages cannot be read: run estafeta mailbox verify");
        true
    }
}
