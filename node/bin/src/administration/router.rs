//! Who carries an operation out: this node, or one with the role that it needs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use estafeta_core::administration::{Administration, OperationContext, Perform};
use estafeta_core::members::{Member, MembersView};
use estafeta_core::route::Local;
use estafeta_core::{Failure, Reason, RoleName};
use estafeta_net::role::Remote;
use serde_json::Value;

use super::{Table, client};

/// The router of `Administration`.
pub struct AdministrationRouter {
    table: Table,
    by_role: BTreeMap<RoleName, Local<dyn Administration>>,
    node: Local<dyn Administration>,
    remote: Remote,
    members: MembersView,
    /// The contracts ask this router for the settings, and it asks the contracts: filled in once both exist.
    context: OnceLock<OperationContext>,
}

impl AdministrationRouter {
    /// A router for these operations. It performs nothing before [`AdministrationRouter::complete`].
    pub fn new(
        table: Table,
        by_role: BTreeMap<RoleName, Local<dyn Administration>>,
        node: Local<dyn Administration>,
        remote: Remote,
        members: MembersView,
    ) -> Self {
        Self { table, by_role, node, remote, members, context: OnceLock::new() }
    }

    /// Gives it the contracts.
    pub fn complete(&self, context: OperationContext) {
        // A second time would change nothing: the contracts of a node are made once.
        let _ = self.context.set(context);
    }

    /// The operations.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Carries an operation out here, or says that it cannot be.
    pub async fn perform_here(&self, operation: &str, input: Value) -> Result<Value, Failure> {
        let row = self.row(operation)?;
        match &row.perform {
            Perform::Anywhere(perform) => {
                let context = self.context.get().ok_or_else(|| Failure::unavailable("the node is still starting"))?;
                perform(context.clone(), input).await
            }
            Perform::ByRole(role) => match self.local(role) {
                Some(local) => local.perform(operation, input).await,
                None => Err(Failure::unavailable(format!("the role {role} does not run on node {}", self.remote.node))),
            },
            Perform::InGroup(role, _) => match self.local(role) {
                Some(local) => local.perform(operation, input).await,
                None => Err(Failure::unavailable(format!("the role {role} does not run on node {}", self.remote.node))),
            },
            Perform::OnNode(_) => match self.node.get() {
                Some(node) => node.perform(operation, input).await,
                None => Err(Failure::unavailable("the node is still starting")),
            },
        }
    }

    fn row(&self, operation: &str) -> Result<&estafeta_core::administration::Operation, Failure> {
        self.table
            .get(operation)
            .ok_or_else(|| Failure::new(Reason::NotFound, format!("there is no operation {operation:?}")))
    }

    fn local(&self, role: &RoleName) -> Option<Arc<dyn Administration>> {
        self.by_role.get(role)?.get()
    }

    /// Asks the nodes with the role, the ready ones first, until one can do it: what only one of them keeps (a letter in its
    /// queue), the others do not find. `before` is what this node found.
    async fn pass_on(
        &self,
        role: &RoleName,
        group: Option<&str>,
        operation: &str,
        input: Value,
        before: Option<Failure>,
    ) -> Result<Value, Failure> {
        let members = self.members.current();
        let serves = |member: &&Member| {
            group.is_none_or(|group| member.store_group.as_ref().is_some_and(|served| served.as_str() == group))
        };
        let mut nodes: Vec<_> = members
            .iter()
            .filter(|member| member.roles.contains_key(role) && member.name != self.remote.node)
            .filter(serves)
            .collect();
        nodes.sort_by_key(|member| !member.is_ready(role));
        let mut failures: Vec<Failure> = before.into_iter().collect();
        for member in nodes {
            let Some(address) = member.administration else { continue };
            match client::ask_node(&self.remote.tls, &member.name, address, operation, &input).await {
                Err(failure) if weight(&failure) > 0 => failures.push(failure),
                answer => return answer,
            }
        }
        let unknown = || Failure::unavailable(format!("no node with the role {role} is known here"));
        Err(most_telling(failures).unwrap_or_else(unknown))
    }
}

