//! The role's row in the table, its section of the configuration, and how it runs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use estafeta_core::settings::{SettingsStore as _, SettingsView};
use estafeta_core::{Failure, RoleName, ServiceName};
use estafeta_net::accept::{ConnectionLimits, Listeners, Security, serve};
use estafeta_net::role::{Clients, Context, Needs, Plan, Provides, Role, Running, Service, Transport};
use estafeta_net::section::{ConfigError, Section};
use serde::Deserialize;

use crate::health::StoreHealth;
use crate::ldap::{client, server};
use crate::operations::DirectoryAdministration;
use crate::operations::cluster::ClusterAdministration;
use crate::operations::domain::{DomainAdministration, settings_client};
use crate::operations::secret::SecretAdministration;
use crate::sql::now;
use crate::store::{self, Store};
use crate::{operations, password};

/// The service: LDAP over TLS, between nodes.
pub const LDAPS: ServiceName = ServiceName::fixed("ldaps");

/// The role's row.
pub fn role() -> Role {
    Role {
        name: RoleName::DIRECTORY,
        cluster: Some('C'),
        purpose: "keeps accounts, aliases, domains and the list of nodes, and says who may log in",
        services: vec![Service {
            name: LDAPS,
            port: 636,
            transport: Transport::Tcp,
            between_nodes: true,
            about: "the directory over LDAP, for other nodes and administrators' tools",
            probe: client::probe,
        }],
        operations: operations::all(),
        plan: |section: Section<'_>| -> Result<Box<dyn Plan>, ConfigError> { Ok(Box::new(section.read::<Config>()?)) },
        clients: Clients { directory: Some(client::client), settings: Some(settings_client), ..Clients::default() },
    }
}

/// The section `[directory]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many LDAP connections are served at once; further ones wait. Each other node holds up to 16. Default: 2000.
    pub ldap_connections: usize,
    /// How many of them may come from one address; further ones are closed. Default: 200.
    pub ldap_connections_per_address: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { ldap_connections: 2000, ldap_connections_per_address: 200 }
    }
}

#[async_trait]
impl Plan for Config {
    async fn start(&self, context: Context) -> Result<Running, Failure> {
        server::describe_metrics();
        store::describe_metrics();
        password::describe_metrics();
        let listeners = context
            .sockets
            .tcp(&LDAPS)
            .map_err(|error| Failure::internal(format!("the sockets of the service ldaps: {error}")))?;
        let store = Store::open(context.data.clone()).await?;
        store.ensure_gossip_key(now()).await?;
        context.settings.replace(store.read().await?);
        let provides = Provides {
            directory: Some(Arc::new(store.clone())),
            health: Some(Arc::new(StoreHealth(store.clone()))),
            needs: Needs { disk: true, ..Needs::default() },
            administration: Some(Arc::new(administration(&store, &context))),
            ..Provides::default()
        };
        let limits = ConnectionLimits {
            connections: self.ldap_connections,
            connections_per_address: self.ldap_connections_per_address,
        };
        let run = async move {
            let mut loops = Listeners::default();
            for listener in listeners {
                let (store, drain) = (store.clone(), context.drain.clone());
                let talk = move |connection| server::talk(connection, store.clone(), drain.clone());
                let security = Security::Cluster(context.tls.clone(), &[]);
                loops.spawn(serve(listener, LDAPS, security, limits, context.drain.clone(), talk));
            }
            tokio::select! {
                ended = loops.run(&context.drain) => ended,
                never = forget_what_is_over(store, context.settings.clone()) => never,
            }
        };
        Ok(Running { provides, run: Box::pin(run) })
    }
}

fn administration(store: &Store, context: &Context) -> DirectoryAdministration {
    DirectoryAdministration {
        domains: DomainAdministration::new(store.clone(), context.settings.clone()),
        cluster: ClusterAdministration {
            store: store.clone(),
            settings: context.settings.clone(),
            members: context.members.clone(),
            node: context.node.clone(),
            issuer: context.issuer.clone(),
        },
        secrets: SecretAdministration(store.clone()),
    }
}

/// How often what is over is looked for.
const FORGET: Duration = Duration::from_secs(60);

/// Forgets old gossip keys and expired certificates, as long as the role runs.
async fn forget_what_is_over<T>(store: Store, settings: SettingsView) -> T {
    let mut ticks = tokio::time::interval(FORGET);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let forgotten = async {
            if store.forget_what_is_over(now()).await? {
                settings.replace(store.read().await?);
            }
            Ok::<_, Failure>(())
        };
        if let Err(failure) = forgotten.await {
            tracing::warn!(%failure, "old gossip keys and certificates cannot be forgotten now; tried again in a minute");
        }
    }
}
