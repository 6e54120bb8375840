//! What the command line and the administration API do with people, domains and the cluster's nodes. Accounts and
//! aliases are asked of any node, through the contract `Directory`; the rest of a node with the role, through
//! [`DirectoryAdministration`].

pub mod account;
pub mod alias;
pub mod cluster;
pub mod domain;
pub mod secret;

use async_trait::async_trait;
use estafeta_core::Failure;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Placing};
use serde_json::Value;

use cluster::ClusterAdministration;
use domain::DomainAdministration;
use secret::SecretAdministration;

/// Every operation of the role.
pub fn all() -> Vec<Operation> {
    [domain::operations(), account::operations(), alias::operations(), cluster::operations(), secret::operations()]
        .concat()
}

/// The operations that are carried out where the directory is.
pub struct DirectoryAdministration {
    /// Those on domains and settings.
    pub domains: DomainAdministration,
    /// Those on nodes, tokens and keys.
    pub cluster: ClusterAdministration,
    /// Those on secrets.
    pub secrets: SecretAdministration,
}

#[async_trait]
impl Administration for DirectoryAdministration {
    async fn perform(&self, operation: &str, input: Value) -> Result<Value, Failure> {
        match operation.split(' ').next() {
            Some("cluster" | "node" | "certificate") => self.cluster.perform(operation, input).await,
            Some("secret") => self.secrets.perform(operation, input).await,
            _ => self.domains.perform(operation, input).await,
        }
    }
}

/// A field that is given by its place.
const fn positional(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, placing: Placing::Positional, about }
}

/// A field that may be given by its name.
const fn option(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, placing: Placing::Option, about }
}

const ADDRESS: Field = positional("address", Kind::Text, "The address: name@domain");
const DOMAIN: Field = option("domain", Kind::Text, "Only those of this domain; all by default");
const PASSWORD: Field = Field {
    name: "password",
    kind: Kind::Secret,
    placing: Placing::Required,
    about: "At least 8 characters; from a prompt or the first line of standard input",
};

#[cfg(test)]
pub(crate) mod tests;
