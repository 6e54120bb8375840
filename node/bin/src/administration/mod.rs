//! The administration API: the role table's operations over JSON, on a Unix socket for people on this machine and by
//! mutual TLS for the other nodes.

mod caller;
mod client;
mod openapi;
mod router;
mod server;

pub use client::{SocketClient, ask_to_join};
pub use router::AdministrationRouter;
pub use server::listen;

use estafeta_core::administration::Operation;
use estafeta_net::role::Role;

use crate::operate;

/// Every operation, by its words.
pub struct Table(Vec<Operation>);

impl Table {
    /// The operations of all roles and of the node itself, in the order of their words.
    pub fn of(roles: &[Role]) -> Self {
        let mut operations: Vec<Operation> = roles.iter().flat_map(|role| role.operations.clone()).collect();
        operations.extend(operate::operations());
        operations.sort_by_key(|operation| operation.name);
        Self(operations)
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.0.iter()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Operation> {
        self.0.iter().find(|operation| operation.name == name)
    }
}

/// The path of an operation: `/v1/account/add`.
fn path(operation: &str) -> String {
    format!("/v1/{}", operation.replace(' ', "/"))
}

/// The header by which a node says that it passes a request on: it is carried out here or refused, never passed on again.
const FORWARDED: &str = "estafeta-forwarded";
