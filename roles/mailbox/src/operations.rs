//! The administrative operations on the mail that this node's store group keeps.

use std::path::PathBuf;

use async_trait::async_trait;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Perform, Placing, WRONG, input};
use estafeta_core::members::MembersView;
use estafeta_core::{Address, Failure, NodeName, Reason, RoleName, Secret, StoreGroup};
use estafeta_net::tls::SYSTEM_AUTHORITIES;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::accounts::Accounts;
use crate::relocation::{self, Relocation};
use crate::store::{Finding, Progress};
use crate::tasks::Tasks;
use crate::transfer::{self, Choice, Format, Source, Transferred};
use crate::undelete;

const fn option(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, placing: Placing::Option, about }
}

const ADDRESS: Field = positional("address", "The account's address");

const GROUP: Field = option("group", Kind::Text, "The store group; by default that of the node that is asked");

const TASK: Field = option("task", Kind::Integer, "Follow the one of this number, which runs already");

const fn positional(name: &'static str, about: &'static str) -> Field {
    Field { name, kind: Kind::Text, placing: Placing::Positional, about }
}

const fn required(name: &'static str, about: &'static str) -> Field {
    Field { name, kind: Kind::Text, placing: Placing::Required, about }
}

/// Who asks the group that an account leaves.
const MAILBOX: &[RoleName] = &[RoleName::MAILBOX];

/// The rows for the role's table.
pub fn operations() -> Vec<Operation> {
    let verify = Operation {
        name: "mailbox verify",
        about: "Verify the mail of a store group: every body, every number, every count",
        fields: const {
            &[
                option("account", Kind::Text, "Verify what concerns this account alone, by its address"),
                GROUP,
                option("repair", Kind::Flag, "Mend what can be mended; else it is only told"),
                TASK,
            ]
        },
        changes: true,
        confirm: None,
        columns: &["what", "mending", WRONG],
        asked_by: &[],
        hidden: false,
        perform: Perform::InGroup(RoleName::MAILBOX, "group"),
    };
    vec![
        verify.clone(),
        Operation {
            name: "mailbox export",
            about: "Write an account's mail to a directory of its mailbox node, as Maildir or mbox; again, and what is new is added",
            fields: const {
                &[
                    ADDRESS,
                    required("to", "The directory, by its whole path; the node's own user must be able to write there"),
                    option("format", Kind::Text, "maildir or mbox; maildir by default"),
                    TASK,
                ]
            },
            columns: &[],
            perform: Perform::ByRole(RoleName::MAILBOX),
            ..verify.clone()
        },
        Operation {
            name: "mailbox import",
            about: "Put mail into an account's mailboxes: Maildirs and mboxes of a directory of its mailbox node, or an account of another server, by IMAP; again, and nothing is added twice",
            fields: const {
                &[
                    ADDRESS,
                    required(
                        "from",
                        "The directory, or one mbox, by its whole path; the node's own user must be able to read it. Or imaps://user@host[:port]",
                    ),
                    option("password", Kind::Secret, "Of a server: the user's password there is asked for"),
                    option(
                        "mailbox",
                        Kind::Texts,
                        "Of a server: this mailbox alone, as it is called there; several times for several",
                    ),
                    option(
                        "ca",
                        Kind::Text,
                        "Of a server: the PEM file on the mailbox node of who vouches for it, by its whole path; by default whom the system believes",
                    ),
                    TASK,
                ]
            },
            columns: &[],
            perform: Perform::ByRole(RoleName::MAILBOX),
            ..verify.clone()
        },
        Operation {
            name: "mailbox undelete",
            about: "Bring back what was expunged of an account's mail, and what was in mailboxes that were deleted",
            fields: const {
                &[
                    ADDRESS,
                    option("mailbox", Kind::Text, "What was in this mailbox alone, by the name that it has, or had"),
                    option(
                        "since",
                        Kind::Text,
                        "What was expunged then or later: a day, as 2026-11-22, or a moment, as 2026-11-22T08:00:00Z",
                    ),
                    option("dry_run", Kind::Flag, "Only tell what could be had back"),
                    TASK,
                ]
            },
            columns: &["mailbox", "messages", "bytes", "first_expunged", "last_expunged"],
            perform: Perform::ByRole(RoleName::MAILBOX),
            ..verify.clone()
        },
        Operation {
            name: "mailbox backup",
            about: "Add a backup of this node's store group, or of one account, to a directory of a mailbox node",
            fields: const {
                &[
                    required("to", "The directory, by its whole path: empty, or one of former backups"),
                    option("account", Kind::Text, "Back up this account alone, by its address"),
                    GROUP,
                    TASK,
                ]
            },
            columns: &[],
            perform: Perform::InGroup(RoleName::MAILBOX, "group"),
            ..verify.clone()
        },
        Operation {
            name: "mailbox restore",
            about: "Put the last backup of each account, or of one, into its mailboxes; again, and nothing is added twice",
            fields: const {
                &[
                    required("from", "The directory of the backups, by its whole path"),
                    option("account", Kind::Text, "Restore this account alone, by the address that it has, or had"),
                    option("into", Kind::Text, "Restore it into this account's mailboxes instead"),
                    option("below", Kind::Text, "Restore below this mailbox, beside what is there"),
                    GROUP,
                    TASK,
                ]
            },
            columns: &[],
            perform: Perform::InGroup(RoleName::MAILBOX, "group"),
            ..verify.clone()
        },
        Operation {
            name: "account move",
            about: "Move an account's mail to another store group, while mail arrives; again, and a move that was interrupted is ended",
            fields: const {
                &[
                    ADDRESS,
                    required("to", "The store group; the one where it lives, to give up a move that was interrupted"),
                    TASK,
                ]
            },
            columns: &[],
            perform: Perform::InGroup(RoleName::MAILBOX, "to"),
            ..verify.clone()
        },
        Operation {
            name: relocation::ASK,
            about: "Ask the store group that an account leaves",
            fields: const {
                &[
                    required("group", "The store group that is asked"),
                    required("account", "The account's identifier"),
                    required("attempt", "Which attempt to move it"),
                    Field { name: "step", kind: Kind::Object, placing: Placing::Required, about: "What is asked" },
                ]
            },
            changes: false,
            columns: &[],
            asked_by: MAILBOX,
            hidden: true,
            perform: Perform::InGroup(RoleName::MAILBOX, "group"),
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
    /// Who comes.
    pub relocation: Relocation,
    /// This node.
    pub node: NodeName,
    /// Who serves the other groups.
    pub members: MembersView,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    address: Option<Address>,
    to: Option<StoreGroup>,
    task: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    account: Option<Address>,
    group: Option<StoreGroup>,
    #[serde(default)]
    repair: bool,
    task: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    address: Option<Address>,
    to: Option<PathBuf>,
    #[serde(default)]
    format: Format,
    task: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    address: Option<Address>,
    from: Option<String>,
    password: Option<String>,
    #[serde(default)]
    mailbox: Vec<String>,
    ca: Option<PathBuf>,
    task: Option<u32>,
}

#[async_trait]
impl Administration for MailboxOperations {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            "mailbox verify" => self.verify(input(value)?).await,
            "mailbox export" => self.export(input(value)?).await,
            "mailbox import" => self.import(input(value)?).await,
            "mailbox undelete" => undelete::perform(&self.accounts, &self.tasks, input(value)?).await,
            "mailbox backup" => self.backup(input(value)?).await,
            "mailbox restore" => self.restore(input(value)?).await,
            "account move" => self.relocate(input(value)?).await,
            relocation::ASK => relocation::answer(&self.accounts, value).await,
            other => Err(Failure::new(Reason::NotFound, format!("there is no operation {other:?} here"))),
        }
    }
}

