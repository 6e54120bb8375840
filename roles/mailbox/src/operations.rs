//! The administrative operations on the mail that this node's store group keeps.

use async_trait::async_trait;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Perform, Placing, WRONG, input};
use estafeta_core::{Address, Failure, Reason, RoleName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::store::Finding;
use crate::tasks::Tasks;

const fn option(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, placing: Placing::Option, about }
}

/// The rows for the role's table.
pub fn operations() -> Vec<Operation> {
    vec![Operation {
        name: "mailbox verify",
        about: "Verify the mail of this node's store group: every body, every number, every count",
        fields: const {
            &[
                option("account", Kind::Text, "Verify what concerns this account alone, by its address"),
                option("repair", Kind::Flag, "Mend what can be mended; else it is only told"),
                option("task", Kind::Integer, "Follow the verification of this number, which runs already"),
            ]
        },
        changes: true,
        confirm: None,
        columns: &["what", "mending", WRONG],
        asked_by: &[],
        hidden: false,
        perform: Perform::ByRole(RoleName::MAILBOX),
    }]
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

#[async_trait]
impl Administration for MailboxOperations {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            "mailbox verify" => self.verify(input(value)?).await,
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

fn row(Finding { what, mending, wrong }: &Finding) -> Value {
    json!({ "what": what, "mending": mending, WRONG: wrong })
}
