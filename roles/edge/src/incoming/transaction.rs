//! What a session gathers from MAIL to the end of the message.
//!
//! Invariant: a place that several recipients lead to is in it once, and no more than [`TARGETS_LIMIT`] places are.

use std::collections::HashSet;

use estafeta_core::directory::Target;
use estafeta_core::{Address, DeliveryId};
use estafeta_storage::spool::Spool;

use crate::passage::Destined;

/// The most places that the recipients of one transaction may lead to, aliases expanded.
pub const TARGETS_LIMIT: usize = 10_000;

/// A transaction on its way in.
#[derive(Debug)]
pub struct Transaction {
    /// Its name from now on.
    pub id: DeliveryId,
    /// MAIL FROM; none for the null reverse-path.
    pub sender: Option<Address>,
    /// Whether it is one of SMTPUTF8.
    pub smtputf8: bool,
    /// RCPT TO, those that were accepted.
    pub recipients: Vec<Address>,
    /// Where they lead.
    pub targets: Vec<Destined>,
    /// The message so far.
    pub spool: Spool,
    seen: HashSet<String>,
}

impl Transaction {
    /// A transaction that has just begun.
    pub fn new(sender: Option<Address>, smtputf8: bool, spool: Spool) -> Self {
        Self {
            id: DeliveryId::generate(),
            sender,
            smtputf8,
            recipients: Vec::new(),
            targets: Vec::new(),
            spool,
            seen: HashSet::new(),
        }
    }

    /// Adds a recipient and the places that it leads to. Says no, and changes nothing, when these would be too many.
    pub fn add(&mut self, recipient: Address, targets: Vec<Target>) -> bool {
        if self.targets.len() + targets.len() > TARGETS_LIMIT {
            return false;
        }
        for target in targets {
            let key = match &target {
                Target::Account(account) => account.id.to_string(),
                Target::Remote(address) => address.key(),
            };
            if self.seen.insert(key) {
                self.targets.push(Destined { original: recipient.clone(), target });
            }
        }
        self.recipients.push(recipient);
        true
    }
}
