//! GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). An account has one quota root, named after its address; one without limits
//! has none.

use estafeta_protocols::imap::command::quota::Quota;
use estafeta_protocols::imap::response::{Code, Completion, Output, QuotaResource};
use estafeta_protocols::imap::types::{MailboxName, Rights};

use super::engine::Engine;
use super::refusal::{Outcome, Refused};
use crate::store::{AccountMail, SharedMailbox, Usage};

impl Engine {
    pub(super) async fn quota(&mut self, quota: &Quota, output: &mut Output) -> Outcome {
        match quota {
            Quota::Get(root) => {
                let mail = if self.mail.address().eq_ignore_ascii_case(root) {
                    self.mail.clone()
                } else {
                    self.readable(root).await?.ok_or_else(no_root)?
                };
                let resources = resources(&mail.usage().await?);
                if resources.is_empty() {
                    return Err(no_root());
                }
                output.quota(&mail.address(), &resources);
                Ok(Completion::ok("GETQUOTA completed"))
            }
            Quota::GetRoot(mailbox) => {
                let place = self.place(mailbox).await?;
                place.need(Rights::READ)?;
                place.mail.mailbox(&place.name).await?;
                tell_root(&place.mail, mailbox, output).await?;
                Ok(Completion::ok("GETQUOTAROOT completed"))
            }
            // The capability QUOTASET is not offered (RFC 9208 §3.2).
            Quota::Set { .. } => {
                let text = "Quotas are kept by the administrators, at the command line";
                Err(Refused::Answer(Completion::no(text).with(Code::NoPermission)))
            }
        }
    }
}

impl Engine {
    /// The mail of another who lets the user read some mailbox, and so see the root.
    async fn readable(&self, address: &str) -> Result<Option<AccountMail>, Refused> {
        let shared = self.mail.shared().await?;
        let readable =
            |one: &SharedMailbox| one.rights.contains(Rights::READ) && one.owner.eq_ignore_ascii_case(address);
        if shared.iter().any(readable) { self.neighbour(address).await } else { Ok(None) }
    }
}

async fn tell_root(mail: &AccountMail, mailbox: &MailboxName, output: &mut Output) -> Result<(), Refused> {
    let (root, resources) = (mail.address(), resources(&mail.usage().await?));
    if resources.is_empty() {
        output.quota_root(mailbox, &[]);
    } else {
        output.quota_root(mailbox, &[&root]);
        output.quota(&root, &resources);
    }
    Ok(())
}

fn no_root() -> Refused {
    Refused::Answer(Completion::no("There is no such quota root").with(Code::NonExistent))
}

/// RFC 9208 §5: what is limited. STORAGE counts units of 1,024 bytes: what is used is rounded up, what may be used is
/// rounded down, so that nobody is told of room that is not there.
fn resources(usage: &Usage) -> Vec<QuotaResource> {
    let storage = usage.limit_bytes.map(|limit| QuotaResource {
        name: "STORAGE",
        used: usage.used_bytes.div_ceil(1024),
        limit: limit / 1024,
    });
    let messages = usage.limit_messages.map(|limit| QuotaResource { name: "MESSAGE", used: usage.messages, limit });
    storage.into_iter().chain(messages).collect()
}
