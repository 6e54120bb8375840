//! STATUS (RFC 3501 §6.3.10), also for LIST (RFC 5819).

use estafeta_protocols::imap::command::status::{Status, StatusItem};
use estafeta_protocols::imap::response::{Completion, Output, StatusValue};
use estafeta_protocols::imap::types::{MailboxName, Rights};

use super::engine::Engine;
use super::refusal::{Outcome, Refused};

impl Engine {
    pub(super) async fn status(&mut self, status: &Status, output: &mut Output) -> Outcome {
        if status.items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore(output);
        }
        self.tell_status(&status.mailbox, &status.items, output).await?;
        Ok(Completion::ok("STATUS completed"))
    }

    pub(super) async fn tell_status(
        &self,
        mailbox: &MailboxName,
        items: &[StatusItem],
        output: &mut Output,
    ) -> Result<(), Refused> {
        let place = self.place(mailbox).await?;
        place.need(Rights::READ)?;
        let status = place.mail.status(&place.name).await?;
        let deleted_bytes = if items.contains(&StatusItem::DeletedStorage) && status.deleted > 0 {
            place.mail.mailbox(&place.name).await?.deleted_bytes().await?
        } else {
            0
        };
        let value = |item: &StatusItem| match item {
            StatusItem::Messages => status.messages.into(),
            StatusItem::Recent => status.recent.into(),
            StatusItem::UidNext => status.uid_next.0.into(),
            StatusItem::UidValidity => status.uid_validity.0.into(),
            StatusItem::Unseen => status.unseen.into(),
            StatusItem::Deleted => status.deleted.into(),
            StatusItem::DeletedStorage => deleted_bytes,
            StatusItem::Size => status.size_bytes,
            StatusItem::MailboxId => status.object_number,
            StatusItem::HighestModSeq => status.highest_modseq.0,
            StatusItem::AppendLimit => self.mail.message_limit_bytes().into(),
        };
        let values: Vec<_> = items.iter().map(|item| StatusValue { item: *item, value: value(item) }).collect();
        output.mailbox_status(mailbox, &values);
        Ok(())
    }
}
