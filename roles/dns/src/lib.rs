//! The authoritative name server whose answers follow the cluster.
//!
//! Data travels one way: members and settings → [`table`] (what a zone holds) → [`zones`] (which zones) → [`answer`]
//! (a question's records) → [`packet`] (bytes to bytes). All of that is pure; [`serve`] carries the bytes.
//!
//! The codec is hickory-proto's. hickory-server is not used: it starts a task for each datagram and takes TCP
//! connections without bound, allocates by the counts that a request claims, and its zones do not rotate. What would be
//! left of it is smaller than the glue to it.

pub mod answer;
pub mod config;
pub mod packet;
pub mod serve;
pub mod table;
pub mod zone;
pub mod zones;

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::{Failure, RoleName, ServiceName};
use estafeta_net::role::{Clients, Context, Plan, Provides, Role, Running, Service, Transport};
use estafeta_net::section::{ConfigError, Section};

use crate::config::Config;
use crate::zones::ZonesView;

/// The service: questions over UDP and TCP.
pub const DNS: ServiceName = ServiceName::fixed("dns");

/// The role's row.
pub fn role() -> Role {
    Role {
        name: RoleName::DNS,
        cluster: None,
        purpose: "answers for the mail domains' names, as the cluster is now",
        services: vec![Service {
            name: DNS,
            port: 53,
            transport: Transport::TcpAndUdp,
            between_nodes: false,
            about: "authoritative name server",
            probe: None,
        }],
        operations: vec![],
        plan,
        clients: Clients::default(),
    }
}

fn plan(section: Section<'_>) -> Result<Box<dyn Plan>, ConfigError> {
    let config: Config = section.read()?;
    config.check().map_err(ConfigError::new)?;
    Ok(Box::new(config))
}

#[async_trait]
impl Plan for Config {
    async fn start(&self, context: Context) -> Result<Running, Failure> {
        serve::describe_metrics();
        let sockets = |error: std::io::Error| Failure::internal(format!("the sockets of the service dns: {error}"));
        let udp = context.sockets.udp(&DNS).map_err(sockets)?;
        let tcp = context.sockets.tcp(&DNS).map_err(sockets)?;
        let zones = Arc::new(ZonesView::new(self.clone(), context.settings, context.members));
        let run = serve::serve(udp, tcp, zones, self.tcp_connections, context.drain);
        Ok(Running { provides: Provides::default(), run: Box::pin(run) })
    }
}
