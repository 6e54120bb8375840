//! What a sender is told of a message that has come into mailboxes, where they asked to be told (RFC 3461 §4.1,
//! `NOTIFY=SUCCESS`).
//!
//! Only who hands mail over by LMTP and offers its senders DSN asks so: what did not come in, or comes late, it reports itself.
//! One letter tells of all recipients of a transaction, and is durable before that is answered; where it cannot be written, it is lost,
//! and the log says so.

use std::collections::BTreeMap;
use std::time::SystemTime;

use estafeta_core::delivery::{Outcome, Parcel};
use estafeta_core::{Address, DeliveryId};
use estafeta_protocols::date::DateTime;
use estafeta_protocols::dsn::{Action, Notification, Recipient};
use estafeta_protocols::header;
use estafeta_protocols::smtp::Enhanced;
use estafeta_protocols::smtp::server::OriginalRecipient;

use crate::store::Letter;

/// What was asked for in a transaction. By default, nothing.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// The host that tells.
    pub hostname: String,
    /// How the sender calls the message.
    pub envelope_id: Option<String>,
    /// Of which recipients of the parcel, by their numbers.
    pub asked: BTreeMap<usize, Asked>,
}

/// One recipient of which the sender wants to hear.
#[derive(Debug, Clone)]
pub struct Asked {
    /// As it was named here.
    pub address: Address,
    /// As the sender named it.
    pub original: Option<OriginalRecipient>,
}

/// The most of the message's header that is quoted, in bytes: who asks may have forged the sender, who shall not get much.
const QUOTED_BYTES: usize = 4 * 1024;

impl Receipts {
    /// The letter that tells the sender of a parcel to whom it was delivered; none when nobody asked, or there is nobody to tell.
    pub fn letter(&self, parcel: &Parcel, outcomes: &[Outcome]) -> Option<Letter> {
        let delivered = |number: &usize| outcomes.get(*number) == Some(&Outcome::Delivered);
        let asked = self.asked.iter().filter(|(number, _)| delivered(number)).map(|(_, asked)| asked);
        let asked: Vec<(&Asked, String)> = asked.map(|one| (one, one.address.to_string())).collect();
        // RFC 3461 §6.2: nothing is told of what comes from nobody.
        let sender = parcel.sender.as_ref().filter(|_| !asked.is_empty())?;
        let recipients: Vec<Recipient<'_>> = asked
            .iter()
            .map(|(one, address)| Recipient {
                address,
                original: one.original.as_ref().map(|original| (&original.kind[..], &original.address[..])),
                status: Enhanced(2, 0, 0),
                said: None,
            })
            .collect();
        let (id, now) = (DeliveryId::generate(), DateTime::of(SystemTime::now()));
        let notification = Notification {
            action: Action::Delivered,
            hostname: &self.hostname,
            id: &id.to_string(),
            to: &sender.to_string(),
            now,
            delivery: &parcel.id.to_string(),
            envelope_id: self.envelope_id.as_deref(),
            arrived: now,
            header: &header::excerpt(parcel.message.parts().map(|part| &part[..]), QUOTED_BYTES),
            recipients: &recipients,
        };
        Some(Letter { id, recipient: sender.clone(), message: notification.write().into() })
    }
}
