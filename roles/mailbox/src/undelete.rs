//! The operation `mailbox undelete`: what was expunged is had back.

use estafeta_core::{Address, Failure, Reason};
use estafeta_protocols::imap::types::DateTime;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::accounts::Accounts;
use crate::operations::whose;
use crate::store::{AccountMail, Deleted, MailboxName, Progress, StoreError, Wanted};
use crate::tasks::Tasks;

/// Its input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undelete {
    address: Option<Address>,
    mailbox: Option<String>,
    since: Option<String>,
    #[serde(default)]
    dry_run: bool,
    task: Option<u32>,
}

/// Brings back what is wanted, or tells what there is of it.
pub async fn perform(
    accounts: &Accounts,
    tasks: &Tasks,
    Undelete { address, mailbox, since, dry_run, task }: Undelete,
) -> Result<Value, Failure> {
    if let Some(task) = task {
        return tasks.follow(task).await;
    }
    let invalid = |text: String| Failure::new(Reason::Invalid, text);
    let mailbox = mailbox.map(|name| name.parse()).transpose();
    let mailbox = mailbox.map_err(|error| invalid(format!("mailbox: {error}")))?;
    let since = since.map_or(Ok(0), |text| {
        let moment = DateTime::parse_rfc3339(&text).map(DateTime::unix_seconds);
        moment.ok_or_else(|| invalid(format!("since: {text:?} is no day and no moment, as 2026-11-22T08:00:00Z is")))
    })?;
    let mail = accounts.of_whoever(&whose(address)?).await?;
    let whose = mail.address();
    let found = mail.deleted(&Wanted { mailbox: mailbox.clone(), since }).await?;
    if let Some(name) = mailbox.filter(|_| found.is_empty()) {
        is_known(&mail, &name).await?;
    }
    if dry_run {
        return Ok(found.iter().map(row).collect());
    }
    let undelete = |progress: watch::Sender<Progress>| async move {
        progress.send_modify(|progress| progress.of = found.iter().map(|deleted| deleted.messages).sum());
        let mut came = Vec::with_capacity(found.len());
        for deleted in found {
            came.push(row(&bring_back(&mail, deleted, since, &progress).await?));
        }
        Ok(came.into())
    };
    tasks.start_for("undelete", whose, undelete).await
}

/// An error when there is no such mailbox, and of none that was called so can anything be had back.
async fn is_known(mail: &AccountMail, name: &MailboxName) -> Result<(), Failure> {
    let all = mail.deleted(&Wanted { mailbox: None, since: 0 }).await?;
    let is_there = match mail.mailbox(name).await {
        Ok(_) => true,
        Err(StoreError::NoMailbox | StoreError::NotSelectable) => false,
        Err(error) => return Err(error.into()),
    };
    if is_there || all.iter().any(|deleted| deleted.name == *name) {
        return Ok(());
    }
    let names: Vec<&str> = all.iter().map(|deleted| deleted.name.as_str()).collect();
    let of = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Err(Failure::new(Reason::NotFound, format!("there is no mailbox {name}; what can be had back is of: {of}")))
}

/// Brings back what there is of one mailbox, and says what came.
async fn bring_back(
    mail: &AccountMail,
    deleted: Deleted,
    since: i64,
    progress: &watch::Sender<Progress>,
) -> Result<Deleted, Failure> {
    let mut came = deleted.clone();
    (came.messages, came.bytes) = (0, 0);
    loop {
        let more = mail.undelete(&deleted, since).await.map_err(|error| match error {
            StoreError::OverQuota => {
                let text = format!(
                    "the quota of {} has no room for the rest: {} messages have come back; raise it, with account quota, and ask again",
                    mail.address(),
                    progress.borrow().done
                );
                Failure::new(Reason::OverQuota, text)
            }
            error => error.into(),
        })?;
        if more.messages == 0 {
            return Ok(came);
        }
        came.messages += more.messages;
        came.bytes += more.bytes;
        progress.send_modify(|progress| progress.done += more.messages);
    }
}

fn row(Deleted { name, messages, bytes, first, last, .. }: &Deleted) -> Value {
    let moment = |seconds: &i64| DateTime::from_unix_seconds(*seconds).rfc3339();
    json!({
        "mailbox": name.as_str(), "messages": messages, "bytes": bytes,
        "first_expunged": moment(first), "last_expunged": moment(last),
    })
}
