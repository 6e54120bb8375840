//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7).

use estafeta_protocols::imap::command::rename::Rename;
use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::server::Server;
use estafeta_protocols::imap::types::MailboxName;

use super::engine::Engine;
use super::refusal::Outcome;
use super::translate::store_name;
use crate::store::{StoreError, UidSet};

impl Engine {
    pub(super) async fn create(&mut self, name: &MailboxName) -> Outcome {
        self.mail.create(&store_name(name)?, None).await?;
        Ok(Completion::ok("CREATE completed"))
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
