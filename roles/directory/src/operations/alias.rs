//! `alias add|list|remove`.

use estafeta_core::Address;
use estafeta_core::Failure;
use estafeta_core::administration::{Kind, Operation, OperationContext, Perform, input, output};
use estafeta_core::directory::Alias;
use serde::Deserialize;
use serde_json::Value;

use super::account::{OfAddress, OfDomain};
use super::{ADDRESS, DOMAIN, positional};

/// The rows.
pub fn operations() -> Vec<Operation> {
    let row = Operation {
        name: "alias add",
        about: "Make an address that stands for others",
        fields: const {
            &[ADDRESS, positional("targets", Kind::Texts, "Whom it stands for, here or elsewhere: 1 to 1000 addresses")]
        },
        changes: true,
        confirm: None,
        columns: &["address", "targets"],
        asked_by: &[],
        hidden: false,
        perform: Perform::Anywhere(|context, input| Box::pin(add(context, input))),
    };
    vec![
        row.clone(),
        Operation {
            name: "alias list",
            about: "List the aliases and whom they stand for",
            fields: &[DOMAIN],
            changes: false,
            perform: Perform::Anywhere(|context, input| Box::pin(list(context, input))),
            ..row.clone()
        },
        Operation {
            name: "alias remove",
            about: "Remove an alias",
            fields: &[ADDRESS],
            perform: Perform::Anywhere(|context, input| Box::pin(remove(context, input))),
            ..row
        },
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    address: Address,
    targets: Vec<Address>,
}

async fn add(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let Add { address, targets } = input(value)?;
    let alias = Alias { address, targets };
    context.contracts.directory.add_alias(&alias).await?;
    output(&alias)
}

async fn list(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let OfDomain { domain } = input(value)?;
    output(&context.contracts.directory.aliases(domain.as_ref()).await?)
}

async fn remove(context: OperationContext, value: Value) -> Result<Value, Failure> {
    let OfAddress { address } = input(value)?;
    context.contracts.directory.remove_alias(&address).await?;
    Ok(Value::Null)
}
