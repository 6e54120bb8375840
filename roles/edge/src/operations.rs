//! The administrative operations of the queue. A queue belongs to its node: each operation speaks of the node that is
//! asked.

use async_trait::async_trait;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Perform, Placing, input, output};
use estafeta_core::{DeliveryId, Failure, Reason, RoleName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::queue::Queue;

/// The most recipients that are listed.
const LIST_LIMIT: usize = 10_000;

const ID: Field = Field {
    name: "id",
    kind: Kind::Text,
    placing: Placing::Positional,
    about: "the delivery id, as `queue list` shows it",
};

const OPTIONAL_ID: Field =
    Field { name: "id", kind: Kind::Text, placing: Placing::Option, about: "one delivery id alone; all by default" };

/// The rows for the role's table.
pub fn operations() -> Vec<Operation> {
    let by_edge = || Perform::ByRole(RoleName::EDGE);
    vec![
        Operation {
            name: "queue list",
            about: "Show the mail that waits on this node to be delivered",
            fields: &[],
            changes: false,
            confirm: None,
            columns: &["id", "sender", "recipient", "size_bytes", "attempts", "next_attempt", "last_answer"],
            perform: by_edge(),
        },
        Operation {
            name: "queue retry",
            about: "Try mail that waits on this node now",
            fields: &[OPTIONAL_ID],
            changes: true,
            confirm: None,
            columns: &[],
            perform: by_edge(),
        },
        Operation {
            name: "queue remove",
            about: "Delete a message that waits on this node, without a word to its sender",
            fields: &[ID],
            changes: true,
            confirm: Some("Delete message {id} for all its recipients?"),
            columns: &[],
            perform: by_edge(),
        },
    ]
}

/// Carries them out.
pub struct QueueOperations(pub Queue);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneLetter {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SomeLetters {
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[async_trait]
impl Administration for QueueOperations {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            "queue list" => {
                let Nothing {} = input(value)?;
                output(&self.0.list(LIST_LIMIT).await?)
            }
            "queue retry" => {
                let SomeLetters { id } = input(value)?;
                let id = id.as_deref().map(delivery_id).transpose()?;
                let recipients = self.0.retry(id).await?;
                match id {
                    Some(id) if recipients == 0 => Err(unknown(id)),
                    _ => Ok(json!({ "recipients": recipients })),
                }
            }
            "queue remove" => {
                let OneLetter { id } = input(value)?;
                let id = delivery_id(&id)?;
                if self.0.remove(id).await? { Ok(Value::Null) } else { Err(unknown(id)) }
            }
            other => Err(Failure::new(Reason::NotFound, format!("there is no operation {other:?} here"))),
        }
    }
}

fn delivery_id(text: &str) -> Result<DeliveryId, Failure> {
    text.parse().map_err(|error: estafeta_core::name::NameError| Failure::new(Reason::Invalid, error.to_string()))
}

fn unknown(id: DeliveryId) -> Failure {
    Failure::new(Reason::NotFound, format!("no message {id} waits on this node"))
}
