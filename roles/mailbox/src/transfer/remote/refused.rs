//! Messages of a mailbox there that were refused, by UID, to be tried again each time that the mailbox comes over.
//!
//! A message is noted before the mailbox is said to have come further, and crossed out after it has come: whatever is cut off,
//! none is forgotten.

use estafeta_core::Failure;

use crate::store::{AccountMail, Origin};

/// The most that are remembered of a mailbox; further ones are told once.
const REMEMBERED: usize = 10_000;

/// Those of one mailbox.
pub struct Refused<'a> {
    mail: &'a AccountMail,
    origin: Origin,
    uids: Vec<u32>,
}

impl<'a> Refused<'a> {
    /// What was noted before.
    pub async fn of(mail: &'a AccountMail, origin: Origin) -> Result<Self, Failure> {
        let uids = mail.refused(&origin).await?;
        Ok(Self { mail, origin, uids })
    }

    /// Them.
    pub fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// Notes one more.
    pub async fn add(&mut self, uid: u32) -> Result<(), Failure> {
        if !self.uids.contains(&uid) && self.uids.len() < REMEMBERED {
            self.mail.refuse(&self.origin, uid).await?;
            self.uids.push(uid);
        }
        Ok(())
    }

    /// These alone are left.
    pub async fn set(&mut self, uids: Vec<u32>) -> Result<(), Failure> {
        self.mail.refuse_only(&self.origin, &uids).await?;
        self.uids = uids;
        Ok(())
    }
}
