//! GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). An account has one quota root, named after its address; one without limits
//! has none.
//!
//! An administrator may change the limits while a session is open: it takes them over when it next needs them, and asks the
//! directory for them once a minute at most.

use std::time::{Duration, Instant};

use estafeta_protocols::imap::command::quota::Quota;
use estafeta_protocols::imap::response::{Code, Completion, Output, QuotaResource};
use estafeta_protocols::imap::types::{MailboxName, Rights};

use super::engine::Engine;
use super::refusal::{Outcome, Refused};
use crate::store::{AccountMail, SharedMailbox, Usage};

/// How long what the directory said of the limits serves.
const LIMITS_AGE: Duration = Duration::from_secs(60);

/// How fresh a session's word of its account's limits is.
pub(super) struct Limits {
    asked: Instant,
    age: Duration,
}

impl Limits {
    /// They have just been asked for.
    pub(super) fn known() -> Self {
        Self { asked: Instant::now(), age: LIMITS_AGE }
    }

    /// The same, serving so long.
    #[cfg(test)]
    pub(super) fn serving(age: Duration) -> Self {
        Self { age, ..Self::known() }
    }
}

impl Engine {
    /// Before a command that counts against them: takes over the account's limits as the directory has them now. While it
    /// does not answer, those that were known hold.
    pub(super) async fn renew_limits(&mut self) {
        if self.limits.asked.elapsed() < self.limits.age {
            return;
        }
        match self.neighbours.account(&self.mail.account().address).await {
            Ok(account) => self.mail.take_limits(&account),
            Err(failure) => tracing::debug!(%failure, "an account's limits are not seen now"),
        }
        self.limits.asked = Instant::now();
    }

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