impl MailboxOperations {
    async fn verify(&self, Verify { account, group, repair, task }: Verify) -> Result<Value, Failure> {
        if let Some(task) = task {
            return self.tasks.follow(task).await;
        }
        self.serves(group.as_ref())?;
        let only = match &account {
            Some(address) => Some(self.accounts.of_whoever(address).await?),
            None => None,
        };
        let store = self.accounts.store().clone();
        let others = if account.is_none() { self.other_groups() } else { Vec::new() };
        let what = account.map_or("the whole store".to_owned(), |address| format!("what concerns {address}"));
        let place = format!("store group {}, on node {}: {what}", self.accounts.store_group(), self.node);
        let verify = |progress: watch::Sender<Progress>| async move {
            let findings = store.verify(only.as_ref(), repair, &progress).await?;
            let looked_at = progress.borrow().done;
            let end = if findings.is_empty() { "nothing is wrong" } else { "" };
            let told = |what: String, mending: &str| Finding { what, mending: mending.to_owned(), wrong: false };
            let verified = told(format!("{place}: {looked_at} bodies and mailboxes were looked at"), end);
            let left = (!others.is_empty())
                .then(|| told(format!("not looked at: the store groups {}", others.join(", ")), "ask with --group"));
            Ok(findings.iter().chain([&verified]).chain(&left).map(row).collect())
        };
        self.tasks.start("verification", verify).await
    }

    /// The store groups that other nodes serve.
    fn other_groups(&self) -> Vec<String> {
        let groups = self.members.current().store_groups();
        let own = self.accounts.store_group();
        groups.iter().filter(|group| *group != own).map(ToString::to_string).collect()
    }
}

impl MailboxOperations {
    async fn export(&self, Export { address, to, format, task }: Export) -> Result<Value, Failure> {
        if let Some(task) = task {
            return self.tasks.follow(task).await;
        }
        let to = named(to)?;
        let mail = self.accounts.of_whoever(&whose(address)?).await?;
        let export = |progress| async move { outcome(transfer::export(&mail, &to, format, &progress).await?) };
        self.tasks.start("export", export).await
    }

