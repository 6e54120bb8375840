//! `domain add|list|remove` and `settings read`, carried out where the directory is, and the contract `SettingsStore`
//! for the nodes where it is not: they ask these operations.

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Perform, input, output};
use estafeta_core::settings::{KeptSecret, Settings, SettingsStore, SettingsView};
use estafeta_core::{Domain, Failure, Reason, RoleName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{positional, secret};
use crate::store::Store;

const ADD: &str = "domain add";
const LIST: &str = "domain list";
const REMOVE: &str = "domain remove";
const READ: &str = "settings read";

const DOMAIN: Field = positional("domain", Kind::Text, "The mail domain: what stands behind the @");

/// The rows.
pub fn operations() -> Vec<Operation> {
    let row = Operation {
        name: ADD,
        about: "Make the mail of a domain this cluster's",
        fields: &[DOMAIN],
        changes: true,
        confirm: None,
        columns: &["domain", "accounts", "aliases"],
        asked_by: &[],
        hidden: false,
        perform: Perform::ByRole(RoleName::DIRECTORY),
    };
    vec![
        row.clone(),
        Operation {
            name: LIST,
            about: "List the domains and how many addresses each has",
            fields: &[],
            changes: false,
            ..row.clone()
        },
        Operation {
            name: REMOVE,
            about: "Give a domain up that has no more addresses",
            confirm: Some("Mail for {domain} will be refused. Remove the domain {domain}?"),
            ..row.clone()
        },
        Operation {
            name: READ,
            about: "Show the settings that the whole cluster agrees on: the keys of its gossip too",
            fields: &[],
            changes: false,
            columns: &[],
            ..row
        },
    ]
}

/// The operations on domains, where the directory is.
pub struct DomainAdministration {
    store: Store,
    settings: SettingsView,
}

impl DomainAdministration {
    /// On this directory; what changes is in this node's own view at once.
    pub fn new(store: Store, settings: SettingsView) -> Self {
        Self { store, settings }
    }

    async fn list(&self) -> Result<Value, Failure> {
        let domains = self.store.domains().await?;
        let rows =
            domains.into_iter().map(|(domain, uses)| Row { domain, accounts: uses.accounts, aliases: uses.aliases });
        output(&rows.collect::<Vec<_>>())
    }

    async fn advance(&self) -> Result<Value, Failure> {
        self.settings.replace(self.store.read().await?);
        Ok(Value::Null)
    }
}

#[derive(Serialize)]
struct Row {
    domain: Domain,
    accounts: u64,
    aliases: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDomain {
    domain: Domain,
}

#[async_trait]
impl Administration for DomainAdministration {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            ADD => {
                let OfDomain { domain } = input(value)?;
                self.store.add_domain(&domain).await?;
                self.advance().await
            }
            LIST => self.list().await,
            REMOVE => {
                let OfDomain { domain } = input(value)?;
                self.store.remove_domain(&domain).await?;
                self.advance().await
            }
            READ => output(&self.store.read().await?),
            other => Err(Failure::new(Reason::NotFound, format!("domains have no operation {other:?}"))),
        }
    }
}

/// The settings, asked through administration.
struct AskedSettings(Arc<dyn Administration>);

/// The client of the contract `SettingsStore`.
pub fn settings_client(administration: Arc<dyn Administration>) -> Arc<dyn SettingsStore> {
    Arc::new(AskedSettings(administration))
}

#[async_trait]
impl SettingsStore for AskedSettings {
    async fn read(&self) -> Result<Settings, Failure> {
        let answer = self.0.perform(READ, json!({})).await?;
        serde_json::from_value(answer)
            .map_err(|error| Failure::internal(format!("{READ} was answered with something else: {error}")))
    }

    async fn add_domain(&self, domain: &Domain) -> Result<(), Failure> {
        self.0.perform(ADD, json!({ "domain": domain })).await.map(|_| ())
    }

    async fn remove_domain(&self, domain: &Domain) -> Result<(), Failure> {
        self.0.perform(REMOVE, json!({ "domain": domain })).await.map(|_| ())
    }

    async fn read_secret(&self, role: &RoleName, name: &str) -> Result<Option<KeptSecret>, Failure> {
        secret::ask(&self.0, role, name).await
    }

    async fn write_secret(&self, role: &RoleName, name: &str, known: u64, content: &str) -> Result<(), Failure> {
        secret::ask_to_write(&self.0, role, name, known, content).await
    }
}
