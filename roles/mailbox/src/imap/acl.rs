//! SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3).
//!
//! Identifiers are addresses of accounts of this store group, `anyone` and `authenticated` (which mean the same, for nobody
//! comes here without login), each also with a `-` before it: rights that are taken away, whoever gave them.

use estafeta_core::{AccountId, Address, Reason};
use estafeta_protocols::imap::command::acl::{Acl, RightsChange};
use estafeta_protocols::imap::response::{Code, Completion, Output};
use estafeta_protocols::imap::types::Rights;

use super::engine::Engine;
use super::place::Place;
use super::refusal::{Outcome, Refused};
use crate::store::StoreError;

/// Who has rights, or has them taken away.
struct Identifier {
    /// As the store has it.
    text: String,
    negative: bool,
    /// None for everybody, and for text that is no address.
    address: Option<Address>,
}

impl Identifier {
    fn new(given: &str) -> Self {
        let (negative, text) = match given.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, given),
        };
        let address = text.parse::<Address>().ok();
        let text = address.as_ref().map_or_else(|| text.to_lowercase(), Address::key);
        Self { text, negative, address }
    }

    fn is_everybody(&self) -> bool {
        matches!(self.text.as_str(), "anyone" | "authenticated")
    }
}

impl Engine {
    pub(super) async fn acl(&mut self, acl: &Acl, output: &mut Output) -> Outcome {
        match acl {
            Acl::Set { mailbox, identifier, change } => {
                let place = self.administered(mailbox).await?;
                let identifier = Identifier::new(identifier);
                let account = self.meant(&place, &identifier).await?;
                let granted = place.mail.mailbox(&place.name).await?;
                granted.grant((&identifier.text, identifier.negative), account, *change).await?;
                Ok(Completion::ok("SETACL completed"))
            }
            Acl::Delete { mailbox, identifier } => {
                let place = self.administered(mailbox).await?;
                let identifier = Identifier::new(identifier);
                let named = (identifier.text.as_str(), identifier.negative);
                let nothing = RightsChange::Replace(Rights::NONE);
                place.mail.mailbox(&place.name).await?.grant(named, None, nothing).await?;
                Ok(Completion::ok("DELETEACL completed"))
            }
            Acl::Get(mailbox) => {
                let place = self.administered(mailbox).await?;
                let grants = place.mail.mailbox(&place.name).await?.grants().await?;
                let owner = (place.mail.account().address.key(), Rights::ALL);
                let named = grants.into_iter().map(|grant| {
                    let sign = if grant.negative { "-" } else { "" };
                    (format!("{sign}{}", grant.identifier), grant.rights)
                });
                let entries: Vec<_> = std::iter::once(owner).chain(named).collect();
                output.acl(mailbox, entries.iter().map(|(identifier, rights)| (identifier.as_str(), *rights)));
                Ok(Completion::ok("GETACL completed"))
            }
            Acl::List { mailbox, identifier } => {
                let place = self.administered(mailbox).await?;
                let parsed = Identifier::new(identifier);
                let owner = !parsed.negative && parsed.text == place.mail.account().address.key();
                if !owner {
                    self.meant(&place, &parsed).await?;
                }
                output.list_rights(mailbox, identifier, if owner { Rights::ALL } else { Rights::NONE });
                Ok(Completion::ok("LISTRIGHTS completed"))
            }
            Acl::Mine(mailbox) => {
                let place = self.place(mailbox).await?;
                // RFC 4314 §4: any of these lets one ask.
                let some = [Rights::LOOKUP, Rights::READ, Rights::INSERT, Rights::CREATE, Rights::DELETE_MAILBOX];
                let some = some.into_iter().fold(Rights::ADMINISTER, Rights::with);
                if !place.rights.intersects(some) {
                    return Err(StoreError::NoMailbox.into());
                }
                place.mail.mailbox(&place.name).await?;
                output.my_rights(mailbox, place.rights);
                Ok(Completion::ok("MYRIGHTS completed"))
            }
        }
    }

    async fn administered(&self, mailbox: &estafeta_protocols::imap::types::MailboxName) -> Result<Place, Refused> {
        let place = self.place(mailbox).await?;
        place.need(Rights::ADMINISTER)?;
        Ok(place)
    }

    /// The account that an identifier means; none for everybody.
    async fn meant(&self, place: &Place, identifier: &Identifier) -> Result<Option<AccountId>, Refused> {
        if identifier.is_everybody() {
            return Ok(None);
        }
        let refuse = |text: &'static str| Err(Refused::Answer(Completion::no(text).with(Code::Cannot)));
        let Some(address) = &identifier.address else {
            return refuse("An identifier is an address, anyone or authenticated");
        };
        if address.key() == place.mail.account().address.key() {
            return refuse("The owner of a mailbox always has all rights");
        }
        match self.neighbours.account(address).await {
            Ok(account) => Ok(Some(account.id)),
            Err(failure) if failure.reason == Reason::NotFound => refuse("There is no such account"),
            Err(failure) => Err(failure.into()),
        }
    }
}
