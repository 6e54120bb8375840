//! Messages of a mailbox there that were refused, by UID, to be tried again each time that the mailbox comes over.
//!
//! They are noted beside how far the mailbox has come, as a chain: under a source of its own each leads to the next, and the
//! last to zero. A message is noted before the mailbox is said to have come further, and crossed out after it has come: whatever
//! is cut off, none is forgotten.

use std::collections::BTreeMap;

use estafeta_core::Failure;

use crate::store::{AccountMail, MailboxName, Reached};

/// The most that are remembered of a mailbox; further ones are told once.
const REMEMBERED: usize = 10_000;

/// Those of one mailbox.
pub struct Refused<'a> {
    mail: &'a AccountMail,
    source: String,
    mailbox: String,
    uid_validity: u32,
    uids: Vec<u32>,
}

impl<'a> Refused<'a> {
    /// What was noted before.
    pub async fn of(mail: &'a AccountMail, source: &str, mailbox: &str, uid_validity: u32) -> Result<Self, Failure> {
        let (source, mailbox) = (source.to_owned(), mailbox.to_owned());
        let mut refused = Self { mail, source, mailbox, uid_validity, uids: Vec::new() };
        let mut last = 0;
        while let Some(uid) = mail.reached(&refused.link(last), &refused.mailbox, uid_validity).await?
            && uid > 0
            && refused.uids.len() < REMEMBERED
        {
            refused.uids.push(uid);
            last = uid;
        }
        Ok(refused)
    }

    /// Where it stands which one follows this.
    fn link(&self, uid: u32) -> String {
        format!("{} refused {uid}", self.source)
    }

    /// Them.
    pub fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// Notes one more.
    pub async fn add(&mut self, uid: u32) -> Result<(), Failure> {
        if self.uids.contains(&uid) || self.uids.len() >= REMEMBERED {
            return Ok(());
        }
        self.note(self.uids.last().copied().unwrap_or(0), 0, uid).await?;
        self.uids.push(uid);
        Ok(())
    }

    /// These alone are left.
    pub async fn set(&mut self, uids: Vec<u32>) -> Result<(), Failure> {
        let before = chain(&self.uids);
        // From the end, so that each leads to one that leads on.
        for (uid, next) in chain(&uids).into_iter().rev() {
            let from = before.get(&uid).copied().unwrap_or(0);
            if from != next {
                self.note(uid, from, next).await?;
            }
        }
        self.uids = uids;
        Ok(())
    }

    /// Notes which one follows `uid`, where `from` did.
    async fn note(&self, uid: u32, from: u32, next: u32) -> Result<(), Failure> {
        let (source, mailbox) = (self.link(uid), self.mailbox.clone());
        let reached = Reached { source, mailbox, uid_validity: self.uid_validity, from, uid: next };
        // No message is put anywhere.
        self.mail.append_reaching(&MailboxName::inbox(), Vec::new(), reached).await?;
        Ok(())
    }
}

/// Which UID follows which, ascending; zero before the first and behind the last.
fn chain(uids: &[u32]) -> BTreeMap<u32, u32> {
    let before = std::iter::once(0).chain(uids.iter().copied());
    before.zip(uids.iter().copied().chain([0])).collect()
}
