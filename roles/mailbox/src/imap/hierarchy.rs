//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7).

use estafeta_protocols::imap::command::create::Create;
use estafeta_protocols::imap::command::rename::Rename;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::server::Server;
use estafeta_protocols::imap::types::{MailboxName, Rights};

use super::engine::Engine;
use super::notify::Own;
use super::refusal::{Outcome, Refused};
use super::translate::store_name;
use crate::store::{SpecialUse, StoreError, UidSet};

impl Engine {
    /// RFC 6154 §3: a mailbox has one use here, and a use has one mailbox.
    pub(super) async fn create(&mut self, create: &Create) -> Outcome {
        let not_for = |text| Refused::Answer(Completion::no(text).with(Code::UseAttribute));
        let special_use = match &create.uses[..] {
            [] => None,
            [one] => Some(SpecialUse::from_attribute(one).ok_or(not_for("There is no such use here"))?),
            _ => return Err(not_for("A mailbox has one use here")),
        };
        let place = self.place(&create.mailbox).await?;
        place.need_to_create(&self.mail).await?;
        if special_use.is_some() && !place.own {
            return Err(not_for("What another's mailboxes are for, the owner says"));
        }
        match place.mail.create(&place.name, special_use).await {
            Ok(()) => {
                self.note_own(Own::Made(store_name(&create.mailbox)?));
                let completion = Completion::ok("CREATE completed");
                // RFC 8474 §4.1. Another session may have deleted it already.
                Ok(match place.mail.mailbox(&place.name).await {
                    Ok(mailbox) => completion.with(Code::MailboxId(mailbox.object_number())),
                    Err(_) => completion,
                })
            }
            Err(StoreError::NotAllowed(text)) if special_use.is_some() => Err(not_for(text)),
            Err(error) => Err(error.into()),
        }
    }

    /// A client that deletes the mailbox that it has open has none open then.
    pub(super) async fn delete(&mut self, name: &MailboxName, server: &mut Server) -> Outcome {
        let place = self.place(name).await?;
        place.need(Rights::DELETE_MAILBOX)?;
        place.mail.delete(&place.name).await?;
        self.note_own(Own::Removed(store_name(name)?));
        if let Some(selected) = &self.selected
            && let Err(StoreError::NoMailbox) = selected.mailbox.messages(&UidSet::default()).await
        {
            self.leave(server);
        }
        Ok(Completion::ok("DELETE completed"))
    }

    pub(super) async fn rename(&mut self, rename: &Rename) -> Outcome {
        let (from, to) = (self.place(&rename.from).await?, self.place(&rename.to).await?);
        from.need(Rights::DELETE_MAILBOX)?;
        to.need_to_create(&self.mail).await?;
        if from.mail.account().id != to.mail.account().id {
            return Err(StoreError::NotAllowed("A mailbox stays with its owner").into());
        }
        from.mail.rename(&from.name, &to.name).await?;
        self.note_own(Own::Renamed { from: store_name(&rename.from)?, to: store_name(&rename.to)? });
        Ok(Completion::ok("RENAME completed"))
    }

    pub(super) async fn subscribe(&mut self, name: &MailboxName) -> Outcome {
        let name = store_name(name)?;
        self.mail.subscribe(&name).await?;
        self.note_own(Own::Subscribed { name, now: true });
        Ok(Completion::ok("SUBSCRIBE completed"))
    }

    pub(super) async fn unsubscribe(&mut self, name: &MailboxName) -> Outcome {
        let name = store_name(name)?;
        self.mail.unsubscribe(&name).await?;
        self.note_own(Own::Subscribed { name, now: false });
        Ok(Completion::ok("UNSUBSCRIBE completed"))
    }
}
