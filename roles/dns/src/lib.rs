//! The authoritative name server whose answers follow the cluster.
//!
//! Data travels one way: members, settings and what was written by hand → [`content`] (what a zone holds) → [`zones`]
//! (which zones) → [`answer`] (a question's records) → [`dnssec`] (signatures) → [`respond`] and [`packet`] (bytes to bytes,
//! with what is ready made, limited and proved by cookies). [`serve`] carries the bytes; `transfer` hands zones on.
//!
//! The codec is hickory-proto's. hickory-server is not used: it starts a task for each datagram and takes TCP
//! connections without bound, allocates by the counts that a request claims, and its zones do not rotate. What would be
//! left of it is smaller than the glue to it.

pub mod answer;
pub mod cache;
pub mod check;
mod choice;
pub mod config;
pub mod content;
pub mod cookie;
pub mod dnssec;
pub mod files;
mod health;
pub mod limit;
pub mod operations;
pub mod packet;
pub mod records;
pub mod respond;
pub mod serve;
pub mod sites;
pub mod transfer;
pub mod zone;
pub mod zonefile;
pub mod zones;

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::{Failure, RoleName, ServiceName};
use estafeta_net::accept::Listeners;
use estafeta_net::role::{Clients, Context, Plan, Provides, Role, Running, Service, Transport};
use estafeta_net::section::{ConfigError, Section};

use crate::config::Config;
use crate::cookie::secrets::Secrets;
use crate::dnssec::Signer;
use crate::dnssec::keeper::Keeper;
use crate::limit::Limiter;
use crate::operations::DnsOperations;
use crate::respond::Responder;
use crate::serve::{Serving, Sockets};
use crate::transfer::{DNS_TRANSFER, Transfer};
use crate::zones::ZonesView;

/// The service: questions over UDP and TCP.
pub const DNS: ServiceName = ServiceName::fixed("dns");

/// The service: questions over TLS (RFC 7858).
pub const DNS_TLS: ServiceName = ServiceName::fixed("dns-tls");

/// The role's row.
pub fn role() -> Role {
    Role {
        name: RoleName::DNS,
        cluster: None,
        purpose: "answers for the mail domains' names, as the cluster is now",
        services: vec![
            Service {
                name: DNS,
                port: 53,
                transport: Transport::TcpAndUdp,
                between_nodes: false,
                about: "authoritative name server",
                probe: health::probe,
            },
            Service {
                name: DNS_TLS,
                port: 853,
                transport: Transport::Tcp,
                between_nodes: false,
                about: "authoritative name server over TLS, where [tls] is configured",
                probe: health::probe_over_tls,
            },
            Service {
                name: DNS_TRANSFER,
                port: 8530,
                transport: Transport::Tcp,
                between_nodes: true,
                about: "versions of zones, from one dns node to another",
                probe: health::probe_transfer,
            },
        ],
        operations: operations::operations(),
        plan,
        clients: Clients::default(),
    }
}

fn plan(section: Section<'_>) -> Result<Box<dyn Plan>, ConfigError> {
    let directory = section.directory().to_owned();
    let mut config: Config = section.read()?;
    config.transfer.beside(&directory);
    config.check().map_err(ConfigError::new)?;
    Ok(Box::new(config))
}

#[async_trait]
impl Plan for Config {
    fn needs_certificate_for(&self, service: &ServiceName) -> bool {
        *service == DNS_TLS
    }

    async fn start(&self, context: Context) -> Result<Running, Failure> {
        serve::describe_metrics();
        transfer::describe_metrics();
        let zones = Arc::new(ZonesView::new(self.clone(), context.settings.clone(), context.members.clone()));
        zones.read_files().await;
        let mut loops = Listeners::default();
        let drain = context.drain.clone();
        loops.spawn(zones.clone().watch_files(drain.clone()));
        let secrets = Secrets::own()?;
        loops.spawn(secrets.clone().follow(context.contracts.settings.clone(), drain.clone()));
        let limiter = Limiter::new(self.limits.clone());
        let signer = Arc::new(Signer::new(zones.keys().clone()));
        let responder = Responder::new(limiter, secrets, Some(signer.clone()), &self.identifier);
        let keeper = Arc::new(Keeper::open(&context, zones.keys().clone())?);
        loops.spawn(keeper.clone().run(zones.clone(), drain.clone()));
        let administration = Arc::new(DnsOperations { zones: zones.clone(), keys: keeper });
        let transfer = Transfer::start(&self.transfer, &context, &zones, &signer, &mut loops)?;
        let serving = Serving::new(zones, Arc::new(responder)).with_transfer(transfer);
        serve::serve(Sockets::of(&context)?, &serving, self.tcp_connections, &mut loops, &drain);
        let run = async move { loops.run(&drain).await };
        let provides = Provides { administration: Some(administration), ..Provides::default() };
        Ok(Running { provides, run: Box::pin(run) })
    }
}
