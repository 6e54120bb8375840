//! `account add|list|show|password|quota|disable|enable|remove`.

use estafeta_core::administration::{Kind, Operation, OperationContext, Perform, input, output};
use estafeta_core::directory::{Account, AccountChange, Directory, NewAccount};
use estafeta_core::{AccountId, Address, Domain, Failure, Reason, Secret, StoreGroup};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ADDRESS, DOMAIN, PASSWORD, option, positional};
use crate::calendar;

const COLUMNS: &[&str] = &["address", "name", "store_group", "quota_bytes", "quota_messages", "enabled", "created"];

/// The rows.
pub fn operations() -> Vec<Operation> {
    let row = Operation {
        name: "account add",
        about: "Make an account",
        fields: const {
            &[
                ADDRESS,
                option("name", Kind::Text, "The person's name; none by default"),
                option(
                    "group",
                    Kind::Text,
                    "The store group where the mailboxes shall live; by default the one with the fewest accounts",
                ),
                option("quota", Kind::Size, "How much the mailboxes may hold; no limit by default"),
                option("messages", Kind::Size, "How many messages they may hold; no limit by default"),
                PASSWORD,
            ]
        },
        changes: true,
        confirm: None,
        columns: COLUMNS,
        asked_by: &[],
        hidden: false,
        perform: Perform::Anywhere(|context, input| Box::pin(add(context, input))),
    };
    vec![
        row.clone(),
        Operation {
            name: "account list",
            about: "List the accounts",
            fields: &[DOMAIN],
            changes: false,
            perform: Perform::Anywhere(|context, input| Box::pin(list(context, input))),
            ..row.clone()
        },
        Operation {
            name: "account show",
            about: "Show an account",
            fields: &[ADDRESS],
            changes: false,
            perform: Perform::Anywhere(|context, input| Box::pin(show(context, input))),
            ..row.clone()
        },
        Operation {
            name: "account password",
            about: "Set an account's password",
            fields: &[ADDRESS, PASSWORD],
            perform: Perform::Anywhere(|context, input| Box::pin(password(context, input))),
            ..row.clone()
        },
        Operation {
            name: "account quota",
            about: "Set how much an account's mailboxes may hold",
            fields: const {
                &[
                    ADDRESS,
                    positional("quota", Kind::Size, "Like 500M or 2G; none for no limit"),
                    option("messages", Kind::Size, "The most messages; none for no limit; as before by default"),
                ]
            },
            perform: Perform::Anywhere(|context, input| Box::pin(quota(context, input))),
            ..row.clone()
        },
        Operation {
            name: "account disable",
            about: "Keep an account from logging in and from receiving mail",
            fields: &[ADDRESS],
            perform: Perform::Anywhere(|context, input| Box::pin(enable(context, input, false))),
            ..row.clone()
        },
        Operation {
            name: "account enable",
            about: "Let a disabled account log in and receive mail again",
            fields: &[ADDRESS],
            perform: Perform::Anywhere(|context, input| Box::pin(enable(context, input, true))),
            ..row.clone()
        },
        Operation {
            name: "account remove",
            about: "Remove an account; its mail can no longer be read, by nobody and never again",
            fields: &[ADDRESS],
            confirm: Some(
                "Remove the account {address}? Its mail can never be read again, not even by a new account of that address. Remove it?",
            ),
            perform: Perform::Anywhere(|context, input| Box::pin(remove(context, input))),
            ..row
        },
    ]
}

/// An account as people and scripts read it.
#[derive(Serialize)]
struct Row {
    address: Address,
    name: String,
    store_group: StoreGroup,
    quota_bytes: Option<u64>,
    quota_messages: Option<u64>,
    enabled: bool,
    created: String,
    id: AccountId,
}

impl From<Account> for Row {
    fn from(account: Account) -> Self {
        let Account { id, address, name, store_group, quota_bytes, quota_messages, enabled, created } = account;
        let created = calendar::rfc3339(created);
        Self { address, name, store_group, quota_bytes, quota_messages, enabled, created, id }
    }
}

fn row(account: Account) -> Result<Value, Failure> {
    output(&Row::from(account))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    address: Address,
    #[serde(default)]
    name: String,
    group: Option<StoreGroup>,
    quota: Option<u64>,
    messages: Option<u64>,
    password: String,
}

async fn add(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let Add { address, name, group, quota, messages, password } = input(value)?;
    let directory = context.contracts.directory;
    let groups = context.members.current().store_groups();
    let store_group = match group {
        Some(group) if groups.contains(&group) => group,
        Some(group) => return Err(unknown_group(&group, &groups)),
        None => emptiest(directory.as_ref(), groups).await?,
    };
    let account = NewAccount {
        address,
        name,
        store_group,
        quota_bytes: quota,
        quota_messages: messages,
        password: Some(Secret::new(password)),
    };
    row(directory.add_account(&account).await?)
}

fn unknown_group(group: &StoreGroup, groups: &[StoreGroup]) -> Failure {
    let known: Vec<&str> = groups.iter().map(StoreGroup::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::new(
        Reason::NotFound,
        format!("no mailbox node serves the store group {group}; those that are served: {known}"),
    )
}

/// The group with the fewest accounts; of several the first by name.
async fn emptiest(directory: &dyn Directory, groups: Vec<StoreGroup>) -> Result<StoreGroup, Failure> {
    if groups.len() < 2 {
        let none = || {
            Failure::new(
                Reason::NotFound,
                "the account needs a store group, and no node has the role mailbox: add one to the cluster",
            )
        };
        return groups.into_iter().next().ok_or_else(none);
    }
    let mut counted = Vec::with_capacity(groups.len());
    for group in groups {
        counted.push((directory.accounts_in(&group).await?, group));
    }
    let fewest = counted.into_iter().min();
    fewest.map(|(_, group)| group).ok_or_else(|| Failure::internal("a minimum of at least two groups"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfDomain {
    pub(super) domain: Option<Domain>,
}

async fn list(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let OfDomain { domain } = input(value)?;
    let accounts = context.contracts.directory.accounts(domain.as_ref()).await?;
    output(&accounts.into_iter().map(Row::from).collect::<Vec<_>>())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfAddress {
    pub(super) address: Address,
}

async fn show(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let OfAddress { address } = input(value)?;
    row(context.contracts.directory_uncached.account(&address).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    address: Address,
    password: String,
}

async fn password(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let Password { address, password } = input(value)?;
    context.contracts.directory.set_password(&address, &Secret::new(password)).await?;
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quota {
    address: Address,
    /// Null for no limit; but it must be there.
    #[serde(deserialize_with = "Option::deserialize")]
    quota: Option<u64>,
    /// Null for no limit; what is not there stays.
    #[serde(default, deserialize_with = "given")]
    messages: Option<Option<u64>>,
}

/// What is there, null too.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

async fn quota(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let Quota { address, quota, messages } = input(value)?;
    let change = AccountChange { quota_bytes: Some(quota), quota_messages: messages, ..AccountChange::default() };
    row(context.contracts.directory.change_account(&address, &change).await?)
}

async fn enable(context: OperationContext, value: Value, enabled: bool) -> Result<Value, Failure> {
    let OfAddress { address } = input(value)?;
    let change = AccountChange { enabled: Some(enabled), ..AccountChange::default() };
    row(context.contracts.directory.change_account(&address, &change).await?)
}

async fn remove(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let OfAddress { address } = input(value)?;
    context.contracts.directory.remove_account(&address).await?;
    Ok(Value::Null)
}
