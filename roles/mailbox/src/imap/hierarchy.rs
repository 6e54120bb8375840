//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7).

use estafeta_protocols::imap::command::create::Create;
use estafeta_protocols::imap::command::rename::Rename;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::server::Server;
use estafeta_protocols::imap::types::MailboxName;

use super::engine::Engine;
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
        match self.mail.create(&store_name(&create.mailbox)?, special_use).await {
            Ok(()) => Ok(Completion::ok("CREATE completed")),
            Err(StoreError::NotAllowed(text)) if special_use.is_some() => Err(not_for(text)),
            Err(error) => Err(error.into()),
        }
    }

    /// A client that deletes the mailbox that it has open has none open then.
    pub(super) async fn delete(&mut self, name: &MailboxName, server: &mut Server) -> Outcome {
        self.mail.delete(&store_name(name)?).await?;
        if let Some(selected) = &self.selected
            && let Err(StoreError::NoMailbox) = selected.mailbox.messages(&UidSet::default()).await
        {
            self.leave(server);
        }
        Ok(Completion::ok("DELETE completed"))
    }

    pub(super) async fn rename(&mut self, rename: &Rename) -> Outcome {
        self.mail.rename(&store_name(&rename.from)?, &store_name(&rename.to)?).await?;
        Ok(Completion::ok("RENAME completed"))
    }

    pub(super) async fn subscribe(&mut self, name: &MailboxName) -> Outcome {
        self.mail.subscribe(&store_name(name)?).await?;
        Ok(Completion::ok("SUBSCRIBE completed"))
    }

    pub(super) async fn unsubscribe(&mut self, name: &MailboxName) -> Outcome {
        self.mail.unsubscribe(&store_name(name)?).await?;
        Ok(Completion::ok("UNSUBSCRIBE completed"))
    }
}