    async fn import(&self, Import { address, from, password, mailbox, ca, task }: Import) -> Result<Value, Failure> {
        if let Some(task) = task {
            return self.tasks.follow(task).await;
        }
        let invalid = |text: String| Failure::new(Reason::Invalid, text);
        if let Some(url) = from.as_ref().filter(|from| Source::is_meant(from)) {
            let source: Source = url.parse().map_err(invalid)?;
            let missing =
                || invalid(format!("the password of {} is missing: give --password, and it is asked for", source.user));
            let password = Secret::new(password.ok_or_else(missing)?);
            let authorities = ca.map_or(Ok(SYSTEM_AUTHORITIES.into()), |ca| named(Some(ca)))?;
            let mail = self.accounts.of_whoever_made(&whose(address)?).await?;
            let whose = mail.address();
            let import = |progress| async move {
                let (there, authorities) = ((&source, &password), &authorities);
                outcome(transfer::import_remote(&mail, there, authorities, &mailbox, &progress).await?)
            };
            return self.tasks.start_for("import", whose, import).await;
        }
        if password.is_some() || !mailbox.is_empty() || ca.is_some() {
            return Err(invalid("password, mailbox and ca are for a server: from imaps://user@host".to_owned()));
        }
        let from = named(from.map(PathBuf::from))?;
        let mail = self.accounts.of_whoever_made(&whose(address)?).await?;
        let accounts = self.accounts.clone();
        let whose = mail.address();
        let import = |progress| async move { outcome(transfer::import(&mail, &accounts, &from, &progress).await?) };
        self.tasks.start_for("import", whose, import).await
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    to: Option<PathBuf>,
    account: Option<Address>,
    group: Option<StoreGroup>,
    task: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    from: Option<PathBuf>,
    account: Option<Address>,
    into: Option<Address>,
    below: Option<String>,
    group: Option<StoreGroup>,
    task: Option<u32>,
}

impl MailboxOperations {
    async fn backup(&self, Backup { to, account, group, task }: Backup) -> Result<Value, Failure> {
        if let Some(task) = task {
            return self.tasks.follow(task).await;
        }
        let (to, accounts) = (named(to)?, self.accounts.clone());
        self.serves(group.as_ref())?;
        let only = match account {
            Some(address) => Some((accounts.of_whoever(&address).await?.account().id, address)),
            None => None,
        };
        let backup = |progress| async move {
            outcome(transfer::backup(accounts.store(), accounts.directory_uncached(), only, &to, &progress).await?)
        };
        self.tasks.start("backup", backup).await
    }

    async fn restore(&self, Restore { from, account, into, below, group, task }: Restore) -> Result<Value, Failure> {
        if let Some(task) = task {
            return self.tasks.follow(task).await;
        }
        let (from, accounts) = (named(from)?, self.accounts.clone());
        self.serves(group.as_ref())?;
        if into.is_some() && account.is_none() {
            return Err(Failure::new(
                Reason::Invalid,
                "into which account is said, but not whose mail: name it with account",
            ));
        }
        let below = below.map(|name| name.parse());
        let below = below.transpose().map_err(|error| Failure::new(Reason::Invalid, format!("below: {error}")))?;
        if let Some(target) = into.as_ref().or(account.as_ref()) {
            // Whoever lives elsewhere is restored there.
            accounts.of_whoever_made(target).await?;
        }
        let choice = Choice { account, into, below };
        let restore = |progress| async move { outcome(transfer::restore(&accounts, choice, &from, &progress).await?) };
        self.tasks.start("restore", restore).await
    }

    fn serves(&self, group: Option<&StoreGroup>) -> Result<(), Failure> {
        let own = self.accounts.store_group();
        if group.is_none_or(|group| group == own) {
            return Ok(());
        }
        Err(Failure::new(Reason::NotFound, format!("this node serves the store group {own}")))
    }

    async fn relocate(&self, Move { address, to, task }: Move) -> Result<Value, Failure> {
        if let Some(task) = task {
            return self.tasks.follow(task).await;
        }
        let address = whose(address)?;
        let to = to.ok_or_else(|| Failure::new(Reason::Invalid, "the store group is missing"))?;
        self.serves(Some(&to))?;
        let relocation = self.relocation.clone();
        let bring = |progress| async move { relocation.bring(&address, &progress).await };
        self.tasks.start("account move", bring).await
    }
}

/// Whose mail is meant.
pub fn whose(address: Option<Address>) -> Result<Address, Failure> {
    address.ok_or_else(|| Failure::new(Reason::Invalid, "whose mail? the address is missing"))
}

fn named(path: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let invalid = |text: &str| Failure::new(Reason::Invalid, text);
    let path = path.ok_or_else(|| invalid("the directory is missing"))?;
    if !path.is_absolute() {
        return Err(invalid("give the directory's whole path: the node does not know where you are"));
    }
    Ok(path)
}

fn outcome(done: Transferred) -> Result<Value, Failure> {
    let Transferred { messages, there_already, refused, first_refused } = done;
    let mut row =
        json!({ "messages": messages, "there_already": there_already, "refused": refused, WRONG: refused > 0 });
    if !first_refused.is_empty() {
        row["first_refused"] = first_refused.into();
    }
    Ok(json!([row]))
}

fn row(Finding { what, mending, wrong }: &Finding) -> Value {
    json!({ "what": what, "mending": mending, WRONG: wrong })
}