/// How much the failure of one node tells where another may do better: what does not exist where it should be tells more
/// than a node that is away, and that more than a node which only knows that it is another's. Nothing at all ends the search.
fn weight(failure: &Failure) -> u8 {
    match failure.reason {
        Reason::NotFound => 3,
        Reason::Unavailable => 2,
        Reason::Elsewhere => 1,
        _ => 0,
    }
}

/// Of several nodes' failures the first of those that tell most.
fn most_telling(failures: Vec<Failure>) -> Option<Failure> {
    failures.into_iter().rev().max_by_key(weight)
}

impl AdministrationRouter {
    /// Asks the node that was named, whether it is ready or not.
    async fn ask_named(&self, node: &str, operation: &str, input: Value) -> Result<Value, Failure> {
        let members = self.members.current();
        let member = members.iter().find(|member| member.name.as_str() == node);
        let unknown =
            || Failure::new(Reason::NotFound, format!("there is no node {node:?}: see estafeta cluster status"));
        let member = member.ok_or_else(unknown)?;
        let address = member.administration.ok_or_else(|| {
            Failure::unavailable(format!("node {node} has no address for administration: ask it there, by its socket"))
        })?;
        client::ask_node(&self.remote.tls, &member.name, address, operation, &input).await
    }
}

#[async_trait]
impl Administration for AdministrationRouter {
    async fn perform(&self, operation: &str, input: Value) -> Result<Value, Failure> {
        let named = |field: &str| input.get(field).and_then(Value::as_str).map(str::to_owned);
        match &self.row(operation)?.perform {
            Perform::OnNode(Some(field)) => match named(field) {
                Some(node) if node != self.remote.node.as_str() => self.ask_named(&node, operation, input).await,
                _ => self.perform_here(operation, input).await,
            },
            Perform::InGroup(role, field) if named(field).is_some() => {
                let group = named(field).unwrap_or_default();
                self.perform_in_group(role, &group, operation, input).await
            }
            Perform::ByRole(role) | Perform::InGroup(role, _) => {
                if self.local(role).is_none() {
                    return self.pass_on(role, None, operation, input, None).await;
                }
                // What one node of a role does not know another may: each mailbox node has its own store group.
                match self.perform_here(operation, input.clone()).await {
                    Err(failure) if matches!(failure.reason, Reason::NotFound | Reason::Elsewhere) => {
                        self.pass_on(role, None, operation, input, Some(failure)).await
                    }
                    answer => answer,
                }
            }
            _ => self.perform_here(operation, input).await,
        }
    }
}

impl AdministrationRouter {
    /// Asks a node with the role that serves the group: this one, if it does.
    async fn perform_in_group(
        &self,
        role: &RoleName,
        group: &str,
        operation: &str,
        input: Value,
    ) -> Result<Value, Failure> {
        let members = self.members.current();
        let serves = |member: &Member| member.store_group.as_ref().is_some_and(|served| served.as_str() == group);
        if self.local(role).is_some() && members.get(&self.remote.node).is_some_and(serves) {
            return self.perform_here(operation, input).await;
        }
        if !members.iter().any(serves) {
            let known = members.store_groups().iter().map(|group| group.as_str().to_owned()).collect::<Vec<_>>();
            let text = format!("no node serves the store group {group:?}; those that are served: {}", known.join(", "));
            return Err(Failure::new(Reason::NotFound, text));
        }
        self.pass_on(role, Some(group), operation, input, None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_the_account_knows_better_than_who_does_not() {
        let failure = |reason, text: &str| Failure::new(reason, text);
        let (elsewhere, away) = (failure(Reason::Elsewhere, "it lives in a"), failure(Reason::Unavailable, "away"));
        let (none, second) = (failure(Reason::NotFound, "no mail yet"), failure(Reason::NotFound, "none here"));
        for (failures, told) in [
            (vec![elsewhere.clone(), none.clone(), elsewhere.clone()], Some(none.clone())),
            (vec![away.clone(), none.clone(), second], Some(none)),
            (vec![elsewhere.clone(), away.clone(), elsewhere.clone()], Some(away)),
            (vec![elsewhere.clone()], Some(elsewhere)),
            (vec![], None),
        ] {
            assert_eq!(most_telling(failures), told);
        }
    }
}
