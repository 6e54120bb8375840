//! `secret read|write`: what a role keeps with the settings, for nodes whose certificate holds the role. The
//! administration API compares the field `asking_role` with the certificate of whoever asks.

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::administration::{ASKING_ROLE, Administration, Field, Kind, Operation, Perform, input, output};
use estafeta_core::settings::{KeptSecret, SettingsStore as _};
use estafeta_core::{Failure, Reason, RoleName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::positional;
use crate::store::Store;

const READ: &str = "secret read";
const WRITE: &str = "secret write";

const ROLE: Field = positional(ASKING_ROLE, Kind::Text, "The role whose secret it is");
const NAME: Field = positional("name", Kind::Text, "The secret's name");
const READ_FIELDS: &[Field] = &[ROLE, NAME];
const WRITE_FIELDS: &[Field] = &[
    ROLE,
    NAME,
    positional("known", Kind::Integer, "The version in whose place it is written; 0 for none"),
    positional("content", Kind::Secret, "What it is"),
];

/// The rows.
pub fn operations() -> Vec<Operation> {
    let row = Operation {
        name: READ,
        about: "Read what a role keeps with the settings",
        fields: READ_FIELDS,
        changes: false,
        confirm: None,
        columns: &[],
        asked_by: &[],
        hidden: true,
        perform: Perform::ByRole(RoleName::DIRECTORY),
    };
    let write = Operation {
        name: WRITE,
        about: "Write what a role keeps with the settings",
        fields: WRITE_FIELDS,
        changes: true,
        ..row.clone()
    };
    vec![row, write]
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    asking_role: RoleName,
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    asking_role: RoleName,
    name: String,
    known: u64,
    content: String,
}

/// The operations on secrets, where the directory is.
pub struct SecretAdministration(pub Store);

#[async_trait]
impl Administration for SecretAdministration {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            READ => {
                let Read { asking_role, name } = input(value)?;
                output(&self.0.read_secret(&asking_role, &name).await?)
            }
            WRITE => {
                let Write { asking_role, name, known, content } = input(value)?;
                self.0.write_secret(&asking_role, &name, known, &content).await?;
                Ok(Value::Null)
            }
            other => Err(Failure::new(Reason::NotFound, format!("secrets have no operation {other:?}"))),
        }
    }
}

/// Asks for a secret of `role`, through the administration API.
pub async fn ask(
    administration: &Arc<dyn Administration>,
    role: &RoleName,
    name: &str,
) -> Result<Option<KeptSecret>, Failure> {
    let answer = administration.perform(READ, json!({ ASKING_ROLE: role, "name": name })).await?;
    serde_json::from_value(answer)
        .map_err(|error| Failure::internal(format!("{READ} was answered with something else: {error}")))
}

/// Asks for a secret of `role` to be written.
pub async fn ask_to_write(
    administration: &Arc<dyn Administration>,
    role: &RoleName,
    name: &str,
    known: u64,
    content: &str,
) -> Result<(), Failure> {
    let input = json!({ ASKING_ROLE: role, "name": name, "known": known, "content": content });
    administration.perform(WRITE, input).await.map(|_| ())
}
