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
            asked_by: &[],
            hidden: false,
            perform: by_edge(),
        },
        Operation {
            name: "queue retry",
            about: "Try mail that waits on this node now",
            fields: &[OPTIONAL_ID],
            changes: true,
            confirm: None,
            columns: &[],
            asked_by: &[],
            hidden: false,
            perform: by_edge(),
        },
        Operation {
            name: "queue remove",
            about: "Delete a message that waits on this node, without a word to its sender",
            fields: &[ID],
            changes: true,
            confirm: Some("Delete message {id} for all its recipients?"),
            columns: &[],
            asked_by: &[],
            hidden: false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Letter, Waiting};
    use crate::testing::address;
    use estafeta_core::Message;
    use std::time::SystemTime;

    #[tokio::test]
    async fn the_queue_is_shown_hastened_and_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let queue = Queue::open(directory.path(), 10).await.unwrap();
        let id = DeliveryId::generate();
        let letter = Letter {
            id,
            sender: None,
            message: Message::new("Subject: x\r\n\r\n".into()),
            smtputf8: false,
            arrived: SystemTime::now(),
            recipients: vec![Waiting::at(address("a@one.example"))],
        };
        queue.keep(vec![letter]).await.unwrap();
        let operations = QueueOperations(queue);
        let perform = async |name, value| operations.perform(name, value).await;

        let listed = perform("queue list", json!({})).await.unwrap();
        assert_eq!(
            (listed[0]["id"].as_str(), listed[0]["recipient"].as_str()),
            (Some(id.to_string().as_str()), Some("a@one.example"))
        );
        assert_eq!(perform("queue retry", json!({})).await.unwrap(), json!({ "recipients": 1 }));
        assert_eq!(perform("queue retry", json!({ "id": id.to_string() })).await.unwrap(), json!({ "recipients": 1 }));
        assert_eq!(perform("queue remove", json!({ "id": id.to_string() })).await.unwrap(), Value::Null);
        assert_eq!(perform("queue list", json!({})).await.unwrap(), json!([]));

        let reason = async |name, value| perform(name, value).await.unwrap_err().reason;
        assert_eq!(reason("queue remove", json!({ "id": id.to_string() })).await, Reason::NotFound);
        assert_eq!(reason("queue retry", json!({ "id": id.to_string() })).await, Reason::NotFound);
        assert_eq!(reason("queue remove", json!({ "id": "x" })).await, Reason::Invalid);
        assert_eq!(reason("queue remove", json!({})).await, Reason::Invalid);
        assert_eq!(reason("queue list", json!({ "all": true })).await, Reason::Invalid);
        assert_eq!(reason("queue burn", json!({})).await, Reason::NotFound);
    }

    #[test]
    fn every_row_names_columns_that_are_listed() {
        let listed = serde_json::to_value(crate::queue::Listed {
            id: String::new(),
            sender: String::new(),
            recipient: String::new(),
            size_bytes: 0,
            arrived: String::new(),
            next_attempt: String::new(),
            attempts: 0,
            last_answer: String::new(),
        });
        let listed = listed.unwrap();
        for operation in operations() {
            assert!(operation.columns.iter().all(|column| listed.get(column).is_some()), "{}", operation.name);
        }
    }
}
