//! The probes of the role table, asked with a time limit.

use std::collections::BTreeMap;
use std::time::Duration;

use estafeta_core::members::Candidate;
use estafeta_core::{RoleName, ServiceName};
use estafeta_net::role::{Probe, Probing, Remote, Role};
use tokio::task::JoinSet;

/// How much of an error is kept, in characters: reasons are gossiped.
const WHY_CHARACTERS: usize = 250;

/// Every probe that the table knows.
pub struct Probes {
    remote: Remote,
    by_service: BTreeMap<(RoleName, ServiceName), Probe>,
    timeout: Duration,
}

impl Probes {
    /// The probes of these roles, asked by this node.
    pub fn of(table: &[Role], remote: Remote, timeout: Duration) -> Self {
        let services = table.iter().flat_map(|role| role.services.iter().map(move |service| (role, service)));
        let by_service =
            services.map(|(role, service)| ((role.name.clone(), service.name.clone()), service.probe)).collect();
        Self { remote, by_service, timeout }
    }

    /// The node that asks.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Whether an endpoint of this service can be asked.
    pub fn knows(&self, role: &RoleName, service: &ServiceName) -> bool {
        self.by_service.contains_key(&(role.clone(), service.clone()))
    }

    /// Asks an endpoint. A service that this version does not know passes. An error names the service and its address.
    pub async fn ask(&self, candidate: Candidate) -> Result<(), String> {
        let endpoint = &candidate.endpoint;
        let Some(probe) = self.by_service.get(&(endpoint.role.clone(), endpoint.service.clone())) else {
            return Ok(());
        };
        let place = format!("{} at {}", endpoint.service, endpoint.address);
        let asked = tokio::time::timeout(self.timeout, probe(Probing { remote: self.remote.clone(), candidate })).await;
        asked
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", self.timeout.as_millis())))
            .map_err(|why| bounded(&format!("{place}: {why}")))
    }
}

/// An error of a length that can be gossiped, on one line.
pub fn bounded(why: &str) -> String {
    why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WHY_CHARACTERS).collect()
}

/// The results of all tasks, in the order of their ends. One that a bug has ended gives none.
pub async fn gather<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(result) => results.push(result),
            Err(error) => tracing::error!(%error, "a bug: a probe broke"),
        }
    }
    results
}
