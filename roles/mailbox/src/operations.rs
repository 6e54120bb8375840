//! The administrative operations on the mail that this node's store group keeps.

use std::path::PathBuf;

use async_trait::async_trait;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Perform, Placing, WRONG, input};
use estafeta_core::{Address, Failure, Reason, RoleName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::store::Finding;
use crate::tasks::Tasks;
use crate::transfer::{self, Transferred};

const fn option(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, placing: Placing::Option, about }
}

const ADDRESS: Field = positional("address", "The account's address");

const TASK: Field = option("task", Kind::Integer, "Follow the one of this number, which runs already");

const fn positional(name: &'static str, about: &'static str) -> Field {
    Field { name, kind: Kind::Text, placing: Placing::Positional, about }
}

const fn required(name: &'static str, about: &'static str) -> Field {
    Field { name, kind: Kind::Text, placing: Placing::Required, about }
}

/// The rows for the role's table.
pub fn operations() -> Vec<Operation> {
    let verify = Operation {
        name: "mailbox verify",
        about: "Verify the mail of this node's store group: every body, every number, every count",
        fields: const {
            &[
                option("account", Kind::Text, "Verify what concerns this account alone, by its address"),
                option("repair", Kind::Flag, "Mend what can be mended; else it is only told"),
                TASK,
            ]
        },
        changes: true,
        confirm: None,
        columns: &["what", "mending", WRONG],
        asked_by: &[],
        hidden: false,
        perform: Perform::ByRole(RoleName::MAILBOX),
    };
    vec![
        verify.clone(),
        Operation {
            name: "mailbox export",
            about: "Write an account's mail to a directory of its mailbox node, as Maildir; again, and what is new is added",
            fields: const {
                &[
                    ADDRESS,
                    required("to", "The directory, by its whole path; the node's own user must be able to write there"),
                    TASK,
                ]
            },
            columns: &[],
            ..verify.clone()
        },
        Operation {
            name: "mailbox import",
            about: "Put a directory of Maildirs on the account's mailbox node into its mailboxes; again, and nothing is added twice",
            fields: const {
                &[
                    ADDRESS,
                    required("from", "The directory, by its whole path; the node's own user must be able to read it"),
                    TASK,
                ]
            },
            columns: &[],
            ..verify
        },
    ]
}

/// Carries them out.
pub struct MailboxOperations {
    /// Whose mail is here.
    pub accounts: Accounts,
    /// What takes long.
    pub tasks: Tasks,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    account: Option<Address>,
    #[serde(default)]
    repair: bool,
    task: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    address: Option<Address>,
    #[serde(alias = "from")]
    to: Option<PathBuf>,
    task: Option<u32>,
}

#[async_trait]
impl Administration for MailboxOperations {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            "mailbox verify" => self.verify(input(value)?).await,
            "mailbox export" => self.export(input(value)?).await,
            "mailbox import" => self.import(input(value)?).await,
            other => Err(Failure::new(Reason::NotFound, format!("there is no operation {other:?} here"))),
        }
    }
}

impl MailboxOperations {
    async fn verify(&self, Verify { account, repair, task }: Verify) -> Result<Value, Failure> {
        if let Some(task) = task {
            return self.tasks.follow(task).await;
        }
        let only = match account {
            Some(address) => Some(self.accounts.of_whoever(&address).await?),
            None => None,
        };
        let store = self.accounts.store().clone();
        let verify = |progress| async move {
            let findings = store.verify(only.as_ref(), repair, &progress).await?;
            Ok(findings.iter().map(row).collect())
        };
        self.tasks.start("verification", verify).await
    }
}

impl MailboxOperations {
    async fn export(&self, transfer: Transfer) -> Result<Value, Failure> {
        if let Some(task) = transfer.task {
            return self.tasks.follow(task).await;
        }
        let (address, to) = named(transfer)?;
        let mail = self.accounts.of_whoever(&address).await?;
        let export = |progress| async move { outcome(transfer::export(&mail, &to, &progress).await?) };
        self.tasks.start("export", export).await
    }

    async fn import(&self, transfer: Transfer) -> Result<Value, Failure> {
        if let Some(task) = transfer.task {
            return self.tasks.follow(task).await;
        }
        let (address, from) = named(transfer)?;
        let mail = self.accounts.of_whoever_made(&address).await?;
        let import = |progress| async move { outcome(transfer::import(&mail, &from, &progress).await?) };
        self.tasks.start("import", import).await
    }
}

/// Whose mail, and which directory.
fn named(Transfer { address, to, .. }: Transfer) -> Result<(Address, PathBuf), Failure> {
    let invalid = |text: &str| Failure::new(Reason::Invalid, text);
    let address = address.ok_or_else(|| invalid("whose mail? the address is missing"))?;
    let path = to.ok_or_else(|| invalid("the directory is missing"))?;
    if !path.is_absolute() {
        return Err(invalid("give the directory's whole path: the node does not know where you are"));
    }
    Ok((address, path))
}

fn outcome(Transferred { messages, there_already, refused }: Transferred) -> Result<Value, Failure> {
    Ok(json!([{ "messages": messages, "there_already": there_already, "refused": refused, WRONG: refused > 0 }]))
}

fn row(Finding { what, mending, wrong }: &Finding) -> Value {
    json!({ "what": what, "mending": mending, WRONG: wrong })
}
