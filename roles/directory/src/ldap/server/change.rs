//! Add (RFC 4511 §4.7), modify (§4.6) and delete (§4.8).

use estafeta_core::directory::{Alias, Directory as _};
use ldap3_proto::proto::{LdapAddRequest, LdapModifyRequest, LdapResultCode};

use super::edit::{Given, TargetChange, account_change, new_account, new_targets};
use super::{Conversation, Who, denied, place};
use crate::ldap::outcome::Refusal;
use crate::ldap::place::Place;
use crate::ldap::schema;

impl Conversation {
    pub(super) async fn add(&self, request: LdapAddRequest) -> Result<(), Refusal> {
        self.check_node()?;
        let place = place(&request.dn)?;
        let attributes = request.attributes.into_iter().map(Given::read).collect::<Result<Vec<_>, _>>()?;
        match place {
            Place::Account(address) => {
                let account = new_account(address, &attributes)?;
                self.store.add_account(&account).await?;
            }
            Place::Alias(address) => {
                let targets = new_targets(&address, &attributes)?;
                self.store.add_alias(&Alias { address, targets }).await?;
            }
            _ => return Err(fixed()),
        }
        self.note_change("add", &request.dn);
        Ok(())
    }

    pub(super) async fn modify(&self, request: LdapModifyRequest) -> Result<(), Refusal> {
        let place = place(&request.dn)?;
        if let Who::Account(own) = &self.who {
            let is_own = place.is(&Place::Account(own.clone()));
            let passwords_only = request
                .changes
                .iter()
                .all(|change| schema::attribute(&change.modification.atype) == Some(&schema::USER_PASSWORD));
            if !is_own || !passwords_only {
                return Err(denied("an account may change its own password, and nothing else"));
            }
        } else {
            self.check_node()?;
        }
        match place {
            Place::Account(address) => {
                let account = self.store.account(&address).await?;
                let (change, password) = account_change(&account, request.changes)?;
                self.store.modify_account(&address, &change, password.as_ref()).await?;
            }
            Place::Alias(address) => {
                let changes = request.changes.into_iter().map(TargetChange::read).collect::<Result<Vec<_>, _>>()?;
                let edit =
                    move |alias: &mut Alias| changes.iter().try_for_each(|change| change.apply(&mut alias.targets));
                self.store.edit_alias(&address, edit).await?;
            }
            _ => return Err(fixed()),
        }
        self.note_change("modify", &request.dn);
        Ok(())
    }

    pub(super) async fn delete(&self, name: String) -> Result<(), Refusal> {
        self.check_node()?;
        match place(&name)? {
            Place::Account(address) => self.store.remove_account(&address).await?,
            Place::Alias(address) => self.store.remove_alias(&address).await?,
            _ => return Err(fixed()),
        }
        self.note_change("delete", &name);
        Ok(())
    }
}

/// What is above accounts and aliases is made from the cluster's domains.
fn fixed() -> Refusal {
    Refusal::new(
        LdapResultCode::UnwillingToPerform,
        "domains are settings of the cluster: see estafeta domain add and remove",
    )
}
